"""The cohort triangle of the report, as plain values: which cells there are, what each says, how it is shaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration import charts, wording

COHORTS = 24
"""Cohorts of the triangle, and months after each."""
RATES = (1e-9, 0.05, 0.1, 0.2, 0.4)
"""Lower limits of the shades; retention is low, so they double."""
FEW = 5
"""A cohort of fewer people is drawn faded: one person more or less moves its shares by over 20 points."""

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of the cohort triangle."""

    text: str
    said: str
    shade: int
    is_edge: bool


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """One row of the cohort triangle; a cell is None where the month is not observed."""

    month: str
    people: str
    is_few: bool
    retained: list[Cell | None]
    later: list[Cell | None]


def triangle(rows: Sequence[Row]) -> tuple[list[Cohort], int, int]:
    """The latest cohorts, how many months after them are shown, and how many cohorts there are in all.

    Rows are of mart_retention_cohort, of one account.
    """
    months = sorted({row["cohort_month"] for row in rows})
    cells = {(row["cohort_month"], row["period"]): row for row in rows}
    shown = months[-COHORTS:]
    periods = min(max((period for month, period in cells if month in shown), default=0), COHORTS)
    cohorts = []
    for month in shown:
        start = cells.get((month, 0)) or next(row for row in rows if row["cohort_month"] == month)
        line = [cells.get((month, period)) for period in range(1, periods + 1)]
        cohorts.append(
            Cohort(
                month=f"{month:%Y-%m}",
                people=wording.number(start["people"]),
                is_few=start["people"] < FEW,
                retained=[_cell(row, "retained", "active in that month") for row in line],
                later=[_cell(row, "retained_or_later", "active in that month or later") for row in line],
            )
        )
    return cohorts, periods, len(months)


def _cell(row: Row | None, measure: str, meaning: str) -> Cell | None:
    if row is None:
        return None
    rate = row[f"{measure}_rate"]
    if rate is None:
        return None
    interval = wording.range_text(row[f"{measure}_rate_low"], row[f"{measure}_rate_high"], wording.percent)
    said = (
        f"{row['cohort_month']:%Y-%m}, month {row['period']}: {row[measure]} of {wording.counted(row['people'], 'person')} "
        f"{meaning} ({wording.percent(rate)}"
        + (f", interval {interval})" if interval else ")")
        + ("; so few people say little" if row["people"] < FEW else "")
    )
    edge = bool(row["is_right_edge"])
    return Cell(text=f"{rate * 100:.0f}", said=said, shade=charts.level(rate, RATES), is_edge=edge)
