"""JSON Lines files of activity as frames of texts, a piece of some megabytes at a time.

Arrow reads a piece in which every line is an object of texts, whole numbers and truth values, by
the types it was told; it refuses anything else (fractions, records, a key given twice, damage),
and then the piece is read line by line, so that every value stays as it is written.
"""

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.json

from sources.activity_text import PROBLEM, ROW, Content, Text
from sources.model import SourceError

NO_OBJECT = "the line is no JSON object"
LINE = "the line"
"""The column of a line that is no object."""
_KEPT = 128 * 1024 * 1024
"""Bytes of tables that are kept from learning the names, so that the start of a file is read once."""
_FIRST = 100  # lines that tell the types of a piece
_AT_ONCE = 2 * 1024 * 1024  # bytes that a thread reads
_MINUS_ZERO = re.compile(rb":\s*-0")  # the one whole number that is not written as it is read
_TYPES: dict[type, pa.DataType] = {str: pa.string(), bool: pa.bool_(), int: pa.int64()}


def json_content(text: Text) -> Content:
    """The rows of a JSON Lines file; numbers are lines.

    Raises `SourceError` where no line is an object.
    """
    fields = _Fields()
    is_empty = True
    kept: dict[int, pa.Table] = {}
    free = _KEPT
    for number, (piece, table) in enumerate(_ahead(text, fields)):
        if table is None:
            is_empty &= not fields.learn(piece)
            continue
        is_empty = False
        if table.nbytes <= free:
            kept[number] = table
            free -= table.nbytes
    if is_empty:
        raise SourceError("No line of it is a JSON object", text.path.name, "Write one object a line (JSON Lines).")
    return Content(
        names=tuple(fields.types), frames=lambda: _frames(text, fields, kept), is_empty=False, notes=text.notes
    )


