"""Curves by stratum and comparison of arms: small communities by hand, plain Python and lifelines as oracles."""

import warnings
from collections import defaultdict
from datetime import date, timedelta
from itertools import pairwise

import duckdb
import narwhals as nw
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.metrics.lapse import thresholds
from assets.metrics.people import active_days, day_number, persons
from assets.metrics.retention_comparison import comparison, hockey_stick, newcombe
from assets.metrics.retention_curve import curve, first_signs, followed, origins, returns, strata
from assets.metrics.spike import spike
from assets.metrics.survival import kaplan_meier, log_rank, rmst
from quality.catalog.marts.relationship import mart_spike
from quality.catalog.marts.retention import mart_retention_curve, mart_retention_test
from quality.catalog.model import enforce
from quality.catalog.tables import TABLES
from tests.metrics.community import (
    START,
    as_rows,
    at,
    fold,
    fold_of,
    identities,
    in_duckdb,
    posts,
    profiles,
    small_communities,
    span,
    spans,
    table,
    visits,
)
from tests.metrics.worlds import CORE, derived, different, known, random_world

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandas options that lifelines still sets
    import lifelines
    from lifelines import statistics

AS_OF = START + timedelta(days=700)
SPIKE = {"account_id": "a", "platform": "all", "new_people": 40, "baseline": 1.0, "p_value": 0.0}


def day(offset: int) -> date:
    return START + timedelta(days=offset)


def inputs(rows, *, spikes=(), as_of=AS_OF, covered=None, people=None, post=None):
    """The arguments of both marts."""
    rows = list(rows)
    people = people if people is not None else identities({r["identity_id"] for r in rows})
    covered = covered if covered is not None else spans(span(START, as_of))
    post = post if post is not None else posts(START)
    spiked = table(mart_spike, [{**SPIKE, **spike} for spike in spikes])
    return fold(rows), people, post, profiles(), spiked, covered


def curves_of(rows, *, as_of=AS_OF, **more) -> pl.DataFrame:
    return enforce(mart_retention_curve, curve(*inputs(rows, as_of=as_of, **more), as_of=as_of))


def compared(rows, *, as_of=AS_OF, **more) -> dict[str, dict]:
    frame = enforce(mart_retention_test, comparison(*inputs(rows, as_of=as_of, **more), as_of=as_of))
    return {row["comparison"]: row for row in frame.iter_rows(named=True)}


def stratum(frame: pl.DataFrame, name: str) -> list[tuple]:
    rows = frame.filter(pl.col("stratum") == name).select("day", "at_risk", "lapsed", "survival").rows()
    return [(d, n, k, round(s, 4)) for d, n, k, s in rows]


def life(person: str, *offsets: int, **more):
    return visits(person, *(day(d) for d in offsets), **more)


# The five people of docs/metrics/survival.md: everybody is gone after 28 days of silence.
FIVE = [
    *life("ann", 0), *life("ben", 0, 10), *life("cleo", 5, 12, 30), *life("dan", 40, 41), *life("eve", 60, 80),
]  # fmt: skip


def test_five_people_of_the_documentation():
    """Gone after 28 (ann), 38 (ben), 53 (cleo); dan and eve are seen for 50 and 30 days, dan gone after 29."""
    got = curves_of(FIVE, as_of=day(90))
    assert stratum(got, "all") == [(0, 5, 0, 1), (28, 5, 1, 0.8), (29, 4, 1, 0.6), (38, 2, 1, 0.3), (53, 1, 1, 0)]
    test = compared(FIVE, as_of=day(90))["spike vs steady"]
    assert (test["lapse_days"], test["lapse_risk"]) == (28, 0)
    assert test["chi2_note"].startswith("insufficient")


def test_as_of_the_catalogue_and_in_order():
    got = curves_of(FIVE, as_of=day(90))
    assert got["as_of"].unique().to_list() == [day(90)]
    assert got.equals(got.sort("account_id", "stratum", "day"))
    # Spikes can be judged from day 56 on: eve is the only steady one.
    assert got["stratum"].unique().sort().to_list() == ["all", "platform:blog", "steady"]


