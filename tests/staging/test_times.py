"""Times as sources write them."""

from datetime import UTC, datetime

import polars as pl
import pytest

from assets.staging.times import parsed, unreadable

READ = {
    "2024-05-01T10:00:00Z": datetime(2024, 5, 1, 10, tzinfo=UTC),
    "2024-05-01T10:00:00.123456789Z": datetime(2024, 5, 1, 10, 0, 0, 123456, tzinfo=UTC),
    "2024-05-01T10:00:00+02:00": datetime(2024, 5, 1, 8, tzinfo=UTC),
    "2024-05-01T10:00:00-0530": datetime(2024, 5, 1, 15, 30, tzinfo=UTC),
    "2024-05-01T10:00:00": datetime(2024, 5, 1, 10, tzinfo=UTC),
    "2024-05-01 10:00": datetime(2024, 5, 1, 10, tzinfo=UTC),
    " 2024-05-01 ": datetime(2024, 5, 1, tzinfo=UTC),
    "Wed, 01 May 2024 10:00:00 GMT": datetime(2024, 5, 1, 10, tzinfo=UTC),
    "Wed, 1 May 2024 10:00:00 +0200": datetime(2024, 5, 1, 8, tzinfo=UTC),
    "01 May 2024 10:00 EST": datetime(2024, 5, 1, 15, tzinfo=UTC),
}
UNREADABLE = (
    "yesterday", "2024-13-01T00:00:00Z", "2024-02-30", "1714557600", "20240501", "0001-01-01T00:00:00+14:00",
    "1970-01-01T00:00:00Z", "2024-05-01T25:00:00Z", "Wed, 01 May",
)  # fmt: skip


@pytest.mark.parametrize(("text", "moment"), READ.items())
def test_read(text, moment):
    assert pl.select(parsed(pl.lit(text))).item() == moment


def test_a_column_of_all_kinds_keeps_its_order():
    texts = [*READ, *UNREADABLE, None, "", *READ]
    frame = pl.DataFrame({"at": texts}).with_columns(moment=parsed(pl.col("at")))
    assert frame["moment"].to_list() == [*READ.values(), *[None] * (len(UNREADABLE) + 2), *READ.values()]
    bad = frame.filter(unreadable(pl.col("at"), pl.col("moment")))
    assert bad["at"].to_list() == list(UNREADABLE)


def test_empty_and_null_columns():
    assert pl.DataFrame({"at": [None]}, schema={"at": pl.String}).select(parsed(pl.col("at"))).item() is None
    assert pl.DataFrame(schema={"at": pl.String}).select(parsed(pl.col("at"))).schema["at"] == pl.Datetime("us", "UTC")
