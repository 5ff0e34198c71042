"""Spikes: planted bursts by hand, a plain-Python oracle, both engines."""

from datetime import date, timedelta
from statistics import mean, variance

import duckdb
import narwhals as nw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from assets.metrics.people import active_days, beginnings, persons
from assets.metrics.spike import new_people, spike, tail_probability
from quality.catalog import marts
from quality.catalog.model import enforce
from tests.metrics.community import START, as_rows, fold, identities, in_duckdb, posts, profiles, span, spans, visits

AS_OF = date(2024, 6, 30)


def day(offset: int) -> date:
    return START + timedelta(days=offset)


def newcomers(counts: dict[int, int], **more):
    """So many new people on the days after `START`."""
    return [
        row
        for offset, count in counts.items()
        for i in range(count)
        for row in visits(f"{offset}-{i}-{more}", day(offset), **more)
    ]


def spikes(rows, *, as_of=AS_OF, covered=None, post=None, people=None):
    people = people if people is not None else identities({r["identity_id"] for r in rows})
    covered = covered if covered is not None else spans(span(START, as_of))
    post = post if post is not None else posts(START)
    return enforce(marts.mart_spike, spike(fold(rows), people, post, profiles(), covered, as_of=as_of))


def on(frame, platform="all"):
    return frame.filter(pl.col("platform") == platform)


def test_a_burst_by_hand():
    # One newcomer every Monday; on the ninth Monday (day 56) 20, then 5, then 1 (<= 1.5 x 1): the last day.
    rows = newcomers({**{7 * w: 1 for w in range(8)}, 56: 20, 57: 5, 58: 1, 59: 9})
    got = on(spikes(rows))
    assert got.select("started_on", "ended_on", "new_people", "baseline").rows() == [(day(56), day(58), 26, 1.0)]
    # Poisson (variance 0): P(X >= 20 | mean 1).
    assert got["p_value"][0] == pytest.approx(stats.poisson.sf(19, 1.0))


def test_the_conditions_one_by_one():
    quiet = {7 * w: 4 for w in range(8)}
    assert on(spikes(newcomers({**quiet, 56: 11}))).is_empty()  # 11 < 3 x 4
    # 12 = 3 x 4, and P(X >= 12 | 4) = 9.2e-4: not below 1e-4; 14: 7.6e-5.
    assert on(spikes(newcomers({**quiet, 56: 13}))).is_empty()
    assert on(spikes(newcomers({**quiet, 56: 14}))).height == 1
    assert on(spikes(newcomers({63: 9}))).is_empty()  # fewer than 10
    assert on(spikes(newcomers({63: 10})))["baseline"].to_list() == [0.5]
    assert on(spikes(newcomers({55: 30}))).is_empty()  # within the first 56 covered days
    assert on(spikes(newcomers({56: 30}))).height == 1
    # Wide counts: 0 or 8 newcomers, mean 4, sample variance 18.29: 14 are nothing unusual.
    wide = {7 * w: 8 * (w % 2) for w in range(8)}
    assert on(spikes(newcomers({**wide, 56: 14}))).is_empty()


def test_tail_is_that_of_scipy():
    m, v = 4.0, 18.29
    assert tail_probability([14], [m], [v])[0] == pytest.approx(stats.nbinom.sf(13, m * m / (v - m), m / v))
    assert tail_probability([14], [m], [3.0])[0] == pytest.approx(stats.poisson.sf(13, m))


def test_a_spike_lasts_at_most_28_days_and_is_open_until_it_ends():
    rows = newcomers({63: 30, **{63 + d: 2 for d in range(1, 40)}})
    assert on(spikes(rows)).select("started_on", "ended_on", "new_people").rows() == [(day(63), day(91), 30 + 28 * 2)]
    open_ = on(spikes(rows, as_of=day(70))).select("started_on", "ended_on", "new_people").rows()
    assert open_ == [(day(63), None, 30 + 7 * 2)]


def test_platforms_and_merges():
    rows = newcomers({63: 12}) + newcomers({63: 12}, platform="toots")
    covered = spans(span(START, AS_OF), span(START, AS_OF, platform="toots"))
    got = spikes(rows, covered=covered)
    assert dict(got.select("platform", "new_people").rows()) == {"all": 24, "blog": 12, "toots": 12}
    names = [r["identity_id"] for r in rows]
    merged = identities(dict(zip(names, names[:12] * 2, strict=True)))
    assert dict(spikes(rows, covered=covered, people=merged).select("platform", "new_people").rows())["all"] == 12
    bots = identities(names, bots=names[:12])
    assert on(spikes(rows, covered=covered, people=bots))["new_people"].to_list() == [12]


