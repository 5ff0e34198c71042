"""Who keeps coming back, who came in a spike, how does the circle grow? Marts of people."""

from quality.catalog import columns as c
from quality.catalog.marts.origins import DAY, SPANS, coverage
from quality.catalog.model import Rule, Table

_HISTORY = (
    DAY,
    "mart_retention_model.alpha",
    "mart_retention_model.beta",
    "mart_retention_model.gamma",
    "mart_retention_model.delta",
)

mart_relationship = Table(
    name="mart_relationship",
    doc="Who keeps coming back? One row for each person with at least one active week.",
    grain="One account and person.",
    key=("account_id", "person_id"),
    by_account=True,
    columns=(
        c.account_id, c.person_id.derived("dim_identity.person_id"), c.as_of.derived(DAY),
        c.at("first_at", "First active interaction (inbound, time known, not a follow).").derived("fold_relationship_day.first_at"),
        c.at("last_at", "Last active interaction.").derived("fold_relationship_day.last_at"),
        c.count("repeat_weeks", "x: active opportunity weeks after the first one.", unit="weeks", nullable=True).derived(DAY),
        c.count("last_week", "t_x: index of the last active opportunity week, the first one being 0.", unit="weeks", nullable=True).derived(DAY),
        c.count("opportunity_weeks", "n: opportunity weeks after the first one, up to as_of.", unit="weeks", nullable=True).derived(DAY),
        c.count("inbound", "Inbound interactions, all history.").derived("fold_relationship_day.inbound"),
        c.count("inbound_composed", "Inbound composed interactions, all history.").derived("fold_relationship_day.inbound_composed"),
        c.count("outbound_composed", "Outbound composed interactions; null where outbound is not offered.", nullable=True)
        .derived("fold_relationship_day.outbound_composed"),
        c.share("reciprocity", "2 min(in, out) / (in + out) of composed interactions in 180 days.")
        .derived("fold_relationship_day.inbound_composed", "fold_relationship_day.outbound_composed"),
        c.real("rhythm_days", "The person's own rhythm, drawn towards the account's.", unit="days", low=7).derived(DAY),
        c.text("lifecycle", "State in the last complete month.", allowed=c.LIFECYCLES, nullable=True).derived(DAY),
        c.text(
            "tie_state", "State of the tie on the person's own rhythm; null before the first week's end and where the silence was not collected.",
            allowed=c.TIE_STATES, nullable=True,
        ).derived(DAY, *SPANS),
        *(
            x.derived(*_HISTORY)
            for chance in (
                c.share("p_alive", "Probability that the relationship is alive in the opportunity week after as_of (BG/BB)."),
                c.share("p_active_4w", "Probability of coming back in the next 4 opportunity weeks."),
                c.share("p_active_13w", "Probability of coming back in the next 13 opportunity weeks."),
            )
            for x in (chance, *c.interval(chance))
        ),
        c.text("p_alive_note", "Why the probabilities are null, or where they come from.", nullable=True).derived("mart_retention_model.note"),
        c.flag("is_spike_won", "First seen in a spike of new people; null where spikes cannot be judged.", nullable=True).derived(DAY, "mart_spike.started_on"),
        c.day("cohort_month", "Month of first contact; null where history is left-truncated.", nullable=True).derived(DAY),
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
        Rule(
            name="probabilities_in_order",
            doc="Coming back within 13 weeks is no less probable than within 4, and probabilities lie in their intervals.",
            violations=(
                "select * from {table} where p_active_4w > p_active_13w or not (p_alive between p_alive_low and p_alive_high) "
                "or not (p_active_4w between p_active_4w_low and p_active_4w_high)"
            ),
        ),
    ),
)  # fmt: skip
mart_losing_touch = Table(
    name="mart_losing_touch",
    doc="Whom are we losing? Ties that are cooling, and those lost in the last 28 days, the dearest first.",
    grain="One account and person.",
    key=("account_id", "person_id"),
    by_account=True,
    columns=(
        c.account_id, c.person_id, c.as_of,
        c.count("rank", "Place in the account's list, from 1: by value_365d x p_alive, by value_365d where p_alive is null.", unit="place")
        .derived("mart_relationship.value_365d", "mart_relationship.p_alive"),
        c.text("tie_state", "State of the tie on the person's own rhythm.", allowed=("cooling", "lost")),
        c.count("silent_days", "Days since the last active one.", unit="days").derived("mart_relationship.last_at"),
        c.real("rhythm_days", "The person's own rhythm, drawn towards the account's.", unit="days", low=7).required(),
        c.real("value_365d", "Weighted sum of inbound of the last 365 days.", unit="weight", low=0).required(),
        c.share("p_alive", "Probability that the relationship is alive in the opportunity week after as_of (BG/BB)."),
        c.text("reason", "Why the person is listed, in a sentence.")
        .derived("mart_relationship.last_at", "mart_relationship.rhythm_days", "mart_relationship.tie_state", "mart_relationship.value_365d", "mart_relationship.p_alive"),
    ),
    rules=(
        Rule(
            name="ranks_are_places",
            doc="The ranks of an account are 1, 2, 3, ...",
            violations="select * from (select *, row_number() over (partition by account_id order by rank) as place from {table}) where rank <> place",
        ),
    ),
)  # fmt: skip
mart_spike = Table(
    name="mart_spike",
    doc="Days on which unusually many new people came.",
    grain="One spike of an account on a platform (or `all`).",
    key=("account_id", "platform", "started_on"),
    by_account=True,
    columns=(
        c.account_id, c.platform, c.day("started_on", "First day.").derived(DAY), c.day("ended_on", "Last day; null while it lasts.", nullable=True).derived(DAY),
        c.count("new_people", "New people within the spike.", unit="people").derived(DAY),
        c.real("baseline", "New people expected on the starting day.", unit="people", low=0.5).derived(DAY),
        c.share("p_value", "Negative-binomial tail probability of the starting day.").derived(DAY),
    ),
)  # fmt: skip


def _growth(grain: str) -> Table:
    period = {"week": c.week, "month": c.month}[grain].derived(DAY)
    identity = (
        f"select * from (select *, lag(active) over (partition by account_id, platform order by {period.name}) as before from {{table}}) "
        "where before is not null and active <> before + new + resurrecting - dormant"
    )
    return Table(
        name=f"mart_growth_{grain}",
        doc=f"Does the circle of active people grow? Lifecycle accounting by {grain}, complete {grain}s only.",
        grain=f"One account, platform (or `all`) and {grain}, {grain}s without activity included.",
        key=("account_id", "platform", period.name),
        by_account=True,
        columns=(
            c.account_id, c.platform, period,
            *(
                x.derived(DAY)
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
            coverage,
            c.text("active_note", "Why the counts are null.", nullable=True).derived(*SPANS),
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
