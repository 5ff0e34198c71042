"""Relationships: tiny histories by hand, plain-Python loops over weeks as oracles, both engines."""

from datetime import date, timedelta
from itertools import pairwise
from statistics import median

import duckdb
import narwhals as nw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.metrics.bgbb import NAMES
from assets.metrics.opportunity_weeks import opportunity_weeks, weeks_of
from assets.metrics.people import active_days, day_number, persons
from assets.metrics.relationship import (
    platforms_of,
    relationship,
    rhythms,
    tie_state,
    tie_states,
    totals,
)
from quality.catalog import marts
from quality.catalog.model import empty, enforce
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

AS_OF = date(2024, 6, 30)  # a Sunday
WEEKS = ["repeat_weeks", "last_week", "opportunity_weeks"]


def day(offset: int) -> date:
    return START + timedelta(days=offset)


def relate(rows, people, *, as_of=AS_OF, covered=None, post=None, spikes=(), models=()):
    covered = covered if covered is not None else spans(span(START, as_of))
    post = post if post is not None else posts(START)
    spiked, fits = table(marts.mart_spike, spikes), table(marts.mart_retention_model, models)
    frame = relationship(rows, people, post, profiles(), spiked, fits, covered, as_of=as_of)
    return enforce(marts.mart_relationship, frame)


def ties(lives: dict[str, list[int]], as_of: date) -> dict[str, tuple[float, str | None]]:
    days = [{"account_id": "a", "person_id": p, "date": day(d)} for p, life in lives.items() for d in life]
    frame = pl.LazyFrame(days, schema={"account_id": pl.String, "person_id": pl.String, "date": pl.Date})
    return {p: (m, state) for _, p, m, state in tie_state(frame, as_of=as_of).collect().rows()}


def test_rhythm_is_drawn_towards_the_account():
    # p: gaps 20, 20, 50 (k = 3, median 20); q: gap 10. All gaps 10, 20, 20, 50: median 20.
    # p: (3 x 20 + 3 x 20) / 6 = 20; q: (1 x 10 + 3 x 20) / 4 = 17.5; r, once: 20.
    got = ties({"p": [0, 20, 40, 90], "q": [0, 10], "r": [5]}, day(100))
    assert {p: m for p, (m, _) in got.items()} == {"p": 20.0, "q": 17.5, "r": 20.0}
    # No gap at all: 7. Daily visits: at least 7.
    assert ties({"p": [0]}, day(100))["p"][0] == 7.0
    assert ties({"p": list(range(30))}, day(100))["p"][0] == 7.0


def test_states_of_a_rhythm_of_seven_days_week_by_week():
    # One visit on Monday, day 0: m = 7. Silent 21 days first on the Sunday of day 27 (27 >= 21; on day 20: 20), so
    # cooling from the next week's end, day 34. Silent 90 days first on day 90, a Sunday: lost from day 97.
    states = {d: ties({"p": [0]}, day(d))["p"][1] for d in (5, 6, 27, 33, 34, 90, 96, 97, 400)}
    assert states == {
        5: None, 6: "active", 27: "active", 33: "active", 34: "cooling", 90: "cooling", 96: "cooling", 97: "lost", 400: "lost",
    }  # fmt: skip


def test_resurrected_for_28_days_after_lost():
    # Gap of 104 days: median 104 of all, m = 104, so lost after 832 days: a long gap that is one's own rhythm.
    assert ties({"p": [0, 104]}, day(104))["p"] == (104.0, "active")
    # Among people who come weekly m stays 7 x 3 / 4 + 104 / 4 = 31.25: lost after 250 days.
    weekly = {"q": list(range(0, 400, 7))}
    lives = {"p": [0, 280], **weekly}
    # m = (280 + 3 x 7) / 4 = 75.25: lost after 602 days; 280 is no loss.
    assert ties(lives, day(286))["p"] == (75.25, "active")
    # Eight short gaps and one of 203 days: own median 7, m = 7, lost after 90 days.
    regular = [*range(0, 63, 7), 56 + 203]
    states = {d: ties({"p": regular, **weekly}, day(d))["p"][1] for d in (258, 265, 279, 286, 293, 307)}
    # Back on day 259, a Monday: judged on Sundays 265, 272, 279, 286 (27 days later), 293 (34 days silent).
    assert states == {
        258: "lost", 265: "resurrected", 279: "resurrected", 286: "resurrected", 293: "cooling", 307: "cooling",
    }  # fmt: skip


