"""Made-up core tables of any size, straight into a warehouse: what `rapport bench` derives from.

The model of activity: an account draws its people with skewed popularity, some of them on one day of a spike. A person
comes in a week, returns in each later week with a probability of their own, is gone for good after a while, and does
several things in few sittings of a week; how many is heavy-tailed. Accounts post at a rhythm of their own. `Activity`
holds the numbers, so that a simulation can start from the same ones (`bench_growth`).

Everything follows from hashes of what it is about, in DuckDB: the same for the same seed and DuckDB, whatever the number of
threads, and never more in memory than a week of it. Rows lie in the warehouse in the order of time, as nights bring them.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import duckdb

from orchestration.change_log import Making
from orchestration.storage import enforced, stored_in
from orchestration.warehouse import DAY_VIEW, Warehouse
from quality.catalog.core import TABLES as CORE_TABLES
from quality.catalog.tables import TABLES
from quality.render import comments

WEEKS = 156
"""Three years, the last week up to and including `as_of`."""
PEOPLE_PER_ROW = 0.03
ROWS_PER_ACCOUNT = 5_000
FEWEST_ACCOUNTS = 6
PLATFORMS = ("mastodon", "bluesky", "wordpress")


@dataclass(frozen=True)
class Activity:
    """The numbers of the model of activity."""

    popularity: float = 2.2
    """The account of a person is `accounts * u ** popularity`: above 1, few accounts have most people."""
    arrival: float = 0.8
    """The week of a first contact is `WEEKS * u ** arrival`: below 1, more come later."""
    spike_share: float = 0.08
    """People who come in the one spike of their account."""
    weekly: tuple[float, float, float] = (0.03, 0.80, 3.0)
    """The probability to come in a week is `a + b * u ** c`."""
    leaving: tuple[float, float, float] = (0.005, 0.60, 3.0)
    """The probability to be gone after a week is `a + b * u ** c`."""
    tail: float = 0.5
    """What a person does beyond one thing a week has weight `u ** -tail`, at most `heaviest`."""
    heaviest: float = 100.0
    sitting: int = 3
    """Things done in a row on the same day."""


ACTIVITY = Activity()


@dataclass(frozen=True)
class Size:
    """How large the made-up community is."""

    rows: int

    @property
    def people(self) -> int:
        """Identities, each on one platform."""
        return max(self.accounts, round(self.rows * PEOPLE_PER_ROW))

    @property
    def accounts(self) -> int:
        """Accounts, at least one for each platform with a neighbour."""
        return max(FEWEST_ACCOUNTS, self.rows // ROWS_PER_ACCOUNT)


def generate(warehouse: Warehouse, size: Size, *, as_of: date, seed: int = 1, activity: Activity = ACTIVITY) -> None:
    """Fill the core tables of an empty warehouse: exactly `size.rows` interactions of exactly `size.people` identities.

    Beside them stays the schema `model`: who there is and when they come, for the nights after (`next_day`).
    """
    connection = warehouse.connect()
    _macros(connection, seed)
    start = first_monday(as_of)
    end = as_of + timedelta(days=1)
    connection.execute("create schema if not exists model")
    connection.execute(_people(size, activity))
    connection.execute(_skeleton(size))
    _create(warehouse, "dim_account", _accounts(size))
    _create(warehouse, "dim_profile", _profiles(size, start))
    _create(warehouse, "dim_post", _posts(size, start, end))
    _create(warehouse, "fct_collection_span", _spans(size, start, as_of))
    _create(warehouse, "fct_counter", _counters(size, start))
    for name in ("fct_earning", "identity_name", "fct_interaction"):
        _create(warehouse, name, None)
    for week in range(WEEKS):
        _insert(connection, "fct_interaction", _interactions(week, start, end, activity))
    _create(warehouse, "dim_identity", _identities())
    connection.execute("drop table model.visit")
    for table in CORE_TABLES:
        warehouse.log.wrote_whole(table, table.qualified, None, Making(), before=None)


def next_day(warehouse: Warehouse, size: Size, *, as_of: date, rows: int, seed: int = 1) -> None:
    """Add what the day after the last one brings: `rows` interactions, one in twenty up to three weeks late.

    `as_of` is the new day. One row in thirty is of somebody new. Posts, coverage and counters go on.
    """
    connection = warehouse.connect()
    _macros(connection, seed)
    first = as_of - timedelta(days=1)
    start: date = _row(connection, "select min(from_date) from core.fct_collection_span")[0]
    number = (as_of - start).days
    (before,) = _row(connection, "select count(*) from core.dim_identity")
    connection.execute(
        f"""
        create or replace table model.day as
        with alive as (select p, account, row_number() over (order by p) - 1 as i from model.person where weeks[-1] >= {WEEKS - 8}),
        drawn as (select {_LATER} + {number}::bigint * 1000000000 + r as event, r from range({rows}) t(r)),
        fated as (select *, u(40, event) as pick, u(41, event) < 1 / 30.0 as is_new from drawn)
        select event, 0 as j, is_new, if(is_new, {before} + r, a.p) as p, a.account
        from fated join alive a on a.i = cast(floor((select count(*) from alive) * pick * pick) as bigint)
        """  # noqa: S608 - numbers
    )
    _append(warehouse, "fct_interaction", _of_a_day(start, as_of))
    _append(
        warehouse,
        "dim_identity",
        f"""select {_identity("p")} as identity_id, {_identity("p")} as person_id, {_platform("account", "p")} as platform,
        null as merged_because, false as is_bot, timestamptz '{as_of}' as first_seen_at from model.day where is_new""",  # noqa: S608
    )
    _append(warehouse, "dim_post", _posts(size, start, as_of + timedelta(days=1), since=as_of))
    connection.execute(
        "update core.fct_collection_span set to_date = ?, last_ok_at = last_ok_at + interval 1 day where status = 'ok' and to_date = ?",
        [as_of, first],
    )
    connection.execute("drop table model.day")


def first_monday(as_of: date) -> date:
    """The Monday on which the history that ends with `as_of` begins."""
    return as_of - timedelta(days=as_of.weekday(), weeks=WEEKS - 1)


def fingerprint(warehouse: Warehouse, name: str) -> str:
    """What a core table holds, in one number, whatever the order of its rows."""
    (found,) = _row(warehouse.connect(), f"select count(*) || ':' || sum(hash(t)::hugeint) from core.{name} t")  # noqa: S608
    return str(found)


def _macros(connection: duckdb.DuckDBPyConnection, seed: int) -> None:
    """`u(which, of)`: a number from 0 to 1 that belongs to something; `which` tells its numbers apart."""
    connection.execute(
        f"create or replace temp macro u(which, of_what) as (hash(of_what::bigint, which::integer, {seed}) >> 11)::double / 9007199254740992.0"
    )


def _create(warehouse: Warehouse, name: str, query: str | None) -> None:
    connection, table = warehouse.connect(), TABLES[name]
    connection.execute(f"create or replace table {table.qualified} ({stored_in(table)})")
    if query:
        _insert(connection, name, query)
    for statement in comments(table):
        connection.execute(statement)
    if name == "fct_collection_span":
        connection.execute(DAY_VIEW)


def _insert(connection: duckdb.DuckDBPyConnection, name: str, query: str, into: str | None = None) -> None:
    """Insert the rows of the query, its columns by name and in the catalogue's types."""
    typed = enforced(TABLES[name], connection.sql(query).columns).replace("rows_of_relation", f"({query})")
    connection.execute(f"insert into {into or TABLES[name].qualified} {typed}")


