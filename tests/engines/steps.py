"""Every step that must give the same rows on every engine: the folds, and each function over people.

A step reads tables, earlier steps, and what is known of accounts (`KNOWN`, Polars only).
"""

import inspect
from collections.abc import Callable
from datetime import date
from typing import Any, NamedTuple

import narwhals as nw
import polars as pl

from assets.metrics import (
    fold,
    followers,
    growth,
    lapse,
    listening,
    opportunity_weeks,
    people,
    relationship,
    retention,
    retention_curve,
    spike,
    value,
    visible,
)
from assets.metrics.coverage import ALL
from tests.engines.frames import WEIGHTS, Tables


class Step(NamedTuple):
    """A function, the names of its frames in order, and what else it is told; `as_of` where it asks for it."""

    function: Callable[..., Any]
    inputs: tuple[str, ...]
    more: dict[str, Any] = {}  # noqa: RUF012 - never changed


def _all_platforms(active_days: Any) -> Any:
    return active_days.filter(nw.col("platform") == ALL)


def _clocked(days: Any, clock_days: Any) -> Any:
    return lapse.clocked(days, clock_days).select("account_id", "person_id", "day").unique()


_WEIGHTS = {"weights": WEIGHTS}
STEPS: dict[str, Step] = {
    "visible_posts": Step(visible.visible_posts, ("dim_post",)),
    "visible_interactions": Step(visible.visible_interactions, ("fct_interaction",)),
    "fold_relationship_day": Step(fold.relationship_day, ("fct_interaction",), _WEIGHTS),
    "fold_post_value": Step(fold.post_value, ("fct_interaction", "dim_post"), _WEIGHTS),
    "fold_response": Step(fold.response, ("fct_interaction",)),
    "persons": Step(people.persons, ("fold_relationship_day", "dim_identity")),
    "active_days": Step(people.active_days, ("persons",)),
    "first_contacts": Step(people.first_contacts, ("active_days",)),
    "known_contacts": Step(people.known_contacts, ("active_days", "begun")),
    "days": Step(_all_platforms, ("active_days",)),
    "new_people": Step(spike.new_people, ("active_days", "begun")),
    "lifecycle_weeks": Step(growth.lifecycle_states, ("active_days",), {"period": "week"}),
    "lifecycle_months": Step(growth.lifecycle_states, ("active_days",), {"period": "month"}),
    "lifecycle_counts": Step(growth.lifecycle_counts, ("active_days",), {"period": "month"}),
    "strength_a_year_apart": Step(growth.strength_a_year_apart, ("persons",)),
    "months_after_contact": Step(retention.months_after_contact, ("active_days", "begun")),
    "rhythms": Step(relationship.rhythms, ("days",)),
    "tie_states": Step(relationship.tie_states, ("days",)),
    "totals": Step(relationship.totals, ("persons",)),
    "platforms_of": Step(relationship.platforms_of, ("persons",)),
    "weeks_of": Step(opportunity_weeks.weeks_of, ("days", "opportunities")),
    "clocked": Step(_clocked, ("days", "clock_days")),
    "silences": Step(lapse.silences, ("clocked", "ends")),
    "lifetimes": Step(lapse.lifetimes, ("silences", "limits")),
    "returns": Step(retention_curve.returns, ("silences",)),
    "first_signs": Step(retention_curve.first_signs, ("persons", "clock_days")),
    "origins": Step(retention_curve.origins, ("first_signs",)),
    "exchanges": Step(listening.exchanges, ("fold_response", "dim_identity")),
    "follow_log": Step(followers.follow_log, ("fold_relationship_day", "dim_identity")),
    "given": Step(value.given, ("fold_post_value", "dim_identity")),
    "strata": Step(retention_curve.strata, ("followed",)),
}

TABLES_OF_ALL = ("fold_relationship_day", "dim_identity", "dim_post", "dim_profile", "fct_collection_span")


def _begun(reference: Tables, as_of: date) -> pl.LazyFrame:
    return people.beginnings(
        reference["dim_post"].lazy(), reference["dim_profile"].lazy(), reference["fct_collection_span"].lazy(),
        as_of=as_of,
    )  # fmt: skip


def _opportunities(reference: Tables, as_of: date) -> pl.LazyFrame:
    return opportunity_weeks.opportunity_weeks(
        reference["persons"].lazy(), reference["dim_post"].lazy(), reference["fct_collection_span"].lazy(), as_of=as_of
    )


def _clock(reference: Tables, as_of: date) -> lapse.Clock:
    return lapse.clock(reference["days"].lazy(), reference["fct_collection_span"].lazy(), as_of=as_of)


def _followed(reference: Tables, as_of: date) -> pl.LazyFrame:
    tables = (*TABLES_OF_ALL[:4], "mart_spike", TABLES_OF_ALL[4])
    return retention_curve.followed(*(reference[name].lazy() for name in tables), as_of=as_of).people


KNOWN: dict[str, Callable[[Tables, date], pl.LazyFrame]] = {
    "begun": _begun,
    "opportunities": _opportunities,
    "clock_days": lambda reference, as_of: _clock(reference, as_of).days,
    "ends": lambda reference, as_of: _clock(reference, as_of).ends,
    "limits": lambda reference, as_of: lapse.thresholds(reference["silences"].lazy()),
    "followed": _followed,
}


def run(step: Step, frames: Callable[[str], Any], *, as_of: date) -> Any:
    """The step on the frames of any engine, which `frames` gives by name; native rows of that engine."""
    asked = {"as_of": as_of} if "as_of" in inspect.signature(step.function).parameters else {}
    found = step.function(*(frames(name) for name in step.inputs), **step.more, **asked)
    return nw.to_native(found, pass_through=True)


def reference(tables: Tables, *, as_of: date) -> dict[str, pl.DataFrame]:
    """Tables, all steps on Polars, and what is known of accounts."""
    found = dict(tables)

    def frames(name: str) -> nw.LazyFrame[Any]:
        if name not in found:
            found[name] = KNOWN[name](found, as_of).collect()
        return nw.from_native(found[name].lazy())

    for name, step in STEPS.items():
        found[name] = run(step, frames, as_of=as_of).collect()
    return found
