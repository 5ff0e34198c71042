"""Which parts of a table a night computes again, and how they are put in the place of the old ones.

`Recomputing.plan` asks `assets.parts` what the changed rows of the upstream tables touch; reading then gives the table's
function only what those parts need, and `Recomputing.write` swaps them in: rows that came out as they were stay where
they are, the others are removed and added, and remembered (`change_log.py`) for whoever reads the table and
for a contract that fails. The whole table is computed where parts cannot be trusted or would save nothing.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import duckdb
import polars as pl

from assets.ingest import empty_raw
from assets.metrics.visible import cutoff, end_of
from assets.parts import PARTS, Parts, code
from orchestration.change_log import Making, Written
from orchestration.storage import enforced, in_row_groups, ordered, stored_in
from orchestration.warehouse import Warehouse
from quality.catalog.model import ContractError, Table, empty, enforce
from quality.catalog.staging import staged as staged_as
from quality.catalog.tables import TABLES

SCHEMA = "parts"
"""Where touched parts are while a table is recomputed: a database in memory, seen by every cursor of the connection."""
WHOLE_ABOVE = 0.5
"""With more than this share of a table to compute, all of it is: that needs no comparison with what was there."""
_MOMENTS = ("active_at", "observed_at", "retracted_at", "published_at")
"""What decides from which night on a row is visible (`assets.metrics.visible`)."""


@dataclass(frozen=True)
class Plan:
    """What of a table is computed. `why` says why all of it is; null where only parts are."""

    table: Table
    making: Making
    why: str | None = None
    parts: int = 0
    months: tuple[date, ...] = ()
    reads: Mapping[str, str] = field(default_factory=dict)
    """Upstream table → where its rows are, for `select * from`."""
    holds: str = ""
    held: str = ""
    """Conditions on the table's rows: which of the computed ones belong to the parts, and which are there now."""

    @property
    def metadata(self) -> dict[str, Any]:
        """What Dagster shows of it."""
        if self.why is not None:
            return {"recomputed": f"everything: {self.why}"}
        if PARTS[self.table.name].is_by_month:
            said = ", ".join(month.strftime("%Y-%m") for month in self.months)
            return {"recomputed": f"{len(self.months)} months", "months_recomputed": said or "none"}
        return {"recomputed": f"{self.parts} (by {', '.join(PARTS[self.table.name].by)})"}


class _WholeError(Exception):
    """Why a table has to be computed whole."""


class _Ranges(dict[str, str]):
    """`ranges[column]`: the condition that a column lies in one of these months; a chain of months is one range."""

    def __init__(self, months: Sequence[date], form: str) -> None:
        super().__init__()
        self._form = form
        self._ranges: list[list[date]] = []
        for month in sorted(set(months)):
            if self._ranges and self._ranges[-1][1] == month:
                self._ranges[-1][1] = next_month(month)
            else:
                self._ranges.append([month, next_month(month)])

    def __missing__(self, column: str) -> str:
        said = [
            f"{column} >= {self._form.format(start)} and {column} < {self._form.format(end)}"
            for start, end in self._ranges
        ]
        return f"({' or '.join(said) or 'false'})"