def _append(warehouse: Warehouse, name: str, query: str) -> None:
    """Add rows to a table as a night does: whoever computes from it is told which ones are new."""
    connection, table = warehouse.connect(), TABLES[name]
    connection.execute(f"create or replace table model.added ({stored_in(table)})")
    _insert(connection, name, query, "model.added")
    connection.execute("begin")
    connection.execute(f"insert into {table.qualified} from model.added")
    warehouse.log.wrote_parts(table, None, Making(), removed=None, added="model.added")
    connection.execute("commit")
    connection.execute("drop table model.added")


def _row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] = connection.execute(query).fetchall()[0]
    return row


def _people(size: Size, activity: Activity) -> str:
    """Everybody: account, the weeks in which they come (the first always), and the weight of what they do beyond that."""
    (low, more, power), (gone, sooner, bend) = activity.weekly, activity.leaving
    anywhere = f"cast(floor({size.accounts} * pow(u(1, p), {activity.popularity})) as bigint)"
    return f"""
    create or replace table model.person as
    with born as (
        select p, account, u(2, p) < {activity.spike_share} as is_spike,
            cast(floor({WEEKS} * if(u(2, p) < {activity.spike_share}, u(3, account), pow(u(4, p), {activity.arrival}))) as bigint) as birth,
            {low} + {more} * pow(u(5, p), {power}) as weekly, {gone} + {sooner} * pow(u(6, p), {bend}) as leaving
        from (select p, if(p < {size.accounts}, p, {anywhere}) as account from range({size.people}) t(p))
    ),
    coming as (
        select p, account, is_spike, list_filter(
            range(birth, birth + 1 + cast(floor(least({WEEKS} - 1 - birth, ln(1 - u(7, p)) / ln(1 - leaving))) as bigint)),
            lambda w: w = birth or u(8, p * {WEEKS} + w) < weekly) as weeks
        from born
    )
    select *, len(weeks) * cast(1000 * least({activity.heaviest}, pow(greatest(u(9, p), 1e-9), -{activity.tail})) as bigint) as weight
    from coming
    """  # noqa: S608 - numbers


