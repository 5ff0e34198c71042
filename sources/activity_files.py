"""Activity files as they are: CSV, JSON Lines or Parquet, to batches of text columns.

The format is recognised by content, the encoding and the delimiter too. Nothing is judged here but
whether the file as a whole can be read: what a row says is staging's to judge, so that one bad row
never stops the good ones. Column names are matched whatever their case.
"""

import csv
import difflib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from sources import earnings_stripe
from sources.model import SourceError

Shape = Literal["posts", "interactions", "earnings"]

COLUMNS: dict[Shape, tuple[str, ...]] = {
    "posts": ("account", "post", "published_at", "kind", "language", "words", "links", "url", "text", "deleted_at"),
    "interactions": (
        "account", "person", "kind", "occurred_at", "direction", "post", "interaction", "in_reply_to", "observed_at",
        "retracted_at",
    ),
    "earnings": (
        "account", "person", "email", "earned_at", "amount", "currency", "earning", "refunded", "refunded_at",
        "stripe_status", "stripe_captured", "stripe_mode",
    ),
}  # fmt: skip
"""The columns an activity file may have; others are kept as JSON in `other` (of a ledger of earnings: left out)."""
REQUIRED: dict[Shape, tuple[tuple[str, ...], ...]] = {
    "posts": (("post",), ("published_at",)),
    "interactions": (("person",), ("kind",), ("occurred_at", "observed_at")),
    "earnings": (("person", "email"), ("earned_at",), ("amount",), ("currency",)),
}
"""Of each group at least one column must be there."""

ROWS_AT_ONCE = 250_000
TIME: dict[Shape, str] = {"posts": "published_at", "interactions": "occurred_at", "earnings": "earned_at"}
"""The time that every row is about."""
SURPLUS = "more fields than the file has columns"
NO_OBJECT = "the line is no JSON object"
_LINE = "the line"
csv.field_size_limit(2**31 - 1)  # a post may be long

_ROW, _PROBLEM = "(row)", "(problem)"  # beside columns of any name
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_MAGIC = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "Save the sheet as CSV, or unpack the archive."),
    (b"\x1f\x8b", "compressed (gzip)", "Unpack it first."),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)", "Unpack it first."),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV."),
    (b"%PDF", "a PDF", "Give a CSV, JSON Lines or Parquet file."),
)


@dataclass(frozen=True, kw_only=True)
class ActivityFile:
    """One file that can be read: its shape, its columns, what was noticed, and its rows.

    `batches` gives frames with the file's known columns as text (an empty text is null) and
    `at_utc`, `other`, `problem`, `row_number` (data rows from 1; JSON Lines: lines). Where the file
    gives the row's time as a time, it is in `at_utc` and not written out as text.
    """

    path: Path
    shape: Shape
    columns: tuple[str, ...]
    notes: tuple[str, ...]
    batches: Callable[[], Iterator[pl.DataFrame]]


def shape_of(path: Path) -> Shape:
    """Whether the file holds posts, interactions or earnings, by its columns.

    Raises `SourceError` where none is recognised.
    """
    names = _names(_Content.of(path).names)
    if "earned_at" in names or earnings_stripe.is_export(names):
        return "earnings"
    if "person" in names:
        return "interactions"
    if "published_at" in names:
        return "posts"
    raise SourceError(
        "It has neither a column `person` (interactions) nor `published_at` (posts) nor `earned_at` (earnings); "
        f"found: {_listed(list(names))}",
        path.name,
        "Name the columns so, or say which it is with --posts, --interactions or --earnings.",
    )


