"""Activity files as they are: CSV, JSON Lines or Parquet, to batches of text columns.

The format is recognised by content, the encoding and the delimiter too. Nothing is judged here but
whether the file as a whole can be read: what a row says is staging's to judge, so that one bad row
never stops the good ones. Column names are matched whatever their case.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from sources import earnings_stripe
from sources.activity_csv import csv_content
from sources.activity_json import LINE, json_content
from sources.activity_text import PROBLEM, ROW, Content, Text
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

ROWS_AT_ONCE = 122_880  # as many as a row group that is written of them
TIME: dict[Shape, str] = {"posts": "published_at", "interactions": "occurred_at", "earnings": "earned_at"}
"""The time that every row is about."""
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
    names = _names(_content(path).names)
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
    content = _content(path)
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
    if (named := [name for name in unknown if name != LINE]) and not is_stripe:
        kept = "not kept" if shape == "earnings" else "kept but not used"
        notes.append(f"{path.name}: unknown columns are {kept}: {_guessed(named, shape, known)}.")
    return ActivityFile(
        path=path,
        shape=shape,
        columns=tuple(known),
        notes=tuple(notes),
        batches=lambda: (
            _as_text(part, known, unknown, path, shape)
            for frame in content.frames()
            for part in frame.iter_slices(ROWS_AT_ONCE)
        ),
    )


def _content(path: Path) -> Content:
    """A file of any format, recognised by what it begins with."""
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
    text = Text.of(path)
    start = text.start()
    if not start:
        raise SourceError("The file is empty", path.name, "Check the export that made it.")
    if start == "<":
        raise SourceError("It is a web page or XML", path.name, "Give a CSV, JSON Lines or Parquet file.")
    if start == "[":
        raise SourceError("It is one JSON list", path.name, "Write one object a line (JSON Lines).")
    if start == "{" or path.suffix.lower() in (".jsonl", ".ndjson"):
        return json_content(text)
    return csv_content(text, _known)


def _known(names: Sequence[str]) -> int:
    """How many of the names are names of columns."""
    every = {name for columns in COLUMNS.values() for name in columns} | set(earnings_stripe.COLUMNS)
    return len(every & set(_names(names)))


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


def _parquet(path: Path) -> Content:
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
                    yield frame.with_row_index(ROW, start)
                    start += frame.height
        except (pa.ArrowException, OSError) as error:
            raise SourceError("It is a damaged Parquet file", path.name, "Copy or export it again.") from error

    return Content(names=names, frames=frames, is_empty=rows == 0)


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
        (pl.col(PROBLEM) if PROBLEM in schema else nothing).alias("problem"),
        pl.col(ROW).cast(pl.Int64).alias("row_number"),
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
