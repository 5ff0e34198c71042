"""Activity files: history from anywhere, as posts and interactions in CSV, JSON Lines or Parquet.

`rapport import` runs this source. Columns stay text, as given; what a row says is judged by
staging. Raw is insert-only: a row that says the same again adds nothing, a changed row with the
same id is a new observation. Identical rows without an id are told apart by counting them within
their file, so that importing the file again adds nothing either.
"""

import logging
import shutil
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar, cast
from uuid import uuid4

import dlt
import polars as pl
import pyarrow.parquet as pq
from dlt.common.schema.typing import TSchemaContract, TTableSchemaColumns
from dlt.extract.resource import DltResource
from dlt.extract.source import DltSource

from sources.activity_files import COLUMNS, TIME, ActivityFile, Shape, open_file
from sources.activity_keys import Seen, hashes, numbered
from sources.model import CONTRACT, INSERT_ONLY, KEY, LOADED_AT, READINGS, STREAMS, RawColumn, RawTable, SourceError
from sources.timestamps import EARLIEST, parse_time

NAME = PLATFORM = "activity"
NO_ACCOUNT = "(no account)"
"""Stands for the account of a row that names none: it is set aside, and needs a place there."""

_DOCS: dict[str, str] = {
    "person": "Native id of the person.",
    "kind": "Kind of interaction (reply, like, ...) or of post.",
    "occurred_at": "When it happened, as written (see at_utc).",
    "direction": "inbound or outbound; none is inbound.",
    "post": "Native id of the post, or its address.",
    "interaction": "Native id of the interaction, where there is one.",
    "in_reply_to": "Native id of the interaction that this one answers.",
    "observed_at": "When it was first seen, as written.",
    "retracted_at": "When it was taken back, as written.",
    "published_at": "When the post was published, as written (see at_utc).",
    "language": "Language of the post.",
    "words": "Words in the post, as written.",
    "links": "Links in the post, as written.",
    "url": "Address of the post.",
    "text": "Text of the post, plain or HTML.",
    "deleted_at": "When the post was deleted, as written.",
}


def _table(shape: Shape, doc: str) -> RawTable:
    return RawTable(
        name=shape,
        doc=doc,
        columns=(
            RawColumn(name="account_id", doc="The account: `account` of the file, or of the command.", nullable=False),
            RawColumn(name="platform", doc="The platform, as the command says.", nullable=False),
            *(RawColumn(name=name, doc=_DOCS[name]) for name in COLUMNS[shape] if name != "account"),
            RawColumn(
                name="at_utc", doc=f"{TIME[shape]} where the file gives a time and not a text.", dtype="timestamp"
            ),
            RawColumn(name="other", doc="Columns that rapport does not know, as JSON."),
            RawColumn(name="problem", doc="Why the row is no row (not a JSON object, too many fields)."),
            RawColumn(name="file", doc="Name of the file, without its folder.", nullable=False),
            RawColumn(
                name="row_number",
                doc="Row in the file, the first below the header is 1 (JSON Lines: line).",
                dtype="bigint",
                nullable=False,
            ),
            KEY,
            LOADED_AT,
        ),
    )


POSTS = _table("posts", "Rows of posts files, one row per observation.")
INTERACTIONS = _table("interactions", "Rows of interactions files, one row per observation.")
TABLES = (POSTS, INTERACTIONS, READINGS)

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_TABLES: dict[Shape, RawTable] = {"posts": POSTS, "interactions": INTERACTIONS}
_NATIVE_ID: dict[Shape, str] = {"posts": "post", "interactions": "interaction"}
_TIMESTAMP = pl.Datetime("us", "UTC")
_ROWS_A_FILE = 983_040  # eight row groups: few large files load faster than many small ones
_ROW_GROUP = 122_880  # DuckDB's own, so that it reads them in parallel
_REPEATED = {"account_id", "platform", "kind", "direction", "language", "file", "stream", "status"}
"""Columns of few texts, each many times."""


