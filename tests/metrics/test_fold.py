"""The folds, by hand and on two engines."""

from datetime import UTC, date, datetime, timedelta

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.metrics import fold
from quality.catalog.columns import COMPOSED, KINDS
from quality.catalog.model import enforce
from quality.catalog.tables import TABLES

AS_OF = date(2024, 6, 1)
WEIGHTS = {"reply": 1.0, "mention": 1.0, "message": 1.0, "quote": 0.5, "repost": 0.5, "bookmark": 0.5, "like": 0.1, "follow": 0.0, "rsvp": 0.0}  # fmt: skip
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def interactions(*rows: dict) -> pl.LazyFrame:
    """Interactions from what differs from a plain timed like by `x`."""
    table = TABLES["fct_interaction"]
    full = []
    for number, row in enumerate(rows):
        occurred = row.get("occurred_at", NOON)
        kind = row.get("kind", "like")
        base = {
            "interaction_id": f"i{number}", "account_id": "a", "platform": "p", "identity_id": "x", "direction": "inbound",
            "kind": kind, "is_composed": kind in COMPOSED, "occurred_at": occurred, "observed_at": occurred,
            "active_at": row.get("observed_at", occurred), "is_time_known": True, "is_own_row": False,
            "is_site_wide": False, "is_audience": True, "loaded_at": occurred,
        }  # fmt: skip
        full.append({**{c.name: None for c in table.columns}, **base, **row})
    return enforce(table, pl.DataFrame(full, schema={c.name: c.dtype.polars for c in table.columns})).lazy()


def posts(**published: datetime) -> pl.LazyFrame:
    """Posts of account `a`, by id and time of publishing."""
    table = TABLES["dim_post"]
    rows = [
        {
            **{c.name: None for c in table.columns},
            "post_id": post,
            "account_id": "a",
            "published_at": at,
            "observed_at": at,
        }
        for post, at in published.items()
    ]
    return pl.LazyFrame(rows, schema={c.name: c.dtype.polars for c in table.columns})


def days(*rows: dict) -> list[dict]:
    """fold_relationship_day of the rows, as dictionaries."""
    result = fold.relationship_day(interactions(*rows), weights=WEIGHTS, as_of=AS_OF)
    return enforce(TABLES["fold_relationship_day"], result).sort("identity_id", "date").to_dicts()


def test_a_day_counts_by_direction_and_composition() -> None:
    [row] = days({"kind": "reply"}, {"kind": "like"}, {"kind": "follow"}, {"kind": "reply", "direction": "outbound"})
    assert (row["inbound"], row["inbound_active"], row["inbound_composed"]) == (3, 2, 1)
    assert (row["outbound"], row["outbound_composed"]) == (1, 1)
    assert row["value"] == pytest.approx(1 + 0.1 + 0)
    assert row["strength"] == pytest.approx(1 + 0.1 + 0 + 1)
    assert row["first_at"] == row["last_at"] == NOON


def test_unknown_time_counts_in_untimed_columns_only() -> None:
    [row] = days(
        {
            "kind": "reply",
            "occurred_at": None,
            "observed_at": NOON,
            "active_at": NOON,
            "is_time_known": False,
            "loaded_at": NOON,
        }
    )
    assert (row["inbound"], row["inbound_untimed"], row["inbound_composed_untimed"]) == (0, 1, 1)
    assert (row["first_at"], row["value"]) == (None, 0)


def test_own_site_wide_future_and_retracted_rows_are_out() -> None:
    assert (
        days(
            {"is_audience": False},
            {"occurred_at": datetime(2024, 6, 2, tzinfo=UTC)},
            {"retracted_at": NOON + timedelta(days=1)},
            {"observed_at": datetime(2024, 6, 3, tzinfo=UTC), "active_at": NOON},
        )
        == []
    )


def test_a_retraction_after_the_cutoff_is_not_known_yet() -> None:
    assert len(days({"retracted_at": datetime(2024, 6, 3, tzinfo=UTC)})) == 1


def test_an_unfollow_ends_the_tie_and_counts_in_the_log_of_follows_alone() -> None:
    began, ended = days({"kind": "follow", "retracted_at": NOON + timedelta(days=3)})
    assert (ended["is_ended"], began["is_ended"]) == (True, False)
    assert (began["date"], ended["date"]) == (date(2024, 5, 1), date(2024, 5, 4))
    assert (began["followed"], began["unfollowed"], ended["followed"], ended["unfollowed"]) == (1, 0, 0, 1)
    assert began["inbound"] == ended["inbound"] == 0


