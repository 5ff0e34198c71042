"""Looking at what was published: `rapport query` and `rapport status`."""

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import duckdb
import polars as pl

from orchestration.settings import Settings


def _published(settings: Settings) -> duckdb.DuckDBPyConnection:
    """The published database.

    Raises `LookupError` where there is none, or one that cannot be read.
    """
    path = settings.published / "rapport.duckdb"
    if not path.exists():
        raise LookupError(f"nothing is published yet in {settings.published}: `rapport run` makes the first night.")
    try:
        connection = duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        raise LookupError(
            f"{path} cannot be read ({str(error).splitlines()[0]}): `rapport run` writes it again."
        ) from error
    connection.execute("set timezone = 'UTC'; set search_path = 'marts'")
    return connection


def query(settings: Settings, sql: str, *, how: str) -> None:
    """Run a query on the published marts and print its rows as a table, CSV or JSON lines.

    Raises `LookupError` with the database's own message where the SQL is wrong.
    """
    with _published(settings) as connection:
        try:
            relation = connection.sql(sql)
            if relation is None:
                if not sql.strip(" ;\n\t"):
                    raise LookupError('no question was asked: for example `rapport query "from mart_summary"`.')
                return
            if how == "table":
                relation.show(max_width=10_000 if not sys.stdout.isatty() else None, max_rows=200)
            else:
                frame = relation.pl()
                sys.stdout.write(frame.write_csv() if how == "csv" else frame.write_ndjson())
        except pl.exceptions.PolarsError as error:
            raise LookupError(f"this cannot be written as {how}: {error}. Try --format json.") from error
        except duckdb.Error as error:
            tables = ", ".join(row[0] for row in connection.execute("show tables").fetchall())
            raise LookupError(f"{error}\nTables: {tables}") from error


def status(settings: Settings, *, now: datetime) -> str:
    """What is published, and for each account and stream how far it was collected and what to do."""
    lines = [f"Home       {settings.home}", f"Accounts   {len(settings.accounts)} in {settings.config_path.name}"]
    try:
        connection = _published(settings)
    except LookupError as nothing:
        return "\n".join([*lines, f"Published  {nothing}"])
    with connection:
        about = connection.sql("select * from about").pl().to_dicts()[0]
        collection = connection.sql("select * from mart_collection order by account_id, platform, stream").pl()
    lines.append(
        f"Published  night of {about['as_of']}: {about['tables']} tables, {about['rows']:,} rows, {about['content_hash'][:12]}"
    )
    lines.append("")
    offered = collection.filter(pl.col("status") != "not_offered")
    trouble = offered.filter(pl.col("status") != "ok")
    shown = offered if offered.height <= 60 else trouble.head(60)
    if shown.height:
        lines.append(
            f"{'account':<28} {'platform':<12} {'stream':<9} {'collected':<24} {'year':>5}  {'last good':<22} status"
        )
    lines += [_line(row, now) for row in shown.iter_rows(named=True)]
    if offered.height > shown.height:
        lines.append(f"{offered.height:,} streams in all, {trouble.height:,} of them with trouble.")
    lines += _advice(settings, collection, trouble)
    return "\n".join(lines)


def _advice(settings: Settings, collection: pl.DataFrame, trouble: pl.DataFrame) -> Iterator[str]:
    """What to do: each distinct trouble once, with whom it concerns."""
    known = set(collection["account_id"])
    new = [account.name for account in settings.accounts if account.sources and account.name not in known]
    if new:
        yield f"\nNever collected: {_named(new)}. `rapport run` collects them."
    if trouble.is_empty():
        return
    yield "\nWhat to do:"
    causes = trouble.group_by("reason").agg(pl.col("account_id").unique().sort()).sort("reason")
    for reason, accounts in causes.head(20).iter_rows():
        yield f"  {_named(accounts)}: {reason or 'not collected'}"
    if causes.height > 20:
        yield f"  and {causes.height - 20:,} more reasons: `rapport query 'from mart_collection'`"
    yield "`rapport run` collects what is missing where the source still offers it; `rapport doctor` looks at this machine."


def _named(accounts: list[str]) -> str:
    """The first of the accounts, and how many more there are.

    >>> _named(["ann", "bob"]), _named(list("abcdefg"))
    ('ann, bob', 'a, b, c, d, e and 2 more')
    """
    return ", ".join(accounts[:5]) + (f" and {len(accounts) - 5:,} more" if len(accounts) > 5 else "")


def _line(row: dict[str, Any], now: datetime) -> str:
    share = row["coverage_share"]
    span = f"{row['covered_from'] or '-'} - {row['covered_to'] or '-'}"
    year = f"{share:.0%}" if share is not None else "-"
    return (
        f"{row['account_id']!s:<28} {row['platform']!s:<12} {row['stream']!s:<9} {span:<24} {year:>5}  "
        f"{_lag(row['last_ok_at'], now):<22} {row['status']}"
    )


def _lag(last: datetime | None, now: datetime) -> str:
    """How long ago the last good reading was.

    >>> from datetime import UTC
    >>> _lag(datetime(2026, 5, 1, 3, tzinfo=UTC), datetime(2026, 5, 1, 9, tzinfo=UTC))
    '2026-05-01 (6 h ago)'
    """
    if last is None:
        return "never"
    hours = (now - last).total_seconds() / 3600
    return f"{last:%Y-%m-%d} ({f'{hours:.0f} h' if hours < 48 else f'{hours / 24:.0f} days'} ago)"