def _skeleton(size: Size) -> str:
    """Who comes in which week and does how much: one thing, and a share of all that is left, in whole numbers."""
    return f"""
    create or replace table model.visit as
    with whole as (select sum(weight) as everybody, {size.rows} - sum(len(weeks)) as rest from model.person),
    shared as (
        select p, account, is_spike, weeks, rest * (sum(weight) over (order by p)) // everybody as upto from model.person cross join whole
    ),
    own as (select *, cast(upto - coalesce(lag(upto) over (order by p), 0) as bigint) as extra from shared)
    select week, account, p, is_spike and i = 1 as is_spike, 1 + i * extra // len(weeks) - (i - 1) * extra // len(weeks) as n
    from (select p, account, is_spike, weeks, extra, unnest(weeks) as week, generate_subscripts(weeks, 1) as i from own)
    order by week, account, p
    """  # noqa: S608 - numbers


def _platform(account: str, person: str = "-1") -> str:
    """The platform of an account, or of a person: a quarter of the accounts have two, a third of their people on the other."""
    names = "[" + ", ".join(f"'{name}'" for name in PLATFORMS) + "]"
    other = f"({person} >= 0 and u(10, {account}) < 0.25 and u(11, {person}) < 0.33)::integer"
    return f"{names}[1 + ({account} + {other}) % {len(PLATFORMS)}]"


def _name(account: str) -> str:
    return f"'account' || lpad(({account})::varchar, 6, '0')"


def _identity(person: str) -> str:
    return f"md5('person ' || {person})"


def _gap(account: str) -> str:
    """Microseconds between the posts of an account: a day to two weeks."""
    return f"cast({_DAY} * (1 + 13 * u(12, {account})) as bigint)"


def _published(account: str, number: str, start: date) -> str:
    """When a post was published, in microseconds: within the first third of its gap."""
    shift = f"cast(u(13, {account} * 10000 + {number}) * 0.3 * {_gap(account)} as bigint)"
    return f"({_us(start)} + {number} * {_gap(account)} + {shift})"


def _post_id(account: str, number: str) -> str:
    return f"{_name(account)} || '/' || {_platform(account)} || '/' || (10000 + {number})"


def _us(day: date) -> int:
    return (day - date(1970, 1, 1)).days * _DAY


def _accounts(size: Size) -> str:
    return f"""select {_name("a")} as account_id, {_name("a")} as name, ['UTC', 'Europe/Paris', 'America/New_York'][1 + a % 3] as timezone,
    7.0 as promise_days, true as is_own from range({size.accounts}) t(a)"""  # noqa: S608


def _profile_rows(size: Size) -> str:
    """Each account on each of its platforms."""
    names = "[" + ", ".join(f"'{name}'" for name in PLATFORMS) + "]"
    return f"""(select a, {names}[1 + (a + k) % {len(PLATFORMS)}] as platform
    from range({size.accounts}) t(a), range(2) o(k) where k = 0 or u(10, a) < 0.25)"""  # noqa: S608


