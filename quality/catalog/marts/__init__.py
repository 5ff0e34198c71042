"""Marts: the published answers. Names and keys here are what analysts and BI tools rely on.

A measure `m` may bring `m_low` and `m_high` (95 %), `m_n` (what it rests on) and `m_note` (why it
is null). Definitions are in docs/metrics, one page a metric; the code is in assets/metrics.
"""

from quality.catalog.marts.cadence import mart_cadence, mart_cadence_week
from quality.catalog.marts.earnings import mart_earnings
from quality.catalog.marts.listening import mart_followers, mart_listening, mart_waiting
from quality.catalog.marts.relationship import (
    mart_growth_month,
    mart_growth_week,
    mart_losing_touch,
    mart_relationship,
    mart_spike,
)
from quality.catalog.marts.retention import mart_retention_cohort, mart_retention_curve, mart_retention_test
from quality.catalog.marts.retention_model import mart_retention_model
from quality.catalog.marts.summary import mart_collection, mart_summary
from quality.catalog.marts.value import mart_dilution, mart_post_value, mart_value

TABLES = (
    mart_cadence, mart_cadence_week, mart_listening, mart_waiting, mart_followers, mart_post_value, mart_value, mart_dilution, mart_relationship, mart_losing_touch,
    mart_spike, mart_retention_model,
    mart_growth_week, mart_growth_month, mart_retention_cohort, mart_retention_curve, mart_retention_test, mart_earnings, mart_collection, mart_summary,
)  # fmt: skip