def open_file(path: Path, shape: Shape) -> ActivityFile:
    """The file, once it is clear that it can be read and has the columns that its shape needs.

    Raises `SourceError` for a file that is missing, empty, of an unknown format, without rows, or
    without a required column.
    """
    content = _Content.of(path)
    names = _names(content.names, path)
    is_stripe = shape == "earnings" and earnings_stripe.is_export(names)
    if is_stripe:
        names = earnings_stripe.as_ledger(names)
    known = {name: given for name, given in names.items() if name in COLUMNS[shape]}
    unknown = [given for given in content.names if given not in known.values()]
    for group in REQUIRED[shape]:
        if not any(name in known for name in group):
            raise _missing(path, shape, group, content.names, unknown)
    if content.is_empty:
        raise SourceError("It has column names but no rows", path.name, "Check the export that made it.")
    notes = [f"{path.name}: {note}" for note in content.notes]
    if (named := [name for name in unknown if name != _LINE]) and not is_stripe:
        kept = "not kept" if shape == "earnings" else "kept but not used"
        notes.append(f"{path.name}: unknown columns are {kept}: {_guessed(named, shape, known)}.")
    return ActivityFile(
        path=path,
        shape=shape,
        columns=tuple(known),
        notes=tuple(notes),
        batches=lambda: (_as_text(frame, known, unknown, path, shape) for frame in content.frames()),
    )


@dataclass(frozen=True, kw_only=True)
class _Content:
    """A file of any format: names of its columns, and its rows as frames with `row_number`, maybe `problem`."""

    names: tuple[str, ...]
    frames: Callable[[], Iterator[pl.DataFrame]]
    is_empty: bool
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path) -> "_Content":
        try:
            with path.open("rb") as file:
                head = file.read(64)
        except OSError as error:
            what = "It is a folder" if path.is_dir() else f"It cannot be read ({error.strerror})"
            raise SourceError(what, str(path), "Give the name of a CSV, JSON Lines or Parquet file.") from error
        if not head.strip():
            raise SourceError("The file is empty", path.name, "Check the export that made it.")
        if head.startswith(b"PAR1"):
            return _parquet(path)
        for magic, what, todo in _MAGIC:
            if head.startswith(magic):
                raise SourceError(f"It is {what}", path.name, todo)
        text, notes = _decoded(path)
        start = text.lstrip()[:1]
        if not start:
            raise SourceError("The file is empty", path.name, "Check the export that made it.")
        if start == "<":
            raise SourceError("It is a web page or XML", path.name, "Give a CSV, JSON Lines or Parquet file.")
        if start == "[":
            raise SourceError("It is one JSON list", path.name, "Write one object a line (JSON Lines).")
        if start == "{" or path.suffix.lower() in (".jsonl", ".ndjson"):
            return _json_lines(path, text, notes)
        return _csv(path, text, notes)


def _names(given: Sequence[str], path: Path | None = None) -> dict[str, str]:
    """Normalised name -> name as given; two columns of one name are refused where a path is given."""
    names: dict[str, str] = {}
    for name in given:
        normal = name.strip().lower().replace(" ", "_").replace("-", "_")
        if normal in names and path is not None:
            raise SourceError(f"Two columns are called `{normal}`", path.name, "Rename or remove one.")
        names.setdefault(normal, name)
    return names


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name if name.strip() else repr(name) for name in names[:20]) + (", ..." if len(names) > 20 else "")


def _missing(
    path: Path, shape: Shape, group: Sequence[str], found: Sequence[str], unknown: Sequence[str]
) -> SourceError:
    near = [
        guess for name in group for guess in difflib.get_close_matches(name, [u.lower() for u in unknown], cutoff=0.6)
    ]
    meant = next((given for given in unknown if near and given.lower() == near[0]), None)
    guess = f"Did you mean `{meant}`? Rename it to `{group[0]}`." if meant else f"Every row of {shape} needs it."
    wanted = " or ".join(f"`{name}`" for name in group)
    return SourceError(f"It has no column {wanted} (found: {_listed(found)})", path.name, guess)


def _guessed(unknown: Sequence[str], shape: Shape, known: dict[str, str]) -> str:
    """The unknown names, each with the optional column it may have been meant for."""
    free = [name for name in COLUMNS[shape] if name not in known and not name.startswith("stripe_")]
    said = []
    for name in unknown:
        near = difflib.get_close_matches(name.lower(), free, n=1, cutoff=0.8)
        said.append(f"{name} (did you mean `{near[0]}`?)" if near else name)
    return _listed(said)


