"""What the answers rest on, and the three questions in numbers."""

from quality.catalog import columns as c
from quality.catalog.marts.origins import SPANS, coverage
from quality.catalog.model import Table

mart_collection = Table(
    name="mart_collection",
    doc="What was collected, and what is missing: coverage by stream.",
    grain="One stream of an account on a platform.",
    key=("account_id", "platform", "stream"),
    columns=(
        c.account_id, c.platform, c.stream, c.covered_from.derived(*SPANS), c.covered_to.derived(*SPANS), coverage,
        c.last_ok_at, c.status, c.reason,
    ),
)  # fmt: skip
mart_summary = Table(
    name="mart_summary",
    doc="The three questions in numbers: what each mart says of an account, now and a quarter ago.",
    grain="One metric of an account at one as_of; metric is the name of the mart column it restates, all platforms together; people_for_half_of_value and multi_platform_share stand here only.",
    key=("as_of", "account_id", "metric"),
    by_account=True,
    columns=(
        c.as_of, c.account_id,
        *(
            x.derived("mart_cadence.steadiness", "mart_listening.response_rate_24h", "mart_value.value_per_post", "mart_growth_month.active", "mart_retention_cohort.retained_rate", "mart_relationship.value_365d", "fold_relationship_day.value")
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
        coverage,
    ),
)  # fmt: skip