def loop_over_weeks(life: list[int], m: float, as_of: int) -> str | None:
    """The tie's state by walking over the ends of weeks, as the definition says it."""
    order = ["active", "cooling", "lost"]
    level = raw_before = 0
    state, back_on, was_lost = None, None, False
    end = 6
    while end <= as_of:
        known = [d for d in life if d <= end]
        if known:
            silence = end - known[-1]
            raw = 2 if silence >= max(8 * m, 90) else 1 if silence >= 3 * m else 0
            this_week = [d for d in known if d > end - 7]
            if was_lost and this_week:
                back_on, was_lost = this_week[0], False
            level = raw if raw <= level else max(level, min(raw, raw_before))
            raw_before = raw
            was_lost = was_lost or level == 2
            is_back = level == 0 and back_on is not None and end - back_on < 28
            state = "resurrected" if is_back else order[level]
        end += 7
    return state


lives_of_ties = st.dictionaries(
    st.sampled_from("pqr"),
    st.lists(st.one_of(st.integers(1, 9), st.integers(15, 40), st.integers(80, 260)), min_size=1, max_size=8).map(
        lambda gaps: [sum(gaps[: i + 1]) for i in range(len(gaps))]
    ),
    min_size=1,
)


@settings(max_examples=60, deadline=None)
@given(lives=lives_of_ties, silent=st.integers(0, 300))
def test_closed_form_equals_a_loop_over_weeks(lives, silent):
    as_of = max(life[-1] for life in lives.values()) + silent
    gaps = {p: [b - a for a, b in pairwise(life)] for p, life in lives.items()}
    pooled = [g for own in gaps.values() for g in own]
    usual = median(pooled) if pooled else 7
    got = ties(lives, day(as_of))
    for p, life in lives.items():
        k = len(gaps[p])
        m = max(7.0, ((k * median(gaps[p]) if k else 0) + 3 * usual) / (k + 3))
        assert got[p] == (pytest.approx(m), loop_over_weeks(life, m, as_of))


def test_counts_by_hand():
    rows = fold([
        *visits("p", date(2024, 1, 3), inbound=3, inbound_active=2, inbound_composed=2, value=2.1, inbound_untimed=4),
        *visits("p", date(2024, 6, 3), inbound=1, inbound_active=1, inbound_composed=1, value=0.1, outbound=2, outbound_composed=2),
        *visits("p", date(2024, 6, 4), inbound=0, inbound_active=0, inbound_composed=0, value=0.0, outbound=1, outbound_composed=1,
                outbound_composed_untimed=1),
        *visits("follower", date(2024, 6, 5), inbound_active=0, inbound_composed=0),
    ])  # fmt: skip
    both = spans(span(START, AS_OF), span(START, AS_OF, stream="outbound"))
    (got,) = relate(rows, identities(["p", "follower"]), covered=both).rows(named=True)
    assert (got["first_at"], got["last_at"]) == (at(date(2024, 1, 3)), at(date(2024, 6, 3)))
    assert (got["inbound"], got["inbound_composed"], got["outbound_composed"], got["platforms"]) == (8, 3, 4, 1)
    # 180 days from 30 June reach back to 3 January: in 3, out 3 of known time.
    assert got["reciprocity"] == 1.0
    assert got["value_365d"] == 2.2
    assert (got["lifecycle"], got["cohort_month"]) == ("resurrecting", date(2024, 1, 1))
    assert got["p_alive"] is None
    assert got["p_alive_note"] == "inbound not collected, so no retention model"
    (got,) = relate(rows, identities(["p", "follower"])).rows(named=True)
    assert (got["outbound_composed"], got["reciprocity"]) == (None, None)


