"""Activity files into a real DuckDB: formats, encodings, idempotence, coverage, and what is refused."""

import json
import logging
from datetime import UTC, date, datetime, timedelta
from hashlib import md5
from pathlib import Path

import dlt
import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sources import activity
from sources.activity_files import open_file, shape_of
from sources.model import SourceError

READ_AT = datetime(2026, 2, 1, 3, tzinfo=UTC)
DAY = timedelta(days=1)
HEADER = "person,kind,occurred_at"


class Home:
    """A warehouse of its own, into which files are imported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, *, read_at: datetime = READ_AT, **files) -> list[str]:
        notes: list[str] = []
        source = activity.source(read_at=read_at, warn=notes.append, **files)
        dlt.pipeline(
            pipeline_name="raw_activity",
            pipelines_dir=str(self.folder / "pipelines"),
            destination=dlt.destinations.duckdb(str(self.folder / "warehouse.duckdb")),
            dataset_name="raw_activity",
        ).run(source)
        return notes

    def rows(self, table: str, columns: str = "*") -> list[tuple]:
        with duckdb.connect(str(self.folder / "warehouse.duckdb")) as connection:
            connection.execute("set timezone = 'UTC'")
            return connection.execute(f"select {columns} from raw_activity.{table} order by all").fetchall()

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path)


def lines(path: Path, shape: str = "interactions") -> pl.DataFrame:
    return pl.concat(open_file(path, shape).batches())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "person,kind,occurred_at\nzoë,like,2024-01-02\n"),
        ("a.csv", "person;kind;occurred_at\r\nzoë;like;2024-01-02\r\n"),
        ("a.txt", "person\tkind\toccurred_at\nzoë\tlike\t2024-01-02"),
        ("a.csv", "person|kind|occurred_at\nzoë|like|2024-01-02\n"),
        ("a.csv", "person,kind,occurred_at\rzoë,like,2024-01-02\r"),
        ("a.csv", '"Person","KIND","Occurred At"\n"zoë","like","2024-01-02"\n'),
        ("a.csv", "\ufeffperson,kind,occurred_at\nzoë,like,2024-01-02\n"),
        ("a.csv", "person,kind,occurred_at\nzoë,like,2024-01-02\n".encode("utf-16")),
        ("a.csv", "person,kind,occurred_at\nzoë,like,2024-01-02\n".encode("utf-16-le")),
        ("a.jsonl", '{"person": "zoë", "kind": "like", "occurred_at": "2024-01-02"}\n\n'),
    ],
)
def test_formats_and_encodings_say_the_same(home, name, content):
    path = home.write(name, content)
    assert shape_of(path) == "interactions"
    assert lines(path).select("person", "kind", "occurred_at", "row_number").rows() == [
        ("zoë", "like", "2024-01-02", 1)
    ]
    assert open_file(path, "interactions").notes == ()


def test_another_encoding_is_read_and_noted(home):
    path = home.write("a.csv", "person,kind,occurred_at\nzoë,like,2024-01-02\n".encode("cp1252"))
    assert lines(path)["person"].to_list() == ["zoë"]
    assert "read as Windows-1252" in open_file(path, "interactions").notes[0]


def test_parquet_keeps_times_and_turns_the_rest_into_text(home):
    frame = pl.DataFrame(
        {
            "person": [1, 2],
            "kind": pl.Series(["like", "reply"], dtype=pl.Categorical),
            "occurred_at": pl.Series(["2024-01-02T12:00:00", None]).str.to_datetime(time_zone="Europe/Paris"),
            "observed_at": pl.Series(["2024-01-03T00:00:00", "2024-01-03T00:00:00.5"]).str.to_datetime(
                "%Y-%m-%dT%H:%M:%S%.f"
            ),
            "direction": ["", "outbound"],
            "row_number": [7, 8],
            "list": [[1], None],
        }
    )
    frame.write_parquet(home.folder / "a.parquet")
    notes = home.load(interactions=home.folder / "a.parquet", account="me")
    assert "row_number, list" in notes[0]
    columns = "person, kind, occurred_at, at_utc, observed_at, direction, other, row_number"
    assert home.rows("interactions", columns) == [
        ("1", "like", None, datetime(2024, 1, 2, 11, tzinfo=UTC), "2024-01-03T00:00:00Z", None,
         '{"row_number":"7","list":"{\\"list\\":[1]}"}', 1),
        ("2", "reply", None, None, "2024-01-03T00:00:00.500Z", "outbound", '{"row_number":"8","list":"{\\"list\\":null}"}', 2),
    ]  # fmt: skip


def test_json_numbers_stay_as_written(home):
    path = home.write(
        "a.jsonl", '{"person": 12345678901234567890, "kind": "like", "occurred_at": 1.50, "x": {"a": true}}'
    )
    assert lines(path).select("person", "occurred_at", "other").rows() == [
        ("12345678901234567890", "1.50", '{"x":"{\\"a\\": true}"}')
    ]


def test_bad_lines_are_kept_with_the_problem(home):
    path = home.write("a.csv", f"{HEADER}\nann,like,2024-01-02\nbob,like,2024-01-02,surplus\n\ncy,like\n")
    assert lines(path).select("person", "occurred_at", "problem", "row_number").rows() == [
        ("ann", "2024-01-02", None, 1),
        ("bob", "2024-01-02", "more fields than the file has columns", 2),
        ("cy", None, None, 4),
    ]
    path = home.write("b.jsonl", '{"person": "a", "kind": "like", "occurred_at": "2024"}\n{"person": \n[1]\n')
    found = lines(path).select("problem", "other")
    assert found["problem"].to_list() == [None, "the line is no JSON object", "the line is no JSON object"]
    assert found["other"].to_list()[2] == '{"the line":"[1]"}'
    assert open_file(path, "interactions").notes == ()


def test_a_quotation_mark_within_a_value_needs_no_closing(home):
    path = home.write("a.csv", f'{HEADER}\n5" disk,like,2024-01-02\n"ann, ""the"" one",like,2024-01-02\n')
    assert lines(path)["person"].to_list() == ['5" disk', 'ann, "the" one']


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "The file is empty: a.csv"),
        ("a.csv", " \n\n", "The file is empty"),
        ("a.csv", f"{HEADER}\n", "column names but no rows"),
        ("a.csv", "person,kind,occured_at\na,like,2024\n", "no column `occurred_at` or `observed_at`.*Did you mean `occured_at`"),
        ("a.csv", "persn,kind,occurred_at\na,like,2024\n", "no column `person` .found: persn, kind, occurred_at.: a.csv. Did you mean `persn`"),
        ("a.csv", "who,kind,occurred_at\na,like,2024\n", "no column `person`"),
        ("a.csv", "person,kind,kind,occurred_at\na,like,like,2024\n", "Two columns are called `kind`"),
        ("a.csv", f'{HEADER}\na,like,2024\n"b,like,2024\nc,like,2024\n' + "d,like,2024\n" * 20_000, "quotation mark in row 2 is never closed"),
        ("a.csv", "<!doctype html><html>", "web page or XML"),
        ("a.json", '[{"person": "a"}]', "one JSON list"),
        ("a.jsonl", "not json\nat all", "No line of it is a JSON object"),
        ("a.xlsx", b"PK\x03\x04abc", "zip archive or a spreadsheet"),
        ("a.csv.gz", b"\x1f\x8babc", "gzip"),
        ("a.parquet", b"PAR1 but not really", "damaged or incomplete Parquet"),
        ("a.bin", bytes(range(256)) * 4, "It is no"),
        ("a.csv", b"\xff\xfea\x00\x00\xd8b\x00", "broken UTF-16"),
    ],
)  # fmt: skip
def test_what_is_no_activity_file_is_refused(home, name, content, message):
    path = home.write(name, content)
    with pytest.raises(SourceError, match=message):
        activity.source(interactions=path, account="me", read_at=READ_AT)


def test_a_folder_and_a_missing_file_are_refused(home):
    with pytest.raises(SourceError, match="It is a folder"):
        open_file(home.folder, "posts")
    with pytest.raises(SourceError, match="cannot be read"):
        open_file(home.folder / "nothing.csv", "posts")
    with pytest.raises(SourceError, match="neither a column `person`"):
        shape_of(home.write("a.csv", "a,b\n1,2\n"))


def test_whose_file_it_is(home):
    without = home.write("without.csv", f"{HEADER}\na,like,2024-01-02\n")
    having = home.write("having.csv", f"account,{HEADER}\nme,a,like,2024-01-02\n")
    with pytest.raises(SourceError, match=r"no column `account`.*--account NAME"):
        activity.source(interactions=without, read_at=READ_AT)
    with pytest.raises(SourceError, match="says me where --account says you"):
        activity.source(interactions=having, account="you", read_at=READ_AT)
    home.load(interactions=having, account="me")
    assert home.rows("interactions", "account_id, platform, file") == [("me", "activity", "having.csv")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"platform": "all"}, "no name for a platform"),
        ({"account": " "}, "no name"),
        ({"covers": (date(2025, 2, 1), date(2025, 1, 1))}, "end before they start"),
        ({"covers": (date(2025, 2, 1), date(2026, 2, 2))}, "in the future"),
    ],
)
def test_arguments_that_contradict_are_refused(arguments, message):
    with pytest.raises(SourceError, match=message):
        activity.source(read_at=READ_AT, **arguments)


def test_without_files_the_tables_are_declared(home):
    source = activity.source(read_at=READ_AT)
    assert set(source.selected_resources) == {"posts", "interactions", "readings"}
    home.load()
    assert [home.rows(table) for table in ("posts", "interactions", "readings")] == [[], [], []]
    documented = source.resources["interactions"].columns
    assert all(column["description"] for column in documented.values())


def test_unknown_columns_are_noted_with_a_guess(home, caplog):
    path = home.write("a.csv", f"{HEADER},retracted,mood\na,like,2024-01-02,,glad\n")
    with caplog.at_level(logging.WARNING):
        activity.source(interactions=path, account="me", read_at=READ_AT)
    assert "retracted (did you mean `retracted_at`?), mood" in caplog.text


def test_identical_rows_are_counted_and_importing_again_adds_nothing(home):
    row = "a,like,2024-01-02\n"
    path = home.write("a.csv", f"{HEADER}\n{row}{row}b,like,2024-01-02\n{row}")
    home.load(interactions=path, account="me")
    first = home.rows("interactions")
    assert len(first) == 4 == len({r[-2] for r in first})
    home.load(interactions=path, account="me", read_at=READ_AT + DAY)
    assert home.rows("interactions") == first
    copy = home.write("copy.csv", path.read_bytes())
    home.load(interactions=copy, account="me", read_at=READ_AT + 2 * DAY)
    assert home.rows("interactions") == first
    home.load(interactions=copy, account="you", read_at=READ_AT + 2 * DAY)
    assert len(home.rows("interactions")) == 8


def test_a_changed_row_with_the_same_id_is_a_new_observation(home):
    path = home.write("a.csv", f"interaction,{HEADER}\n1,a,like,2024-01-02\n1,a,like,2024-01-02\n")
    home.load(interactions=path, account="me")
    home.write("a.csv", f"interaction,{HEADER}\n1,a,reply,2024-01-02\n")
    home.load(interactions=path, account="me", read_at=READ_AT + DAY)
    assert home.rows("interactions", "interaction, kind") == [("1", "like"), ("1", "reply")]


def test_identical_rows_are_counted_across_batches(home, monkeypatch):
    monkeypatch.setattr("sources.activity_files.ROWS_AT_ONCE", 2)
    people = "aababbbaca"
    content = "".join(f"{person},like,2024-01-02\n" for person in people)
    home.load(interactions=home.write("a.csv", f"{HEADER}\n{content}"), account="me")
    in_batches = home.rows("interactions", "person, row_hash")
    monkeypatch.setattr("sources.activity_files.ROWS_AT_ONCE", 100)
    whole = Home(home.folder / "other")
    whole.folder.mkdir()
    whole.load(interactions=home.folder / "a.csv", account="me")
    assert whole.rows("interactions", "person, row_hash") == in_batches
    assert len(set(in_batches)) == len(people)


def test_coverage_is_from_the_oldest_row_of_either_file(home):
    posts = home.write("posts.csv", "account,post,published_at\nme,1,2023-05-01\nme,2,soon\nyou,1,2024-05-01\n")
    interactions = home.write(
        "interactions.csv",
        f"account,{HEADER},direction\nme,a,like,2023-01-01T12:00:00+02:00,\nyou,a,like,2099-01-01,Inbound\nher,a,like,1970-01-01,\n",
    )
    home.load(posts=posts, interactions=interactions)
    me, you = datetime(2023, 1, 1, 10, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC)
    found = home.rows("readings", "account_id, stream, status, covers_from, reason, read_at")
    assert {row[5] for row in found} == {READ_AT}
    assert [row[:4] for row in found if row[2] == "ok"] == [
        ("me", "inbound", "ok", me), ("me", "posts", "ok", me),
        ("you", "inbound", "ok", you), ("you", "posts", "ok", you),
    ]  # fmt: skip
    assert [row[:2] for row in found if row[2] == "not_offered"] == [
        (name, stream) for name in ("her", "me", "you") for stream in ("counters", "outbound")
    ]
    assert [row[:5] for row in found if row[2] == "partial"] == [
        ("her", stream, "partial", None, "no row has a readable time") for stream in ("inbound", "posts")
    ]


def test_declared_days_replace_the_coverage(home):
    path = home.write("a.csv", f"{HEADER}\na,like,2023-01-01\n")
    home.load(interactions=path, account="me", platform="forum", covers=(date(2022, 1, 1), date(2025, 12, 31)))
    ok = [row for row in home.rows("readings", "platform, stream, covers_from, read_at, status") if row[4] == "ok"]
    assert ok == [("forum", "inbound", datetime(2022, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), "ok")]


def keys(path: Path) -> list[str]:
    """The keys of a file's rows, without a warehouse."""
    reader = activity._Import(account="me", platform="activity", covers=None, read_at=READ_AT)
    return [key for part in reader.rows(open_file(path, "interactions")) for key in part["row_hash"]]