def _decoded(path: Path) -> tuple[str, tuple[str, ...]]:
    """The text of the file, and a note where its encoding had to be guessed."""
    data = path.read_bytes()
    encoding = next((name for bom, name in _BOMS if data.startswith(bom)), None)
    if encoding is None and b"\x00" in data[:4096]:
        even, odd = data[:4096:2].count(0), data[1:4096:2].count(0)
        if max(even, odd) < len(data[:4096]) // 4:
            raise SourceError("It is no text", path.name, "Give a CSV, JSON Lines or Parquet file.")
        encoding = "utf-16-be" if even > odd else "utf-16-le"
    try:
        return data.decode(encoding or "utf-8"), ()
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise SourceError(f"It is broken {encoding.upper()}", path.name, "Export it again as UTF-8.") from error
    try:
        text, used = data.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:
        text, used = data.decode("latin-1"), "Latin-1"
    return text, (f"not UTF-8, read as {used}; check a name with accents, and export as UTF-8 if it is wrong.",)


def _parquet(path: Path) -> _Content:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            "It is a damaged or incomplete Parquet file", path.name, "Copy or export it again."
        ) from error
    rows, names = file.metadata.num_rows, tuple(file.schema_arrow.names)
    file.close()

    def frames() -> Iterator[pl.DataFrame]:
        start = 1
        try:
            with pq.ParquetFile(path) as open_file_:
                for batch in open_file_.iter_batches(batch_size=ROWS_AT_ONCE):
                    frame = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))
                    yield frame.with_row_index(_ROW, start)
                    start += frame.height
        except (pa.ArrowException, OSError) as error:
            raise SourceError("It is a damaged Parquet file", path.name, "Copy or export it again.") from error

    return _Content(names=names, frames=frames, is_empty=rows == 0)


def _slices(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    return iter(frame.iter_slices(ROWS_AT_ONCE))


def _csv(path: Path, text: str, notes: tuple[str, ...]) -> _Content:
    if "\r" in text and "\n" not in text:
        text = text.replace("\r", "\n")  # as spreadsheets of old Macs end their lines
    header, delimiter = _header(text, path)
    _closed(text, delimiter, path)
    places = [str(place) for place in range(len(header))]  # unique, whatever the names
    body = text.encode()
    try:
        frame = pl.read_csv(
            body,
            separator=delimiter,
            has_header=True,
            infer_schema=False,
            new_columns=places,
            truncate_ragged_lines=False,
        ).with_row_index(_ROW, 1)
        if frame.width != len(header) + 1:
            raise pl.exceptions.ComputeError("the header is not what it seemed")
        frame = frame.with_columns(pl.lit(None, pl.String).alias(_PROBLEM))
    except (pl.exceptions.PolarsError, UnicodeError):
        frame = _csv_slowly(text, delimiter, places, path)
    frame = frame.filter(pl.any_horizontal(pl.col(_PROBLEM, *places).is_not_null()))
    frame = frame.rename(dict(zip(places, _distinct(header), strict=True)))
    return _Content(names=tuple(header), frames=lambda: _slices(frame), is_empty=frame.is_empty(), notes=notes)


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


def _header(text: str, path: Path) -> tuple[list[str], str]:
    """Names of the columns and the delimiter that explains most of them."""
    every = {name for names in COLUMNS.values() for name in names} | set(earnings_stripe.COLUMNS)
    best: tuple[int, int, list[str], str] = (-1, -1, [], ",")
    for delimiter in (",", ";", "\t", "|"):
        try:
            names = next(csv.reader(io.StringIO(text[:100_000]), delimiter=delimiter), [])
        except csv.Error:
            continue
        best = max(best, (len(every & set(_names(names))), len(names), names, delimiter), key=lambda found: found[:2])
    if not any(name.strip() for name in best[2]) or "\x00" in text[:4096]:
        raise SourceError("It is no CSV, JSON Lines or Parquet", path.name, "Export it in one of these formats.")
    return best[2], best[3]


def _csv_slowly(text: str, delimiter: str, places: list[str], path: Path) -> pl.DataFrame:
    """Row by row, for a file with some rows too long: those keep their surplus and are marked."""
    columns: dict[str, list[str | None]] = {name: [] for name in (*places, _PROBLEM)}
    numbers: list[int] = []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        next(reader)
        for number, fields in enumerate(reader, 1):
            if not fields:
                continue
            numbers.append(number)
            columns[_PROBLEM].append(SURPLUS if len(fields) > len(places) else None)
            for place, name in enumerate(places):
                columns[name].append(fields[place] if place < len(fields) else None)
    except csv.Error as error:
        raise SourceError(
            f"It is no readable CSV ({error})", path.name, "Export it again, with quotes around text."
        ) from error
    schema = dict.fromkeys(columns, pl.String())
    return pl.DataFrame(columns, schema=schema).with_columns(pl.Series(_ROW, numbers, dtype=pl.UInt32))


def _json_lines(path: Path, text: str, notes: tuple[str, ...]) -> _Content:
    columns: dict[str, list[str | None]] = {}
    numbers: list[int] = []
    problems: list[str | None] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            # Numbers stay as they are written; nobody's 64-bit id is rounded.
            said = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError):
            said = None
        is_object = isinstance(said, dict)
        for name, value in (said if is_object else {_LINE: line}).items():
            column = columns.setdefault(name, [])
            column.extend([None] * (len(numbers) - len(column)))
            column.append(_value(value))
        numbers.append(number)
        problems.append(None if is_object else NO_OBJECT)
    if not any(problem is None for problem in problems):
        raise SourceError("No line of it is a JSON object", path.name, "Write one object a line (JSON Lines).")
    for column in columns.values():
        column.extend([None] * (len(numbers) - len(column)))
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String())).with_columns(
        pl.Series(_ROW, numbers, dtype=pl.UInt32), pl.Series(_PROBLEM, problems, dtype=pl.String)
    )
    return _Content(names=tuple(columns), frames=lambda: _slices(frame), is_empty=frame.is_empty(), notes=notes)