def test_where_truncated_nobody_is_new_and_nothing_is_judged_for_ninety_and_56_days():
    old = posts(date(2001, 1, 1))
    assert on(spikes(newcomers({89: 30, 100: 30, 145: 30}), post=old)).is_empty()
    assert on(spikes(newcomers({146: 30}), post=old))["started_on"].to_list() == [day(146)]


def test_days_not_collected_are_no_baseline_and_end_nothing():
    # Days 70 to 99 are down: at day 100 less than 90 % of the 56 days before are known, at day 151 (5 of 56) enough.
    covered = spans(span(START, day(69)), span(day(100), AS_OF))
    assert on(spikes(newcomers({100: 30, 120: 30}), covered=covered)).is_empty()
    assert on(spikes(newcomers({151: 30}), covered=covered))["started_on"].to_list() == [day(151)]
    # A spike the day before they went down ends on the first day seen again with nobody new, or after 28 days.
    got = on(spikes(newcomers({69: 30}), covered=spans(span(START, day(69)), span(day(75), AS_OF))))
    assert got["ended_on"].to_list() == [day(75)]


@settings(max_examples=20, deadline=None)
@given(counts=st.dictionaries(st.integers(0, 110), st.integers(1, 25), max_size=30), as_of=st.integers(80, 120))
def test_spikes_equal_a_loop_over_days(counts, as_of):
    want, until = [], -1
    for d in range(56, as_of + 1):
        before = [counts.get(d - 7 * w, 0) for w in range(1, 9)]
        base, var, here = max(mean(before), 0.5), variance(before), counts.get(d, 0)
        if d <= until or here < 10 or here < 3 * base:
            continue
        p = (
            stats.nbinom.sf(here - 1, base**2 / (var - base), base / var)
            if var > base
            else stats.poisson.sf(here - 1, base)
        )
        if p >= 1e-4:
            continue
        end = next((e for e in range(d + 1, d + 28) if e <= as_of and counts.get(e, 0) <= 1.5 * base), d + 28)
        inside = sum(n for e, n in counts.items() if d <= e <= min(end, as_of))
        want.append((day(d), day(end) if end <= as_of else None, inside))
        until = end
    rows = newcomers(counts)
    got = spikes(rows, as_of=day(as_of))
    assert on(got).select("started_on", "ended_on", "new_people").rows() == want
    assert spikes(rows[::-1], as_of=day(as_of)).equals(got)
    empty_beside = spans(span(START, day(as_of)), span(START, day(as_of), platform="empty"))
    assert spikes(rows, as_of=day(as_of), covered=empty_beside).equals(got)


def test_the_order_of_rows_does_not_matter_to_the_last_digit():
    # Baselines of unlike counts, on many days: a variance of floats would depend on their order.
    rows = newcomers({offset: (7 * offset * offset) % 11 + 60 * (offset % 57 == 56) for offset in range(180)})
    people = identities({r["identity_id"] for r in rows})
    first, *others = (
        spike(
            fold(rows).collect().sample(fraction=1, shuffle=True, seed=seed).lazy(),
            people, posts(START), profiles(), spans(span(START, AS_OF)), as_of=AS_OF,
        ).collect()
        for seed in range(12)
    )  # fmt: skip
    assert first.height > 2
    assert all(other.equals(first) for other in others)


def test_duckdb_and_polars_agree():
    rows = newcomers({3: 2, 63: 12, 89: 4}) + newcomers({90: 3}, platform="toots")
    table, people = fold(rows), identities({r["identity_id"] for r in rows})
    begun = beginnings(posts(date(2001, 1, 1)), profiles(), spans(span(START, AS_OF)), as_of=AS_OF)
    with duckdb.connect() as connection:
        here = active_days(persons(table, people, as_of=AS_OF))
        there = active_days(persons(in_duckdb(table, connection, "f"), in_duckdb(people, connection, "i"), as_of=AS_OF))
        want = as_rows(new_people(here, nw.from_native(begun)))
        assert as_rows(new_people(there, in_duckdb(begun, connection, "b"))) == want
        assert len(want) == 1
