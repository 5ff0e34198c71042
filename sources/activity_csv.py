"""CSV files of activity as frames of texts, a piece of some megabytes at a time.

Polars reads a piece; the `csv` module reads one with rows too long or with empty lines, and says
which. A file is read whole where only the whole tells its rows apart: quotation marks that do not
enclose whole fields, or line ends of old Macs.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from sources.activity_text import PROBLEM, ROW, Content, Text
from sources.model import SourceError

SURPLUS = "more fields than the file has columns"
_QUOTE, _NEWLINE = ord('"'), ord("\n")
_MOST = 256 * 1024 * 1024  # bytes of one row: longer ones are due to a quotation mark that is never closed
csv.field_size_limit(2**31 - 1)  # a post may be long


def csv_content(text: Text, known: Callable[[Sequence[str]], int]) -> Content:
    """The rows of a CSV file; `known` says how many of some names are names of columns.

    Raises `SourceError` where it is no CSV, or where a quotation mark is never closed.
    """
    marks = _marks(text)
    if marks is not None:
        header, delimiter = _header(text.head(), text.path, known)
        if not marks or all(_encloses(piece, ord(delimiter)) for piece in _records(text)):
            return _content(text, header, lambda: _frames(text, header, delimiter))
    said = text.whole()
    if "\r" in said and "\n" not in said:
        said = said.replace("\r", "\n")  # as spreadsheets of old Macs end their lines
    header, delimiter = _header(said, text.path, known)
    _closed(said, delimiter, text.path)
    frame, _ = _read(said.encode(), delimiter, header, text.path)
    return _content(text, header, lambda: iter([frame]))


def _content(text: Text, header: Sequence[str], frames: Callable[[], Iterator[pl.DataFrame]]) -> Content:
    is_empty = all(frame.is_empty() for frame in frames())  # looks no further than the first row
    return Content(names=tuple(header), frames=frames, is_empty=is_empty, notes=text.notes)


def _frames(text: Text, header: Sequence[str], delimiter: str) -> Iterator[pl.DataFrame]:
    first, rows = b"", 0
    for piece in _records(text):
        body = piece
        if not first:
            first, body = _first_record(piece)
        if body:
            frame, count = _read(first + body, delimiter, header, text.path)
            yield frame.with_columns(pl.col(ROW) + rows)
            rows += count


def _records(text: Text) -> Iterator[bytes]:
    """Pieces of whole rows: cut at an end of line before which quotation marks are closed."""
    left = b""
    for piece in text.pieces():
        data = left + piece
        end = data.rfind(b"\n")
        marks = data.count(b'"', 0, end + 1)
        while end >= 0 and marks % 2:
            before = data.rfind(b"\n", 0, end)
            marks -= data.count(b'"', before + 1, end + 1)
            end = before
        left = data[end + 1 :]
        if end >= 0:
            yield data[: end + 1]
    if left:
        yield left


def _first_record(piece: bytes) -> tuple[bytes, bytes]:
    """The names of the columns, as written, and the rest."""
    end = piece.find(b"\n") + 1
    while end and piece.count(b'"', 0, end) % 2:
        end = piece.find(b"\n", end) + 1
    return (piece[:end], piece[end:]) if end else (piece, b"")


def _marks(text: Text) -> int | None:
    """How many quotation marks there are; null where the file cannot be cut into pieces.

    That is where a line seems to end in a carriage return alone, and where marks are not closed.
    """
    left, marks, unclosed = b"", 0, 0
    for piece in text.pieces():
        data = left + piece
        left = data[-1:] if data.endswith(b"\r") else b""
        if b"\r" in data and data.count(b"\r") - len(left) != data.count(b"\r\n"):
            return None
        marks += piece.count(b'"')
        unclosed = unclosed + len(piece) if marks % 2 else 0
        if unclosed > _MOST:
            return None
    return None if left or marks % 2 else marks


def _encloses(piece: bytes, delimiter: int) -> bool:
    """Whether quotation marks enclose whole fields: then rows end where a line ends and marks are closed."""
    if b'"' not in piece:
        return True
    data = np.frombuffer(b"\n" + piece + b"\n", dtype=np.uint8)
    marks = np.flatnonzero(data == _QUOTE)
    if len(marks) % 2:
        return False
    opening, closing = marks[::2], marks[1::2]
    twice = closing[:-1] + 1 == opening[1:]  # a mark within a field is written twice
    starts = np.isin(data[opening - 1], [delimiter, _NEWLINE])
    ends = np.isin(data[closing + 1], [delimiter, _NEWLINE, ord("\r")])
    starts[1:] |= twice
    ends[:-1] |= twice
    return bool(starts.all() and ends.all())


def _read(body: bytes, delimiter: str, header: Sequence[str], path: Path) -> tuple[pl.DataFrame, int]:
    """The rows below the header of `body`, and how many lines they are; those that say nothing are left out."""
    places = [str(place) for place in range(len(header))]  # unique, whatever the names
    try:
        if b"\n\n" in body or b"\n\r\n" in body:
            raise pl.exceptions.ComputeError("how empty lines count is the other reader's to say")
        frame = pl.read_csv(
            body,
            separator=delimiter,
            has_header=True,
            infer_schema=False,
            new_columns=places,
            truncate_ragged_lines=False,
        ).with_row_index(ROW, 1)
        if frame.width != len(header) + 1:
            raise pl.exceptions.ComputeError("the header is not what it seemed")
        frame, rows = frame.with_columns(pl.lit(None, pl.String).alias(PROBLEM)), frame.height
    except (pl.exceptions.PolarsError, UnicodeError):
        frame, rows = _read_slowly(body.decode(), delimiter, places, path)
    frame = frame.filter(pl.any_horizontal(pl.col(PROBLEM).is_not_null(), *(pl.col(name) != "" for name in places)))
    return frame.rename(dict(zip(places, _distinct(header), strict=True))), rows


def _read_slowly(text: str, delimiter: str, places: list[str], path: Path) -> tuple[pl.DataFrame, int]:
    """Row by row, where some rows are too long: those keep their surplus and are marked."""
    columns: dict[str, list[str | None]] = {name: [] for name in (*places, PROBLEM)}
    numbers: list[int] = []
    number = 0
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        next(reader)
        for number, fields in enumerate(reader, 1):
            if not fields:
                continue
            numbers.append(number)
            columns[PROBLEM].append(SURPLUS if len(fields) > len(places) else None)
            for place, name in enumerate(places):
                columns[name].append(fields[place] if place < len(fields) else None)
    except csv.Error as error:
        raise SourceError(
            f"It is no readable CSV ({error})", path.name, "Export it again, with quotes around text."
        ) from error
    schema = dict.fromkeys(columns, pl.String())
    return pl.DataFrame(columns, schema=schema).with_columns(pl.Series(ROW, numbers, dtype=pl.UInt32)), number


def _closed(text: str, delimiter: str, path: Path) -> None:
    """Refuse a file whose last quotation mark is never closed: it would swallow all rows that follow it."""
    if text.count('"') % 2 == 0:
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    row = 0  # the header's number: rows count from 1 below it
    try:
        next(reader)
        for row, _ in enumerate(reader, 1):  # noqa: B007 - used where it ends early
            pass
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise SourceError(
                f"A quotation mark in row {row + 1} is never closed", path.name, "Close it, or write it twice."
            ) from error


def _distinct(header: Sequence[str]) -> list[str]:
    """Polars wants distinct names; a repeated one is refused later, with a message."""
    return [name if name not in header[:place] else f"{name} ({place})" for place, name in enumerate(header)]


def _header(text: str, path: Path, known: Callable[[Sequence[str]], int]) -> tuple[list[str], str]:
    """Names of the columns and the delimiter that explains most of them."""
    best: tuple[int, int, list[str], str] = (-1, -1, [], ",")
    for delimiter in (",", ";", "\t", "|"):
        try:
            names = next(csv.reader(io.StringIO(text[:100_000]), delimiter=delimiter), [])
        except csv.Error:
            continue
        best = max(best, (known(names), len(names), names, delimiter), key=lambda found: found[:2])
    if not any(name.strip() for name in best[2]) or "\x00" in text[:4096]:
        raise SourceError("It is no CSV, JSON Lines or Parquet", path.name, "Export it in one of these formats.")
    return best[2], best[3]
