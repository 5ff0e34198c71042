"""Ledgers into a real DuckDB: own files and Stripe's export, addresses hashed on arrival, importing again."""

from datetime import UTC, datetime, timedelta
from hashlib import md5, sha256
from pathlib import Path

import dlt
import duckdb
import polars as pl
import pytest

from sources import earnings
from sources.activity_files import shape_of
from sources.model import SourceError

READ_AT = datetime(2026, 2, 1, 3, tzinfo=UTC)
LEDGER = """person,email,earned_at,amount,currency,earning
https://ann.example/,,2024-01-02T10:00:00Z,12.50,EUR,e1
,Bob@Example.org,2024-01-03,5,eur,e2
"""
STRIPE = """id,Description,Created date (UTC),Amount,Amount Refunded,Currency,Captured,Mode,Status,Customer ID,Customer Email,Card Name
ch_1,Membership of Bob,2024-01-02 10:00:00,12.50,0.00,eur,true,Live,Paid,cus_1,bob@example.org,Bob Builder
ch_2,,2024-01-03 11:00,"1,000.00",250.00,eur,true,Live,Paid,,,Eve
ch_3,,2024-01-04 12:00,9.00,0.00,eur,false,Live,Failed,cus_1,bob@example.org,Bob Builder
"""


def hashed(text: str) -> str:
    return f"<{sha256(text.encode()).hexdigest()[:8]}>"


class Home:
    """A warehouse of its own, into which ledgers are imported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, content: str | None, *, name: str = "ledger.csv", read_at: datetime = READ_AT, **more) -> list[str]:
        notes: list[str] = []
        path = None if content is None else self.write(name, content)
        more = {"account": "me"} | more
        source = earnings.source(earnings=path, hashed=hashed, read_at=read_at, warn=notes.append, **more)
        dlt.pipeline(
            pipeline_name="raw_earnings",
            pipelines_dir=str(self.folder / "pipelines"),
            destination=dlt.destinations.duckdb(str(self.folder / "warehouse.duckdb")),
            dataset_name="raw_earnings",
        ).run(source)
        return notes

    def rows(self, columns: str = "*") -> list[tuple]:
        with duckdb.connect(str(self.folder / "warehouse.duckdb")) as connection:
            connection.execute("set timezone = 'UTC'")
            return connection.execute(f"select {columns} from raw_earnings.ledger order by row_number").fetchall()

    def write(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.write_text(content, encoding="utf-8")
        return path


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path)


def test_a_ledger_is_read_and_addresses_are_hashed(home):
    assert home.load(LEDGER) == []
    assert home.rows("account_id, person, email_hash, earning, earned_at, amount, currency, is_stripe") == [
        ("me", "https://ann.example/", None, "e1", "2024-01-02T10:00:00Z", "12.50", "EUR", False),
        ("me", None, hashed("bob@example.org"), "e2", "2024-01-03", "5", "eur", False),
    ]
    digests = (md5(b"bob@example.org").hexdigest(), sha256(b"bob@example.org").hexdigest())
    assert home.rows("email_md5_hash, email_sha256_hash")[1] == tuple(map(hashed, digests))


@pytest.mark.parametrize("column", ["person", "email"])
@pytest.mark.parametrize("address", ["ann@secret.example", " Ann@Secret.example ", "mailto:ann@secret.example"])
def test_an_address_is_nowhere_in_the_warehouse(home, column, address):
    home.load(f"{column},earned_at,amount,currency,note\n{address},2024-01-02,1,EUR,{address}\n")
    assert home.rows("person, email_hash") == [(None, hashed("ann@secret.example"))]
    files = [path for path in home.folder.rglob("*") if path.is_file() and path.name != "ledger.csv"]
    assert files
    assert not [path.name for path in files if b"secret.example" in path.read_bytes().lower()]


def test_what_stripe_exports_is_recognised_and_only_what_is_needed_is_kept(home):
    path = home.write("payments.csv", STRIPE)
    assert shape_of(path) == "earnings"
    assert home.load(STRIPE, name="payments.csv") == []
    assert home.rows("person, email_hash, earning, amount, refunded, stripe_status, stripe_captured, is_stripe") == [
        ("cus_1", hashed("bob@example.org"), "ch_1", "12.50", "0.00", "Paid", "true", True),
        (None, None, "ch_2", "1,000.00", "250.00", "Paid", "true", True),
        ("cus_1", hashed("bob@example.org"), "ch_3", "9.00", "0.00", "Failed", "false", True),
    ]
    assert not [row for row in home.rows() if any("Bob" in str(value) or "Eve" in str(value) for value in row)]


@pytest.mark.parametrize("content", [LEDGER, STRIPE, LEDGER.replace(",e1", ",").replace(",e2", ",")])
def test_importing_again_adds_nothing(home, content):
    home.load(content)
    first = home.rows()
    home.load(content, read_at=READ_AT + timedelta(days=1))
    home.load(content, name="copy.csv", read_at=READ_AT + timedelta(days=2))
    assert home.rows() == first


def test_a_refund_that_came_later_is_a_new_observation(home):
    home.load(STRIPE)
    home.load(STRIPE.replace("12.50,0.00", "12.50,2.50"), read_at=READ_AT + timedelta(days=1))
    assert [row for row in home.rows("earning, refunded") if row[0] == "ch_1"] == [("ch_1", "0.00"), ("ch_1", "2.50")]


def test_equal_rows_without_an_id_are_counted_within_their_file(home):
    row = "ann,2024-01-02,5,EUR\n"
    header = "person,earned_at,amount,currency\n"
    home.load(header + row * 3)
    home.load(header + row * 2, name="shorter.csv")
    assert len(home.rows()) == 3
    home.load(header + row * 4)
    assert len(home.rows()) == 4


def test_parquet_with_types_says_the_same(home):
    frame = pl.DataFrame(
        {
            "person": ["ann"],
            "earned_at": [datetime(2024, 1, 2, tzinfo=UTC)],
            "amount": pl.Series(["12.50"]).str.to_decimal(scale=2),
            "currency": ["EUR"],
            "account": ["blog"],
        }
    )
    frame.write_parquet(home.folder / "ledger.parquet")
    source = earnings.source(earnings=home.folder / "ledger.parquet", hashed=hashed, read_at=READ_AT)
    table = pl.concat(pl.from_arrow(item) for item in source.resources["ledger"])
    assert table.select("account_id", "at_utc", "amount").rows() == [
        ("blog", datetime(2024, 1, 2, tzinfo=UTC), "12.50"),
    ]


def test_without_a_file_the_table_is_there_and_empty(home):
    home.load(None)
    assert home.rows() == []


@pytest.mark.parametrize(
    ("content", "account", "said"),
    [
        ("person,earned_at,amount\nann,2024-01-02,5\n", "me", "no column `currency`"),
        ("earned_at,amount,currency\n2024-01-02,5,EUR\n", "me", "no column `person` or `email`"),
        ("person,earned_at,amount,currency\nann,2024-01-02,5,EUR\n", None, "not known whose"),
        ("account,person,earned_at,amount,currency\nb,ann,2024-01-02,5,EUR\n", "me", "--account says me"),
        ("person,earned_at,amount,currency\n", "me", "no rows"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_whole(home, content, account, said):
    with pytest.raises(SourceError, match=said):
        home.load(content, account=account)


def test_unknown_columns_are_named_and_left_out(home):
    (note,) = home.load("person,earned_at,amount,currency,name\nann,2024-01-02,5,EUR,Ann Archer\n")
    assert note == "ledger.csv: unknown columns are not kept: name."
    assert "Ann Archer" not in str(home.rows())
