"""The warehouse: whole tables swapped, versions kept, nights in the past kept apart."""

import subprocess
import sys
from datetime import date
from pathlib import Path
from subprocess import PIPE

import duckdb
import polars as pl
import pytest

from assets.metrics.parts import in_parts
from orchestration.io import TablesIOManager
from orchestration.publish import publish
from orchestration.settings import CHECKOUT, Settings
from orchestration.sole_use import sole_use
from orchestration.spark_store import SparkStore
from orchestration.storage import FORMAT
from orchestration.warehouse import Warehouse, WarehouseError
from quality.catalog.model import ContractError, empty
from quality.catalog.tables import MARTS, TABLES

ACCOUNT = TABLES["dim_account"]
DILUTION = TABLES["mart_dilution"]
SPIKE = TABLES["mart_spike"]
MONDAY, TUESDAY, WEDNESDAY = date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)


@pytest.fixture
def warehouse(tmp_path: Path):
    """A new warehouse."""
    made = Warehouse(tmp_path / "warehouse.duckdb")
    yield made
    made.close()


def accounts(*names: str) -> pl.DataFrame:
    """dim_account with these accounts."""
    return pl.DataFrame({"account_id": names, "name": names, "timezone": "UTC", "promise_days": 7.0, "is_own": True})


def dilution(as_of: date, value: float | None = 0.5) -> pl.DataFrame:
    """mart_dilution of one account and night."""
    row = {"as_of": as_of, "account_id": "a", "dilution_elasticity": value, "posts": 1}
    return pl.DataFrame(
        [{**{c.name: None for c in DILUTION.columns}, **row}], schema={c.name: c.dtype.polars for c in DILUTION.columns}
    )


def spikes(day: date) -> pl.DataFrame:
    """mart_spike with one spike."""
    row = {"account_id": "a", "platform": "all", "started_on": day, "new_people": 10, "baseline": 1.0, "p_value": 0.0}
    return pl.DataFrame(
        [{**{c.name: None for c in SPIKE.columns}, **row}], schema={c.name: c.dtype.polars for c in SPIKE.columns}
    )


def test_a_table_is_written_in_contract_order_with_its_types_and_comments(warehouse: Warehouse) -> None:
    shuffled = accounts("b", "a").select("is_own", "promise_days", "name", "timezone", "account_id")
    assert warehouse.write(ACCOUNT, shuffled) == 2
    assert warehouse.read("dim_account").collect().columns == list(ACCOUNT.column_names)
    assert warehouse.read("dim_account").collect()["account_id"].to_list() == ["a", "b"]
    comment = (
        warehouse.connect()
        .execute("select comment from duckdb_columns() where column_name = 'promise_days'")
        .fetchone()
    )
    assert comment is not None
    assert comment[0].startswith("The posting promise")


def test_a_frame_that_breaks_the_contract_is_not_written(warehouse: Warehouse) -> None:
    warehouse.write(ACCOUNT, accounts("a"))
    with pytest.raises(ContractError, match=r"missing columns \['is_own'\]"):
        warehouse.write(ACCOUNT, accounts("b").drop("is_own"))
    assert warehouse.read("dim_account").collect()["account_id"].to_list() == ["a"]


def test_a_table_never_written_is_empty_and_typed(warehouse: Warehouse) -> None:
    assert warehouse.read("fct_interaction").collect().equals(empty(TABLES["fct_interaction"]))


@pytest.mark.parametrize(
    "condition",
    [
        pl.col("account_id") == "a",
        pl.col("account_id") != "it's",
        pl.col("account_id").is_in(["a", "c"]),
        pl.col("is_own"),
        ~pl.col("is_own"),
        (pl.col("name") > "a") & ~pl.col("is_own"),
        pl.col("name").str.contains("^[b-z]"),
        pl.col("account_id").is_null() | (pl.col("account_id") == pl.col("name")),
        (pl.col("promise_days") > 7) & (pl.col("account_id") != "a"),
        pl.col("timezone").ne_missing("UTC"),
    ],
)
def test_a_condition_chooses_the_same_rows_in_the_file_as_in_memory(warehouse: Warehouse, condition: pl.Expr) -> None:
    rows = accounts("a", "b", "c", "it's").with_columns(
        is_own=pl.Series([True, False, True, False]),
        promise_days=pl.Series([1.0, 7.0, 14.0, 30.0]),
        name=pl.Series(["a", "x", "b", "c"]),
    )
    warehouse.write(ACCOUNT, rows)
    chosen = warehouse.read("dim_account").filter(condition)
    assert chosen.collect().rows() == rows.filter(condition).rows()
    assert chosen.select("name").head(1).collect().rows() == rows.filter(condition).select("name").head(1).rows()