said = st.tuples(st.sampled_from("ab"), st.sampled_from(["like", "reply", ""]), st.sampled_from(["2024-01-02", "soon"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(said, min_size=1, max_size=12), random=st.randoms(use_true_random=False))
def test_keys_do_not_depend_on_the_order_of_rows(home, rows, random):
    def written(name, some):
        return home.write(name, "\n".join([HEADER, *map(",".join, some)]) + "\n")

    whole = keys(written("whole.csv", rows))
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert len(set(whole)) == len(rows)
    assert sorted(keys(written("shuffled.csv", shuffled))) == sorted(whole)
    # Rows that differ may be split over files as one likes.
    distinct = sorted(set(rows))
    middle = len(distinct) // 2
    parts = [keys(written("part.csv", part)) for part in (distinct[:middle], distinct[middle:]) if part]
    assert sorted(key for part in parts for key in part) == sorted(keys(written("whole.csv", distinct)))


def test_keys_stay_what_they_are(home):
    """Another key would make every row of every installation a new observation."""
    path = home.write(
        "a.jsonl", "\n".join(json.dumps({"person": "a", "kind": "like", "occurred_at": at}) for at in ("x", "x"))
    )
    fields = {"account_id": "me", "platform": "activity", "person": "a", "kind": "like", "occurred_at": "x"}
    key = md5("".join(f"\x1f{name}={value}" for name, value in fields.items()).encode()).hexdigest()
    assert keys(path) == [key, md5(f"\x1fagain={key} again 1".encode()).hexdigest()]


@pytest.mark.shared
def test_mathoverflow_is_imported_whole(home, shared_data):
    path = shared_data / "mathoverflow" / "interactions.parquet"
    notes = home.load(interactions=path)
    assert "role" in notes[0]
    assert home.rows("interactions", "count(*), count(distinct row_hash)") == [(390_441, 390_441)]
    assert home.rows("interactions", "count(*) filter (where file <> 'interactions.parquet')") == [(0,)]
    assert home.rows("readings", "count(distinct account_id), count(*)") == [(21_871, 4 * 21_871)]
    home.load(interactions=path, read_at=READ_AT + DAY)
    assert home.rows("interactions", "count(*)") == [(390_441,)]
