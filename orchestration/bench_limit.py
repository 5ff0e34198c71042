"""What derivation is measured against, in the same run: the limit of the machine, and plain SQL without rapport.

All read the same Parquet file of the facts. Each runs in a process of its own (`python -m orchestration.bench_limit
PASS PARQUET SCRATCH`): the limit is DuckDB's one `group by account, person, week`; the peer is what an analyst would write in
SQL to have only the weekly relationship table and the cohort table; pandas does the limit pass as far as memory lets it.
"""

import importlib
import json
import sys
import time
from pathlib import Path

import duckdb

from orchestration.bench_night import peak_gb

WEEK = 604_800_000_000
MONDAY = 4 * 86_400_000_000
"""Microseconds of a week, and from the start of 1970 to the first Monday."""
PANDAS_ROWS = 10_000_000
"""pandas holds all rows in memory: no more than these are given to it."""

LIMIT = f"""
select count(*), sum(n) from (
    select account_id, identity_id, (epoch_us(active_at) - {MONDAY}) // {WEEK} as week, count(*) as n
    from read_parquet(?) group by all
)"""  # noqa: S608 - numbers
VISIBLE = "is_audience and is_time_known and retracted_at is null and active_at < $end"
WEEKLY = f"""
create table weekly as
select account_id, identity_id, (epoch_us(active_at) - {MONDAY}) // {WEEK} as week,
    count(*) filter (direction = 'inbound') as inbound,
    count(*) filter (direction = 'inbound' and is_composed) as inbound_composed,
    count(*) filter (direction = 'outbound') as outbound,
    count(*) filter (direction = 'outbound' and is_composed) as outbound_composed,
    sum(case kind when 'like' then 100 when 'quote' then 500 when 'repost' then 500 when 'bookmark' then 500
        when 'follow' then 0 when 'rsvp' then 0 else 1000 end) filter (direction = 'inbound') as value,
    bit_or(1 << ((epoch_us(active_at) - {MONDAY}) // 86400000000 % 7)::integer) as days,
    min(active_at) filter (direction = 'inbound' and kind <> 'follow') as first_at,
    max(active_at) filter (direction = 'inbound' and kind <> 'follow') as last_at
from read_parquet($file) where {VISIBLE} group by all order by account_id, identity_id, week
"""  # noqa: S608 - numbers
COHORT = f"""
create table cohort as
with months as (
    select distinct account_id, identity_id, date_trunc('month', active_at::timestamp) as month
    from read_parquet($file) where {VISIBLE} and direction = 'inbound' and kind <> 'follow'
),
lives as (
    select *, min(month) over person as cohort_month, max(month) over person as last_month
    from months window person as (partition by account_id, identity_id)
),
cells as (
    select account_id, cohort_month, datediff('month', cohort_month, month) as period, count(*) as retained
    from lives group by all
),
sizes as (select account_id, cohort_month, count(distinct identity_id) as people from lives group by all),
later as (
    select account_id, cohort_month, datediff('month', cohort_month, last_month) as period, count(distinct identity_id) as people
    from lives group by all
)
select account_id, cohort_month, period, sizes.people, retained, retained / sizes.people as retained_rate,
    (select sum(l.people) from later l where (l.account_id, l.cohort_month) = (c.account_id, c.cohort_month) and l.period >= c.period)
        as retained_or_later
from cells c join sizes using (account_id, cohort_month) order by all
"""  # noqa: S608 - numbers


def limit(file: Path, _scratch: Path) -> dict[str, float]:
    """DuckDB's one pass: rows, groups and seconds."""
    with duckdb.connect() as connection:
        started = time.perf_counter()
        groups, rows = connection.execute(LIMIT, [str(file)]).fetchall()[0]
        return {"seconds": time.perf_counter() - started, "groups": groups, "rows": int(rows)}


def peer(file: Path, scratch: Path) -> dict[str, float]:
    """The two tables in SQL, written to a database: seconds, and the rows of each."""
    with duckdb.connect(str(scratch / "peer.duckdb")) as connection:
        connection.execute("set timezone = 'UTC'")
        started = time.perf_counter()
        (end,) = connection.execute(
            "select max(active_at) + interval 1 second from read_parquet(?)", [str(file)]
        ).fetchall()[0]
        for statement in (WEEKLY, COHORT):
            connection.execute(statement, {"file": str(file), "end": end})
        connection.execute("checkpoint")
        seconds = time.perf_counter() - started
        weekly, cohort = (connection.table(name).count("*").fetchall()[0][0] for name in ("weekly", "cohort"))
    (scratch / "peer.duckdb").unlink()
    return {"seconds": seconds, "weekly": weekly, "cohort": cohort}


def pandas(file: Path, _scratch: Path) -> dict[str, float]:
    """The limit pass in pandas, reading included: seconds and groups; Raises `ImportError` where it is not installed."""
    pd = importlib.import_module("pandas")
    started = time.perf_counter()
    rows = pd.read_parquet(file, columns=["account_id", "identity_id", "active_at"])
    rows["week"] = (rows.pop("active_at").astype("int64") - MONDAY) // WEEK
    groups = rows.groupby(["account_id", "identity_id", "week"], sort=False).size()
    return {"seconds": time.perf_counter() - started, "groups": len(groups), "rows": len(rows)}


PASSES = {"limit": limit, "peer": peer, "pandas": pandas}

if __name__ == "__main__":
    before = time.process_time()
    measured = PASSES[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
    print(json.dumps({**measured, "cpu": time.process_time() - before, "resident_gb": peak_gb()}))
