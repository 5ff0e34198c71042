"""Who is still here? Marts of retention."""

from quality.catalog import columns as c
from quality.catalog.marts.origins import DAY
from quality.catalog.model import Rule, Table

_retained_rate = c.share("retained_rate", "retained / people.")
_later_rate = c.share("retained_or_later_rate", "retained_or_later / people.")
mart_retention_cohort = Table(
    name="mart_retention_cohort",
    doc="Who stays? People by month of first contact, followed month by month.",
    grain="One account, platform (or `all`), cohort month and calendar month after it, fully observed cells only.",
    key=("as_of", "account_id", "platform", "cohort_month", "period"),
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