def test_readers_share_a_frame_until_its_table_is_written(warehouse: Warehouse, tmp_path: Path) -> None:
    tables = TablesIOManager(warehouse, Settings(home=tmp_path), SparkStore(Settings(home=tmp_path), warehouse))
    tables.save(ACCOUNT, accounts("a"), None)
    first = tables.load("dim_account", MONDAY, reader="mart_summary")
    warehouse.close()  # as checks do between two steps
    assert tables.load("dim_account", MONDAY, reader="mart_cadence") is first
    assert first.collect()["account_id"].to_list() == ["a"]
    tables.save(ACCOUNT, accounts("a", "b"), None)
    second = tables.load("dim_account", MONDAY, reader="mart_summary")
    assert second is not first
    assert second.collect()["account_id"].to_list() == ["a", "b"]


def test_roll_back_puts_the_version_before_back_and_keeps_the_rejected_rows(warehouse: Warehouse) -> None:
    warehouse.write(ACCOUNT, accounts("a"))
    warehouse.write(ACCOUNT, accounts("broken"))
    assert warehouse.previous("dim_account") == "core.dim_account__previous"
    warehouse.roll_back("dim_account")
    assert warehouse.read("dim_account").collect()["account_id"].to_list() == ["a"]
    assert warehouse.connect().sql("select account_id from core.dim_account__rejected").fetchall() == [("broken",)]
    warehouse.write(ACCOUNT, accounts("c"))
    assert warehouse.read("dim_account").collect()["account_id"].to_list() == ["c"]


def test_roll_back_of_a_first_write_leaves_no_table(warehouse: Warehouse) -> None:
    warehouse.write(ACCOUNT, accounts("broken"))
    warehouse.roll_back("dim_account")
    assert not warehouse.has("core", "dim_account")


def test_account_level_marts_keep_every_as_of_and_replace_the_one_written_again(warehouse: Warehouse) -> None:
    for as_of, value in ((MONDAY, 0.1), (TUESDAY, 0.2), (MONDAY, 0.3)):
        warehouse.write(DILUTION, dilution(as_of, value), as_of)
    rows = warehouse.connect().sql("select as_of, dilution_elasticity from marts.mart_dilution order by 1").fetchall()
    assert rows == [(MONDAY, 0.3), (TUESDAY, 0.2)]
    assert warehouse.read("mart_dilution", TUESDAY).collect()["dilution_elasticity"].to_list() == [0.2]


def test_a_night_that_is_rolled_back_leaves_the_nights_before_and_what_it_had_replaced(warehouse: Warehouse) -> None:
    """Of a mart that keeps every night; what was rejected are the rows of one night."""

    def stored(table: str = "mart_dilution") -> list[tuple[date, float]]:
        query = f"select as_of, dilution_elasticity from marts.{table} order by as_of"
        return warehouse.connect().sql(query).fetchall()

    for night, value in ((MONDAY, 0.5), (TUESDAY, 0.6), (TUESDAY, 0.7)):
        assert warehouse.write(DILUTION, dilution(night, value), night) == 1
    assert stored("mart_dilution__previous") == [(MONDAY, 0.5), (TUESDAY, 0.6)]
    warehouse.roll_back("mart_dilution", str(TUESDAY))
    assert stored() == [(MONDAY, 0.5), (TUESDAY, 0.6)]
    assert stored("mart_dilution__rejected") == [(TUESDAY, 0.7)]
    assert warehouse.previous("mart_dilution") is None
    warehouse.write(DILUTION, dilution(WEDNESDAY, 0.8), WEDNESDAY)
    warehouse.roll_back("mart_dilution", WEDNESDAY)
    assert stored() == [(MONDAY, 0.5), (TUESDAY, 0.6)]
    warehouse.write(DILUTION, dilution(MONDAY, 0.4), MONDAY)  # a night that is derived again
    assert stored() == [(MONDAY, 0.4), (TUESDAY, 0.6)]