def test_spike_and_steady():
    """Spikes can be judged from day 56; who came inside is spike-won, to the last day of it."""
    rows = [*life("early", 55), *life("before", 99), *life("first", 100), *life("last", 103), *life("after", 104)]
    got = curves_of(rows, spikes=[{"started_on": day(100), "ended_on": day(103)}])
    sizes = dict(got.filter(pl.col("day") == 0).select("stratum", "at_risk").rows())
    assert sizes == {"all": 5, "platform:blog": 5, "spike": 2, "steady": 2}
    # A spike of one platform says nothing of the account.
    got = curves_of(rows, spikes=[{"started_on": day(100), "ended_on": day(103), "platform": "blog"}])
    assert "spike" not in got["stratum"]
    # One that is not over reaches to as_of.
    got = curves_of(rows, spikes=[{"started_on": day(103), "ended_on": None}])
    assert dict(got.filter(pl.col("day") == 0).select("stratum", "at_risk").rows())["spike"] == 2


def test_platform_of_first_contact():
    rows = [
        *life("p", 10, platform="toots"), *life("p", 10, 20), *life("q", 10), *life("q", 5, platform="toots"),
        {**life("r", 10)[0], "first_at": at(day(10), 9)}, *life("r", 10, platform="toots"),
    ]  # fmt: skip
    covered = spans(span(START, AS_OF), span(START, AS_OF, platform="toots"))
    got = curves_of(rows, covered=covered)
    sizes = dict(got.filter(pl.col("day") == 0).select("stratum", "at_risk").rows())
    # p came to both at noon: the first by name. q first on toots. r at nine on the blog.
    assert {k: v for k, v in sizes.items() if k.startswith("platform")} == {"platform:blog": 2, "platform:toots": 1}


def test_channels_are_counted_on_day_90_of_those_still_followed():
    """Who was gone by then, or not followed so far, is in no arm; a channel of day 91 does not count."""
    weekly = range(0, 700, 7)
    rows = [
        *life("both", *weekly), *life("both", 90, platform="toots"), *life("late", *weekly), *life("late", 91, platform="toots"),
        *life("gone", 0, 20), *life("gone", 20, platform="toots"), *life("new", 650), *life("new", 651, platform="toots"),
    ]  # fmt: skip
    covered = spans(span(START, AS_OF), span(START, AS_OF, platform="toots"))
    got = curves_of(rows, covered=covered).filter(pl.col("stratum").str.starts_with("channels"))
    starts = got.group_by("stratum", maintain_order=True).first().select("stratum", "day", "at_risk", "survival")
    assert starts.rows() == [("channels:1", 90, 1, 1.0), ("channels:2", 90, 1, 1.0)]
    assert got["day"].min() == 90


def test_people_of_unknown_start_are_out():
    rows = [*life("old", 10, 500), *life("known", 91)]
    got = curves_of(rows, post=posts(START - timedelta(days=3000)))
    assert stratum(got, "all")[0] == (0, 1, 0, 1.0)


def test_a_hole_is_no_silence():
    """Day 1 and day 60 with 40 days missing between: 19 days of silence, not 59."""
    rows = [*life("p", 1, 60), *life("q", 1, 2)]
    covered = spans(span(START, day(9)), span(day(50), AS_OF))
    got = curves_of(rows, covered=covered)
    assert stratum(got, "all") == [(0, 2, 0, 1), (29, 2, 1, 0.5), (47, 1, 1, 0)]


def test_below_nine_tenths_of_the_days_nothing_is_judged():
    covered = spans(span(START, day(9)), span(day(100), day(200)))
    rows = [*life("p", 1, 160), *life("q", 1, 2)]
    assert curves_of(rows, covered=covered, as_of=day(200)).is_empty()
    test = compared(rows, covered=covered, as_of=day(200))["spike vs steady"]
    assert test["lapse_days"] is test["lapse_risk"] is test["hockey_stick_index"] is None
    assert "less than 90 %" in test["chi2_note"]
    assert test["chi2_note"] == test["lapse_risk_note"] == test["hockey_stick_index_note"]


