"""Probabilities of single people: what the mart of models says, on each history, and why they are null."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from assets.metrics.bgbb import NAMES, fit_bgbb
from assets.metrics.expectation import HISTORY, PROBABILITIES, with_expectations
from assets.metrics.retention_fit import row_of_fit
from quality.catalog import marts
from tests.metrics.community import table

AS_OF = date(2024, 6, 30)
PAPER = dict(zip(NAMES, (1.2035, 0.7497, 0.6567, 2.7834), strict=True))
"""Fader, Hardie & Shang (2010), donations."""


def model(account="a", *, parameters=None, **more):
    row = {
        "as_of": AS_OF,
        "account_id": account,
        "model": "bgbb",
        "is_pooled": False,
        "people": 300,
        "repeat_people": 50,
    }
    return row | {"is_withdrawn": False, "log_likelihood": -1.0} | (PAPER if parameters is None else parameters) | more


def people(*rows):
    named = [dict(zip(("account_id", "person_id", *HISTORY), row, strict=True)) for row in rows]
    schema = {"account_id": pl.String, "person_id": pl.String} | dict.fromkeys(HISTORY, pl.Int64)
    return pl.LazyFrame(named, schema=schema)


def asked(frame, *models):
    return with_expectations(frame, table(marts.mart_retention_model, models), as_of=AS_OF).collect().sort("person_id")


def test_fader_hardie_shang_2010_donations():
    found = asked(people(("a", "p", 0, 0, 6), ("a", "q", 2, 4, 6), ("a", "r", 6, 6, 6)), model())
    assert found["p_alive"].to_list() == pytest.approx([0.108, 0.590, 0.930], abs=1e-3)
    # Without the covariance of the parameters there is no interval.
    assert found["p_alive_low"].to_list() == [None] * 3
    assert found["p_alive_note"].to_list() == [None] * 3
    assert (found["p_active_4w"] < found["p_active_13w"]).all()
    assert (found["p_active_4w"] <= 1).all()


def test_one_week_watched_by_hand():
    # All Betas uniform: x = 0, n = 0. Alive next week: B(1, 2) / B(1, 1) = 1/2. Comes then: 1/2 x 1/2 = 1/4. In four
    # weeks the silent: gone in week i, or alive and not coming.
    uniform = dict.fromkeys(NAMES, 1.0)
    found = asked(people(("a", "p", 0, 0, 0)), model(parameters=uniform))
    alive = [1 / (i + 1) for i in range(5)]  # still there after i weeks; silent through i of them: 1 / (i + 1)
    silent = sum((alive[i] - alive[i + 1]) / (i + 1) for i in range(4)) + alive[4] / 5
    assert found["p_alive"].item() == pytest.approx(0.5)
    assert found["p_active_4w"].item() == pytest.approx(1 - silent)


def test_the_mart_carries_all_that_an_interval_needs():
    x, t_x, n = np.array([(0, 0, 6), (1, 1, 6), (1, 3, 6), (2, 2, 6), (2, 4, 6), (4, 6, 6), (6, 6, 6), (3, 3, 9)]).T
    fitted = fit_bgbb(x, t_x, n, weights=[600, 90, 60, 30, 40, 20, 30, 5])
    assert not fitted.at_bound
    row = model() | row_of_fit(fitted)
    found = asked(people(("a", "p", 1, 2, 9), ("a", "q", 0, 0, 20)), row)
    history = [found[name].to_numpy() for name in HISTORY]
    assert found["p_alive"].to_list() == pytest.approx(fitted.p_alive(*history).tolist(), abs=1e-9)
    for name, interval in (
        ("p_alive", fitted.p_alive_interval(*history)),
        ("p_active_4w", [1 - p for p in fitted.p_silent_interval(*history, 4)][::-1]),
        ("p_active_13w", [1 - p for p in fitted.p_silent_interval(*history, 13)][::-1]),
    ):
        for end, values in zip(("low", "high"), interval, strict=True):
            assert found[f"{name}_{end}"].to_list() == pytest.approx(values.tolist(), abs=1e-6)
        assert (found[f"{name}_low"] < found[name]).all()
        assert (found[name] < found[f"{name}_high"]).all()


def test_null_says_why():
    gone = {"parameters": dict.fromkeys(NAMES), "log_likelihood": None, "is_withdrawn": True, "note": "withdrawn: so"}
    found = asked(
        people(("a", "p", None, None, None), ("b", "q", 1, 1, 3), ("c", "r", 1, 1, 3), ("d", "s", 1, 1, 3)),
        model(), model("b", **gone), model("d", note="from all accounts together"),
    )  # fmt: skip
    assert found["p_alive"].is_null().to_list() == [True, True, True, False]
    assert found["p_alive_note"].to_list() == [
        "start unknown, or first active in the running week", "withdrawn: so",
        "inbound not collected, so no retention model", "from all accounts together",
    ]  # fmt: skip


def test_only_bgbb_of_this_night_counts():
    other = model(as_of=date(2024, 6, 29), note="of another night")
    check = {**model(note="a check"), "model": "bgnbd"}
    found = asked(people(("a", "p", 1, 1, 3)), other, check)
    assert found["p_alive"].item() is None
    assert asked(people(("a", "p", 1, 1, 3)), other, check, model())["p_alive"].item() is not None


def test_more_weeks_of_silence_make_coming_back_less_probable():
    found = asked(people(*(("a", f"p{n:02}", 2, 4, n) for n in range(4, 60))), model())
    for name in ("p_alive", "p_active_4w", "p_active_13w"):
        assert (found[name].diff().drop_nulls() < 0).all()


def test_nobody():
    found = asked(people(), model())
    assert found.is_empty()
    assert set(PROBABILITIES) <= set(found.columns)