def _value(value: Any) -> str | None:
    text = value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # Half a surrogate pair (JSON can spell one) is no text that a table can hold.
    return None if text is None else text.encode("utf-8", "replace").decode()


def _as_text(
    frame: pl.DataFrame, known: dict[str, str], unknown: Sequence[str], path: Path, shape: Shape
) -> pl.DataFrame:
    schema = frame.schema
    nested = [name for name in known.values() if schema[name].is_nested()]
    if nested:
        raise SourceError(f"The column `{nested[0]}` holds lists or records", path.name, "Give one value a row.")
    given_time = known.get(TIME[shape])
    is_typed = given_time is not None and isinstance(schema[given_time], (pl.Datetime, pl.Date))
    at = _moment(given_time, schema[given_time]) if given_time and is_typed else pl.lit(None, pl.Datetime("us", "UTC"))
    nothing = pl.lit(None, pl.String)
    fields = [_text(name, schema[name]).alias(name) for name in unknown]
    others = pl.struct(fields).struct.json_encode() if fields else nothing
    return frame.select(
        *(
            (nothing if is_typed and given == given_time else _text(given, schema[given])).alias(name)
            for name, given in known.items()
        ),
        at.alias("at_utc"),
        others.alias("other"),
        (pl.col(_PROBLEM) if _PROBLEM in schema else nothing).alias("problem"),
        pl.col(_ROW).cast(pl.Int64).alias("row_number"),
    )


def _text(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as text: times in ISO 8601, UTC; an empty text is no value."""
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        return _moment(name, dtype).dt.to_string("%Y-%m-%dT%H:%M:%S%.fZ")
    if dtype.is_nested():
        return pl.struct(column).struct.json_encode()
    text = column if dtype == pl.String else column.cast(pl.String, strict=False)
    return pl.when(text != "").then(text)


def _moment(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column of times in UTC, to the microsecond; one without zone is UTC."""
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return column.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