def source(
    *,
    posts: Path | None = None,
    interactions: Path | None = None,
    account: str | None = None,
    platform: str | None = None,
    covers: tuple[date, date] | None = None,
    read_at: datetime,
    warn: Callable[[str], object] = _log.warning,
) -> DltSource:
    """Activity files as a dlt source: resources `posts`, `interactions` and `readings`.

    Without files the resources are there and empty. An `account` column in a file replaces
    `account`; both are accepted only where they agree. The files cover, for each of their accounts,
    the days from its oldest readable row in either file to `read_at`: posts if a posts file is
    given, a direction if any row has it. `covers` says otherwise: from the first day to the end of
    the last one. `warn` is told what was noticed: unknown columns, a guessed encoding.

    Raises `SourceError` at once for what is wrong with a file as a whole.
    """
    given: dict[Shape, Path | None] = {"posts": posts, "interactions": interactions}
    files = [open_file(path, shape) for shape, path in given.items() if path is not None]
    _check(files, account=account, platform=platform, covers=covers, read_at=read_at)
    for file in files:
        for note in file.notes:
            warn(note)
    activity = _Import(account=account, platform=platform or PLATFORM, covers=covers, read_at=read_at)

    @dlt.resource(name=f"{NAME}_read", selected=False)
    def rows() -> Iterator[Any]:
        for table in TABLES:
            yield _Part(table)
        if not files:
            return
        folder = Path(mkdtemp())  # dlt may take the last parts after this has ended
        weakref.finalize(activity, shutil.rmtree, folder, ignore_errors=True)
        for file in files:
            yield from _written(_TABLES[file.shape], folder, activity.rows(file))
        yield from _written(READINGS, folder, iter([activity.readings()]))

    @dlt.source(name=NAME)
    def activity_source() -> Any:
        return [rows, *(_resource(rows, table) for table in TABLES)]

    return activity_source()


def _check(
    files: Sequence[ActivityFile],
    *,
    account: str | None,
    platform: str | None,
    covers: tuple[date, date] | None,
    read_at: datetime,
) -> None:
    """Refuse what contradicts itself before anything is read."""
    if platform is not None and (not platform.strip() or platform == "all"):
        raise SourceError("This is no name for a platform", repr(platform), "`all` stands for all platforms together.")
    if covers is not None:
        if covers[0] > covers[1]:
            raise SourceError("The days covered end before they start", f"{covers[0]} {covers[1]}", "Swap them.")
        if covers[1] > read_at.date():
            raise SourceError("The days covered end in the future", str(covers[1]), "Give the last day that is over.")
    check_account(files, account=account)


def check_account(files: Sequence[ActivityFile], *, account: str | None) -> None:
    """Raise `SourceError` where it is not known whose the rows of a file are, or that is said in two ways."""
    if account is not None and not account.strip():
        raise SourceError("The account has no name", "--account", "Give one.")
    for file in files:
        if "account" not in file.columns and account is None:
            raise SourceError(
                "It has no column `account`, so it is not known whose it is",
                file.path.name,
                "Say so with --account NAME.",
            )
        if "account" in file.columns and account is not None:
            others = {str(name) for batch in file.batches() for name in batch["account"].unique() if name != account}
            if others:
                raise SourceError(
                    f"Its column `account` says {', '.join(sorted(others)[:3])} where --account says {account}",
                    file.path.name,
                    "Leave out --account, or the column.",
                )


@dataclass(frozen=True)
class _Part:
    """Rows for one table, in a Parquet file; or none, and then the table is only to be there."""

    table: RawTable
    rows: int = 0
    path: Path | None = None