def test_nobody():
    assert curves_of([]).is_empty()
    test = compared([])["spike vs steady"]
    assert (test["people_a"], test["people_b"], test["lapse_days"]) == (0, 0, None)
    assert test["lapse_risk_note"] == "nobody whose first contact is known"


def test_one_person_on_as_of():
    assert stratum(curves_of(life("p", 700)), "all") == [(0, 1, 0, 1.0)]


def test_all_at_one_instant():
    got = curves_of([row for i in range(3) for row in life(str(i), 10)])
    assert stratum(got, "all") == [(0, 3, 0, 1), (28, 3, 3, 0)]


def crowd(size: int, start: int, stay: int, name: str, *, spread: int = 1) -> list[dict]:
    """People who come from `start` on, one after another, weekly, for between 1 and `stay` weeks."""
    return [
        row
        for i in range(size)
        for row in life(f"{name}{i}", *range(start + i % spread, start + i % spread + 7 * (1 + i % stay), 7))
    ]


SPIKED = [*crowd(40, 100, 3, "s"), *crowd(60, 110, 9, "t", spread=60)]
IN_SPIKE = [{"started_on": day(100), "ended_on": day(103)}]


def arms_of(seen, name_a: str, name_b: str) -> dict[str, tuple[list[int], list[bool], list]]:
    rows = strata(nw.from_native(seen.people)).to_native().collect()
    return {
        name: tuple(rows.filter(pl.col("stratum") == name)[c].to_list() for c in ("duration", "is_observed", "is_back"))
        for name in (name_a, name_b)
    }


@pytest.mark.filterwarnings("ignore:Starting with pandas")  # within lifelines
def test_spike_against_steady_is_what_lifelines_says():
    args = inputs(SPIKED, spikes=IN_SPIKE)
    test = compared(SPIKED, spikes=IN_SPIKE)["spike vs steady"]
    arms = arms_of(followed(*args, as_of=AS_OF), "spike", "steady")
    (a, gone_a, back_a), (b, gone_b, back_b) = arms.values()
    assert (test["people_a"], test["people_b"]) == (len(a), len(b)) == (40, 60)
    theirs = statistics.logrank_test(a, b, gone_a, gone_b)
    assert (test["chi2"], test["p_value"]) == pytest.approx((theirs.test_statistic, theirs.p_value), rel=1e-6)
    limit = test["lapse_days"] + 180
    means = [rmst(d, o, limit) for d, o in ((a, gone_a), (b, gone_b))]
    assert test["rmst_difference_days"] == pytest.approx(means[0].mean - means[1].mean)
    half = 1.96 * np.hypot(means[0].standard_error, means[1].standard_error)
    assert test["rmst_difference_days_high"] - test["rmst_difference_days"] == pytest.approx(half, rel=1e-4)
    # Weeks 5 to 8: nobody of the spike (at most 3 weeks), those of the others who stayed five weeks or more.
    assert sum(back_a) == 0
    assert test["retained_8w_difference"] == pytest.approx(-sum(back_b) / 60)
    assert sum(back_b) == sum(1 + i % 9 >= 5 for i in range(60))
    assert test["retained_8w_difference_low"] < test["retained_8w_difference"] < test["retained_8w_difference_high"]
    got = curves_of(SPIKED, spikes=IN_SPIKE)
    for name, (durations, gone, _) in arms.items():
        fit = lifelines.KaplanMeierFitter().fit(durations, gone)
        part = got.filter(pl.col("stratum") == name, pl.col("lapsed") > 0)
        wanted = fit.survival_function_at_times(part["day"].to_numpy()).to_numpy()
        np.testing.assert_allclose(part["survival"], wanted, atol=1e-12)


