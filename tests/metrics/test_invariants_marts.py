"""What must hold of every mart, whatever the data: on whole worlds, from core tables through the folds.

The wrappers of the asset graph are what is tested; a world is drawn by a seed (tests/metrics/worlds.py).
"""

from collections.abc import Callable
from datetime import date, timedelta
from functools import cache

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.metrics.visible import end_of
from quality.catalog.tables import TABLES
from tests.metrics.worlds import AS_OF, CORE, MARTS, World, derived, different, known, moved, random_world

SEEDS = st.integers(0, 1)
"""Both worlds are tried by every test; what they share is computed once."""
CALENDAR = timedelta(days=28 * 365 + 7)
"""28 years: whole weeks, and the calendar and its leap years are the same again."""
FEW = ("a0", "a3")
every_mart = pytest.mark.parametrize("mart", MARTS)


def _shuffled(world: World) -> World:
    return {name: frame.sample(fraction=1, shuffle=True, seed=7) for name, frame in world.items()}


def _rekeyed(world: World) -> World:
    """Other pseudonyms, which sort the other way round; a merged person is still the smallest of theirs."""
    name = pl.concat_str(pl.lit("z"), pl.col("identity_id").str.reverse())
    identity = world["dim_identity"].with_columns(
        identity_id=name, person_id=pl.concat_str(pl.lit("z"), pl.col("person_id").str.reverse())
    )
    return world | {
        "dim_identity": identity,
        "fct_interaction": world["fct_interaction"].with_columns(identity_id=name),
    }


def _later(world: World) -> World:
    return {name: moved(frame, CALENDAR) for name, frame in world.items()}


def _of(accounts: tuple[str, ...], *, inside: bool) -> Callable[[World], World]:
    def split(world: World) -> World:
        is_in = pl.col("account_id").is_in(accounts) == pl.lit(inside)
        return {n: frame.filter(is_in) if "account_id" in frame.columns else frame for n, frame in world.items()}

    return split


def _with_a_quiet_day(world: World) -> World:
    seen = known(world)
    is_last = pl.col("to_date") == AS_OF
    extended = pl.when(is_last).then(pl.col("to_date") + timedelta(days=1)).otherwise("to_date")
    return seen | {
        "fct_collection_span": seen["fct_collection_span"].with_columns(extended.alias("to_date")),
        "fct_counter": seen["fct_counter"].filter(pl.col("observed_at") < end_of(AS_OF)),
    }


CHANGES: dict[str, Callable[[World], World]] = {
    "none": lambda world: world,
    "shuffled": _shuffled,
    "rekeyed": _rekeyed,
    "later": _later,
    "few": _of(FEW, inside=True),
    "others": _of(FEW, inside=False),
    "known": known,
    "quiet day": _with_a_quiet_day,
}


@cache
def _world(seed: int, change: str) -> World:
    return CHANGES[change]({name: frame for name, frame in random_world(seed).items() if name in CORE})


def of(seed: int, mart: str, change: str = "none", *, as_of: date = AS_OF) -> pl.DataFrame:
    """A mart of the seed's world, perhaps changed."""
    return derived(_world(seed, change), as_of=as_of, names=[mart])[mart]


@every_mart
@given(seed=SEEDS)
def test_the_order_of_rows_does_not_matter_to_the_last_digit(mart, seed) -> None:
    assert not different(of(seed, mart, "shuffled"), of(seed, mart), table=mart)


@every_mart
@given(seed=SEEDS)
def test_other_pseudonyms_change_the_names_of_people_and_nothing_else(mart, seed) -> None:
    found, expected = of(seed, mart, "rekeyed"), of(seed, mart)
    if "person_id" in expected.columns:
        renamed = pl.concat_str(pl.lit("z"), pl.col("person_id").str.reverse())
        expected = expected.with_columns(person_id=renamed)
    assert not different(found, expected, table=mart)


@every_mart
@given(seed=SEEDS)
def test_a_shift_of_all_times_moves_dates_and_nothing_else(mart, seed) -> None:
    found = of(seed, mart, "later", as_of=AS_OF + CALENDAR)
    assert not different(found, moved(of(seed, mart), CALENDAR), table=mart)


@every_mart
@given(seed=SEEDS)
def test_accounts_do_not_touch_each_other(mart, seed) -> None:
    # A retention model may be pooled over the accounts of an installation; nothing else may.
    pooled = [name for name in TABLES[mart].column_names if name.startswith(("p_alive", "p_active"))]
    apart = pl.concat([of(seed, mart, "few"), of(seed, mart, "others")]).drop(pooled)
    assert not different(apart, of(seed, mart).drop(pooled), table=mart)