class Recomputing:
    """Plans and writes the tables of `PARTS` in one warehouse; one table at a time."""

    def __init__(self, warehouse: Warehouse, settings: Any) -> None:
        """Plan for that warehouse by these settings."""
        self.warehouse = warehouse
        self.settings = settings
        self._plan: tuple[str, date | None, Plan | None] | None = None

    def plan(self, name: str, as_of: date | None) -> Plan | None:
        """The plan of this step: made when first asked for, and kept until the table is written.

        Null where there is nothing to plan: a table that is always computed whole, a night of the past, no night at all.
        """
        if self._plan is None or self._plan[:2] != (name, as_of):
            self._plan = (name, as_of, self._planned(name, as_of))
        return self._plan[2]

    def done(self) -> None:
        """Forget the plan, and what it was made of."""
        self._plan = None
        self.warehouse.connect().execute(f"detach database if exists {SCHEMA}")

    def _planned(self, name: str, as_of: date | None) -> Plan | None:
        if name not in PARTS or as_of is None or self.warehouse.is_past(as_of):
            return None
        table, parts = TABLES[name], PARTS[name]
        made_by = self._fingerprint(table, parts)
        try:
            last = self._last(table, made_by)
            seen = {upstream: self._version(upstream, last) for upstream in parts.touched}
            return self._in_parts(table, parts, last, as_of, Making(made_by, seen))
        except _WholeError as why:
            return Plan(table, Making(made_by, {name: self._seen(name) for name in parts.touched}), why=str(why))

    def _fingerprint(self, table: Table, parts: Parts) -> str:
        """Of all that decides what the table's function makes of the same rows, but for the engine."""
        columns = [
            (name, column.name, str(column.dtype))
            for name in (table.name, *(n for n in parts.touched if n in TABLES))
            for column in TABLES[name].columns
        ]
        said = (code(), columns, parts.settings(self.settings) if parts.settings else None)
        return hashlib.sha256(repr(said).encode()).hexdigest()

    def _last(self, table: Table, made_by: str) -> Written:
        last = self.warehouse.log.of(table.name)
        if last is None or not self.warehouse.has(table.layer, table.name):
            raise _WholeError("it was never computed, or `--full` asked for it")
        if not last.made_by:
            raise _WholeError("its last write was rolled back, or was no night's")
        if last.made_by != made_by:
            raise _WholeError("code or settings behind it have changed")
        if self.warehouse.count(table.layer, table.name) != last.rows:
            raise _WholeError("somebody else changed it")
        return last

    def _seen(self, name: str) -> Any:
        """What of an upstream table is there to be seen now."""
        schema, table = self.warehouse.location(name)
        if name in TABLES:
            written = self.warehouse.log.of(name)
            return written.version if written else 0
        if not self.warehouse.has(schema, table):
            return [0, None]
        row = self._one(f'select count(*), max(epoch_us(loaded_at)) from "{schema}"."{table}"')
        return list(row)

    def _version(self, name: str, last: Written) -> Any:
        """The same, where what is new since the last write can be told from the rest."""
        before, now = last.seen.get(name), self._seen(name)
        schema, table = self.warehouse.location(name)
        if name in TABLES:
            written = self.warehouse.log.of(name)
            if written is None and before in (0, None) and not self.warehouse.has(schema, table):
                return now
            if written is None or before is None or written.whole_version > before:
                raise _WholeError(f"{name} was computed whole")
            if self.warehouse.count(schema, table) != written.rows:
                raise _WholeError(f"somebody else changed {name}")
            return now
        if before is None:
            raise _WholeError(f"{name} was not read before")
        if now[0]:
            (new,) = self._one(f'select count(*) from "{schema}"."{table}" where {_newer(before)}')
            if now[0] - new != before[0]:
                raise _WholeError(f"rows of {name} are gone, or came with a time of loading that had passed")
        elif before[0]:
            raise _WholeError(f"rows of {name} are gone")
        return now

    def _in_parts(self, table: Table, parts: Parts, last: Written, as_of: date, making: Making) -> Plan:
        connection = self.warehouse.connect()
        connection.execute(f"detach database if exists {SCHEMA}")
        connection.execute(f"attach ':memory:' as {SCHEMA}")
        tables = {name: self._place(name) for name in (table.name, *parts.touched, *parts.reads)}
        staged = [name for name in staged_as("interactions") if name in parts.touched]
        names: dict[str, Any] = {
            "touched": f"{SCHEMA}.touched",
            "given": f"{SCHEMA}.given",
            "tables": tables,
            "interactions": _together(tables[name] for name in staged),
            "helpers": {helper: f"{SCHEMA}.{helper}" for helper in parts.helpers},
        }
        if parts.given is not None:
            self._keep("given", pl.DataFrame({"name": parts.given(self.settings)}, schema={"name": pl.String}))
        names["changes"] = {
            upstream: self._changed(table, upstream, last, as_of, tables[upstream], (making.seen or {})[upstream])
            for upstream in parts.touched
        }
        names["changed_interactions"] = _together(names["changes"][name] for name in staged)
        months = self._touch(parts, names)
        count = self._count("touched")
        if not count:
            nothing = {upstream: f"(select * from {tables[upstream]} where false)" for upstream in parts.reads}
            return Plan(table, making, reads=nothing, holds="false")
        for helper, query in parts.helpers.items():
            connection.execute(f"create table {SCHEMA}.{helper} as {query.format(**names)}")
        months_held = self._months(parts.moments.format(**names)) if parts.moments is not None else months
        names |= {
            "at": _Ranges(months_held, "timestamptz '{} 00:00:00+00'"),
            "on": _Ranges(months_held, "date '{}'"),
            "until_next": _Ranges([*months_held, *map(next_month, months_held)], "timestamptz '{} 00:00:00+00'"),
        }
        holds = parts.holds.format(**names)
        held = count if len(parts.by) > 1 else self._one(f"select count(*) from {table.qualified} where {holds}")[0]
        if held > WHOLE_ABOVE * last.rows:
            raise _WholeError(f"{held:,} of its {last.rows:,} rows would be computed")
        held_now = parts.held.format(**names) if parts.held is not None else holds
        return Plan(table, making, None, count, tuple(months), self._reads(parts, names), holds, held_now)

    def _reads(self, parts: Parts, names: dict[str, Any]) -> Mapping[str, str]:
        """Where the rows are that the touched parts need: found once, unless months, where looking again costs nothing."""
        read = names["read"] = {}
        for upstream, rows in parts.reads.items():
            table = names["tables"][upstream]
            said = rows.format(table=table, **names)
            query = said if said.startswith("select ") else f"select * from {table} where {said}"
            read[upstream] = f"({query})"
            if not parts.is_by_month:
                self.warehouse.connect().execute(f'create table {SCHEMA}."read_{upstream}" as {query}')
                read[upstream] = f'{SCHEMA}."read_{upstream}"'
        return read

    def _changed(self, table: Table, upstream: str, last: Written, as_of: date, place: str, now: Any) -> str:
        """Where the rows of an upstream table are that the last write has not seen, and those that time has moved.

        A night before or after the last one sees other rows of what is there: those between the two ends and cutoffs.
        """
        has_moved = upstream in TABLES and table.follows_as_of and last.as_of != as_of
        if last.seen[upstream] == now and not has_moved:
            return f"(select * from {place} where false)"
        changed = f'{SCHEMA}."changed_{upstream}"'
        query = self._changed_rows(upstream, last, place, as_of if has_moved else None)
        self.warehouse.connect().execute(f"create table {changed} as {query}")
        return changed

    def _changed_rows(self, upstream: str, last: Written, place: str, as_of: date | None) -> str:
        seen = last.seen[upstream]
        if upstream not in TABLES:
            return f"select * from {place} where {_newer(seen)}"
        changed = self.warehouse.log.changed(TABLES[upstream], since=seen)
        if as_of is None or last.as_of is None:
            return changed
        start, end = end_of(min(as_of, last.as_of)), cutoff(max(as_of, last.as_of))
        moved = [
            f"select * from {place} where {moment} >= timestamptz '{start}' and {moment} < timestamptz '{end}'"
            for moment in _MOMENTS
            if moment in TABLES[upstream].column_names
        ]
        return " union all ".join([changed, *moved])

    def _touch(self, parts: Parts, names: Mapping[str, Any]) -> list[date]:
        """Fill the table of touched parts; return the months, where parts are months."""
        connection = self.warehouse.connect()
        found = (
            " union all ".join(
                f"({query.format(changed=names['changes'][upstream], **names)})"
                for upstream, query in parts.touched.items()
                if not names["changes"][upstream].startswith("(") or "{given}" in query
            )
            or f"select {', '.join('null::timestamptz' if parts.is_by_month else 'null' for _ in parts.by)} where false"
        )
        if parts.is_by_month:
            months = self._months(found)
            self._keep("touched", pl.DataFrame({"month": months}, schema={"month": pl.Date}))
            return months
        columns = ", ".join(parts.by)
        connection.execute(f"create table {SCHEMA}.touched as select distinct {columns} from ({found}) t({columns})")
        if parts.judged_alone is not None:
            new = {name: connection.execute(f"select * from {rows}").pl() for name, rows in names["changes"].items()}
            self._keep("alone", parts.judged_alone(new).collect())
            connection.execute(f"insert into {SCHEMA}.touched from {SCHEMA}.alone except from {SCHEMA}.touched")
        return []

    def _months(self, moments: str) -> list[date]:
        """The months of the moments that a query gives."""
        query = f"select distinct cast(date_trunc('month', moment) as date) from ({moments}) t(moment) where moment is not null"
        return sorted(row[0] for row in self.warehouse.connect().execute(query).fetchall())

    def write(
        self, plan: Plan, frame: pl.DataFrame | pl.LazyFrame | duckdb.DuckDBPyRelation, as_of: date
    ) -> tuple[int, int]:
        """Put what was computed of the touched parts in the place of what was there; return the rows removed and added.

        Raises `ContractError` as `Warehouse.write` does.
        """
        table, connection = plan.table, self.warehouse.connect()
        removed, added = self._differences(plan, frame) if plan.parts else (0, 0)
        columns = ", ".join(f'"{name}"' for name in table.column_names)
        try:
            connection.execute("begin")
            if removed:
                connection.execute(f"delete from {table.qualified} where rowid in (select place from {SCHEMA}.removed)")
            if added:
                rows = f"select {columns} from {SCHEMA}.added order by {ordered(table)}"
                connection.execute(f"insert into {table.qualified} {rows}")
            self.warehouse.log.wrote_parts(
                table,
                as_of,
                plan.making,
                removed=f"{SCHEMA}.removed" if removed else None,
                added=f"{SCHEMA}.added" if added else None,
            )
            self.warehouse.show_before(table, is_same=not (removed or added))
            connection.execute("commit")
        except duckdb.Error:
            connection.execute("rollback")
            raise
        return removed, added

    def _differences(self, plan: Plan, frame: Any) -> tuple[int, int]:
        """Fill `removed` (with their places in the table) and `added`: what is not the same in the touched parts."""
        table, connection = plan.table, self.warehouse.connect()
        incoming, columns = f"{SCHEMA}.incoming", ", ".join(f'"{name}"' for name in table.column_names)
        self._bring(table, frame, plan.holds)
        is_same = " and ".join(f'o."{name}" is not distinct from i."{name}"' for name in table.column_names)
        connection.execute(
            f"create table {SCHEMA}.old as select rowid as place, {columns} from {table.qualified} where {plan.held}"
        )
        connection.execute(f"create table {SCHEMA}.removed as from {SCHEMA}.old o anti join {incoming} i on {is_same}")
        connection.execute(
            f"create table {SCHEMA}.added as select {columns} from {incoming} except all select {columns} from {SCHEMA}.old"
        )
        return self._count("removed"), self._count("added")

    def _bring(self, table: Table, frame: Any, holds: str) -> None:
        """The computed rows as a table of the catalogue's types; without those beyond the parts, which are not complete."""
        connection, incoming = self.warehouse.connect(), f"{SCHEMA}.incoming"
        connection.execute(f"create table {incoming} ({stored_in(table)})")
        if isinstance(frame, duckdb.DuckDBPyRelation):
            query = f"insert into {incoming} select * from ({enforced(table, frame.columns)}) where {holds}"
            try:
                frame.query("rows_of_relation", query)
            except duckdb.ConversionException as error:
                raise ContractError(f"{table.name}: a value does not fit its column's type: {error}") from error
            return
        connection.register("incoming_rows", in_row_groups(enforce(table, frame)))
        try:
            connection.execute(f"insert into {incoming} select * from incoming_rows where {holds}")
        finally:
            connection.unregister("incoming_rows")

    def _place(self, name: str) -> str:
        """The table's name in SQL; of one that was never written, that of an empty one."""
        schema, table = self.warehouse.location(name)
        if not self.warehouse.has(schema, table):
            frame = empty(TABLES[name]) if name in TABLES else empty_raw(name)
            self._keep(f"no_{name}", frame)
            return f'{SCHEMA}."no_{name}"'
        return f'"{schema}"."{table}"'

    def _keep(self, name: str, frame: pl.DataFrame) -> None:
        connection = self.warehouse.connect()
        connection.register("kept_rows", frame.to_arrow())
        connection.execute(f'create or replace table {SCHEMA}."{name}" as from kept_rows')
        connection.unregister("kept_rows")

    def _count(self, name: str) -> int:
        return int(self._one(f"select count(*) from {SCHEMA}.{name}")[0])

    def _one(self, query: str) -> tuple[Any, ...]:
        return self.warehouse.connect().execute(query).fetchone() or ()


def _together(places: Iterable[str]) -> str:
    """Tables one below the other, as one."""
    return "(" + " union all by name ".join(f"select * from {place}" for place in places) + ")"


def next_month(month: date) -> date:
    """The first day of the month after.

    >>> next_month(date(2023, 12, 1))
    datetime.date(2024, 1, 1)
    """
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _newer(seen: Sequence[Any]) -> str:
    """The condition on rows of a raw table that were loaded after what was seen of it."""
    return "true" if seen[1] is None else f"loaded_at > make_timestamptz({seen[1]})"
