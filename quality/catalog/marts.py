"""Marts: the published answers. Names and keys here are what analysts and BI tools rely on.

A measure `m` may bring `m_low` and `m_high` (95 %), `m_n` (what it rests on) and `m_note` (why it
is null). Definitions are in docs/metrics, one page a metric; the code is in assets/metrics.
"""

from quality.catalog import columns as c
from quality.catalog.model import Column, Dtype, Rule, Table

_POST = "dim_post.published_at"
_DAY = "fold_relationship_day.date"
_SPANS = ("fct_collection_span.from_date", "fct_collection_span.to_date", "fct_collection_span.status")
_coverage = c.coverage_share.derived(*_SPANS)
_posts = c.posts.derived(_POST)

_steadiness = c.share("steadiness", "Share of the window in which followers found the posting promise kept.").derived(
    _POST, "dim_account.promise_days", *_SPANS
)


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

mart_cadence = Table(
    name="mart_cadence",
    doc="Are we consistent? Posting rhythm over the year that ends with as_of.",
    grain="One account and platform (or `all`) at one as_of.",
    key=("as_of", "account_id", "platform"),
    columns=(
        c.as_of, c.account_id, c.platform, _posts, c.active_days.derived(_POST), c.window_days.derived(_POST, *_SPANS),
        _steadiness, *(x.derived(_POST) for x in c.interval(_steadiness)), c.note(_steadiness).derived(*_SPANS),
        c.real("burstiness", "Finite-size corrected burstiness of the gaps: -1 periodic, 0 Poisson, 1 bursts.", low=-1, high=1).derived(_POST),
        c.real("memory", "Correlation of each gap with the next.", low=-1, high=1).derived(_POST),
        c.real("longest_silence_days", "Longest gap between active days, the open one included.", unit="days", low=0).derived(_POST),
        c.real("open_silence_days", "Days since the last active day.", unit="days", low=0).derived(_POST),
        c.count("silences_over_promise", "Gaps longer than twice the promise, the open one included.", nullable=True).derived(_POST),
        c.share("kept_weeks_share", "Share of the local weeks touched by the window with at least one post.").derived(_POST),
        c.count("kept_weeks_share_n", "Local weeks touched by the window.", nullable=True).derived(_POST),
        c.count("streak_weeks", "Local weeks in a row with at least one post, up to now.", unit="weeks", nullable=True).derived(_POST),
        c.promise_days.derived("dim_account.promise_days"),
        c.real("promise_days_learned", "Median gap in the 180 days before the window, 1-28.", unit="days", low=1, high=28).derived(_POST),
        _coverage,
    ),
)  # fmt: skip
mart_cadence_week = Table(
    name="mart_cadence_week",
    doc="Posts by week: the material of the posting calendar.",
    grain="One account, platform (or `all`) and UTC Monday week, weeks without posts included.",
    key=("account_id", "platform", "week"),
    columns=(c.account_id, c.platform, c.week.derived(_POST), _posts, c.active_days.derived(_POST), _coverage),
    rules=(
        Rule(
            name="platforms_sum_to_all",
            doc="The posts of a week on all platforms are the sum of those on each.",
            violations=(
                "select account_id, week, sum(case when platform = 'all' then posts else -posts end) as difference "
                "from {table} group by account_id, week having difference <> 0"
            ),
        ),
    ),
)
_EXCHANGE = ("fold_response.active_at", "fold_response.direction")
_rate_24h = c.share(
    "response_rate_24h", "Share of opportunities answered within 24 hours, among those at least so old."
)
_rate_7d = c.share("response_rate_7d", "Share of opportunities answered within 7 days, among those at least so old.")
_median = c.real(
    "response_time_median_seconds", "Kaplan-Meier median of the time to the answer.", unit="seconds", low=0
)
_p90 = c.real(
    "response_time_p90_seconds", "Kaplan-Meier ninth decile of the time to the answer.", unit="seconds", low=0
)
_listening_share = c.share("listening_share", "Composed outbound interactions by these and posts.")
_listening_steadiness = c.share(
    "listening_steadiness", "Steadiness of the days with at least one composed outbound interaction."
)
_availability = c.share(
    "availability_days_share", "Of the local days with an open opportunity, those on which one was answered."
)
_reciprocity = c.share(
    "reciprocity",
    "Mean over people of 2 min(in, out) / (in + out) of composed interactions in 180 days, weighted by inbound.",
)
mart_listening = Table(
    name="mart_listening",
    doc="Do we answer people, and how soon? Opportunities of the year that ends with as_of.",
    grain="One account and platform (or `all`) that offers inbound or outbound, at one as_of.",
    key=("as_of", "account_id", "platform"),
    columns=(
        c.as_of, c.account_id, c.platform,
        c.count("opportunities", "Times that somebody wrote after 24 quiet hours, with no earlier message open.", nullable=True).derived(*_EXCHANGE),
        *(
            y.derived(*_EXCHANGE)
            for x in (_rate_24h, _rate_7d)
            for y in (x, *c.interval(x), c.count(f"{x.name}_n", "Opportunities at least so old.", nullable=True), c.note(x))
        ),
        *(y.derived(*_EXCHANGE) for x in (_median, _p90) for y in (x, *c.interval(x), c.note(x))),
        _listening_share.derived(*_EXCHANGE, _POST),
        c.count("listening_share_n", "Composed outbound interactions and posts.", nullable=True).derived(*_EXCHANGE, _POST),
        c.note(_listening_share).derived(*_SPANS),
        _listening_steadiness.derived(*_EXCHANGE, "dim_account.promise_days"),
        *(x.derived(*_EXCHANGE) for x in c.interval(_listening_steadiness)), c.note(_listening_steadiness).derived(*_SPANS),
        _availability.derived(*_EXCHANGE, "dim_account.timezone"),
        c.count("availability_days_share_n", "Local days with an open opportunity.", unit="days", nullable=True).derived(*_EXCHANGE, "dim_account.timezone"),
        c.note(_availability).derived(*_SPANS),
        _reciprocity.derived(*_EXCHANGE),
        c.count("reciprocity_n", "People who wrote in 180 days.", unit="people", nullable=True).derived(*_EXCHANGE),
        c.note(_reciprocity).derived(*_SPANS), _coverage,
    ),
    rules=(
        Rule(
            name="older_within_all",
            doc="Opportunities 7 days old are among those 24 hours old, and these among all.",
            violations="select * from {table} where response_rate_7d_n > response_rate_24h_n or response_rate_24h_n > opportunities",
        ),
    ),
)  # fmt: skip
mart_waiting = Table(
    name="mart_waiting",
    doc="Who awaits an answer? Opportunities still open at as_of.",
    grain="One opportunity of a person with an account.",
    key=("account_id", "person_id", "opened_at"),
    columns=(
        c.account_id, c.person_id.derived("dim_identity.person_id"),
        c.at("opened_at", "When the first message came.").derived("fold_response.active_at"), c.as_of.derived("fold_response.active_at"),
        c.platform.derived("fold_response.platform"),
        Column(name="waited_days", dtype=Dtype.FLOAT, doc="Time since the first message, at the end of as_of.", unit="days", low=0, high=14)
        .derived("fold_response.active_at"),
        c.count("inbound_composed", "Messages that belong to it.", unit="messages").derived("fold_response.messages"),
    ),
    rules=(
        Rule(
            name="known_account_and_person",
            doc="Everybody who waits is a known person of a known account.",
            violations=(
                "select * from {table} t where not exists (select 1 from core.dim_account a where a.account_id = t.account_id) "
                "or not exists (select 1 from core.dim_identity i where i.person_id = t.person_id)"
            ),
        ),
    ),
)  # fmt: skip
mart_followers = Table(
    name="mart_followers",
    doc="Followers by day, and who came and went: only of platforms that show a number of followers or a list of them.",
    grain="One account, platform and UTC day, from the first day on which followers were seen to as_of.",
    key=("account_id", "platform", "date"),
    columns=(
        c.account_id, c.platform, c.date.derived(_DAY, "fct_counter.observed_at"),
        c.count("followers", "The platform's number, as last seen on or before the day.", unit="people", nullable=True).derived("fct_counter.value"),
        c.count("followed", "Follows that began on the day, as far as their time is known.", unit="people", nullable=True).derived("fold_relationship_day.followed"),
        c.count("unfollowed", "Follows taken back on the day.", unit="people", nullable=True).derived("fold_relationship_day.unfollowed"),
    ),
)  # fmt: skip
mart_post_value = Table(
    name="mart_post_value",
    doc="What did people value? Each post's first seven days.",
    grain="One own post.",
    key=("post_id",),
    columns=(
        c.post_id, c.account_id, c.platform.derived("dim_post.platform"), c.url.derived("dim_post.url"),
        c.published_at.derived(_POST), c.post_kind.derived("dim_post.kind"),
        c.flag("is_pending", "Younger than 7 days: not judged yet.").derived(_POST),
        _per_post(c.count("interactions_7d", "Inbound interactions within 7 days (I7).", nullable=True)),
        c.text("interactions_7d_note", "Why the post's measures are null.", nullable=True).derived(*_SPANS),
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
mart_relationship = Table(
    name="mart_relationship",
    doc="Who keeps coming back? One row for each person with at least one active week.",
    grain="One account and person.",
    key=("account_id", "person_id"),
    columns=(
        c.account_id, c.person_id.derived("dim_identity.person_id"), c.as_of.derived(_DAY),
        c.at("first_at", "First active interaction (inbound, time known, not a follow).").derived("fold_relationship_day.first_at"),
        c.at("last_at", "Last active interaction.").derived("fold_relationship_day.last_at"),
        c.count("repeat_weeks", "x: active opportunity weeks after the first one.", unit="weeks", nullable=True).derived(_DAY),
        c.count("last_week", "t_x: index of the last active opportunity week, the first one being 0.", unit="weeks", nullable=True).derived(_DAY),
        c.count("opportunity_weeks", "n: opportunity weeks after the first one, up to as_of.", unit="weeks", nullable=True).derived(_DAY),
        c.count("inbound", "Inbound interactions, all history.").derived("fold_relationship_day.inbound"),
        c.count("inbound_composed", "Inbound composed interactions, all history.").derived("fold_relationship_day.inbound_composed"),
        c.count("outbound_composed", "Outbound composed interactions; null where outbound is not offered.", nullable=True)
        .derived("fold_relationship_day.outbound_composed"),
        c.share("reciprocity", "2 min(in, out) / (in + out) of composed interactions in 180 days.")
        .derived("fold_relationship_day.inbound_composed", "fold_relationship_day.outbound_composed"),
        c.real("rhythm_days", "The person's own rhythm, drawn towards the account's.", unit="days", low=7).derived(_DAY),
        c.text("lifecycle", "State in the last complete month.", allowed=c.LIFECYCLES, nullable=True).derived(_DAY),
        c.text("tie_state", "State of the tie on the person's own rhythm.", allowed=c.TIE_STATES, nullable=True).derived(_DAY),
        c.share("p_alive", "Probability that the relationship is alive; null until the retention model is fitted."),
        c.share("p_active_4w", "Probability of coming back in the next 4 opportunity weeks."),
        c.share("p_active_13w", "Probability of coming back in the next 13 opportunity weeks."),
        c.text("p_alive_note", "Why p_alive is null.", nullable=True),
        c.flag("is_spike_won", "First seen in a spike of new people; null where spikes cannot be judged.", nullable=True).derived(_DAY, "mart_spike.started_on"),
        c.day("cohort_month", "Month of first contact; null where history is left-truncated.", nullable=True).derived(_DAY),
        c.real("value_365d", "Weighted sum of inbound of the last 365 days.", unit="weight", low=0).required().derived("fold_relationship_day.value"),
        c.count("platforms", "Platforms with inbound from the person.").derived("fold_relationship_day.platform"),
    ),
    rules=(
        Rule(
            name="weeks_in_order",
            doc="0 <= x <= t_x <= n.",
            violations="select * from {table} where not (0 <= repeat_weeks and repeat_weeks <= last_week and last_week <= opportunity_weeks)",
        ),
        Rule(
            name="known_account_and_person",
            doc="Every relationship belongs to a known account and person.",
            violations=(
                "select * from {table} t where not exists (select 1 from core.dim_account a where a.account_id = t.account_id) "
                "or not exists (select 1 from core.dim_identity i where i.person_id = t.person_id)"
            ),
        ),
        Rule(
            name="first_before_last",
            doc="The first interaction is not after the last one.",
            violations="select * from {table} where first_at > last_at",
        ),
    ),
)  # fmt: skip
mart_spike = Table(
    name="mart_spike",
    doc="Days on which unusually many new people came.",
    grain="One spike of an account on a platform (or `all`).",
    key=("account_id", "platform", "started_on"),
    columns=(
        c.account_id, c.platform, c.day("started_on", "First day.").derived(_DAY), c.day("ended_on", "Last day; null while it lasts.", nullable=True).derived(_DAY),
        c.count("new_people", "New people within the spike.", unit="people").derived(_DAY),
        c.real("baseline", "New people expected on the starting day.", unit="people", low=0.5).derived(_DAY),
        c.share("p_value", "Negative-binomial tail probability of the starting day.").derived(_DAY),
    ),
)  # fmt: skip


def _growth(grain: str) -> Table:
    period = {"week": c.week, "month": c.month}[grain].derived(_DAY)
    identity = (
        f"select * from (select *, lag(active) over (partition by account_id, platform order by {period.name}) as before from {{table}}) "
        "where before is not null and active <> before + new + resurrecting - dormant"
    )
    return Table(
        name=f"mart_growth_{grain}",
        doc=f"Does the circle of active people grow? Lifecycle accounting by {grain}, complete {grain}s only.",
        grain=f"One account, platform (or `all`) and {grain}, {grain}s without activity included.",
        key=("account_id", "platform", period.name),
        columns=(
            c.account_id, c.platform, period,
            *(
                x.derived(_DAY)
                for x in (
                    c.count("active", "People active in the period.", unit="people", nullable=True),
                    c.count("new", "Active for the first time ever.", unit="people", nullable=True),
                    c.count("returning", "Active now and in the period before.", unit="people", nullable=True),
                    c.count("resurrecting", "Active now, not in the period before, not new.", unit="people", nullable=True),
                    c.count("dormant", "Active in the period before, not now.", unit="people", nullable=True),
                    c.real("quick_ratio", "(new + resurrecting) / dormant.", unit="ratio", low=0),
                    c.share("stickiness", "Mean weekly over monthly active people; months only."),
                )
            ),
            c.real("net_retention", "Strength now over strength a year ago, of the people of then; months only.", unit="ratio", low=0).derived("fold_relationship_day.strength"),
            c.share("gross_retention", "The same, nobody counted for more than then; months only.").derived("fold_relationship_day.strength"),
            c.count("net_retention_n", "People with strength a year ago.", unit="people", nullable=True).derived("fold_relationship_day.strength"),
            _coverage,
            c.text("active_note", "Why the counts are null.", nullable=True).derived(*_SPANS),
        ),
        rules=(
            Rule(name="lifecycle_identity", doc="active = active before + new + resurrecting - dormant.", violations=identity),
            Rule(
                name="parts_sum_to_whole",
                doc="active = new + returning + resurrecting.",
                violations='select * from {table} where active <> new + "returning" + resurrecting',
            ),
        ),
    )  # fmt: skip


mart_growth_week = _growth("week")
mart_growth_month = _growth("month")
_retained_rate = c.share("retained_rate", "retained / people.")
_later_rate = c.share("retained_or_later_rate", "retained_or_later / people.")
mart_retention_cohort = Table(
    name="mart_retention_cohort",
    doc="Who stays? People by month of first contact, followed month by month.",
    grain="One account, platform (or `all`), cohort month and calendar month after it, fully observed cells only.",
    key=("as_of", "account_id", "platform", "cohort_month", "period"),
    columns=(
        c.as_of, c.account_id, c.platform, c.day("cohort_month", "Month of first contact.").derived(_DAY),
        c.count("period", "Calendar months after the cohort's.", unit="months").derived(_DAY),
        c.count("people", "People of the cohort.", unit="people").derived(_DAY),
        c.count("retained", "Of them, active in that month.", unit="people").derived(_DAY),
        _retained_rate.derived(_DAY), *(x.derived(_DAY) for x in c.interval(_retained_rate)),
        c.count("retained_or_later", "Of them, active in that month or after it.", unit="people").derived(_DAY),
        _later_rate.derived(_DAY), *(x.derived(_DAY) for x in c.interval(_later_rate)),
        c.flag("is_right_edge", "retained_or_later can still grow: it is within 3 months of as_of.").derived(_DAY),
    ),
    rules=(
        Rule(
            name="retained_within_cohort",
            doc="retained <= retained_or_later <= people.",
            violations="select * from {table} where retained > retained_or_later or retained_or_later > people",
        ),
        Rule(
            name="everyone_starts",
            doc="In period 0 the whole cohort is active.",
            violations="select * from {table} where period = 0 and retained <> people",
        ),
    ),
)  # fmt: skip
mart_collection = Table(
    name="mart_collection",
    doc="What was collected, and what is missing: coverage by stream.",
    grain="One stream of an account on a platform.",
    key=("account_id", "platform", "stream"),
    columns=(
        c.account_id, c.platform, c.stream, c.covered_from.derived(*_SPANS), c.covered_to.derived(*_SPANS), _coverage,
        c.last_ok_at, c.status, c.reason,
    ),
)  # fmt: skip
mart_summary = Table(
    name="mart_summary",
    doc="The three questions in numbers: what each mart says of an account, now and a quarter ago.",
    grain="One metric of an account at one as_of; metric is the name of the mart column it restates, all platforms together.",
    key=("as_of", "account_id", "metric"),
    columns=(
        c.as_of, c.account_id,
        *(
            x.derived("mart_cadence.steadiness", "mart_listening.response_rate_24h", "mart_value.value_per_post", "mart_growth_month.active", "mart_retention_cohort.retained_rate")
            for x in (
                c.text("metric", "Name of the mart column."),
                c.text("question", "The question it helps to answer.", allowed=c.QUESTIONS),
                c.real("value", "The number."),
                c.real("low", "Lower end of its 95 % interval."),
                c.real("high", "Upper end of its 95 % interval."),
                c.count("n", "What it rests on (posts, weeks or people).", nullable=True),
                c.real("previous", "The same number a quarter (91 days) ago."),
                c.text("note", "Why the number is null, or what to keep in mind.", nullable=True),
            )
        ),
    ),
)  # fmt: skip

TABLES = (
    mart_cadence, mart_cadence_week, mart_listening, mart_waiting, mart_followers, mart_post_value, mart_value, mart_dilution, mart_relationship, mart_spike,
    mart_growth_week, mart_growth_month, mart_retention_cohort, mart_collection, mart_summary,
)  # fmt: skip