def test_nights_before_are_kept_where_a_mart_has_gained_and_lost_a_column(warehouse: Warehouse) -> None:
    warehouse.write(DILUTION, dilution(MONDAY, 0.1), MONDAY)
    warehouse.connect().execute("alter table marts.mart_dilution drop column rate_p90_to_p10")
    warehouse.connect().execute("alter table marts.mart_dilution add column once_there integer")
    warehouse.write(DILUTION, dilution(TUESDAY, 0.2), TUESDAY)
    frame = warehouse.read("mart_dilution").collect().sort("as_of")
    assert frame.columns == list(DILUTION.column_names)
    assert frame["dilution_elasticity"].to_list() == [0.1, 0.2]


CADENCE_WEEK = TABLES["mart_cadence_week"]
WEEKS = 2_000


def weeks(*blocks: pl.Expr, fails_in: int | None = None) -> pl.LazyFrame:
    """mart_cadence_week of one account in parts, one for each expression of the week's number; rows of one may not fit."""
    size = WEEKS // len(blocks)

    def part(start: int, stop: int) -> pl.DataFrame:
        block = start // size
        posts = pl.lit(1e300 if block == fails_in and stop > start else 1.0).alias("posts")
        return pl.select(pl.int_range(start, stop, dtype=pl.Int32).alias("number")).select(
            pl.lit("a").alias("account_id"), pl.lit("all").alias("platform"), blocks[block].cast(pl.Date).alias("week"),
            posts, pl.lit(1).alias("active_days"), pl.lit(1.0).alias("coverage_share"),
        )  # fmt: skip

    return in_parts(WEEKS, part)