def test_fewer_than_thirty_or_ten_lapses_are_insufficient():
    few = [*crowd(29, 100, 3, "s"), *crowd(60, 110, 9, "t", spread=60)]
    still = [*crowd(40, 100, 3, "s"), *(row for i in range(40) for row in life(f"t{i}", *range(110, 700, 7)))]
    for rows in (few, still):
        test = compared(rows, spikes=IN_SPIKE)["spike vs steady"]
        for name in ("chi2", "rmst_difference_days", "retained_8w_difference"):
            assert test[name] is None
            assert test[f"{name}_note"].startswith("insufficient")
        assert test["p_value"] is test["rmst_difference_days_low"] is test["retained_8w_difference_high"] is None
        assert test["people_a"] in {29, 40}
        assert test["lapse_days"] is not None


def test_zero_variance_is_no_certainty():
    """All gone on day 28: no log-rank, a difference of 0 without an interval."""
    rows = [row for i in range(80) for row in life(str(i), 100 if i < 40 else 200)]
    test = compared(rows, spikes=IN_SPIKE)["spike vs steady"]
    assert (test["chi2"], test["p_value"]) == (None, None)
    assert test["chi2_note"] == "no lapse while people of both arms were there"
    assert (test["rmst_difference_days"], test["rmst_difference_days_low"]) == (0, None)


def test_restricted_mean_only_where_both_arms_were_followed():
    """148 days after the spike all of it are gone, or one still comes: followed for less than 28 + 180 in any case."""
    still = [*life("s-more", *range(100, 249, 7)), *life("t-more", *range(104, 249, 7))]
    for rows in (SPIKED, [*SPIKED, *still]):
        test = compared(rows, spikes=IN_SPIKE, as_of=day(248))["spike vs steady"]
        assert test["chi2"] is not None
        assert test["rmst_difference_days"] is None
        assert test["rmst_difference_days_note"] == "an arm was not followed for lapse_days + 180 days"


def test_platforms_pairwise_and_channels():
    rows = [*crowd(3, 100, 3, "x"), *crowd(4, 100, 9, "y"), *crowd(5, 100, 4, "z")]
    named = [{**row, "platform": {"x": "blog", "y": "toots", "z": "video"}[row["identity_id"][0]]} for row in rows]
    both = [*life("w", *range(100, 300, 7)), *life("w", 120, platform="toots"), *life("v", *range(100, 300, 7))]
    covered = spans(*(span(START, AS_OF, platform=p) for p in ("blog", "toots", "video")))
    tests = compared([*named, *both], covered=covered)
    assert {name: (t["people_a"], t["people_b"]) for name, t in tests.items()} == {
        "channels:1 vs channels:2+": (1, 1),
        "platform:blog vs platform:toots": (5, 4),
        "platform:blog vs platform:video": (5, 5),
        "platform:toots vs platform:video": (4, 5),
        "spike vs steady": (0, 14),
    }
    assert "channels:1 vs channels:2+" not in compared([*named, *life("v", *range(100, 300, 7))], covered=covered)


def test_newcombe_1998_table_ii():
    """Method 10: 56/70 against 48/80, 9/10 against 3/10, 10/10 against 0/20."""
    frame = pl.DataFrame({"a": [56, 9, 10], "m": [70, 10, 10], "b": [48, 3, 0], "n": [80, 10, 20]})
    got = frame.select(x.round(4).alias(str(i)) for i, x in enumerate(newcombe(*map(pl.col, "ambn"))))
    assert got.rows() == [(0.2, 0.0524, 0.3339), (0.6, 0.1705, 0.8090), (1.0, 0.6791, 1.0)]


def stick(counts: dict[int, int], *, weeks: int, covered=None) -> tuple[float | None, str | None]:
    """New people on Mondays, `weeks` complete weeks in all."""
    as_of = day(7 * weeks - 1)
    first = [day_number(day(7 * week)) for week, count in counts.items() for _ in range(count)]
    frame = pl.LazyFrame(
        {"account_id": "a", "first_day": first}, schema={"account_id": pl.String, "first_day": pl.Int64}
    )
    covered = covered if covered is not None else spans(span(START, as_of))
    return hockey_stick(frame, covered, as_of=as_of).drop("account_id").collect().row(0)