@dataclass(kw_only=True)
class _Import:
    """One import: rows to Arrow tables, and what they cover."""

    account: str | None
    platform: str
    covers: tuple[date, date] | None
    read_at: datetime
    _accounts: list[pl.DataFrame] = field(default_factory=list)
    _streams: set[str] = field(default_factory=set)

    def rows(self, file: ActivityFile) -> Iterator[pl.DataFrame]:
        """The file's rows as the raw table has them, keyed; those of a batch together."""
        table = _TABLES[file.shape]
        names = [name for name in COLUMNS[file.shape] if name in file.columns and name != "account"]
        absent = [name for name in COLUMNS[file.shape] if name not in file.columns and name != "account"]

        def prepared(batch: pl.DataFrame) -> pl.DataFrame:
            said = batch.with_columns(
                *(pl.lit(None, pl.String).alias(name) for name in absent),
                account_id=(pl.col("account") if "account" in file.columns else pl.lit(self.account)).fill_null(
                    NO_ACCOUNT
                ),
                platform=pl.lit(self.platform),
                file=pl.lit(file.path.name),
                loaded_at=pl.lit(self.read_at, _TIMESTAMP),
                # What could not be taken apart is told apart by all that is there.
                broken=pl.when(pl.col("problem").is_not_null()).then("other"),
            )
            return said.with_columns(hashes(said, ["account_id", "platform", *names, "at_utc", "broken"]))

        seen = Seen()
        for keyed in _ahead(prepared, file.batches()):
            self._notice(file, keyed)
            rows = numbered(keyed, _NATIVE_ID[file.shape], seen)
            yield rows.select(column.name for column in table.columns)

    def _notice(self, file: ActivityFile, said: pl.DataFrame) -> None:
        """Remember each account's oldest time that can be true, and the directions."""
        written = said[TIME[file.shape]]
        if file.shape == "interactions":
            written = said.select(pl.coalesce("occurred_at", "observed_at")).to_series()
        at = pl.coalesce("at_utc", _moments(written))
        possible = at.is_between(EARLIEST, self.read_at + timedelta(days=1))
        times = said.lazy().select("account_id", at=pl.when(possible).then(at))
        self._accounts.append(
            times.group_by("account_id").agg(pl.col("at").min()).filter(pl.col("account_id") != NO_ACCOUNT).collect()
        )
        if file.shape == "posts":
            self._streams.add("posts")
        else:
            words = said["direction"].unique().str.strip_chars().str.to_lowercase().fill_null("inbound")
            self._streams |= set(words) & {"inbound", "outbound"}

    def readings(self) -> pl.DataFrame:
        """A reading for every account and stream."""
        accounts = pl.concat(self._accounts).group_by("account_id").agg(pl.col("at").min())
        streams = pl.DataFrame({"stream": STREAMS}).with_columns(offered=pl.col("stream").is_in(sorted(self._streams)))
        start, end = pl.col("at"), self.read_at
        if self.covers is not None:
            start = pl.lit(datetime.combine(self.covers[0], time(), UTC))
            end = datetime.combine(self.covers[1] + timedelta(days=1), time(), UTC)
        rows = accounts.join(streams, how="cross").with_columns(
            platform=pl.lit(self.platform),
            source=pl.lit(NAME),
            read_at=pl.lit(end, _TIMESTAMP),
            covers_from=pl.when("offered").then(start.cast(_TIMESTAMP)),
            born_at=pl.lit(None, _TIMESTAMP),
            loaded_at=pl.lit(self.read_at, _TIMESTAMP),
        )
        is_timeless = pl.col("offered") & pl.col("covers_from").is_null()
        rows = rows.with_columns(
            status=pl.when(~pl.col("offered"))
            .then(pl.lit("not_offered"))
            .when(is_timeless)
            .then(pl.lit("partial"))
            .otherwise(pl.lit("ok")),
            reason=pl.when(~pl.col("offered"))
            .then(pl.lit("the files do not offer it"))
            .when(is_timeless)
            .then(pl.lit("no row has a readable time")),
        )
        keyed = rows.with_columns(
            hashes(rows, [c.name for c in READINGS.columns if c.name not in ("row_hash", "loaded_at")])
        )
        return keyed.sort("account_id", "stream").select(column.name for column in READINGS.columns)


