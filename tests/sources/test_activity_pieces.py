"""Activity files in pieces: the same rows whatever the pieces, and the quick readers say what the slow ones say."""

import io
import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sources import activity_csv, activity_json, activity_text
from sources.activity_files import open_file
from sources.activity_keys import Seen

JSON_START = b'{"person": "a", "kind": "like", "occurred_at": "2024"}\n'
CSV_START = b"person,kind,occurred_at,x\n"

texts = st.text(max_size=6) | st.sampled_from(
    ["", "2024-01-02", 'say "a": b', "}\n{", "\\", "\ud83d\ude00", "-0", "null"]
)
numbers = st.integers() | st.floats() | st.sampled_from([0, 7, 2**63 - 1, 2**63, 12345678901234567890])
values = texts | numbers | st.none() | st.booleans() | st.lists(st.integers(), max_size=2)
alike = st.sampled_from([texts, st.integers(-9, 9), st.booleans(), numbers, values])
objects = alike.flatmap(
    lambda one: st.lists(
        st.dictionaries(st.sampled_from(["person", "a", "b", "", "the line"]), one, max_size=4), max_size=6
    )
)
odd = st.sampled_from(
    ["", "  ", "\u2028", "[1]", "{", '{"a": "x"}{"a": "y"}', '{"a": 1.50}', '{"a": -0}', '{"a": 1e3}', '{"a": NaN}', '{"a": "\\ud800"}',
     '{"a": "1", "a": "2"}', '{"a": "x"},', ' {"a": "x"} ', '{"a": {"b": 1}}', '{"a" : "x", "c": null}', "{}", '{"\\u0061": "x"}', '{"a": "\\u0000"}'],
)  # fmt: skip


def json_lines(said: list[dict], strange: list[tuple[int, str]], end: str) -> bytes:
    lines = [json.dumps(row, ensure_ascii=index % 2 == 0) for index, row in enumerate(said)]
    for place, line in strange:
        lines.insert(place, line)
    return JSON_START + (end.join(lines) + end).encode("utf-8", "replace")


def rows(path: Path) -> pl.DataFrame:
    return pl.concat(open_file(path, "interactions").batches())


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=objects, strange=st.lists(st.tuples(st.integers(0, 5), odd), max_size=2), end=st.sampled_from(["\n", "\r\n"]),
    piece=st.integers(1, 400), kept=st.sampled_from([0, 300, 1 << 30]),
)  # fmt: skip
def test_json_lines_say_the_same_quickly_slowly_and_in_pieces(tmp_path, monkeypatch, said, strange, end, piece, kept):
    path = tmp_path / "a.jsonl"
    path.write_bytes(json_lines(said, strange, end))
    quickly = rows(path)
    with monkeypatch.context() as patch:
        patch.setattr(activity_text, "PIECE", piece)
        patch.setattr(activity_json, "_KEPT", kept)
        in_pieces = rows(path)
        patch.setattr(activity_json, "_table", lambda *_: None)
        patch.setattr(activity_json._Fields, "_learn_first", lambda *_: None)
        slowly = rows(path)
    assert quickly.equals(slowly)
    assert in_pieces.equals(slowly)


def test_plain_json_lines_are_read_quickly(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    said = [{"person": n, "kind": "like", "occurred_at": "2024", "new": n > 3, "mood": None} for n in range(9)]
    path.write_bytes(json_lines(said, [], "\n").removeprefix(JSON_START))
    monkeypatch.setattr(activity_text, "PIECE", 200)
    monkeypatch.setattr(activity_json, "_slowly", None)
    assert rows(path)["person"].to_list() == [str(n) for n in range(9)]
    assert rows(path)["other"].to_list()[-1] == '{"new":"true","mood":null}'


fields = st.text("ab ,;\"\n'é", max_size=5)
records = st.lists(st.lists(fields, min_size=4, max_size=4), max_size=8)


def written(said: list[list[str]], end: str, *, quotes: bool) -> bytes:
    out = io.StringIO(newline="")
    for row in said:
        cells = ['"' + cell.replace('"', '""') + '"' if quotes or set(cell) & set(',"\n') else cell for cell in row]
        out.write(",".join(cells) + end)
    return out.getvalue().encode()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=records, end=st.sampled_from(["\n", "\r\n"]), quotes=st.booleans(), piece=st.integers(20, 300),
    strange=st.sampled_from([b"", b"", b"\n", b"a,b,c,d,e\n", b"a\n", b",,,\n", b'5" disk,a,b,c\n', b'5" disk,6" disk,b,c\n', b"a\rb,c\n"]),
)  # fmt: skip
def test_csv_says_the_same_in_pieces_and_slowly(tmp_path, monkeypatch, said, end, quotes, piece, strange):
    path = tmp_path / "a.csv"
    middle = len(said) // 2
    path.write_bytes(
        CSV_START
        + b"me,like,2024,\n"
        + written(said[:middle], end, quotes=quotes)
        + strange
        + written(said[middle:], end, quotes=quotes)
    )
    with monkeypatch.context() as patch:
        patch.setattr(activity_csv, "_marks", lambda _: None)
        whole = rows(path)
        is_plain = strange in (b"", b"\n", b",,,\n")
        patch.setattr(activity_csv.pl, "read_csv", refuse)
        slowly = rows(path)
    monkeypatch.setattr(activity_text, "PIECE", piece)
    in_pieces = rows(path)
    assert in_pieces.equals(whole)
    assert slowly.equals(whole) or not is_plain


def refuse(*_: object, **__: object) -> None:
    raise pl.exceptions.ComputeError("slowly")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings_are_read_in_pieces(tmp_path, monkeypatch, encoding):
    monkeypatch.setattr(activity_text, "PIECE", 7)
    path = tmp_path / "a.csv"
    path.write_bytes("person,kind,occurred_at\nzoë,like,2024-01-02\nbjörn,like,2024-01-03\n".encode(encoding))
    assert rows(path)["person"].to_list() == ["zoë", "björn"]
    assert rows(path)["row_number"].to_list() == [1, 2]


def test_a_mark_never_closed_does_not_gather_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(activity_text, "PIECE", 64)
    monkeypatch.setattr(activity_csv, "_MOST", 256)
    text = 'person,kind,occurred_at\n"a,like,2024\n' + "b,like,2024\n" * 100 + '"c,like,2024\n'
    path = tmp_path / "a.csv"
    path.write_text(text)
    assert activity_csv._marks(activity_text.Text.of(path)) is None


@given(batches=st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5), max_size=9), shared=st.booleans())
def test_keys_of_earlier_batches_are_counted(batches, shared):
    seen = Seen()
    earlier: Counter[str] = Counter()
    for number, batch in enumerate(batches):
        keys = [key if shared else f"{key}{number}" for key in batch]
        before = seen.before(pl.Series(keys))
        assert (before is None) == (len(set(keys)) == len(keys) and not any(earlier[key] for key in keys))
        if before is not None:
            assert before.to_list() == [earlier[key] for key in keys]
        earlier.update(keys)
    assert sum(map(len, seen.first.runs)) == earlier.total()