def test_hockey_stick_by_hand():
    after = {3: 6, 4: 4, 5: 2, 6: 2, 7: 2, 8: 4, 9: 1, 10: 1}  # sorted 1 1 2 2 2 4 4 6: median 2
    assert stick({1: 5, 2: 30, **after}, weeks=11) == (15.0, None)
    assert stick({1: 30, 2: 30, **after}, weeks=11) == (30 / 3, None), "of equally good weeks the first"
    assert stick({1: 5, 2: 30, **after}, weeks=10) == (None, "the 8 weeks after the peak are not over")
    assert stick({2: 30, 3: 6}, weeks=11) == (None, "nobody new in most of the 8 weeks after the peak")
    holes = spans(span(START, day(29)), span(day(36), day(76)))
    assert stick({2: 30, **after}, weeks=11, covered=holes) == (None, "one of the weeks was not collected")


def test_the_running_week_is_no_peak():
    first = [day_number(day(d)) for d in (0, 0, *range(7, 63), 63, 63, 63)]
    frame = pl.LazyFrame({"account_id": "a", "first_day": first})
    got = hockey_stick(frame, spans(span(START, day(65))), as_of=day(65)).collect()
    assert got["hockey_stick_index_note"].item() == "the 8 weeks after the peak are not over"


@settings(max_examples=12)
@given(community=small_communities(days=150), later=st.integers(100, 160), seed=st.randoms())
def test_no_look_ahead_and_no_order(community, later, seed):
    """A re-run with later rows, spikes and coverage, in another order, gives the same rows."""
    as_of = day(99)
    known = {p: [d for d in days if d <= as_of] for p, days in community.items()}
    spike = {"started_on": day(60), "ended_on": day(70)}
    then = inputs(fold_rows(known), people=identities(list(community)), as_of=as_of, spikes=[spike])
    rows = fold_rows(community)
    seed.shuffle(rows)
    now = inputs(
        rows,
        people=identities(list(community)),
        as_of=day(later),
        spikes=[{"started_on": day(99), "ended_on": day(104)}, spike] if later > 130 else [spike],
        post=posts(START, day(later)),
    )
    if later > 130:
        then = (*then[:4], table(mart_spike, [{**SPIKE, "started_on": day(99)}, {**SPIKE, **spike}]), then[5])
    for mart, metric in ((mart_retention_curve, curve), (mart_retention_test, comparison)):
        assert enforce(mart, metric(*now, as_of=as_of)).equals(enforce(mart, metric(*then, as_of=as_of)))


def fold_rows(community) -> list[dict]:
    return [row for person, days in community.items() for row in visits(person, *days)]


@settings(max_examples=25)
@given(community=small_communities(days=300, people=8))
def test_curves_are_the_estimate_over_each_life(community):
    """From days to curve in plain Python, and what must hold of every curve."""
    as_of = day(320)
    got = curves_of(fold_rows(community), as_of=as_of)
    gaps = [((b - a).days, True) for days in community.values() for a, b in pairwise(days)] + [
        ((as_of - days[-1]).days, False) for days in community.values()
    ]
    frame = pl.LazyFrame(gaps, schema=["duration", "is_observed"], orient="row").with_columns(account_id=pl.lit("a"))
    lapse_days = thresholds(frame).collect()["lapse_days"].item()
    durations, observed = [], []
    for days in community.values():
        ends = [*days[1:], as_of + timedelta(days=1)]
        gone = [(a - days[0]).days + lapse_days for a, b in zip(days, ends, strict=True) if (b - a).days > lapse_days]
        durations.append(gone[0] if gone else (as_of - days[0]).days)
        observed.append(bool(gone))
    time, survival, _ = kaplan_meier(durations, observed)
    whole = got.filter(pl.col("stratum") == "all")
    wanted = dict(zip(time, survival, strict=True))
    assert all(wanted.get(d, 1.0) == pytest.approx(s) for d, s in whole.select("day", "survival").rows() if d)
    assert whole["lapsed"].sum() == sum(observed)
    by_stratum = defaultdict(list)
    for name, s, low, high in got.select("stratum", "survival", "survival_low", "survival_high").rows():
        by_stratum[name].append(s)
        assert 0 <= s <= 1
        assert low is None or 0 <= low <= s <= high <= 1
    assert all(s[0] == 1 and s == sorted(s, reverse=True) for s in by_stratum.values())