def test_follows_stand_in_the_log_on_their_day_where_their_time_is_known() -> None:
    unknown = {"kind": "follow", "is_time_known": False}
    [row] = days({"kind": "follow"}, unknown, {"kind": "follow", "direction": "outbound"})
    assert (row["followed"], row["followed_untimed"], row["unfollowed"], row["inbound"]) == (1, 1, 0, 1)
    began, ended = days({**unknown, "retracted_at": NOON + timedelta(days=1)})
    assert (began["followed"], began["followed_untimed"], ended["unfollowed"]) == (0, 1, 1)


def test_the_exchange_is_what_somebody_wrote_at_a_known_time() -> None:
    later = NOON + timedelta(hours=1)
    table = interactions(
        {"kind": "reply"}, {"kind": "mention"}, {"kind": "like"}, {"kind": "message", "direction": "outbound"},
        {"kind": "reply", "occurred_at": later}, {"kind": "reply", "is_time_known": False},
        {"kind": "reply", "is_audience": False}, {"kind": "reply", "retracted_at": later},
    )  # fmt: skip
    found = enforce(TABLES["fold_response"], fold.response(table, as_of=AS_OF)).sort("active_at", "direction")
    assert found.select("direction", "active_at", "messages").rows() == [
        ("inbound", NOON, 2), ("outbound", NOON, 1), ("inbound", later, 1),
    ]  # fmt: skip


def test_a_post_counts_its_first_seven_days() -> None:
    week = NOON + timedelta(days=7)
    table = interactions(
        {"post_id": "p1", "kind": "reply"},
        {"post_id": "p1", "kind": "quote", "occurred_at": week - timedelta(microseconds=1)},
        {"post_id": "p1", "kind": "like", "occurred_at": week},
        {"post_id": "p1", "kind": "like", "occurred_at": NOON - timedelta(seconds=1)},
        {"post_id": "p1", "kind": "reply", "direction": "outbound"},
        {"post_id": None, "kind": "like"},
    )
    result = fold.post_value(table, posts(p1=NOON), weights=WEIGHTS, as_of=AS_OF)
    [row] = enforce(TABLES["fold_post_value"], result).to_dicts()
    assert (row["interactions"], row["replies"], row["quotes"], row["likes"]) == (2, 1, 1, 0)
    assert (row["value"], row["value_low"], row["value_high"]) == (1.5, 1.5, 1.5)


def test_a_like_is_worth_between_nothing_and_three_tenths() -> None:
    result = fold.post_value(interactions({"post_id": "p1"}), posts(p1=NOON), weights=WEIGHTS, as_of=AS_OF)
    [row] = enforce(TABLES["fold_post_value"], result).to_dicts()
    assert (row["value_low"], row["value"], row["value_high"]) == (0.0, 0.1, 0.3)


_rows = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(KINDS),
            "direction": st.sampled_from(["inbound", "outbound"]),
            "identity_id": st.sampled_from(["x", "y"]),
            "post_id": st.sampled_from([None, "p1", "p2"]),
            "occurred_at": st.integers(0, 40 * 24).map(lambda hours: NOON + timedelta(hours=hours)),
            "is_time_known": st.booleans(),
            "is_audience": st.booleans(),
        }
    ),
    max_size=30,
)


@given(rows=_rows)
def test_polars_and_duckdb_give_the_same_folds(rows: list[dict]) -> None:
    table, post = interactions(*rows), posts(p1=NOON, p2=NOON + timedelta(days=10))
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("f", table.collect().to_arrow())
        connection.register("p", post.collect().to_arrow())
        f, p = connection.table("f"), connection.table("p")
        pairs = {
            "fold_relationship_day": (
                fold.relationship_day(table, weights=WEIGHTS, as_of=AS_OF),
                fold.relationship_day(f, weights=WEIGHTS, as_of=AS_OF).pl(),
            ),
            "fold_post_value": (
                fold.post_value(table, post, weights=WEIGHTS, as_of=AS_OF),
                fold.post_value(f, p, weights=WEIGHTS, as_of=AS_OF).pl(),
            ),
            "fold_response": (fold.response(table, as_of=AS_OF), fold.response(f, as_of=AS_OF).pl()),
        }
        for name, (polars, other) in pairs.items():
            key = TABLES[name].key
            assert enforce(TABLES[name], polars).sort(key).equals(enforce(TABLES[name], other).sort(key))


@given(rows=_rows)
def test_the_order_of_rows_does_not_matter(rows: list[dict]) -> None:
    key = TABLES["fold_relationship_day"].key
    forward = fold.relationship_day(interactions(*rows), weights=WEIGHTS, as_of=AS_OF).collect().sort(key)
    backward = fold.relationship_day(interactions(*rows).reverse(), weights=WEIGHTS, as_of=AS_OF).collect().sort(key)
    assert forward.equals(backward)