def _profiles(size: Size, start: date) -> str:
    return f"""select {_name("a")} as account_id, platform, platform as source, 'https://' || platform || '.example/' || a as url,
    platform || '.example' as host, '@' || a as handle, timestamptz '{start}' as born_at from {_profile_rows(size)}"""  # noqa: S608


def _spans(size: Size, start: date, as_of: date) -> str:
    """Everything was collected since the first day, but for a week that one stream in fifty missed."""
    hole = start + timedelta(weeks=100)
    week = hole + timedelta(days=6)
    return f"""
    with streams as (
        select {_name("a")} as account_id, platform, stream, u(14, a * 3 + s) < 0.02 as has_hole
        from {_profile_rows(size)}, (values (0, 'posts'), (1, 'inbound'), (2, 'outbound')) v(s, stream)
    )
    select *, timestamptz '{as_of}' + interval 27 hour as last_ok_at from (
        select account_id, platform, stream, date '{start}' as from_date, if(has_hole, date '{hole}' - 1, date '{as_of}') as to_date,
            'ok' as status, null as reason from streams
        union all select account_id, platform, stream, date '{hole}', date '{week}', 'down', 'the server did not answer' from streams where has_hole
        union all select account_id, platform, stream, date '{week}' + 1, date '{as_of}', 'ok', null from streams where has_hole
    )"""  # noqa: S608


def _counters(size: Size, start: date) -> str:
    """Followers of each profile, seen once a month."""
    return f"""select {_name("a")} as account_id, platform, 'profile' as subject, platform as subject_id, 'followers' as counter,
    cast(100 + 5 * m * (1 + 10 * u(15, a)) as bigint) as value, timestamptz '{start}' + to_days(30 * m::integer + 1) as observed_at,
    timestamptz '{start}' + to_days(30 * m::integer + 1) as loaded_at from {_profile_rows(size)}, range({WEEKS * 7 // 30}) x(m)"""  # noqa: S608


def _posts(size: Size, start: date, end: date, since: date | None = None) -> str:
    """The posts of all accounts up to `end`, or those of the days since."""
    at = _published("a", "k", start)
    return f"""
    select {_post_id("a", "k")} as post_id, {_name("a")} as account_id, {_platform("a")} as platform, (10000 + k)::varchar as post,
        null as url, make_timestamptz(moment) as published_at, if(fate < 0.01, make_timestamptz(moment + 3 * {_DAY}), null) as deleted_at,
        if(fate < 0.5, 'note', 'article') as kind, 'en' as language, cast(500 * fate as bigint) as words, cast(4 * fate as bigint) as links,
        fate > 0.9 as is_promotional, if(fate > 0.9, 'commerce link', null) as promotion_reason,
        make_timestamptz(moment) as observed_at, make_timestamptz(moment + {_DAY}) as loaded_at
    from (select a, k, {at} as moment, u(16, a * 10000 + k) as fate
        from range({size.accounts}) t(a), lateral (select unnest(range(cast(({_us(end)} - {_us(start)}) // {_gap("a")} + 1 as bigint))) as k))
    where moment < {_us(end)} and moment >= {_us(since or start)}
    """  # noqa: S608 - numbers


def _interactions(week: int, start: date, end: date, activity: Activity) -> str:
    """What happened in a week."""
    monday = _us(start + timedelta(weeks=week))
    days = min(7, (end - start).days - 7 * week)
    sitting = f"((p * {WEEKS} + week) * 1000 + j // {activity.sitting})"
    day = f"if(is_spike and j = 0, {min(2, days - 1)}, cast(floor({days} * u(20, {sitting})) as bigint))"
    second = f"cast(80000 * u(21, {sitting}) + 1200 * u(22, (p * {WEEKS} + week) * 10000 + j) * (j % {activity.sitting}) as bigint)"
    rows = f"""
    select p, account, (p * {WEEKS} + week) * 10000 + j as event, j, {monday} + {day} * {_DAY} + {second} * 1000000 as moment, false as is_late
    from (select *, unnest(range(n)) as j from model.visit where week = {week})"""  # noqa: S608 - numbers
    return _facts(rows, start, end)