@settings(max_examples=6)
@given(one=small_communities(), other=small_communities())
def test_disjoint_accounts_do_not_touch_each_other(one, other):
    as_of = day(250)
    parts = {
        "a": fold_rows(one),
        "b": [{**row, "account_id": "b", "identity_id": "b" + row["identity_id"]} for row in fold_rows(other)],
    }
    people = identities({row["identity_id"] for rows in parts.values() for row in rows})
    covered = spans(*(span(START, as_of, account_id=account) for account in parts))
    post = pl.concat([posts(START, account_id=account) for account in parts])

    def run(metric, rows):
        args = inputs(rows, people=people, covered=covered, post=post, as_of=as_of)
        return metric(*args, as_of=as_of).collect()

    for metric in (curve, comparison):
        together = run(metric, [*parts["a"], *parts["b"]])
        for account, rows in parts.items():
            alone = run(metric, rows).filter(pl.col("account_id") == account)
            assert together.filter(pl.col("account_id") == account).equals(alone)


def test_the_same_in_duckdb():
    """Steps over people run on both engines."""
    community = {"p": [day(0), day(3), day(40)], "q": [day(5)], "r": [day(1), day(120)]}
    rows = pl.concat([fold_of(community), fold(life("p", 2, platform="toots"))])
    gaps = pl.LazyFrame(
        [("a", "p", 0, 30, True), ("a", "p", 30, 99, False), ("a", "r", 0, 119, True), ("a", "r", 119, 9, False)],
        schema=["account_id", "person_id", "since", "duration", "is_observed"], orient="row",
    )  # fmt: skip
    lives = followed(*inputs(fold_rows(community)), as_of=AS_OF).people.drop("first_day")
    moved = pl.LazyFrame({"account_id": ["a"], "day": [day_number(day(3))], "at": [day_number(day(3))]})
    with duckdb.connect() as connection:
        results = []
        for engine in ("polars", "duckdb"):
            fold_, people, clock_days, gap, life_ = (
                nw.from_native(f) if engine == "polars" else in_duckdb(f, connection, n)
                for n, f in (("f", rows), ("i", identities("pqr")), ("m", moved), ("g", gaps), ("l", lives))
            )
            each = persons(fold_, people, as_of=AS_OF)
            assert as_rows(active_days(each))
            results.append([
                as_rows(origins(first_signs(each, clock_days))), as_rows(returns(gap)), as_rows(strata(life_)),
            ])  # fmt: skip
    assert results[0] == results[1]
    assert ("a", 2, "blog", "p") in results[0][0]


def test_log_rank_of_the_mart_is_the_public_one():
    seen = followed(*inputs(SPIKED, spikes=IN_SPIKE), as_of=AS_OF)
    (a, gone_a, _), (b, gone_b, _) = arms_of(seen, "spike", "steady").values()
    test = compared(SPIKED, spikes=IN_SPIKE)["spike vs steady"]
    assert test["chi2"] == pytest.approx(log_rank(a + b, gone_a + gone_b, [0] * len(a) + [1] * len(b)).chi2, rel=1e-6)


BOTH = pytest.mark.parametrize("mart", ["mart_retention_curve", "mart_retention_test"])


def of_world(seed: int, mart: str, change=lambda world: world) -> pl.DataFrame:
    """The mart of a whole random world, from its facts through folds and spikes."""
    world = {name: frame for name, frame in random_world(seed).items() if name in CORE}
    return derived(change(world), names=[mart])[mart]


@BOTH
@pytest.mark.parametrize("seed", [0, 1])
def test_of_whole_worlds_nothing_after_as_of_is_seen(mart, seed) -> None:
    found = of_world(seed, mart)
    assert found.height > 10 or mart == "mart_retention_test"
    assert not different(of_world(seed, mart, known), found, table=mart)