NUMBER = pl.col("number")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four parts, of which only the first is looked at before writing begins."""
    for name in ("assets.metrics.parts.PART", "orchestration.storage.ROW_GROUP", "orchestration.storage._LOOKED_AT"):
        monkeypatch.setattr(name, WEEKS // 4)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param([NUMBER, NUMBER, NUMBER, NUMBER], id="in order"),
        pytest.param([NUMBER.reverse(), NUMBER, NUMBER, NUMBER], id="not from the beginning"),
        pytest.param([NUMBER, NUMBER, NUMBER.reverse(), NUMBER], id="not within a later part"),
        pytest.param([NUMBER, NUMBER, NUMBER + 500, NUMBER - 500], id="not from one part to the next"),
    ],
)
def test_rows_made_in_parts_lie_in_order_whatever_order_they_come_in(
    warehouse: Warehouse, blocks: list[pl.Expr]
) -> None:
    assert warehouse.write(CADENCE_WEEK, weeks(*blocks)) == WEEKS
    stored = warehouse.connect().execute("select week from marts.mart_cadence_week").pl()["week"]
    assert stored.to_list() == [date.fromordinal(date(1970, 1, 1).toordinal() + number) for number in range(WEEKS)]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("block", [0, 3])
def test_a_part_that_breaks_the_contract_leaves_the_table_as_it_was(warehouse: Warehouse, block: int) -> None:
    warehouse.write(CADENCE_WEEK, weeks(NUMBER))
    with pytest.raises(ContractError, match="mart_cadence_week: a value does not fit"):
        warehouse.write(CADENCE_WEEK, weeks(NUMBER, NUMBER, NUMBER, NUMBER, fails_in=block))
    assert warehouse.rows("mart_cadence_week") == WEEKS


def test_an_older_night_leaves_newest_only_marts_untouched(warehouse: Warehouse) -> None:
    warehouse.write(SPIKE, spikes(TUESDAY), TUESDAY)
    warehouse.set_newest(TUESDAY)
    warehouse.write(SPIKE, spikes(MONDAY), MONDAY)
    assert warehouse.read("mart_spike", TUESDAY).collect()["started_on"].to_list() == [TUESDAY]
    assert warehouse.read("mart_spike", MONDAY).collect()["started_on"].to_list() == [MONDAY]
    assert warehouse.location("mart_spike", MONDAY) == ("past", "mart_spike")


def test_a_night_that_was_not_worth_deriving_is_forgotten(warehouse: Warehouse) -> None:
    warehouse.write(DILUTION, dilution(MONDAY), MONDAY)
    warehouse.write(DILUTION, dilution(TUESDAY), TUESDAY)
    warehouse.forget(MONDAY)
    assert warehouse.connect().sql("select as_of from marts.mart_dilution").fetchall() == [(TUESDAY,)]


def test_a_file_that_is_no_warehouse_is_a_clear_message(tmp_path: Path) -> None:
    broken = tmp_path / "warehouse.duckdb"
    broken.write_bytes(b"not a database" * 1000)
    with pytest.raises(WarehouseError, match=r"cannot be opened: it is no DuckDB file\. Put a backup"):
        Warehouse(broken).connect()


def test_another_process_holding_the_file_is_a_clear_message(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    code = f"import duckdb; c = duckdb.connect({str(path)!r}); print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(WarehouseError, match=rf"another process holds it \(process {holder.pid}\)"):
            Warehouse(path).connect()
        holder.kill()
    again = Warehouse(path)
    again.connect()
    again.close()


def test_a_home_is_used_by_one_process_at_a_time_also_between_its_connections(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from orchestration.sole_use import sole_use\n"
        f"with sole_use(Path({str(tmp_path)!r})): print('held', flush=True); input()"
    )
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    with subprocess.Popen([sys.executable, "-c", code], cwd=CHECKOUT, stdin=PIPE, stdout=PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(WarehouseError, match=rf"in use by another run, import or check \(process {holder.pid}\)"):
            warehouse.connect()
        holder.kill()
    with sole_use(tmp_path), sole_use(tmp_path):
        warehouse.connect()
        warehouse.close()
    warehouse.connect()
    warehouse.close()


def test_collection_days_are_a_view_of_the_spans(warehouse: Warehouse) -> None:
    table = TABLES["fct_collection_span"]
    row = {
        "account_id": "a",
        "platform": "p",
        "stream": "posts",
        "from_date": MONDAY,
        "to_date": date(2024, 1, 3),
        "status": "ok",
    }
    warehouse.write(
        table,
        pl.DataFrame(
            [{**{c.name: None for c in table.columns}, **row}], schema={c.name: c.dtype.polars for c in table.columns}
        ),
    )
    days = warehouse.connect().sql("select date from core.fct_collection_day order by 1").fetchall()
    assert days == [(MONDAY,), (TUESDAY,), (date(2024, 1, 3),)]


def write_all(warehouse: Warehouse, as_of: date) -> None:
    """Every mart, empty but one."""
    for table in MARTS.values():
        warehouse.write(table, dilution(as_of) if table is DILUTION else empty(table), as_of)


def test_publishing_replaces_the_files_and_the_hash_follows_the_content(warehouse: Warehouse, tmp_path: Path) -> None:
    write_all(warehouse, MONDAY)
    first = publish(warehouse, tmp_path / "published", as_of=MONDAY)
    again = publish(warehouse, tmp_path / "published", as_of=MONDAY)
    assert first == again
    assert (first["as_of"], first["tables"], first["rows"]) == (MONDAY, len(MARTS), 1)
    warehouse.write(DILUTION, dilution(MONDAY, 0.7), MONDAY)
    assert publish(warehouse, tmp_path / "published", as_of=MONDAY)["content_hash"] != first["content_hash"]
    with duckdb.connect(str(tmp_path / "published" / "rapport.duckdb"), read_only=True) as connection:
        assert connection.sql("select dilution_elasticity from marts.mart_dilution").fetchall() == [(0.7,)]
        comments = connection.sql(
            "select count(*) from duckdb_columns() where schema_name = 'marts' and comment is null and table_name <> 'about'"
        ).fetchone()
        assert comments == (0,)
    for name in (*MARTS, "about"):
        frame = pl.read_parquet(tmp_path / "published" / "parquet" / f"{name}.parquet")
        assert name == "about" or frame.columns == list(MARTS[name].column_names)
    assert not list((tmp_path / "published").glob(".*"))


def test_an_open_reader_keeps_the_old_file(warehouse: Warehouse, tmp_path: Path) -> None:
    write_all(warehouse, MONDAY)
    publish(warehouse, tmp_path / "published", as_of=MONDAY)
    with duckdb.connect(str(tmp_path / "published" / "rapport.duckdb"), read_only=True) as reader:
        warehouse.write(DILUTION, dilution(MONDAY, 0.7), MONDAY)
        publish(warehouse, tmp_path / "published", as_of=MONDAY)
        assert reader.sql("select dilution_elasticity from marts.mart_dilution").fetchall() == [(0.5,)]


def test_the_hash_ignores_when_a_stream_was_last_read(warehouse: Warehouse, tmp_path: Path) -> None:
    write_all(warehouse, MONDAY)
    table = MARTS["mart_collection"]
    hashes = []
    for moment in ("2024-01-02 03:00:00", "2024-01-09 03:00:00"):
        row = {"account_id": "a", "platform": "p", "stream": "posts", "status": "ok"}
        frame = pl.DataFrame(
            [{**{c.name: None for c in table.columns}, **row}], schema={c.name: c.dtype.polars for c in table.columns}
        )
        warehouse.write(
            table,
            frame.with_columns(last_ok_at=pl.lit(moment).str.to_datetime(time_unit="us", time_zone="UTC")),
            MONDAY,
        )
        hashes.append(publish(warehouse, tmp_path / "published", as_of=MONDAY)["content_hash"])
    assert hashes[0] == hashes[1]


def test_a_warehouse_has_the_format_that_is_written_fast_and_one_that_is_there_keeps_its_own(tmp_path: Path) -> None:
    """Made anew, and opened again without being told; a file of DuckDB's own making is not changed."""
    old = tmp_path / "old" / "warehouse.duckdb"
    old.parent.mkdir()
    duckdb.connect(str(old)).close()
    formats = []
    for path in (tmp_path / "warehouse.duckdb", tmp_path / "warehouse.duckdb", old):
        opened = Warehouse(path)
        found = opened.connect().execute(
            "select tags['storage_version'] from duckdb_databases() where path = ?", [str(path)]
        )
        formats.append(found.fetchone())
        opened.close()
    assert formats[0] == formats[1] == (f"{FORMAT}+",)
    assert formats[2] != formats[0]