def _written(table: RawTable, folder: Path, batches: Iterator[pl.DataFrame]) -> Iterator[_Part]:
    """The rows in files of some million rows, each row group written while the next one is read."""
    batches = _row_groups(batches)
    with ThreadPoolExecutor(1) as pool:
        for first in batches:
            path = folder / f"{uuid4().hex}.parquet"
            # Only texts that repeat themselves are worth a dictionary, and a file that is read once no compression.
            with pq.ParquetWriter(
                path, table.schema, compression="none", use_dictionary=_repeated(table), write_statistics=False
            ) as file:
                rows, written = 0, pool.submit(lambda: None)
                for batch in chain([first], batches):
                    written.result()
                    written = pool.submit(_write, file, table, batch)
                    rows += batch.height
                    if rows >= _ROWS_A_FILE:
                        break
                written.result()
            yield _Part(table, rows, path)


def _row_groups(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The rows in frames of one row group each, but for the last: DuckDB takes up to twice as long for uneven ones."""
    left: list[pl.DataFrame] = []
    for batch in batches:
        left.append(batch)
        while sum(part.height for part in left) >= _ROW_GROUP:
            whole = pl.concat(left, rechunk=False)
            yield whole.head(_ROW_GROUP)
            left = [whole.slice(_ROW_GROUP)]
    if any(part.height for part in left):
        yield pl.concat(left, rechunk=False)


def _write(file: pq.ParquetWriter, table: RawTable, batch: pl.DataFrame) -> None:
    """The rows in the types that dlt takes as they are: it rewrites a file whose schema is not the table's."""
    file.write_table(batch.to_arrow(compat_level=pl.CompatLevel.newest()).cast(table.schema), row_group_size=_ROW_GROUP)


def _repeated(table: RawTable) -> list[str]:
    return [column.name for column in table.columns if column.name in _REPEATED]


def _ahead(prepare: Callable[[pl.DataFrame], _T], batches: Iterator[pl.DataFrame]) -> Iterator[_T]:
    """What is prepared of the batches, in order, two in the making while the caller uses the one before."""
    with ThreadPoolExecutor(2) as pool:
        waiting: deque[Future[_T]] = deque()
        for batch in batches:
            waiting.append(pool.submit(prepare, batch))
            if len(waiting) > 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _moments(texts: pl.Series) -> pl.Series:
    """The times that texts name, null where unreadable; Python reads what Polars cannot, each distinct text once."""
    moments = texts.str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", strict=False)
    if moments.null_count() > texts.null_count():
        moments = texts.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False)
    moments = moments.dt.replace_time_zone("UTC")
    left = texts.filter(moments.is_null() & texts.is_not_null()).unique()
    if left.is_empty():
        return moments
    read = pl.Series([_one(text) for text in left], dtype=_TIMESTAMP)
    slow = texts.replace_strict(left, read, default=None, return_dtype=_TIMESTAMP)
    return pl.select(pl.coalesce(moments, slow)).to_series()


def _one(text: str) -> datetime | None:
    try:
        return parse_time(text)
    except ValueError:
        return None


def _resource(rows: DltResource, table: RawTable) -> DltResource:
    """The resource of one table.

    What first fills a table is appended, since there is nothing to compare it with (its keys are
    unique already): that saves a quarter of a large import. dlt keeps the state that tells beside
    the data, and loses it with them.
    """
    appends: list[bool] = []

    def part(item: _Part) -> Iterator[Any]:
        if item.table is not table:
            return
        if item.path is None:
            yield table.schema.empty_table()  # the table is there, also where no file fills it
            return
        if not appends:
            state = dlt.current.resource_state(table.name)
            appends.append(not state.get("is_filled"))
            state["is_filled"] = True
        hints = dlt.mark.make_hints(write_disposition="append" if appends[0] else cast("Any", INSERT_ONLY))
        # dlt takes the file as it is (a hard link) before it asks for the next one.
        yield dlt.mark.with_file_import(str(item.path), "parquet", item.rows, hints)
        item.path.unlink()

    part.__doc__ = table.doc
    resource = dlt.transformer(
        part,
        data_from=rows,
        name=table.name,
        columns=cast("TTableSchemaColumns", table.hints),
        write_disposition=cast("Any", INSERT_ONLY),
        schema_contract=cast("TSchemaContract", CONTRACT),
    )
    return cast("DltResource", resource)