def test_probabilities_are_those_of_the_account_s_model():
    # x = 1, t_x = 1 and n = 4, as in test_opportunity_weeks_by_hand; all Betas uniform.
    fit = {"as_of": day(46), "account_id": "a", "model": "bgbb", "note": "so"} | dict.fromkeys(NAMES, 1.0)
    rows = fold(visits("p", day(0), day(8)) + visits("q", day(30), day(44)) + visits("r", day(44)))
    got = relate(rows, identities("pqr"), as_of=day(46), post=posts(day(0), day(22), day(37)), models=[fit])
    # L of p: still there after 4 weeks, 1 of them active: 1/5 x B(2, 4) = 1/5 x 1/20; gone after week i of 1, 2, 3:
    # (1 / (i (i + 1)) less the week's step) B(2, i). With uniform chances, leaving before week i + 1 has 1 / ((i + 1)(i + 2)).
    beta = {1: 1 / 2, 2: 1 / 6, 3: 1 / 12, 4: 1 / 20}
    likelihood = beta[4] / 5 + sum(beta[i] / ((i + 1) * (i + 2)) for i in (1, 2, 3))
    assert got["p_alive"].to_list()[0] == pytest.approx(beta[4] / 6 / likelihood)
    assert got["p_alive"].is_null().to_list() == [False, False, True]
    assert got["p_alive_note"].to_list() == ["so", "so", "start unknown, or first active in the running week"]


def test_reciprocity_is_of_180_days_and_needs_inbound_and_coverage():
    def reciprocity(rows, **args):
        both = spans(span(START, AS_OF), span(START, AS_OF, stream="outbound"))
        return relate(fold(rows), identities(["p"]), **{"covered": both} | args)["reciprocity"].to_list()

    early = visits("p", date(2024, 1, 2), outbound=1, outbound_composed=1)
    assert reciprocity(early) == [None]  # 180 days begin on 3 January: no inbound within
    late = visits(
        "p", date(2024, 1, 3), inbound_composed=3, inbound_active=3, inbound=3, outbound=1, outbound_composed=1
    )
    assert reciprocity(late) == [2 * 1 / 4]
    assert reciprocity(visits("p", date(2024, 2, 1))) == [0.0]
    down = spans(span(START, AS_OF), span(START, date(2024, 6, 1), stream="outbound"))
    assert reciprocity(late, covered=down) == [None]


def test_an_unfollow_later_than_everything_inbound_ends_the_tie():
    gone = {"inbound": 0, "inbound_active": 0, "inbound_composed": 0, "is_ended": True}

    def state(*rows, as_of=AS_OF):
        return relate(fold(rows), identities(["p"]), as_of=as_of)["tie_state"].to_list()

    seen = visits("p", date(2024, 6, 10))
    assert state(*seen) == ["active"]
    assert state(*seen, *visits("p", date(2024, 6, 12), **gone)) == ["ended"]
    assert state(*seen, *visits("p", date(2024, 6, 9), **gone)) == ["active"]
    again = visits("p", date(2024, 6, 20), inbound_active=0, inbound_composed=0)
    assert state(*seen, *visits("p", date(2024, 6, 12), **gone), *again) == ["active"]
    # In the running week nothing is judged yet.
    assert state(*seen, *visits("p", date(2024, 6, 25), **gone), as_of=date(2024, 6, 29)) == ["active"]
    assert state(*visits("p", date(2024, 6, 25)), as_of=date(2024, 6, 29)) == [None]


def test_opportunity_weeks_by_hand():
    # Weeks 0 and 1: p. Week 2: nothing at all. Week 3: a post. Week 4: q. Week 5: outbound only. Week 6: running.
    rows = fold([
        *visits("p", day(0), day(8)), *visits("q", day(30), day(44)),
        *visits("p", day(37), inbound=0, inbound_active=0, inbound_composed=0, outbound=1),
    ])  # fmt: skip
    got = relate(rows, identities("pq"), as_of=day(46), post=posts(day(0), day(22)))
    # Opportunities: weeks 0, 1, 3, 4, 5. p: active in the first two; q: first in the fourth, then one more.
    assert got.select("person_id", *WEEKS).rows() == [("p", 1, 1, 4), ("q", 0, 0, 1)]
    # First active in the running week only: null.
    late = relate(fold(visits("p", day(44))), identities("p"), as_of=day(46))
    assert late.select(*WEEKS).row(0) == (None, None, None)