def test_duckdb_takes_a_sixth_of_the_machine_unless_told_otherwise(tmp_path: Path) -> None:
    """DuckDB's own limit is 80 % of the machine."""
    with duckdb.connect() as other:
        whole = _gibibytes(other) / 0.8
    for memory, expected in ((None, max(1.0, whole / 6)), ("800MB", 800e6 / 2**30)):
        opened = Warehouse(tmp_path / "warehouse.duckdb", memory)
        assert _gibibytes(opened.connect()) == pytest.approx(expected, abs=0.11)  # said with one digit
        opened.close()


def _gibibytes(connection: duckdb.DuckDBPyConnection) -> float:
    amount, unit = connection.execute("select current_setting('memory_limit')").fetchone()[0].split()
    return float(amount) * {"MiB": 2**-10, "GiB": 1, "TiB": 2**10}[unit]


def test_a_table_read_in_parts_has_every_row_once_and_no_more_than_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are smaller than DuckDB's vectors here, so that there are several."""
    monkeypatch.setattr("orchestration.warehouse._ROWS_AT_ONCE", 2_048)
    opened = Warehouse(tmp_path / "warehouse.duckdb")
    opened.connect().execute(
        "create schema raw_x; create table raw_x.days as "
        "select i::int as i, date '2024-01-01' + i::int % 7 as day from range(10_000) as numbers(i)"
    )
    frame = opened.read("raw_x__days")
    assert sorted(frame.collect()["i"]) == list(range(10_000))
    assert frame.head(3_000).collect().height == 3_000
    monday = frame.filter(pl.col("day") == date(2024, 1, 1))
    assert sorted(monday.collect()["i"]) == list(range(0, 10_000, 7))
    assert monday.head(500).collect().height == 500
    assert frame.filter(pl.col("i") < 0).collect().is_empty()
    opened.close()
