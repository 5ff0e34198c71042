"""Who is still here? Marts of retention."""

from quality.catalog import columns as c
from quality.catalog.marts.origins import DAY, SPANS, coverage
from quality.catalog.model import Rule, Table

_retained_rate = c.share("retained_rate", "retained / people.")
_later_rate = c.share("retained_or_later_rate", "retained_or_later / people.")
mart_retention_cohort = Table(
    name="mart_retention_cohort",
    doc="Who stays? People by month of first contact, followed month by month.",
    grain="One account, platform (or `all`), cohort month and calendar month after it, fully observed cells only.",
    key=("as_of", "account_id", "platform", "cohort_month", "period"),
    by_account=True,
    columns=(
        c.as_of, c.account_id, c.platform, c.day("cohort_month", "Month of first contact.").derived(DAY),
        c.count("period", "Calendar months after the cohort's.", unit="months").derived(DAY),
        c.count("people", "People of the cohort.", unit="people").derived(DAY),
        c.count("retained", "Of them, active in that month.", unit="people").derived(DAY),
        _retained_rate.derived(DAY), *(x.derived(DAY) for x in c.interval(_retained_rate)),
        c.count("retained_or_later", "Of them, active in that month or after it.", unit="people").derived(DAY),
        _later_rate.derived(DAY), *(x.derived(DAY) for x in c.interval(_later_rate)),
        c.flag("is_right_edge", "retained_or_later can still grow: it is within 3 months of as_of.").derived(DAY),
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

_SPIKE = "mart_spike.started_on"
_ARMS = (DAY, "fold_relationship_day.first_at", "fold_relationship_day.platform", _SPIKE)
_survival = c.share("survival", "Kaplan-Meier share of the stratum not lapsed by that day.")
mart_retention_curve = Table(
    name="mart_retention_curve",
    doc=(
        "Who is still here, after how long? Kaplan-Meier curves of the time to lapse. Between two days of a curve "
        "survival stays as it was on the first."
    ),
    grain="One account, stratum of its people, and day since first contact: the first, those with a lapse, the last.",
    key=("as_of", "account_id", "stratum", "day"),
    by_account=True,
    columns=(
        c.as_of, c.account_id,
        c.text(
            "stratum",
            "`all`; `spike`, `steady`; `platform:x` of first contact; `channels:n`, platforms within 90 days of it, of those still followed then.",
        ).derived(*_ARMS),
        c.count("day", "Days since first contact, days not collected left out.", unit="days").derived(DAY),
        c.count("at_risk", "People followed up to that day without lapse.", unit="people").derived(DAY, *SPANS),
        c.count("lapsed", "Of them, lapsed on it.", unit="people").derived(DAY),
        _survival.required().derived(DAY), *(x.derived(DAY) for x in c.interval(_survival)),
        c.real("standard_error", "Greenwood's standard error of survival; null where survival is 0.", low=0).derived(DAY),
    ),
    rules=(
        Rule(
            name="lapsed_were_at_risk",
            doc="Nobody lapses who was not at risk.",
            violations="select * from {table} where lapsed > at_risk",
        ),
        Rule(
            name="survival_never_rises",
            doc="A curve starts at 1 and never rises.",
            violations=(
                "select * from (select *, lag(survival, 1, 1.0) over (partition by as_of, account_id, stratum order by day) as before, "
                "lag(at_risk) over (partition by as_of, account_id, stratum order by day) as at_risk_before from {table}) "
                "where survival > before or at_risk > at_risk_before or (at_risk_before is null and survival <> 1)"
            ),
        ),
    ),
)  # fmt: skip

_chi2 = c.real("chi2", "Log-rank statistic, one degree of freedom.", low=0)
_rmst = c.real(
    "rmst_difference_days",
    "Restricted mean days to lapse of a minus those of b, counted up to lapse_days + 180.",
    unit="days",
)
_retained_8w = c.real(
    "retained_8w_difference",
    "Share active in weeks 5 to 8 after first contact (channels: after its 90th day), a minus b.",
    unit="share", low=-1, high=1,
)  # fmt: skip
_risk = c.share("lapse_risk", "Of those silent for lapse_days, the share that comes back within 90 days.")
_hockey = c.real("hockey_stick_index", "New people in the best week / median of the next 8 weeks.", unit="ratio", low=0)
mart_retention_test = Table(
    name="mart_retention_test",
    doc="Do people won in a spike stay as long as others? Arms compared on the time to lapse; associations, not causes.",
    grain="One account and comparison of two arms of its people, a and b, at one as_of.",
    key=("as_of", "account_id", "comparison"),
    by_account=True,
    columns=(
        c.as_of, c.account_id,
        c.text("comparison", "a vs b, by their strata: `spike vs steady`, `platform:x vs platform:y`, `channels:1 vs channels:2+`.").derived(*_ARMS),
        c.count("people_a", "People of arm a.", unit="people").derived(*_ARMS),
        c.count("people_b", "People of arm b.", unit="people").derived(*_ARMS),
        c.count("lapsed_a", "Of arm a, lapsed by as_of.", unit="people", nullable=True).derived(*_ARMS),
        c.count("lapsed_b", "Of arm b, lapsed by as_of.", unit="people", nullable=True).derived(*_ARMS),
        _chi2.derived(*_ARMS),
        c.share("p_value", "Of the log-rank test: how often chance alone would differ more; not corrected for several comparisons.").derived(*_ARMS),
        c.note(_chi2).derived(*_ARMS, *SPANS),
        *(x.derived(*_ARMS) for x in (_rmst, *c.interval(_rmst))), c.note(_rmst).derived(*_ARMS, *SPANS),
        *(x.derived(*_ARMS) for x in (_retained_8w, *c.interval(_retained_8w))), c.note(_retained_8w).derived(*_ARMS, *SPANS),
        c.count("lapse_days", "Silence after which the account's people count as lapsed.", unit="days", nullable=True).derived(DAY, *SPANS),
        _risk.derived(DAY, *SPANS),
        c.text("lapse_risk_note", "Why lapse_risk is null, above 10 % or only a lower bound, and whether 28 or 180 days bind.", nullable=True).derived(DAY, *SPANS),
        _hockey.derived(DAY), c.note(_hockey).derived(DAY, *SPANS),
        coverage,
    ),
    rules=(
        Rule(
            name="lapsed_within_people",
            doc="No more lapses than people.",
            violations="select * from {table} where lapsed_a > people_a or lapsed_b > people_b",
        ),
        Rule(
            name="only_with_enough_people",
            doc="Nothing is compared below 30 people and 10 lapses an arm.",
            violations=(
                "select * from {table} where coalesce(chi2, rmst_difference_days, retained_8w_difference) is not null "
                "and (least(people_a, people_b) < 30 or least(lapsed_a, lapsed_b) < 10)"
            ),
        ),
        Rule(
            name="lapse_days_within_bounds",
            doc="The threshold lies between 28 and 180 days.",
            violations="select * from {table} where lapse_days not between 28 and 180",
        ),
    ),
)  # fmt: skip
