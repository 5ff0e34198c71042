"""Raw tables and readings."""

import hashlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sources.model import READINGS, AccountSource, Outcome, RawColumn, RawTable, readings
from sources.registry import REGISTRY

AT = datetime(2024, 5, 1, tzinfo=UTC)


def by_stream(outcomes, **options):
    rows = readings("a", outcomes, platform="feed", source="feed", read_at=AT, **options)
    return {row["stream"]: row for row in rows}


def test_streams_that_a_platform_does_not_offer_are_said_so():
    rows = by_stream({"posts": [Outcome(status="ok", covers_from=AT)]})
    assert {stream: row["status"] for stream, row in rows.items()} == {
        "posts": "ok",
        "inbound": "not_offered",
        "outbound": "not_offered",
        "counters": "not_offered",
    }
    assert READINGS.arrow(rows.values(), loaded_at=AT).num_rows == 4


def test_a_stream_is_as_complete_as_its_least_complete_place():
    early, late = datetime(2020, 1, 1, tzinfo=UTC), datetime(2022, 1, 1, tzinfo=UTC)
    both = [Outcome(status="ok", covers_from=early), Outcome(status="ok", covers_from=late)]
    assert by_stream({"posts": both})["posts"]["covers_from"] == late
    assert by_stream({"posts": both}, keeps_history=True)["posts"]["covers_from"] == early
    down = Outcome(status="down", reason="gone")
    mixed = by_stream({"posts": [*both, down]})["posts"]
    assert (mixed["status"], mixed["covers_from"], mixed["reason"]) == ("partial", None, "gone")
    assert by_stream({"posts": [down, down]})["posts"]["status"] == "down"


def test_a_row_that_says_the_same_is_one_observation():
    table = RawTable(name="t", doc="d", columns=(RawColumn(name="a", doc="d"), *READINGS.columns[-2:]))
    seen = {}
    assert table.arrow([{"a": "é"}, {"a": "é"}], loaded_at=AT, seen=seen).num_rows == 1
    assert table.arrow([{"a": "é"}, {"a": "\ud800"}], loaded_at=AT, seen=seen).num_rows == 1
    with pytest.raises(KeyError, match="no columns"):
        table.arrow([{"b": "x"}], loaded_at=AT)


EVERY_TYPE = RawTable(
    name="t",
    doc="d",
    columns=(
        RawColumn(name="text", doc="d"),
        RawColumn(name="number", doc="d", dtype="bigint"),
        RawColumn(name="is_so", doc="d", dtype="bool"),
        RawColumn(name="at", doc="d", dtype="timestamp"),
        *READINGS.columns[-2:],
    ),
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "text": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
                "number": st.none() | st.integers(-(2**63), 2**63 - 1),
                "is_so": st.none() | st.booleans(),
                "at": st.none() | st.datetimes(AT.replace(year=1000, tzinfo=None), timezones=st.just(UTC)),
            },
        ),
        max_size=5,
    )
)
@example([{"text": 'quote " \\ / \n \x01\x7f\u2028', "number": -1}, {}])
def test_a_key_is_the_hash_of_the_canonical_json(rows):
    """Keys that are in a warehouse must stay what they are, whatever makes them: row by row, or columns at once."""
    keys = []
    for row in rows:
        said = {name: value for name, value in row.items() if value is not None}
        text = json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
        keys.append(hashlib.sha256(text.encode()).hexdigest()[:32])
    for few in (0, 10):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sources.row_hash._FEW", few)
            made = EVERY_TYPE.arrow(rows, loaded_at=AT)
        assert made["row_hash"].to_pylist() == list(dict.fromkeys(keys))
        assert made["loaded_at"].to_pylist() == [AT] * len(set(keys))


def test_half_a_surrogate_pair_becomes_a_text_that_a_table_can_hold():
    table = RawTable(name="t", doc="d", columns=(RawColumn(name="a", doc="d"), *READINGS.columns[-2:]))
    assert table.arrow([{"a": "\ud800 half"}, {"a": "\U0001f600"}], loaded_at=AT)["a"].to_pylist() == [
        "? half",
        "\U0001f600",
    ]


def test_secrets_do_not_show_in_an_account():
    assert "s3cret" not in repr(AccountSource(account_id="a", source="s", url="u", options={"token": "s3cret"}))


@pytest.mark.parametrize("name", ["feed", "webmention"])
def test_connectors_declare_their_tables_without_accounts(name):
    connector = REGISTRY[name]
    source = connector.source((), read_at=AT, store_text=False)
    assert set(source.selected_resources) == {table.name for table in connector.tables}
    for table in connector.tables:
        columns = source.resources[table.name].columns
        assert all(columns[column.name]["description"] for column in table.columns)
