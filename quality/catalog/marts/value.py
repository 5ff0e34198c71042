"""What do people value? Marts of posts and what they give."""

from quality.catalog import columns as c
from quality.catalog.marts.origins import POST, SPANS
from quality.catalog.model import Column, Rule, Table


def _per_post(column: Column) -> Column:
    return column.derived("fold_post_value." + _FOLDED[column.name], "dim_post.published_at")


_FOLDED = {
    "interactions_7d": "interactions",
    "people_7d": "identity_id",
    "replies_7d": "replies",
    "reposts_7d": "reposts",
    "likes_7d": "likes",
    "value_7d": "value",
    "value_7d_low": "value_low",
    "value_7d_high": "value_high",
}
_value_7d = c.real("value_7d", "Weighted sum of the interactions within 7 days.", unit="weight", low=0)

mart_post_value = Table(
    name="mart_post_value",
    doc="What did people value? Each post's first seven days.",
    grain="One own post.",
    key=("post_id",),
    columns=(
        c.post_id, c.account_id, c.platform.derived("dim_post.platform"), c.url.derived("dim_post.url"),
        c.published_at.derived(POST), c.post_kind.derived("dim_post.kind"),
        c.flag("is_pending", "Younger than 7 days: not judged yet.").derived(POST),
        _per_post(c.count("interactions_7d", "Inbound interactions within 7 days (I7).", nullable=True)),
        c.text("interactions_7d_note", "Why the post's measures are null.", nullable=True).derived(*SPANS),
        _per_post(c.count("people_7d", "Distinct persons among them.", unit="people", nullable=True)),
        _per_post(c.count("replies_7d", "Replies.", nullable=True)),
        _per_post(c.count("reposts_7d", "Reposts.", nullable=True)),
        _per_post(c.count("likes_7d", "Likes.", nullable=True)),
        _per_post(_value_7d), *(_per_post(x) for x in c.interval(_value_7d)),
        c.real("value_z", "Robust z-score of ln(1 + I7) against the previous 30 settled posts.", unit="z").derived("fold_post_value.interactions"),
        c.count("conversation_7d", "Conversation: replies, mentions and quotes.", nullable=True)
        .derived("fold_post_value.replies", "fold_post_value.mentions", "fold_post_value.quotes"),
        c.count("amplification_7d", "Amplification: reposts.", nullable=True).derived("fold_post_value.reposts"),
        c.count("applause_7d", "Applause: likes.", nullable=True).derived("fold_post_value.likes"),
        c.real("engagement_rate_by_followers", "I7 divided by the followers on the day of publishing.", unit="rate", low=0)
        .derived("fold_post_value.interactions", "fct_counter.value"),
        c.is_promotional.derived("dim_post.is_promotional"), c.promotion_reason.derived("dim_post.promotion_reason"),
    ),
    rules=(
        Rule(
            name="parts_sum_within_whole",
            doc="Conversation, amplification and applause are parts of I7.",
            violations="select * from {table} where conversation_7d + amplification_7d + applause_7d > interactions_7d",
        ),
        Rule(
            name="people_within_interactions",
            doc="No more people than interactions.",
            violations="select * from {table} where people_7d > interactions_7d",
        ),
        Rule(
            name="one_row_a_post",
            doc="Only known posts, each once.",
            violations="select * from {table} t where not exists (select 1 from core.dim_post p where p.post_id = t.post_id)",
        ),
    ),
)  # fmt: skip
_value_per_post = c.real(
    "value_per_post", "Mean value_7d of the settled posts of the last 364 days.", unit="weight", low=0
)
_people_per_post = c.real("people_per_post", "Mean people_7d of the same posts.", unit="people", low=0)
_rate_shrunken = c.real(
    "rate_shrunken", "Mean of the posts' Gamma-Poisson posterior rates.", unit="interactions", low=0
)
_promotional = c.share("promotional_share_28d", "Share of promotional posts among those of the last 28 days.")
_penalty = c.real(
    "promotion_penalty", "Mean value_7d of promotional posts divided by that of the others.", unit="ratio", low=0
)
mart_value = Table(
    name="mart_value",
    doc="What does a post give people, on average? Posts settled in the year that ends with as_of.",
    grain="One account and platform (or `all`) at one as_of.",
    key=("as_of", "account_id", "platform"),
    columns=(
        c.as_of, c.account_id, c.platform,
        c.count("posts", "Settled posts with covered windows.", unit="posts").derived("mart_post_value.is_pending"),
        _value_per_post.derived("mart_post_value.value_7d"),
        *(x.derived("mart_post_value.value_7d") for x in c.interval(_value_per_post)),
        c.note(_value_per_post).derived("mart_post_value.interactions_7d_note"),
        _people_per_post.derived("mart_post_value.people_7d"),
        *(x.derived("mart_post_value.people_7d") for x in c.interval(_people_per_post)),
        _rate_shrunken.derived("mart_post_value.interactions_7d"),
        *(x.derived("mart_post_value.interactions_7d") for x in c.interval(_rate_shrunken)),
        _promotional.derived("mart_post_value.is_promotional"),
        c.count("promotional_share_28d_n", "Posts of the last 28 days that could be judged.", unit="posts").derived("mart_post_value.published_at"),
        _penalty.derived("mart_post_value.value_7d", "mart_post_value.is_promotional"),
        *(x.derived("mart_post_value.value_7d", "mart_post_value.is_promotional") for x in c.interval(_penalty)),
        c.note(_penalty).derived("mart_post_value.is_promotional"),
    ),
)  # fmt: skip
mart_dilution = Table(
    name="mart_dilution",
    doc="Does posting more cost value per post? An association, not a cause.",
    grain="One account at one as_of.",
    key=("as_of", "account_id"),
    columns=(
        c.as_of, c.account_id,
        *(
            x.derived("mart_post_value.interactions_7d", "mart_post_value.published_at")
            for x in (
                c.real("dilution_elasticity", "Elasticity of I7 to own posts in the 28 days before: 0 none, -1 attention is fixed."),
                c.real("dilution_elasticity_low", "Lower end of the 95 % interval of dilution_elasticity."),
                c.real("dilution_elasticity_high", "Upper end of the 95 % interval of dilution_elasticity."),
                c.text("dilution_elasticity_note", "Why dilution_elasticity is null.", nullable=True),
                c.count("posts", "Settled posts the estimate rests on.", unit="posts"),
                c.real("rate_p90_to_p10", "Ninetieth over tenth percentile of 1 + posts in 28 days.", unit="ratio", low=1),
            )
        ),
    ),
)  # fmt: skip