def _ahead(text: Text, fields: "_Fields") -> Iterator[tuple[bytes, pa.Table | None]]:
    """The pieces as `fields` reads them, each read while the caller uses the one before."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[tuple[bytes, dict[str, pa.DataType], Future[pa.Table | None]]] = deque()

        def first() -> tuple[bytes, pa.Table | None]:
            piece, types, reading = waiting.popleft()
            table = reading.result()
            # Read by types that have changed since, it may be read in another way.
            return piece, table if table is not None and types == fields.types else fields.read(piece)

        for piece in text.lines():
            if waiting and not fields.types:
                yield first()
            types = dict(fields.types)
            waiting.append((piece, types, pool.submit(_plain, piece, types)))
            if len(waiting) > 1:
                yield first()
        while waiting:
            yield first()


def _frames(text: Text, fields: "_Fields", kept: dict[int, pa.Table]) -> Iterator[pl.DataFrame]:
    """The rows, piece by piece; tables that were kept are let go."""
    names, lines = list(fields.types), 0
    for number, piece in enumerate(text.lines()):
        table = kept.pop(number, None)
        if table is None:
            table = fields.read(piece)
        frame = _slowly(piece, names) if table is None else _quickly(table, names)
        yield frame.with_columns(pl.col(ROW) + lines)
        lines += piece.count(b"\n")


@dataclass
class _Fields:
    """The names that objects of a file have, in the order in which they come up, with the type that values had last."""

    types: dict[str, pa.DataType] = field(default_factory=dict)

    def read(self, piece: bytes) -> pa.Table | None:
        """The piece as a table; null where it holds anything odd, or a name that is not known yet."""
        table = _plain(piece, self.types)
        if table is None and _lines(piece) is not None:
            self._learn_first(piece)
            table = _plain(piece, self.types)
        return table

    def learn(self, piece: bytes) -> bool:
        """Learn the names of the piece line by line; whether any line is an object."""
        objects = 0
        for line in piece.decode().split("\n"):
            if line.strip():
                said = _object(line)
                objects += said is not None
                self._learn({LINE: line} if said is None else said)
        return objects > 0

    def _learn_first(self, piece: bytes) -> None:
        for line in piece.split(b"\n", _FIRST)[:_FIRST]:
            self._learn(_object(line.decode()) or {})

    def _learn(self, said: dict[str, Any]) -> None:
        for name, value in said.items():
            if value is None:
                self.types.setdefault(name, pa.string())
            else:
                self.types[name] = _TYPES.get(type(value), pa.string())


def _plain(piece: bytes, types: dict[str, pa.DataType]) -> pa.Table | None:
    """The piece as a table of these types; null where it is not plain objects of them, or no type is known."""
    lines = _lines(piece) if types else None
    if lines is None:
        return None
    table = _table(piece.replace(b"\r\n", b"\n") if b"\r" in piece else piece, types)
    # A line may hold two objects, and then the text around it no longer says how many lines there are.
    return table if table is not None and table.num_rows == lines else None


def _lines(piece: bytes) -> int | None:
    """How many lines there are, each an object as far as its ends show; null where one is not."""
    piece = piece.replace(b"\r\n", b"\n") if b"\r" in piece else piece
    lines = piece.count(b"\n") + (not piece.endswith(b"\n"))
    is_plain = piece.startswith(b"{") and piece.endswith((b"}", b"}\n")) and piece.count(b"}\n{") == lines - 1
    return lines if is_plain else None


def _table(piece: bytes, types: dict[str, pa.DataType]) -> pa.Table | None:
    if pa.int64() in types.values() and _MINUS_ZERO.search(piece):
        return None
    try:
        return pyarrow.json.read_json(
            pa.BufferReader(piece),
            read_options=pyarrow.json.ReadOptions(block_size=_AT_ONCE),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior="error"
            ),
        )
    except (pa.ArrowException, UnicodeError):
        return None


def _quickly(table: pa.Table, names: Sequence[str]) -> pl.DataFrame:
    columns = {
        name: pl.Series(pl.from_arrow(column)).cast(pl.String)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    unknown = pl.Series([None], dtype=pl.String).new_from_index(0, table.num_rows)
    return (
        _frame([columns.get(name, unknown) for name in names], names)
        .with_row_index(ROW, 1)
        .with_columns(pl.lit(None, pl.String).alias(PROBLEM))
    )


def _frame(columns: Iterable[pl.Series], names: Sequence[str]) -> pl.DataFrame:
    """The columns by their names: Polars would give a name to one whose name is empty."""
    frame = pl.DataFrame([column.alias(str(place)) for place, column in enumerate(columns)])
    return frame.rename({str(place): name for place, name in enumerate(names)})


def _object(line: str) -> dict[str, Any] | None:
    """The object that a line is; numbers may have lost their spelling."""
    try:
        said = orjson.loads(line)
    except ValueError:
        try:
            said = json.loads(line)  # it knows NaN, and half a surrogate pair
        except (ValueError, RecursionError):
            return None
    return said if isinstance(said, dict) else None


def _slowly(piece: bytes, names: list[str]) -> pl.DataFrame:
    columns: dict[str, list[str | None]] = {name: [] for name in names}
    numbers: list[int] = []
    problems: list[str | None] = []
    for number, line in enumerate(piece.decode().split("\n"), 1):
        if not line.strip():
            continue
        try:
            # Numbers stay as they are written; nobody's 64-bit id is rounded.
            said = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError):
            said = None
        is_object = isinstance(said, dict)
        row = said if is_object else {LINE: line}
        for name, column in columns.items():
            column.append(_value(row.get(name)))
        numbers.append(number)
        problems.append(None if is_object else NO_OBJECT)
    frame = _frame((pl.Series(column, dtype=pl.String) for column in columns.values()), names)
    return frame.with_columns(pl.Series(ROW, numbers, dtype=pl.UInt32), pl.Series(PROBLEM, problems, dtype=pl.String))


def _value(value: Any) -> str | None:
    text = value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # Half a surrogate pair (JSON can spell one) is no text that a table can hold.
    return None if text is None else text.encode("utf-8", "replace").decode()
