"""People counted by numbers are the people counted by names."""

from datetime import date
from random import Random

import narwhals as nw
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets.metrics.coverage import ALL
from assets.metrics.engines import collected
from assets.metrics.numbering import AS_NAMED, Names, Numbered, distinct_days, fit_in_one, of_platforms
from assets.metrics.people import (
    active_days_together,
    days_together_once,
    known_people,
    persons,
    with_day_before,
)

AS_OF = date(2024, 1, 1)


def _world(seed: int, *, earliest: int) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """A fold and its identities: two accounts, platforms before and after `all`, people with two identities, a bot."""
    random = Random(seed)
    rows = [
        (
            random.choice(["zoë", "a b"]),
            random.choice(["activity", "blog"]),
            f"i{random.randrange(6)}",
            day,
            random.choice([0, 1]),
        )
        for day in random.choices(range(earliest, 19_000), k=60)
    ]
    schema = {
        "account_id": pl.String,
        "platform": pl.String,
        "identity_id": pl.String,
        "day": pl.Int32,
        "inbound_active": pl.Int64,
    }
    fold = pl.LazyFrame(rows, schema=schema, orient="row").with_columns(pl.col("day").cast(pl.Date).alias("date"))
    identities = pl.LazyFrame({
        "identity_id": [f"i{i}" for i in range(6)],
        "person_id": ["i0", "i0", "i2", "i3", "i4", "i5"],
        "is_bot": [False] * 5 + [True],
    })  # fmt: skip
    return fold.drop("day").unique(), identities


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("earliest", [18_000, -18_000], ids=["lately", "before 1970, which does not fit"])
def test_numbered_people_are_the_named_ones(seed: int, earliest: int) -> None:
    fold, identities = _world(seed, earliest=earliest)
    named = persons(fold, identities, as_of=AS_OF)
    people, names = known_people(fold, identities, as_of=AS_OF)
    assert all(people.collect_schema()[name].is_integer() for name in names.by_column)
    columns = ["account_id", "platform", "person_id", "day", "month", "inbound_active"]
    assert_frame_equal(
        names.named(collected(people)).select(columns).collect(),
        collected(named).select(columns).collect(),
        check_row_order=False,
        check_dtypes=False,
    )
    expected = collected(with_day_before(active_days_together(named))).collect()
    found = names.named(collected(days_together_once(people))).select(expected.columns).collect()
    assert found["platform"].unique().to_list() == [ALL]
    assert_frame_equal(found, expected, check_row_order=False)


def test_numbers_follow_the_order_of_names() -> None:
    fold, identities = _world(1, earliest=18_000)
    people, names = known_people(fold, identities, as_of=AS_OF)
    rows = collected(people).select("account_id", "platform", "person_id", "day").collect()
    by_number = names.named(rows.sort(rows.columns).lazy()).collect()
    assert by_number.equals(by_number.sort(rows.columns))


def test_what_has_no_number_is_left_out() -> None:
    names = Names({"account_id": Numbered(pl.Series(["a", "b"])), "platform": of_platforms(pl.Series(["blog"]))})
    frame = pl.LazyFrame({"account_id": ["b", "c", "a"], "platform": ["blog", "blog", ALL], "since": [1, 2, 3]})
    assert names.numbered(frame).collect().rows() == [(1, 1, 1), (0, 0, 3)]
    assert names.named(names.numbered(frame)).collect().rows() == [("b", "blog", 1), ("a", ALL, 3)]
    assert AS_NAMED.numbered(frame) is frame


@pytest.mark.parametrize(
    ("account", "person", "day", "fits"),
    [(0, 0, 0, True), (2**20 - 1, 2**27 - 1, 2**16 - 1, True), (2**20, 0, 0, False), (0, 2**27, 0, False),
     (0, 0, 2**16, False), (0, 0, -1, False)],
)  # fmt: skip
def test_the_largest_numbers_fit_into_one(account: int, person: int, day: int, fits: bool) -> None:
    came = pl.LazyFrame({"account_id": [account, 0], "person_id": [person, 0], "day": [day, 0]})
    assert fit_in_one(came) is fits
    if fits:
        assert set(distinct_days(came).drop("platform", "before").collect().rows()) == {
            (0, 0, 0),
            (account, person, day),
        }


def test_nothing_fits_and_names_do_not() -> None:
    nothing = pl.LazyFrame(schema={"account_id": pl.Int32, "person_id": pl.Int32, "day": pl.Int64})
    assert not fit_in_one(nothing)
    assert not fit_in_one(nothing.cast({"person_id": pl.String}))
    days = days_together_once(
        nw.from_native(nothing.with_columns(platform=pl.lit(1), month=pl.lit(1), inbound_active=pl.lit(1)))
    )
    assert collected(days).collect().is_empty()