@BOTH
def test_of_whole_worlds_the_order_of_rows_does_not_matter(mart) -> None:
    def shuffled(world):
        return {name: frame.sample(fraction=1, shuffle=True, seed=3) for name, frame in world.items()}

    assert not different(of_world(0, mart, shuffled), of_world(0, mart), table=mart)


@BOTH
def test_of_whole_worlds_no_rule_of_the_catalogue_is_broken(mart) -> None:
    rows = of_world(1, mart)
    with duckdb.connect() as connection:
        connection.register("arrow", rows.to_arrow())
        for rule in TABLES[mart].rules:
            assert connection.execute(rule.violations.format(table="arrow")).fetchall() == [], rule.name
    for name in rows.columns:
        if f"{name}_note" in rows.columns and name != "lapse_risk":
            assert (rows[name].is_null() == rows[f"{name}_note"].is_not_null()).all(), name


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore:Starting with pandas")  # within lifelines
def test_mathoverflow_is_what_lifelines_says(shared_data) -> None:
    """Three lively accounts: lives walked in plain Python from the file, curves and log-rank by lifelines."""
    as_of, accounts = date(2016, 3, 6), ["u11142", "u6094", "u290"]
    file = pl.read_parquet(shared_data / "mathoverflow" / "interactions.parquet").filter(
        pl.col("account").is_in(accounts), pl.col("person") != pl.col("account")
    )
    active = file.select("account", "person", pl.col("occurred_at").dt.date().alias("date")).unique()
    rows = fold({"account_id": a, "platform": "activity", "identity_id": p, "date": d} for a, p, d in active.rows())
    people = identities(active["person"].unique().to_list())
    first = active["date"].min()
    covered = spans(*(span(first, as_of, account_id=a, platform="activity") for a in accounts))
    args = (rows, people, posts(), profiles().head(0))
    spiked = spike(*args, covered, as_of=as_of)
    curves = enforce(mart_retention_curve, curve(*args, spiked, covered, as_of=as_of))
    tests = enforce(mart_retention_test, comparison(*args, spiked, covered, as_of=as_of))
    inside = {
        (a, s + timedelta(days=i))
        for a, _, s, e, *_ in spiked.filter(pl.col("platform") == "all").collect().rows()
        for i in range(((e or as_of) - s).days + 1)
    }
    for test in tests.iter_rows(named=True):
        account, limit = test["account_id"], test["lapse_days"]
        lives = defaultdict(list)
        for person, seen in active.filter(pl.col("account") == account).sort("date").select("person", "date").rows():
            lives[person].append(seen)
        arms = {True: ([], []), False: ([], [])}
        for days in lives.values():
            ends = [*days[1:], as_of + timedelta(days=1)]
            gone = [(a - days[0]).days + limit for a, b in zip(days, ends, strict=True) if (b - a).days > limit]
            if (days[0] - first).days >= 56:
                duration, observed = arms[(account, days[0]) in inside]
                duration.append(gone[0] if gone else (as_of - days[0]).days)
                observed.append(bool(gone))
        assert [len(arms[True][0]), len(arms[False][0])] == [test["people_a"], test["people_b"]]
        for name, (durations, gone) in (("spike", arms[True]), ("steady", arms[False])):
            part = curves.filter(pl.col("account_id") == account, pl.col("stratum") == name, pl.col("lapsed") > 0)
            if not durations:
                assert part.is_empty()
                continue
            fit = lifelines.KaplanMeierFitter().fit(durations, gone)
            at_days = part["day"].to_numpy()
            np.testing.assert_allclose(part["survival"], fit.survival_function_at_times(at_days), rtol=1e-9, atol=1e-12)
        if test["chi2"] is not None:
            theirs = statistics.logrank_test(arms[True][0], arms[False][0], arms[True][1], arms[False][1])
            assert (test["chi2"], test["p_value"]) == pytest.approx((theirs.test_statistic, theirs.p_value), rel=1e-6)
    assert tests["chi2"].is_not_null().sum() >= 1
