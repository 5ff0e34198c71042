"""What do relationships earn? Empty without an imported ledger."""

from quality.catalog import columns as c
from quality.catalog.model import Rule, Table

_PAID = ("fct_earning.amount", "fct_earning.refunded_amount", "fct_earning.refunded_at")
_STRATA = ("all", "spike", "steady", "unknown")
_first = c.real(
    "first_earning_median_days",
    "Kaplan-Meier median of the days from first contact to the first earning in this currency.",
    unit="days",
    low=0,
)
_within = c.share("first_earning_share_365d", "Kaplan-Meier share of people who paid within 365 days of first contact.")
_value = c.real(
    "earning_value", "Expected mean earning of a payer drawn at random (Gamma-Gamma).", unit="currency", low=0
)
_TIMES = ("fct_earning.earned_at", "mart_relationship.first_at")

mart_earnings = Table(
    name="mart_earnings",
    doc="What do relationships earn, by how long they last and by how they began? Descriptive; empty without a ledger.",
    grain="One account, band of tenure (`all`: all of them), stratum (`all`: all of them) and currency at one as_of.",
    key=("as_of", "account_id", "tenure_band", "stratum", "currency"),
    columns=(
        c.as_of, c.account_id.derived("fct_earning.account_id"),
        c.text("tenure_band", "Time from first contact to the earning, in whole days.", allowed=c.TENURE_BANDS).derived(*_TIMES, "mart_relationship.cohort_month"),
        c.text("stratum", "First seen in a spike of new people, steady, or unknown.", allowed=_STRATA).derived("mart_relationship.is_spike_won"),
        c.currency.derived("fct_earning.currency"),
        c.count("people", "People of the stratum who have been in the band, payers or not; without or before contact: payers.", unit="people")
        .derived("mart_relationship.person_id", "mart_relationship.first_at", "fct_earning.identity_id"),
        c.count("earners", "Of them, those who paid in it.", unit="people").derived("fct_earning.identity_id", "dim_identity.person_id"),
        c.count("earnings", "Earnings not wholly refunded.", unit="earnings").derived("fct_earning.earning_id"),
        c.money("amount", "Sum of the earnings, refunds subtracted.").derived(*_PAID),
        c.real("amount_per_person", "amount / people.", unit="currency", low=0).derived(*_PAID, "mart_relationship.person_id"),
        c.text("amount_per_person_note", "Why amount_per_person is null.", nullable=True).derived(*_TIMES),
        *(
            x.derived(*_TIMES)
            for x in (
                _first, *c.interval(_first),
                c.count("first_earning_median_days_n", "People with a known start who paid nothing before it.", unit="people", nullable=True),
                c.note(_first), _within, *c.interval(_within),
            )
        ),
        *(
            x.derived(*_PAID)
            for x in (
                _value, *c.interval(_value),
                c.count("earning_value_n", "People who paid.", unit="people", nullable=True), c.note(_value),
                c.real("gamma_gamma_p", "Shape of a person's payments.", low=0),
                c.real("gamma_gamma_q", "Shape of the distribution of means over people.", low=0),
                c.real("gamma_gamma_v", "Scale of that distribution.", unit="currency", low=0),
            )
        ),
    ),
    rules=(
        Rule(
            name="earners_within_people",
            doc="No more earners than people, and no more than earnings.",
            violations="select * from {table} where earners > people or earners > earnings",
        ),
        Rule(
            name="bands_sum_to_all",
            doc="The amounts of the bands sum to that of `all`.",
            violations=(
                "select as_of, account_id, stratum, currency from {table} group by all "
                "having sum(amount) filter (tenure_band = 'all') is distinct from sum(amount) filter (tenure_band <> 'all')"
            ),
        ),
        Rule(
            name="strata_sum_to_all",
            doc="The amounts of the strata sum to that of `all`.",
            violations=(
                "select as_of, account_id, tenure_band, currency from {table} group by all "
                "having sum(amount) filter (stratum = 'all') is distinct from sum(amount) filter (stratum <> 'all')"
            ),
        ),
    ),
)  # fmt: skip