def _of_a_day(start: date, as_of: date) -> str:
    """What a day brings: some of it happened up to three weeks ago."""
    late = f"if(u(23, event) < 0.05, cast(20 * {_DAY} * u(24, event) as bigint), 0)"
    rows = f"""
    select p, account, event, j, {_us(as_of)} + cast(86399 * u(25, event) as bigint) * 1000000 - {late} as moment, u(23, event) < 0.05 as is_late
    from model.day"""  # noqa: S608 - numbers
    return _facts(rows, start, as_of + timedelta(days=1))


def _facts(rows: str, start: date, end: date) -> str:
    """`fct_interaction` of rows of `p, account, event, j, moment (microseconds), is_late`."""
    kinds = " ".join(f"when u(30, event) < {upto} then '{kind}'" for kind, upto in KINDS)
    limit = _us(end) + 3 * 3_600_000_000
    latest = f"cast(floor((moment - {_us(start)}) / {_gap('account')} - 0.3) as bigint)"
    return f"""
    select
        stem || (100000000000000 + event) as interaction_id, account_id, platform, {_identity("p")} as identity_id,
        if(is_outbound, 'outbound', 'inbound') as direction, kind, kind in ('reply', 'mention', 'quote', 'message') as is_composed,
        if(kind <> 'follow' and post >= 0, {_post_id("account", "post")}, null) as post_id,
        if(kind = 'reply' and is_outbound and j > 0, stem || (100000000000000 + event - 1), null) as in_reply_to_id,
        if(is_unsaid, null, make_timestamptz(moment)) as occurred_at,
        make_timestamptz(seen) as observed_at,
        if(is_unsaid, make_timestamptz(moment - if(u(31, event) < 0.5, 1, 20) * {_DAY}), null) as not_before_at,
        make_timestamptz(moment) as active_at,
        not is_unsaid or u(31, event) < 0.5 as is_time_known,
        if(u(32, event) < if(kind = 'follow', 0.1, 0.01), make_timestamptz(least(seen + cast(100 * {_DAY} * u(33, event) as bigint), {limit})), null) as retracted_at,
        is_own as is_own_row, false as is_site_wide, not is_own as is_audience,
        make_timestamptz(least(seen + {_DAY}, {limit})) as loaded_at
    from (
        select *, {_name("account")} as account_id, {_platform("account", "p")} as platform, u(34, p) < 0.0005 as is_own,
            {_name("account")} || '/' || {_platform("account", "p")} || '/' as stem,
            case {kinds} end as kind, u(35, event) < 0.08 as is_outbound, u(36, event) < 0.02 and not is_late as is_unsaid,
            if(u(36, event) < 0.02 and not is_late, moment,
                if(is_late, {_us(end)} - 1000000, least(moment + cast({_DAY} * u(37, event) as bigint), {limit}))) as seen,
            {latest} - if(u(38, event) < 0.3, 1, 0) as post
        from ({rows})
    )"""  # noqa: S608 - numbers and names


def _identities() -> str:
    """Everybody who ever did something, and which of two neighbours are one person."""
    return f"""
    select {_identity("p")} as identity_id,
        if(is_merged, least({_identity("p")}, {_identity("xor(p, 1)")}), {_identity("p")}) as person_id,
        platform, if(is_merged, 'declared in rapport.toml', null) as merged_because, u(51, p) < 0.001 as is_bot, first_seen_at
    from (select p, u(50, p // 2) < 0.01 and xor(p, 1) < count(*) over () as is_merged from model.person)
    join (select identity_id, any_value(platform) as platform, min(coalesce(occurred_at, observed_at)) as first_seen_at
        from core.fct_interaction group by 1) seen on seen.identity_id = {_identity("p")}
    """  # noqa: S608 - numbers


_LATER = 50_000_000_000_000
"""Events of days after the first three years are numbered from here."""
_DAY = 86_400_000_000
"""Microseconds."""
KINDS = (
    ("like", 0.50), ("reply", 0.65), ("repost", 0.77), ("follow", 0.83), ("mention", 0.89), ("bookmark", 0.93),
    ("quote", 0.96), ("message", 0.98), ("rsvp", 1.01),
)  # fmt: skip
"""Kinds, with their shares added up."""
