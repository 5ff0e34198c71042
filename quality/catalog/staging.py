"""Staging: what each source said, renamed, typed and deduplicated into the same few shapes.

One table per source and shape. What could not be read is in the source's quarantine table, with
the reason, so that the other rows need no apology. The shapes are declared once, here.
"""

from dataclasses import replace

from quality.catalog import columns as c
from quality.catalog.model import Rule, Table

_PROFILES = Table(
    name="stg_source__profiles",
    doc="Profiles: where an account lives.",
    grain="One profile of an account on a platform.",
    key=("account_id", "platform", "source"),
    columns=(c.account_id, c.platform, c.source, c.url, c.host, c.handle, c.born_at),
)
_POSTS = Table(
    name="stg_source__posts",
    doc="Own posts, the newest observation of each.",
    grain="One post of an account on a platform.",
    key=("account_id", "platform", "post"),
    columns=(
        c.account_id, c.platform, c.source, c.post, c.url, c.published_at, c.deleted_at, c.post_kind, c.language,
        c.words, c.links, c.is_promotional, c.promotion_reason, c.observed_at, c.loaded_at,
    ),
)  # fmt: skip
_INTERACTIONS = Table(
    name="stg_source__interactions",
    doc="Interactions with other people, the newest observation of each.",
    grain="One interaction of a person with an account on a platform.",
    key=("account_id", "platform", "interaction"),
    columns=(
        c.account_id, c.platform, c.source, c.interaction, c.person, c.person_name, c.person_url, c.direction, c.kind,
        c.target_url, c.post.optional(), c.in_reply_to, c.is_site_wide, c.occurred_at, c.observed_at, c.not_before_at,
        c.is_time_known, c.retracted_at, c.loaded_at,
    ),
    rules=(
        Rule(
            name="occurred_before_seen",
            doc="Nothing happened more than a day after it was seen (time zones differ by less).",
            # In microseconds: adding an interval to a time is calendar arithmetic, ten times as long.
            violations="select * from {table} where epoch_us(occurred_at) - epoch_us(observed_at) > 86_400_000_000",
        ),
    ),
)  # fmt: skip
_READINGS = Table(
    name="stg_source__readings",
    doc="Each attempt to read a stream of an account: what days it covers, or why it failed.",
    grain="One reading of one stream of an account on a platform.",
    key=("account_id", "platform", "stream", "read_at"),
    columns=(c.account_id, c.platform, c.source, c.stream, c.read_at, c.covers_from, c.born_at, c.status, c.reason),
)
_QUARANTINE = Table(
    name="stg_source__quarantine",
    doc="Rows that could not be read, each with its reason. Nothing here reaches a metric.",
    grain="One row as the source gave it.",
    key=("account_id", "shape", "row_ref"),
    columns=(c.account_id, c.platform, c.source, c.shape, c.row_ref, c.row_reason, c.row, c.loaded_at),
    rules=(
        Rule(
            name="nothing_quarantined",
            doc="A healthy source gives no unreadable rows.",
            violations="select * from {table}",
            severity="warn",
        ),
    ),
)
_COUNTERS = Table(
    name="stg_source__counters",
    doc="Observations of public counters.",
    grain="One observation of one counter of a post or profile.",
    key=("account_id", "platform", "subject", "subject_id", "counter", "observed_at"),
    columns=(
        c.account_id, c.platform, c.source, c.subject, c.native_subject_id, c.counter, c.counter_value, c.observed_at,
        c.loaded_at,
    ),
)  # fmt: skip
_EARNINGS = Table(
    name="stg_source__earnings",
    doc="Earnings of people, the newest observation of each. E-mail addresses are keyed hashes.",
    grain="One earning of an account.",
    key=("account_id", "earning"),
    columns=(
        c.account_id, c.earning, c.person.optional(),
        c.text("email_hash", "Keyed hash of the person's e-mail address.", nullable=True),
        c.text("email_md5_hash", "Keyed hash of its MD5, as a Gravatar names people.", nullable=True),
        c.text("email_sha256_hash", "Keyed hash of its SHA-256.", nullable=True),
        c.earned_at, c.amount_paid, c.refunded_amount, c.refunded_at, c.currency, c.loaded_at,
    ),
)  # fmt: skip
_SHAPES = {
    "earnings": _EARNINGS,
    "profiles": _PROFILES,
    "posts": _POSTS,
    "interactions": _INTERACTIONS,
    "counters": _COUNTERS,
    "readings": _READINGS,
    "quarantine": _QUARANTINE,
}
_NETWORK = ("profiles", "posts", "interactions", "counters", "readings", "quarantine")
SOURCES = {
    "feed": ("profiles", "posts", "readings", "quarantine"),
    "webmention": ("profiles", "interactions", "readings", "quarantine"),
    "activity": ("posts", "interactions", "readings", "quarantine"),
    "bluesky": _NETWORK,
    "mastodon": _NETWORK,
    "wordpress": _NETWORK,
    "ghost": _NETWORK,
    "youtube": _NETWORK,
    "x": _NETWORK,
    "archive": _NETWORK,
    "earnings": ("earnings", "quarantine"),
}
"""Which shapes each source fills. A new platform is one line here."""


def _of(source: str, shape: str) -> Table:
    template = _SHAPES[shape]
    return replace(template, name=f"stg_{source}__{shape}", doc=f"{template.doc[:-1]}, as {source} gives them.")


TABLES = tuple(_of(source, shape) for source, shapes in SOURCES.items() for shape in shapes)


def staged(shape: str) -> tuple[str, ...]:
    """Names of the staging tables of one shape, over all sources that fill it.

    >>> staged("posts")[:2]
    ('stg_feed__posts', 'stg_activity__posts')
    """
    return tuple(f"stg_{source}__{shape}" for source, shapes in SOURCES.items() if shape in shapes)
