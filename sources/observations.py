"""The raw tables that every platform with an API or an archive fills, in the platform's own words.

A platform differs in how it is asked, not in what there is: profiles, posts, interactions, counters,
and lists of these that change. Times, ids and languages stay as they were written; reading them is
staging's work. What a list held is kept as its changes (`sightings`), so that what vanished from a
list that was read to its end can be told from what was merely not read.
"""

from sources.model import ACCOUNT_ID, KEY, LOADED_AT, READINGS, RawColumn, RawTable

_PLATFORM = RawColumn(name="platform", doc="The platform.", nullable=False)
_OBSERVED_AT = RawColumn(name="observed_at", doc="When it was read.", dtype="timestamp", nullable=False)
_LIST = RawColumn(
    name="list",
    doc="The list: `posts`, `followers`, `outbound`, or one of a post, such as `likes:<post>`.",
    nullable=False,
)

PROFILES = RawTable(
    name="profiles",
    doc="Profiles as the platform shows them, one row per observation.",
    columns=(
        ACCOUNT_ID,
        _PLATFORM,
        RawColumn(name="profile", doc="The platform's id of the profile, which outlives its handle.", nullable=False),
        RawColumn(name="handle", doc="Public handle."),
        RawColumn(name="url", doc="Address of the profile."),
        RawColumn(name="name", doc="Display name."),
        RawColumn(name="born_at", doc="When the profile was created."),
        RawColumn(name="state", doc="active, suspended, moved or gone, where the platform says."),
        KEY,
        LOADED_AT,
    ),
)
POSTS = RawTable(
    name="posts",
    doc="Own posts, one row per observation. The text is read by the promotion rules in staging and goes no further.",
    columns=(
        ACCOUNT_ID,
        _PLATFORM,
        RawColumn(name="post", doc="The platform's id of the post."),
        RawColumn(name="url", doc="Address of the post."),
        RawColumn(name="published_at", doc="When it was published."),
        RawColumn(name="edited_at", doc="When it was last changed."),
        RawColumn(name="deleted_at", doc="When it was deleted, where the platform says."),
        RawColumn(name="kind", doc="Kind of post as the platform distinguishes them."),
        RawColumn(name="language", doc="Language as the platform says (BCP 47)."),
        RawColumn(name="text", doc="What was written, as text or HTML; null where it was not given."),
        RawColumn(name="external_url", doc="The address that a link post shares."),
        RawColumn(name="in_reply_to", doc="The own post that this one continues; null otherwise."),
        KEY,
        LOADED_AT,
    ),
)
INTERACTIONS = RawTable(
    name="interactions",
    doc="Interactions in both directions, one row per observation.",
    columns=(
        ACCOUNT_ID,
        _PLATFORM,
        RawColumn(name="interaction", doc="Id of the interaction: the platform's, or made of who, what and whom."),
        RawColumn(name="direction", doc="inbound or outbound."),
        RawColumn(name="kind", doc="reply, mention, quote, message, repost, bookmark, like or follow."),
        RawColumn(name="person", doc="The platform's id of the other person."),
        RawColumn(name="person_name", doc="Name that the platform shows."),
        RawColumn(name="person_url", doc="Address of the person's profile or site."),
        RawColumn(name="post", doc="The own post that it is about."),
        RawColumn(name="target_url", doc="Address that it is about."),
        RawColumn(name="in_reply_to", doc="The interaction that it answers."),
        RawColumn(name="occurred_at", doc="When it happened, where the platform says."),
        RawColumn(name="deleted_at", doc="When it was taken back, where the platform says."),
        RawColumn(name="content_text", doc="What was written; null unless texts of others are stored."),
        KEY,
        LOADED_AT,
    ),
)
COUNTERS = RawTable(
    name="counters",
    doc="Public counters: a row when one was first seen, has changed, or was due to be noted.",
    columns=(
        ACCOUNT_ID,
        _PLATFORM,
        RawColumn(name="subject", doc="post or profile.", nullable=False),
        RawColumn(name="subject_id", doc="The platform's id of the post; for a profile the platform.", nullable=False),
        RawColumn(
            name="counter", doc="likes, reposts, replies, quotes, bookmarks, views, followers, ...", nullable=False
        ),
        RawColumn(name="value", doc="The number shown.", dtype="bigint", nullable=False),
        _OBSERVED_AT,
        KEY,
        LOADED_AT,
    ),
)
LISTS = RawTable(
    name="lists",
    doc="Each reading of each list: whether it was read to its end.",
    columns=(
        ACCOUNT_ID,
        _PLATFORM,
        _LIST,
        _OBSERVED_AT,
        RawColumn(name="is_complete", doc="The list was read to its end.", dtype="bool", nullable=False),
        RawColumn(name="items", doc="Items that were read.", dtype="bigint"),
        RawColumn(name="reason", doc="Why it is not complete."),
        KEY,
        LOADED_AT,
    ),
)
SIGHTINGS = RawTable(
    name="sightings",
    doc="What came into a list, and what a complete reading no longer found in it.",
    columns=(
        ACCOUNT_ID,
        _PLATFORM,
        _LIST,
        RawColumn(name="item", doc="Id of the post or interaction.", nullable=False),
        RawColumn(name="event", doc="seen or gone.", nullable=False),
        _OBSERVED_AT,
        KEY,
        LOADED_AT,
    ),
)
TABLES = (PROFILES, POSTS, INTERACTIONS, COUNTERS, LISTS, SIGHTINGS, READINGS)