@every_mart
@given(seed=SEEDS)
def test_it_keeps_what_its_catalogue_entry_promises(mart, seed) -> None:
    table, frame = TABLES[mart], of(seed, mart)
    assert frame.select(table.key).is_unique().all(), "one row a key"
    for column in table.columns:
        values = frame[column.name]
        assert column.nullable or values.null_count() == 0, f"{column.name} is null"
        if column.dtype.polars.is_numeric():
            assert values.is_finite().all(), f"{column.name} is no number"
            outside = frame.filter(
                pl.any_horizontal(
                    *([pl.col(column.name) < column.low] if column.low is not None else []),
                    *([pl.col(column.name) > column.high] if column.high is not None else []),
                    pl.lit(value=False),
                )
            )
            assert outside.is_empty(), f"{column.name}: {outside.head(3).rows(named=True)}"
        if column.allowed:
            assert values.drop_nulls().is_in(column.allowed).all(), f"{column.name} is none of {column.allowed}"


@every_mart
@given(seed=SEEDS)
def test_intervals_hold_their_measure_and_a_null_measure_says_why(mart, seed) -> None:
    frame = of(seed, mart)
    for name in frame.columns:
        if f"{name}_low" in frame.columns:
            low, middle, high = (frame[f"{name}{part}"] for part in ("_low", "", "_high"))
            assert ((low <= middle) | low.is_null() | middle.is_null()).all(), f"{name} below its interval"
            assert ((middle <= high) | high.is_null() | middle.is_null()).all(), f"{name} above its interval"
            if (
                "response_time" not in name
            ):  # where the curve does not reach the median, an end of it may still be known
                assert (middle.is_not_null() | (low.is_null() & high.is_null())).all(), f"{name} null with an interval"
        if f"{name}_note" in frame.columns:
            silent = frame.filter(pl.col(name).is_null(), pl.col(f"{name}_note").is_null())
            assert silent.is_empty(), f"{name} is null without a word: {silent.head(3).rows(named=True)}"
        if f"{name}_n" in frame.columns:
            assert frame.filter(pl.col(name).is_not_null(), pl.col(f"{name}_n").fill_null(0) < 1).is_empty(), name


# A quiet day more: everything was collected, nothing happened, and it was seen. What may change, mart by mart.

TOMORROW = AS_OF + timedelta(days=1)


