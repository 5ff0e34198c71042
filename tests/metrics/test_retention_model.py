"""Models of each account's people: guards, pooling, withdrawal, what was hidden; simulated people with known truth."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from assets.metrics import retention_model as subject
from assets.metrics.bgbb import NAMES
from assets.metrics.people import day_number, week_of
from quality.catalog import marts
from quality.catalog.model import enforce
from tests.metrics.community import START, fold, identities, posts, profiles, span, spans, visits

TRUTH = (0.8, 3.0, 0.6, 4.0)
WEEKS = 60
AS_OF = START + timedelta(weeks=WEEKS) - timedelta(days=1)
FIRST_WEEK = week_of(day_number(START))


def simulated(people, *, seed, truth=TRUTH, weeks=WEEKS):
    """Active weeks of people of a BG/BB world: (person, week) pairs. First contacts are spread over the weeks."""
    generator = np.random.default_rng(seed)
    alpha, beta, gamma, delta = truth
    coming, leaving = generator.beta(alpha, beta, people), generator.beta(gamma, delta, people)
    first = generator.integers(0, weeks, people)
    is_there, found = np.ones(people, dtype=bool), [(i, w) for i, w in enumerate(first.tolist())]
    for week in range(weeks):
        is_old = first < week
        is_there &= ~(is_old & (generator.random(people) < leaving))
        came = is_there & is_old & (generator.random(people) < coming)
        found += [(i, week) for i in np.flatnonzero(came).tolist()]
    return found


def of_accounts(lives, *, weeks=WEEKS):
    """Accounts, days and opportunity weeks of `lives`: by account, pairs of person and week. Every week counts."""
    rows = [(a, f"{a}{i}", (FIRST_WEEK + w) * 7 - 1) for a, pairs in lives.items() for i, w in pairs]
    schema = {"account_id": pl.String, "person_id": pl.String, "day": pl.Int64}
    names = pl.LazyFrame({"account_id": list(lives)}, schema={"account_id": pl.String})
    opportunities = names.join(
        pl.LazyFrame({"week": range(FIRST_WEEK, FIRST_WEEK + weeks), "number": range(weeks)}), how="cross"
    ).with_columns(pl.lit(weeks, dtype=pl.Int64).alias("weeks"))
    return names, pl.LazyFrame(rows, schema=schema, orient="row"), opportunities


def fitted(lives, **more):
    return enforce(
        marts.mart_retention_model, subject.models(subject.counted(*of_accounts(lives, **more)), as_of=AS_OF)
    )


def row(frame, model="bgbb", account="a"):
    (found,) = frame.filter(account_id=account, model=model).rows(named=True)
    return found


def test_simulated_people_are_found_and_calibrated():
    found = row(fitted({"a": simulated(4000, seed=1)}))
    for name, value in zip(NAMES, TRUTH, strict=True):
        assert found[f"{name}_low"] < value < found[f"{name}_high"]
    assert not found["is_pooled"]
    assert not found["is_withdrawn"]
    assert found["note"] is None
    assert found["brier"] < found["brier_base"]
    assert found["brier_difference"] == pytest.approx(found["brier"] - found["brier_heuristic"], abs=1e-9)
    assert found["brier_difference_low"] < found["brier_difference"] < found["brier_difference_high"]
    assert found["calibration_error"] < 0.015
    # Who came first in one of the last four weeks was not there to be judged.
    assert found["people"] == 4000
    assert 3500 < found["brier_n"] < 4000


def test_three_models_side_by_side():
    frame = fitted({"a": simulated(600, seed=2)})
    assert frame["model"].to_list() == ["bgbb", "bgnbd", "mbgnbd"]
    for model in ("bgnbd", "mbgnbd"):
        found = row(frame, model)
        assert found["beta"] is found["gamma"] is found["delta"] is None
        assert found["r"] is not None or found["is_withdrawn"]
    assert row(frame)["r"] is None


def came_back(people, repeaters):
    """So many people, in one week each, the first of them in a second one."""
    return [(i, i % 40) for i in range(people)] + [(i, 40 + i % 10) for i in range(repeaters)]


@pytest.mark.parametrize(
    ("people", "repeaters", "is_enough"), [(200, 30, True), (199, 30, False), (200, 29, False), (0, 0, False)]
)
def test_guards(people, repeaters, is_enough):
    found = row(fitted({"a": came_back(people, repeaters)}))
    assert (found["people"], found["repeat_people"]) == (people, repeaters)
    assert found["is_pooled"] is not is_enough
    if not is_enough:
        assert found["log_likelihood"] is found["alpha"] is found["brier"] is None
        assert found["note"] == "fewer than 200 people, or fewer than 30 who came back, also over all accounts together"


def test_small_accounts_have_the_fit_over_all_accounts():
    lives = {f"small{k}": simulated(40, seed=k) for k in range(10)} | {"large": simulated(700, seed=99)}
    frame = fitted(lives)
    small, large = row(frame, account="small3"), row(frame, account="large")
    assert small["is_pooled"]
    assert small["people"] == 10 * 40 + 700
    assert small["note"].startswith("from all accounts together: the account alone has fewer than 200 people")
    assert not large["is_pooled"]
    assert large["people"] == 700
    together = [(1000 * k + i, w) for k, pairs in enumerate(lives.values()) for i, w in pairs]
    one = row(fitted({"a": together}))
    assert {name: small[name] for name in NAMES} == pytest.approx({name: one[name] for name in NAMES}, rel=1e-6)
    assert small["brier"] == pytest.approx(one["brier"], rel=1e-6)
    # Its interval is by account, not by person.
    assert small["brier_difference_low"] != pytest.approx(one["brier_difference_low"], rel=1e-3)
    alone = {name: pairs for name, pairs in lives.items() if name == "small3"}
    assert row(fitted(alone), account="small3")["alpha"] is None


def test_a_model_that_loses_to_the_rule_of_thumb_is_withdrawn():
    # People come every eighth week to the week, and for ever: four weeks after the last time, everybody is back
    # within four more. The rule of thumb sees that; a model of coins thrown every week cannot.
    clockwork = [(i, w) for i in range(400) for w in range(i % 8, WEEKS, 8)]
    found = row(fitted({"a": clockwork}))
    assert found["is_withdrawn"]
    assert found["brier_heuristic"] == pytest.approx(0)
    assert found["brier_difference_low"] > 0
    assert found["log_likelihood"] is found["alpha"] is found["log_covariance"] is None
    assert found["note"].startswith("withdrawn: the rule of thumb")


def test_not_judged_where_too_few_were_known_before_the_hidden_weeks():
    # Enough today; before the last four weeks nobody had come back.
    lives = [(i, i % 50) for i in range(300)] + [(i, 57 + i % 3) for i in range(40)]
    found = row(fitted({"a": lives}))
    assert found["alpha"] is not None
    assert found["brier"] is found["brier_n"] is None
    assert "not calibrated: fewer than 200 people" in found["note"]


def test_what_is_hidden_changes_neither_fit_nor_heuristic_only_the_outcome():
    lives = simulated(500, seed=5)
    known = [(i, w) for i, w in lives if w < WEEKS - 4]
    other = known + [(i, WEEKS - 2) for i in range(0, 500, 7)]
    held = []
    for pairs in (lives, other):
        own = pl.LazyFrame({"account_id": ["a"], "fit": [1]})
        held.append(dict(subject.holdouts(subject.counted(*of_accounts({"a": pairs})), own))[1])
    one, two = held
    totals = [
        sorted(zip(h.before.x.tolist(), h.before.t_x.tolist(), h.before.n.tolist(), h.heuristic.tolist(), strict=True))
        for h in held
    ]
    assert set(totals[0]) == set(totals[1])
    assert one.before.people.sum() == two.before.people.sum() == len({i for i, _ in known})
    assert int((two.returned * two.before.people).sum()) == len({i for i, _ in known} & set(range(0, 500, 7)))


def test_silences_equal_a_loop_over_people_and_weeks():
    lives = simulated(60, seed=8, weeks=25)
    own = pl.LazyFrame({"account_id": ["a"], "fit": [1]})
    counts = subject.counted(*of_accounts({"a": lives}, weeks=25 + 4))  # the last four are hidden
    found = subject.silences(counts, own).collect().filter(fit=1)
    want: dict[tuple[bool, int], list[int]] = {}
    for person in {i for i, _ in lives}:
        mine = sorted({w for i, w in lives if i == person})
        for now in range(mine[0], 25 - 4):
            so_far = [w for w in mine if w <= now]
            cell = want.setdefault((len(so_far) > 1, now - so_far[-1]), [0, 0])
            cell[0] += 1
            cell[1] += any(now < w <= now + 4 for w in mine)
    rows = {(r, s): [n, k] for s, r, n, k in found.select("since", "is_repeat", "at_risk", "came").rows()}
    assert rows == want


def from_fold(pairs, *, as_of=AS_OF, covered=None, post=None, seed=None, people=None):
    rows = fold(
        row for i, w in pairs for row in visits(f"p{i}", START + timedelta(weeks=w, days=i % 7))
    ).collect()  # fmt: skip
    if seed is not None:
        rows = rows.sample(fraction=1, shuffle=True, seed=seed)
    who = identities(people if people is not None else {f"p{i}" for i, _ in pairs})
    frame = subject.retention_model(
        rows.lazy(), who, post if post is not None else posts(START), profiles(),
        covered if covered is not None else spans(span(START, as_of)), as_of=as_of,
    )  # fmt: skip
    return enforce(marts.mart_retention_model, frame)


def test_from_the_fold_as_from_weeks_and_nothing_ahead_of_as_of():
    lives = simulated(300, seed=11)
    want = from_fold(lives)
    direct = fitted({"a": lives})
    assert row(want)["alpha"] == pytest.approx(row(direct)["alpha"], rel=1e-9)
    assert row(want)["brier"] == pytest.approx(row(direct)["brier"], rel=1e-9)
    assert from_fold(lives, seed=3).equals(want)
    later = [*lives, *((i, WEEKS + 3) for i in range(400))]
    more = spans(span(START, AS_OF + timedelta(days=99)))
    seen = from_fold(later, covered=more, post=posts(START, AS_OF + timedelta(days=9)))
    assert seen.equals(want)
    # Identities of one person are one.
    merged = row(from_fold(lives, people={f"p{i}": f"p{min(i, 290)}" for i in range(300)}))
    assert merged["people"] == 291
    assert merged["alpha"] == pytest.approx(row(fitted({"a": [(min(i, 290), w) for i, w in lives]}))["alpha"], rel=1e-9)


def test_people_of_unknown_start_are_out():
    lives = simulated(500, seed=12)
    early = {i for i, w in lives if w * 7 + i % 7 < 90}
    found = row(from_fold(lives, post=posts(date(2001, 1, 1))))
    assert found["people"] == 500 - len(early)


@pytest.mark.parametrize(
    "lives", [[], [(0, 3)], [(i, WEEKS) for i in range(300)]], ids=["nobody", "one", "running week"]
)
def test_without_people_there_is_a_row_and_no_model(lives):
    found = from_fold(lives, as_of=AS_OF + timedelta(days=3))
    assert found.height == 3
    assert found["alpha"].to_list() == [None] * 3
    assert found["note"].null_count() == 0


def test_without_coverage_there_is_no_row():
    assert from_fold([(0, 3)], covered=spans()).is_empty()
