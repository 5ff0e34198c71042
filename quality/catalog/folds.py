"""Folds: the only tables computed from single interactions; everything after reads these.

They belong to the newest `as_of` and carry identities, not persons: a merge moves no row here.
Own, site-wide and retracted rows are already out; bots are still in (a bot is a property of the
identity, joined after the folds).
"""

from quality.catalog import columns as c
from quality.catalog.model import Rule, Table

_day = c.date.derived("fct_interaction.active_at")
_first_at = c.at("first_at", "First inbound interaction of known time, other than a follow.", nullable=True)
_last_at = c.at("last_at", "Last inbound interaction of known time, other than a follow.", nullable=True)
_value = c.real(
    "value", "Weighted sum of the inbound interactions (docs/metrics/value).", unit="weight", low=0
).required()
_KIND = ("fct_interaction.kind", "fct_interaction.direction")

fold_relationship_day = Table(
    name="fold_relationship_day",
    doc=(
        "What passed between a person and an account on a day. Interactions of unknown time stand on the day they "
        "were seen and only in the `_untimed` columns: they count in totals, never in days."
    ),
    grain="One identity, account, platform and UTC day with at least one interaction.",
    key=("account_id", "platform", "identity_id", "date"),
    month_of="date",
    columns=(
        c.account_id, c.platform, c.identity_id, _day,
        c.count("inbound", "Inbound interactions of known time, follows included.").derived(*_KIND),
        c.count("inbound_active", "Inbound interactions of known time other than follows: what makes a day active.").derived(*_KIND),
        c.count("inbound_composed", "Inbound replies, mentions, quotes and messages of known time.").derived(*_KIND),
        c.count("outbound", "Outbound interactions of known time.").derived(*_KIND),
        c.count("outbound_composed", "Outbound replies, mentions, quotes and messages of known time.").derived(*_KIND),
        c.count("inbound_untimed", "Inbound interactions of unknown time.").derived(*_KIND),
        c.count("inbound_composed_untimed", "Inbound composed interactions of unknown time.").derived(*_KIND),
        c.count("outbound_composed_untimed", "Outbound composed interactions of unknown time.").derived(*_KIND),
        c.count("followed", "Follows of known time that began on the day, also those taken back since.").derived(*_KIND),
        c.count("followed_untimed", "Follows of unknown time, also those taken back since.").derived(*_KIND),
        c.count("unfollowed", "Follows taken back on the day.").derived(*_KIND, "fct_interaction.retracted_at"),
        _value.derived(*_KIND),
        c.real("strength", "Weighted sum of the interactions in both directions.", unit="weight", low=0).required().derived(*_KIND),
        _first_at.derived("fct_interaction.active_at"),
        _last_at.derived("fct_interaction.active_at"),
        c.flag("is_ended", "An unfollow or block on this day ended the tie.").derived("fct_interaction.retracted_at"),
    ),
    rules=(
        Rule(
            name="composed_within_active",
            doc="Composed interactions are among the active ones.",
            violations="select * from {table} where inbound_composed > inbound_active or inbound_active > inbound",
        ),
    ),
)  # fmt: skip
fold_post_value = Table(
    name="fold_post_value",
    doc="What each person gave a post in the 7 days after it was published.",
    grain="One post and identity with at least one interaction in the window.",
    key=("post_id", "identity_id"),
    columns=(
        c.post_id, c.account_id, c.identity_id,
        c.count("interactions", "Inbound interactions within 7 days of publishing.").derived(*_KIND, "fct_interaction.active_at"),
        c.count("replies", "Replies.").derived(*_KIND),
        c.count("mentions", "Mentions.").derived(*_KIND),
        c.count("quotes", "Quotes.").derived(*_KIND),
        c.count("reposts", "Reposts (amplification).").derived(*_KIND),
        c.count("bookmarks", "Bookmarks.").derived(*_KIND),
        c.count("likes", "Likes (applause).").derived(*_KIND),
        _value.derived(*_KIND),
        c.real("value_low", "The same with a like worth 0.", unit="weight", low=0).required().derived(*_KIND),
        c.real("value_high", "The same with a like worth 0.3.", unit="weight", low=0).required().derived(*_KIND),
    ),
    rules=(
        Rule(
            name="parts_within_whole",
            doc="The kinds of a post's interactions are no more than all of them.",
            violations="select * from {table} where replies + mentions + quotes + reposts + bookmarks + likes > interactions",
        ),
    ),
)  # fmt: skip

fold_response = Table(
    name="fold_response",
    doc="What a person and an account wrote to each other, and when: composed interactions of known time.",
    grain="One identity, account, platform and direction at one moment.",
    key=("account_id", "platform", "identity_id", "direction", "active_at"),
    month_of="active_at",
    columns=(
        c.account_id, c.platform, c.identity_id, c.direction, c.active_at,
        c.count("messages", "Replies, mentions, quotes and messages of that moment.", unit="messages")
        .derived("fct_interaction.is_composed"),
    ),
)  # fmt: skip

TABLES = (fold_relationship_day, fold_post_value, fold_response)
