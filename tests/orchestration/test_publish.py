"""The fingerprint of published content: what it tells apart and what it does not."""

import duckdb
import polars as pl
import pytest

from orchestration.publish import _digest
from quality.catalog.model import Table
from quality.catalog.tables import TABLES

DILUTION = TABLES["mart_dilution"]


def digest(values: list[float | None], *, table: Table = DILUTION) -> str:
    """The fingerprint of a table whose one float column has these values, one a row."""
    columns = {c.name: pl.Series([None] * len(values), dtype=c.dtype.polars) for c in table.columns}
    columns["dilution_elasticity"] = pl.Series(values, dtype=pl.Float64)
    columns["account_id"] = pl.Series(["a"] * len(values), dtype=pl.String)
    with duckdb.connect() as connection:
        connection.register("rows", pl.DataFrame(columns))
        connection.execute("attach ':memory:' as published_copy")
        connection.execute("create schema published_copy.marts")
        connection.execute(f"create table published_copy.marts.{table.name} as select * from rows")
        return str(connection.execute(_digest(table)).fetchall()[0][0])


def test_order_and_the_last_digits_do_not_matter() -> None:
    assert digest([0.1, 0.25, None]) == digest([None, 0.25, 0.1])
    assert digest([0.1 + 0.2]) == digest([0.3])
    assert digest([0.0]) == digest([-0.0])


@pytest.mark.parametrize("other", [0.123457, -0.123456, 1.23456, None, 1e300])
def test_another_value_is_another_content(other: float | None) -> None:
    assert digest([0.123456]) != digest([other])
    assert digest([other]) == digest([other])


def test_so_are_more_rows() -> None:
    assert len({digest([]), digest([0.5]), digest([0.5, 0.5]), digest([None]), digest([0.0])}) == 5