def test_unknown_start_is_not_fitted_and_in_no_cohort():
    rows = fold(visits("p", day(89), day(100)) + visits("q", day(90)))
    got = relate(rows, identities("pq"), post=posts(date(2001, 1, 1)))
    assert got.select("person_id", "cohort_month", *WEEKS).rows() == [
        ("p", None, None, None, None),
        ("q", date(2024, 3, 1), 0, 0, 1),
    ]
    assert got["is_spike_won"].to_list() == [None, None]
    assert got["tie_state"].null_count() == 0
    # First seen in the last complete month, start unknown: not new, and nothing else can be said.
    month = relate(rows, identities("pq"), post=posts(date(2001, 1, 1)), as_of=date(2024, 3, 31))
    assert month.select("person_id", "lifecycle").rows() == [("p", None), ("q", "new")]


def test_spike_won_is_first_seen_inside_a_spike_of_all_platforms():
    spike = {"account_id": "a", "new_people": 10, "baseline": 0.5, "p_value": 0.0}
    spikes = [
        {**spike, "platform": "all", "started_on": day(60), "ended_on": day(62)},
        {**spike, "platform": "blog", "started_on": day(70), "ended_on": day(72)},
        {**spike, "platform": "all", "started_on": day(170), "ended_on": None},
    ]
    lives = {"early": 55, "steady": 59, "first": 60, "last": 62, "after": 63, "other": 71, "open": 175}
    rows = fold(row for p, d in lives.items() for row in visits(p, day(d), day(d) + timedelta(days=1)))
    got = relate(rows, identities(list(lives)), spikes=spikes)
    won = dict(got.select("person_id", "is_spike_won").rows())
    assert won == {
        "early": None, "steady": False, "first": True, "last": True, "after": False, "other": False, "open": True,
    }  # fmt: skip


def test_lifecycle_is_unknown_where_the_month_was_not_collected():
    rows = fold(visits("p", date(2024, 4, 2), date(2024, 6, 2)) + visits("q", date(2024, 6, 3)))
    may = spans(span(START, date(2024, 4, 30)), span(date(2024, 6, 1), AS_OF))
    assert relate(rows, identities("pq"), covered=may)["lifecycle"].to_list() == [None, "new"]
    june = spans(span(START, date(2024, 5, 31)))
    assert relate(rows, identities("pq"), covered=june)["lifecycle"].to_list() == [None, None]


def test_without_any_coverage_people_stay_and_nothing_is_judged():
    got = relate(fold(visits("p", day(3))), identities("p"), covered=spans())
    assert got.select("inbound", "cohort_month", "lifecycle", *WEEKS).row(0) == (1, None, None, None, None, None)


def test_a_silence_that_nobody_could_hear_is_unknown():
    # p last came on day 60, q on day 130; weekly rhythms. Nothing was collected from day 100 to 149.
    rows = fold(visits("p", *(day(d) for d in range(4, 61, 7))) + visits("q", *(day(d) for d in range(4, 131, 7))))
    people = identities("pq")

    def states(*covered, as_of):
        return relate(rows, people, covered=spans(*covered), as_of=as_of)["tie_state"].to_list()

    whole = span(START, day(181))
    assert states(whole, as_of=day(181)) == ["lost", "cooling"]
    hole = span(START, day(99)), span(day(150), day(181))
    # p: silent from day 61 to day 181, 50 of 121 days missing; q: from day 131, 19 of 51 missing.
    assert states(*hole, as_of=day(181)) == [None, None]
    # A hole of 12 days is less than a tenth of p's silence, and more than one of q's.
    small = span(START, day(169)), span(day(182), day(182))
    assert states(*small, as_of=day(181)) == ["lost", None]
    # Nobody is silent yet, and an unfollow is not a silence.
    assert states(*hole, as_of=day(62)) == ["active", "active"]
    gone = fold(
        visits("r", day(60)) + visits("r", day(70), inbound=0, inbound_active=0, inbound_composed=0, is_ended=True)
    )
    assert relate(gone, identities("r"), covered=spans(*hole), as_of=day(181))["tie_state"].to_list() == ["ended"]
    assert states(as_of=day(181)) == [None, None]


def test_merged_identities_are_one_person():
    rows = fold(visits("i", day(0)) + visits("j", day(0), day(9), platform="toots"))
    covered = spans(span(START, AS_OF), span(START, AS_OF, platform="toots"))
    got = relate(rows, identities({"i": "i", "j": "i"}), covered=covered)
    assert got.select("person_id", "inbound", "platforms", *WEEKS).rows() == [("i", 3, 2, 1, 1, 1)]


