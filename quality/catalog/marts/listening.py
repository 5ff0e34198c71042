"""Do we answer, who waits, who follows? Marts of listening."""

from quality.catalog import columns as c
from quality.catalog.marts.origins import DAY, POST, SPANS, coverage
from quality.catalog.model import Column, Dtype, Rule, Table

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
    by_account=True,
    columns=(
        c.as_of, c.account_id, c.platform,
        c.count("opportunities", "Times that somebody wrote after 24 quiet hours, with no earlier message open.", nullable=True).derived(*_EXCHANGE),
        *(
            y.derived(*_EXCHANGE)
            for x in (_rate_24h, _rate_7d)
            for y in (x, *c.interval(x), c.count(f"{x.name}_n", "Opportunities at least so old.", nullable=True), c.note(x))
        ),
        *(y.derived(*_EXCHANGE) for x in (_median, _p90) for y in (x, *c.interval(x), c.note(x))),
        _listening_share.derived(*_EXCHANGE, POST),
        c.count("listening_share_n", "Composed outbound interactions and posts.", nullable=True).derived(*_EXCHANGE, POST),
        c.note(_listening_share).derived(*SPANS),
        _listening_steadiness.derived(*_EXCHANGE, "dim_account.promise_days"),
        *(x.derived(*_EXCHANGE) for x in c.interval(_listening_steadiness)), c.note(_listening_steadiness).derived(*SPANS),
        _availability.derived(*_EXCHANGE, "dim_account.timezone"),
        c.count("availability_days_share_n", "Local days with an open opportunity.", unit="days", nullable=True).derived(*_EXCHANGE, "dim_account.timezone"),
        c.note(_availability).derived(*SPANS),
        _reciprocity.derived(*_EXCHANGE),
        c.count("reciprocity_n", "People who wrote in 180 days.", unit="people", nullable=True).derived(*_EXCHANGE),
        c.note(_reciprocity).derived(*SPANS), coverage,
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
    by_account=True,
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
        c.account_id, c.platform, c.date.derived(DAY, "fct_counter.observed_at"),
        c.count("followers", "The platform's number, as last seen on or before the day.", unit="people", nullable=True).derived("fct_counter.value"),
        c.count("followed", "Follows that began on the day, as far as their time is known.", unit="people", nullable=True).derived("fold_relationship_day.followed"),
        c.count("unfollowed", "Follows taken back on the day.", unit="people", nullable=True).derived("fold_relationship_day.unfollowed"),
    ),
)  # fmt: skip