def before_and_after(seed: int, mart: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The mart on `AS_OF`, and a quiet day later."""
    return of(seed, mart, "known"), of(seed, mart, "quiet day", as_of=TOMORROW)


@pytest.mark.parametrize("mart", ["mart_growth_week", "mart_growth_month", "mart_retention_cohort"])
@given(seed=SEEDS)
def test_a_quiet_day_within_a_period_changes_no_complete_one(mart, seed) -> None:
    before, after = (frame.drop("as_of", strict=False) for frame in before_and_after(seed, mart))
    if "as_of" in TABLES[mart].key:
        assert after.equals(before)
    else:
        assert not different(after, before, table=mart)


@given(seed=SEEDS)
def test_a_quiet_day_opens_a_week_without_posts(seed) -> None:
    before, after = before_and_after(seed, "mart_cadence_week")
    assert not different(after.filter(pl.col("week") < TOMORROW), before, table="mart_cadence_week")
    opened = after.filter(pl.col("week") == TOMORROW)
    assert opened["posts"].sum() == 0
    assert opened.height == before.n_unique(("account_id", "platform"))


@given(seed=SEEDS)
def test_a_quiet_day_lengthens_the_open_silence_and_makes_nothing_steadier(seed) -> None:
    before, after = before_and_after(seed, "mart_cadence")
    key = ["account_id", "platform"]
    both = after.join(before, on=key, suffix="_before")
    known_days = both.filter(pl.col("open_silence_days").is_not_null())
    # Local midnight comes earlier or later than UTC's, but a day is a day.
    assert (known_days["open_silence_days"] - known_days["open_silence_days_before"]).to_list() == [
        1
    ] * known_days.height
    assert (both["longest_silence_days"] >= both["open_silence_days"]).all()
    assert (both["posts"] <= both["posts_before"]).all()
    assert both.height == before.height


@given(seed=SEEDS)
def test_a_quiet_day_lets_people_wait_a_day_longer_or_gives_them_up(seed) -> None:
    before, after = before_and_after(seed, "mart_waiting")
    key = ["account_id", "person_id", "opened_at"]
    assert after.join(before, on=key, how="anti").is_empty()
    both = after.join(before, on=key, suffix="_before")
    assert ((both["waited_days"] - both["waited_days_before"]).round(9) == 1).all()
    assert (both["inbound_composed"] == both["inbound_composed_before"]).all()
    assert (before.join(after, on=key, how="anti")["waited_days"] > 13).all()


@given(seed=SEEDS)
def test_a_quiet_day_is_a_row_without_follows(seed) -> None:
    before, after = before_and_after(seed, "mart_followers")
    assert not different(after.filter(pl.col("date") <= AS_OF), before, table="mart_followers")
    today, last = (frame.filter(pl.col("date") == day) for frame, day in ((after, TOMORROW), (before, AS_OF)))
    assert today["followers"].to_list() == last["followers"].to_list()
    assert today.select(pl.sum_horizontal(pl.col("followed", "unfollowed").sum())).item() == 0


@given(seed=SEEDS)
def test_a_quiet_day_settles_posts_and_leaves_settled_ones_alone(seed) -> None:
    before, after = before_and_after(seed, "mart_post_value")
    assert after["post_id"].equals(before["post_id"])
    was_settled = ~before["is_pending"]
    assert not different(after.filter(was_settled), before.filter(was_settled), table="mart_post_value")
    settled_today = after.filter(~was_settled, ~pl.col("is_pending"))
    assert (settled_today["published_at"].dt.date() == AS_OF - timedelta(days=6)).all()


@given(seed=SEEDS)
def test_a_quiet_day_may_end_a_spike_and_starts_none(seed) -> None:
    before, after = before_and_after(seed, "mart_spike")
    was_over = before["ended_on"].is_not_null()
    assert not different(after.filter(was_over), before.filter(was_over), table="mart_spike")
    assert after.drop("ended_on").equals(before.drop("ended_on"))
    assert after.filter(~was_over)["ended_on"].drop_nulls().is_in([TOMORROW]).all()


@given(seed=SEEDS)
def test_a_quiet_day_within_a_week_changes_no_relationship_but_what_lies_in_a_window(seed) -> None:
    before, after = before_and_after(seed, "mart_relationship")
    windowed = ["as_of", "value_365d", "reciprocity"]
    assert not different(after.drop(windowed), before.drop(windowed), table="mart_relationship")
    assert (after["value_365d"] <= before["value_365d"]).all()


@given(seed=SEEDS)
def test_a_quiet_day_is_a_covered_day(seed) -> None:
    before, after = before_and_after(seed, "mart_collection")
    same = ["covered_from", "last_ok_at", "status", "reason"]
    assert after.select(same).equals(before.select(same))
    assert ((after["covered_to"] - before["covered_to"]).drop_nulls() == timedelta(days=1)).all()


# Parts and the whole.


@given(seed=SEEDS)
def test_the_posts_of_all_weeks_are_all_posts(seed) -> None:
    weeks, posts = of(seed, "mart_cadence_week"), known(_world(seed, "none"))["dim_post"]
    for platform, expected in (
        ("all", posts),
        ("blog", posts.filter(platform="blog")),
        ("x", posts.filter(platform="x")),
    ):
        assert weeks.filter(platform=platform)["posts"].sum() == expected.height


@given(seed=SEEDS)
def test_all_platforms_are_the_sum_of_each(seed) -> None:
    for mart, columns in (
        ("mart_cadence", ["posts"]),
        ("mart_listening", ["opportunities"]),
        ("mart_value", ["posts"]),
    ):
        frame = of(seed, mart)
        sums = (
            frame.with_columns(pl.col("platform") == "all")
            .group_by("account_id", "platform")
            .agg(pl.col(columns).sum())
            .sort("account_id", "platform")
        )
        apart, together = sums.filter(~pl.col("platform")), sums.filter("platform")
        for column in columns:
            if mart == "mart_cadence":  # windows start with the first post of each series
                assert (apart[column] <= together[column]).all()
            else:
                assert apart[column].equals(together[column]), mart


@given(seed=SEEDS)
def test_the_kinds_of_interactions_are_parts_of_them_and_their_people_no_more(seed) -> None:
    posts = of(seed, "mart_post_value").filter(pl.col("interactions_7d").is_not_null())
    parts = pl.sum_horizontal("conversation_7d", "amplification_7d", "applause_7d")
    assert posts.select((parts <= pl.col("interactions_7d")).all()).item()
    assert posts.select((pl.col("people_7d") <= pl.col("interactions_7d")).all()).item()
    assert posts.select(((pl.col("people_7d") == 0) == (pl.col("interactions_7d") == 0)).all()).item()
    assert posts.filter(pl.col("interactions_7d") > 0).height > 20, "or this test says nothing"


@given(seed=SEEDS)
def test_active_people_of_a_period_are_its_states_and_dormant_ones_were_active_before(seed) -> None:
    for mart, period, length in (("mart_growth_week", "week", "1w"), ("mart_growth_month", "month", "1mo")):
        frame = of(seed, mart).sort("account_id", "platform", period)
        states = pl.col("new") + pl.col("returning") + pl.col("resurrecting")
        assert frame.select((pl.col("active") == states).all()).item()
        earlier = frame.select("account_id", "platform", pl.col(period).dt.offset_by(length), was=pl.col("active"))
        both = frame.join(earlier, on=["account_id", "platform", period])
        change = pl.col("new") + pl.col("resurrecting") - pl.col("dormant")
        assert both.select((pl.col("active") - pl.col("was") == change).all()).item()
        assert both.select((pl.col("returning") + pl.col("dormant") == pl.col("was")).all()).item()


@given(seed=SEEDS)
def test_a_cohort_starts_whole_and_only_melts(seed) -> None:
    cells = of(seed, "mart_retention_cohort").sort("account_id", "platform", "cohort_month", "period")
    assert cells.filter(period=0).select((pl.col("retained") == pl.col("people")).all()).item()
    assert cells.select((pl.col("retained") <= pl.col("retained_or_later")).all()).item()
    later = pl.col("retained_or_later").diff().over("account_id", "platform", "cohort_month")
    assert cells.select((later.fill_null(0) <= 0).all()).item()
    people = pl.col("people").n_unique().over("account_id", "platform", "cohort_month")
    assert cells.select((people == 1).all()).item()


@given(seed=SEEDS)
def test_new_people_of_the_months_are_the_people_of_the_cohorts(seed) -> None:
    cohorts = of(seed, "mart_retention_cohort").filter(period=0)
    months = of(seed, "mart_growth_month").rename({"month": "cohort_month"})
    both = cohorts.join(months, on=["account_id", "platform", "cohort_month"]).filter(pl.col("new").is_not_null())
    assert both["people"].equals(both["new"].rename("people"))
    assert both.height > 20


@given(seed=SEEDS)
def test_relationships_add_up_to_the_interactions_of_their_people(seed) -> None:
    world = known(_world(seed, "none"))
    people = world["dim_identity"].filter(~pl.col("is_bot")).select("identity_id", "person_id")
    rows = (
        world["fct_interaction"].filter("is_audience", pl.col("retracted_at").is_null()).join(people, on="identity_id")
    )
    relationships = of(seed, "mart_relationship")
    counted = (
        rows.join(relationships, on=["account_id", "person_id"], how="semi")
        .group_by("account_id", "person_id")
        .agg(
            (pl.col("direction") == "inbound").sum().cast(pl.Int64).alias("inbound"),
            ((pl.col("direction") == "inbound") & pl.col("is_composed")).sum().cast(pl.Int64).alias("inbound_composed"),
        )
        .sort("account_id", "person_id")
    )
    assert relationships.sort("account_id", "person_id").select(counted.columns).equals(counted)


@given(seed=SEEDS)
def test_recency_and_frequency_are_within_the_opportunity_weeks(seed) -> None:
    x, last, n = (of(seed, "mart_relationship")[name] for name in ("repeat_weeks", "last_week", "opportunity_weeks"))
    assert ((x >= 0) & (x <= last) & (last <= n)).drop_nulls().all()
    assert x.drop_nulls().len() > 50


@given(seed=SEEDS)
def test_the_summary_restates_the_marts(seed) -> None:
    summary = of(seed, "mart_summary")
    months = of(seed, "mart_growth_month")
    for mart in ("mart_cadence", "mart_listening", "mart_value", "mart_growth_month"):
        frame = of(seed, mart) if mart != "mart_growth_month" else months.filter(month=date(2024, 8, 1))
        rows = frame.filter(platform="all")
        for metric in set(summary["metric"]) & set(rows.columns):
            said = summary.filter(metric=metric).join(rows.select("account_id", metric), on="account_id")
            assert said.height == rows.height
            assert said["value"].equals(said[metric].cast(pl.Float64).rename("value"), null_equal=True), metric