@settings(max_examples=20, deadline=None)
@given(
    community=small_communities(),
    posted=st.lists(st.integers(0, 149), max_size=6),
    hole=st.tuples(st.integers(1, 140), st.integers(0, 20)),
    extra=st.integers(0, 20),
)
def test_weeks_equal_a_loop_over_weeks(community, posted, hole, extra):
    as_of = day(160 + extra)
    missing = {hole[0] + i for i in range(hole[1])}
    pieces = [span(START, day(hole[0] - 1)), span(day(hole[0] + hole[1]), as_of)]
    weeks = []
    for w in range((161 + extra) // 7):
        days = set(range(7 * w, 7 * w + 7))
        happened = any(d in {(x - START).days for x in life} for life in community.values() for d in days)
        if len(days & missing) / 7 <= 0.1 and (happened or days & set(posted)):
            weeks.append(w)
    want = []
    for p in sorted(community):
        mine = sorted({(d - START).days // 7 for d in community[p]} & set(weeks))
        first = weeks.index(mine[0]) if mine else 0
        want.append(
            (p, len(mine) - 1, weeks.index(mine[-1]) - first, len(weeks) - 1 - first) if mine else (p, None, None, None)
        )
    # The account's history starts with its coverage: nothing is truncated.
    got = relate(
        fold_of(community), identities(list(community)), as_of=as_of, covered=spans(*pieces),
        post=posts(*(day(d) for d in posted)),
    )  # fmt: skip
    assert got.select("person_id", *WEEKS).rows() == want


@settings(max_examples=5, deadline=None)
@given(community=small_communities(), seed=st.integers(0, 9))
def test_order_of_rows_later_rows_and_empty_platforms_change_nothing(community, seed):
    as_of = day(120)
    rows, people = fold_of(community).collect(), identities(list(community))
    want = relate(rows.lazy(), people, as_of=as_of)
    assert relate(rows.sample(fraction=1, shuffle=True, seed=seed).lazy(), people, as_of=as_of).equals(want)
    known = rows.filter(pl.col("date") <= as_of).lazy()
    later = posts(START, day(125))
    assert relate(known, people, as_of=as_of, covered=spans(span(START, day(300))), post=later).equals(want)
    two = spans(span(START, as_of), span(START, as_of, platform="empty"))
    assert relate(rows.lazy(), people, as_of=as_of, covered=two).equals(want)


def test_no_rows_give_no_rows():
    assert relate(fold([]), identities([])).equals(empty(marts.mart_relationship))


@settings(max_examples=3, deadline=None)
@given(community=small_communities(days=400))
def test_duckdb_and_polars_agree(community):
    as_of = day(420)
    rows, people = fold_of(community), identities(list(community))
    weeks = opportunity_weeks(
        persons(rows, people, as_of=as_of).to_native(), posts(START), spans(span(START, as_of)), as_of=as_of
    )
    with duckdb.connect() as connection:
        here = persons(rows, people, as_of=as_of)
        there = persons(in_duckdb(rows, connection, "f"), in_duckdb(people, connection, "i"), as_of=as_of)
        came, went = (active_days(p).filter(nw.col("platform") == "all") for p in (here, there))
        assert as_rows(rhythms(went)) == as_rows(rhythms(came))
        assert as_rows(tie_states(went, as_of=as_of)) == as_rows(tie_states(came, as_of=as_of))
        assert as_rows(platforms_of(there)) == as_rows(platforms_of(here))
        weeks_there = in_duckdb(weeks, connection, "w")
        assert as_rows(weeks_of(went, weeks_there)) == as_rows(weeks_of(came, nw.from_native(weeks)))
        # Instants compare as such: engines show them in different zones.
        epochs = [nw.col(c).cast(nw.String).str.slice(0, 10).alias(c) for c in ("first_at", "last_at")]
        connection.execute("set timezone = 'UTC'")
        assert as_rows(totals(there, as_of=as_of).with_columns(*epochs)) == as_rows(
            totals(here, as_of=as_of).with_columns(*epochs)
        )
    assert day_number(as_of) == day_number(START) + 420
