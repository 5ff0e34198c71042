"""Thousands of accounts on hundreds of hosts, some of them slow, broken or gone: every row, once, and who failed why."""

from collections import Counter

import polars as pl
import pytest

from assets.history import RawHistory
from orchestration import bench_collection
from orchestration.bench_feeds import ITEMS, Web, items_of
from sources import collection as collecting
from sources import feed
from sources.collection import SAY_MOST, STRIKES, Collection
from sources.http import Limits
from sources.lanes import PER_HOST
from sources.model import AccountSource, SourceError
from sources.observations import TABLES

FEEDS, HOSTS = 2_000, 100
IMPATIENT = Limits(connect=2.0, read=0.6, attempts=2, backoff=0.05)
"""A silent host costs two times 0.6 seconds; a slow one thinks for 0.25, and a limited one asks for 1."""
GOOD = ("good", "slow", "limited")
REASON = {
    "dead": "The server cannot be reached",
    "silent": "The server sent nothing",
    "malformed": "The JSON is broken",
}


def accounts_of(web):
    return [
        AccountSource(account_id=f"account-{n:05}", source="feed", url=web.url(n), allow_private=True)
        for n in range(web.feeds)
    ]


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Two nights of a troubled web: the raw tables, what was said, and what the server has seen after each."""
    import dlt  # noqa: PLC0415
    import duckdb  # noqa: PLC0415

    folder, said, seen = tmp_path_factory.mktemp("scale"), [], []
    with Web(hosts=HOSTS, feeds=FEEDS, has_troubles=True) as web:
        for day in (1, 2):
            night = Collection(limits=IMPATIENT, say=said.append, slice_rows=10_000)
            while True:
                pipeline = dlt.pipeline(
                    "raw_feed",
                    pipelines_dir=str(folder / "pipelines"),
                    destination=dlt.destinations.duckdb(str(folder / "warehouse.duckdb")),
                    dataset_name="raw_feed",
                )
                read_at = pl.datetime(2026, 5, day, 3, time_zone="UTC")
                source = feed.source(accounts_of(web), read_at=pl.select(read_at).item(), collection=night)
                pipeline.run(source, loader_file_format="parquet")
                if not night.has_more:
                    break
            seen.append(web.seen())
        kinds = {f"account-{n:05}": web.kind(n) for n in range(FEEDS)}
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute("set timezone = 'UTC'")
        tables = {name: connection.sql(f"from raw_feed.{name}").pl() for name in ("items", "profiles", "readings")}
    return tables, said, seen, kinds


@pytest.mark.slow
def test_every_row_of_every_host_that_answers_once(nights):
    tables, _, _, kinds = nights
    wanted = {
        (f"account-{n:05}", name) for n in range(FEEDS) if kinds[f"account-{n:05}"] in GOOD for name, _ in items_of(n)
    }
    found = tables["items"].select("account_id", "item_id").rows()
    assert len(found) == len(wanted) == 7 * ITEMS * FEEDS // 10
    assert set(found) == wanted
    assert tables["profiles"].height == 7 * FEEDS // 10


@pytest.mark.slow
def test_the_ledger_says_of_every_account_and_night_how_it_went(nights):
    tables, _, _, kinds = nights
    posts = tables["readings"].filter(stream="posts")
    assert posts.height == posts.select("account_id", "read_at").n_unique() == 2 * FEEDS
    status = Counter((kinds[account], status) for account, status in posts.select("account_id", "status").rows())
    assert status == {
        **{(kind, "ok"): 2 * FEEDS // 10 for kind in ("slow", "limited")},
        ("good", "ok"): FEEDS,
        **{(kind, "down"): 2 * FEEDS // 10 for kind in REASON},
    }
    oldest = {f"account-{n:05}": min(at for _, at in items_of(n)) for n in range(FEEDS)}
    assert all(
        oldest[row["account_id"]] == row["covers_from"] for row in posts.filter(status="ok").iter_rows(named=True)
    )


@pytest.mark.slow
def test_every_failure_has_its_own_reason(nights):
    tables, _, _, kinds = nights
    down = tables["readings"].filter(stream="posts", status="down")
    for account, reason in down.select("account_id", "reason").rows():
        left_out = "were not asked for tonight" in reason and kinds[account] in ("dead", "silent")
        assert left_out or REASON[kinds[account]] in reason


@pytest.mark.slow
def test_no_host_is_asked_more_at_once_than_its_share_and_one_that_is_gone_not_for_ever(nights):
    _, said, seen, kinds = nights
    assert seen[0]["at_once"] <= PER_HOST
    assert seen[1]["at_once"] <= PER_HOST
    of = Counter(kinds.values())
    silent = HOSTS // 10
    # Silent hosts are given up after some accounts, of which PER_HOST may be under way; a limited feed is asked twice.
    most = of["good"] + of["slow"] + 2 * of["limited"] + 2 * of["malformed"] + 2 * silent * (STRIKES + PER_HOST)
    assert seen[0]["requests"] <= most
    assert len([line for line in said if "account-" in line]) <= 2 * SAY_MOST
    assert any("more accounts have trouble" in line for line in said)


class Lists:
    """A platform that remembers: each account is a list of three people, of whom one leaves on the second night."""

    NAME = PLATFORM = "lists"

    def __init__(self):
        self.night = 0

    def read(self, visit, _collection):
        people = ("ann", "bob", "cy")[: 3 - self.night]
        page = [{"interaction": f"{visit.account.account_id}:{p}", "kind": "follow", "person": p} for p in people]
        with visit.stream("inbound"):
            yield from visit.items("inbound", "followers", lambda: iter([page]))
        if visit.account.account_id == "broken":
            raise SourceError("Broken", visit.account.url, "Wait.")


def test_histories_of_many_accounts_are_read_together(warehouse, night, monkeypatch):
    monkeypatch.setattr("assets.history.MOST_ACCOUNTS", 100)
    raw, platform, many = warehouse("lists"), Lists(), 600
    accounts = [
        AccountSource(account_id=f"a{n:03}", source="lists", url=f"https://h{n % 40}.example/{n}") for n in range(many)
    ]
    history, asked = RawHistory(str(raw.folder / "warehouse.duckdb"), "lists"), []
    ask = history._asked_now
    history._asked_now = lambda query, parameters: (asked.append(query), ask(query, parameters))[1]
    for platform.night in range(2):
        collection = Collection(history=history, expect=history.expect)
        raw.load(
            collecting.source(
                "lists", "lists", platform.read, accounts, read_at=night(platform.night + 1), collection=collection
            )
        )
    events = raw.table("sightings").group_by("event", "item").len().group_by("event", "len").agg(n=pl.len())
    assert sorted(events.rows()) == [("gone", 1, many), ("seen", 1, 3 * many)]
    gone = raw.table("sightings").filter(event="gone")
    assert set(gone["item"]) == {f"{account.account_id}:cy" for account in accounts}
    # The names of the tables, twice; of each of the three that a memory needs: how many rows, what columns; 6 groups.
    assert len(asked) <= 2 + 3 * (2 + many // 100)


def test_a_history_is_the_same_alone_and_in_a_group(warehouse, night):
    raw, platform = warehouse("lists"), Lists()
    accounts = [AccountSource(account_id=f"a{n}", source="lists", url=f"https://x.example/{n}") for n in range(5)]
    for day in (1, 2, 3):
        raw.load(collecting.source("lists", "lists", platform.read, accounts, read_at=night(day)))
    path = str(raw.folder / "warehouse.duckdb")
    alone, together = RawHistory(path, "lists"), RawHistory(path, "lists")
    together.expect([account.account_id for account in accounts if account.account_id != "a3"] + ["new"])
    for name in [table.name for table in TABLES]:
        for account_id in ("a0", "a1", "a3", "new", "a1"):  # asked again, and one that was not expected
            assert together(account_id)[name].equals(alone(account_id)[name]), (name, account_id)


def test_an_account_of_two_hosts_has_one_reading_a_stream_even_where_a_slice_ends_between(night):
    ticks = iter(range(10_000))
    two = [AccountSource(account_id="ann", source="lists", url=f"https://h{n}.example") for n in range(2)]
    collection = Collection(slice_seconds=1, clock=lambda: next(ticks), hosts=1)
    readings, slices = [], 0
    while slices == 0 or collection.has_more:
        slices += 1
        for batch in collecting.batches("lists", "lists", Lists().read, two, read_at=night(1), collection=collection):
            readings += batch.rows if batch.table.name == "readings" else []
    assert slices == 2
    assert sorted((row["stream"], row["status"]) for row in readings if row["status"] != "not_offered") == [
        ("inbound", "ok")
    ]


def test_a_host_that_answers_nobody_is_left_alone_and_another_is_not(web, answer, night):
    web.routes["/good"] = '{"version": "https://jsonfeed.org/version/1.1", "title": "x", "items": []}'
    web.routes["/busy"] = answer(status=503)
    limits = Limits(connect=1.0, read=0.3, attempts=1, backoff=0.0)

    def statuses(paths):
        accounts = [
            AccountSource(account_id=f"a{n}", source="feed", url=f"{web.address}{path}", allow_private=True)
            for n, path in enumerate(paths)
        ]
        collection = Collection(limits=limits, hosts=1)
        found = collecting.batches("feed", "feed", feed.read, accounts, read_at=night(1), collection=collection,
                                   streams=("posts",))  # fmt: skip
        return [
            row["status"] for b in found if b.table.name == "readings" for row in b.rows if row["stream"] == "posts"
        ]

    assert statuses(["/busy", "/busy", "/good", "/busy", "/busy", "/good"]) == [
        "down",
        "down",
        "ok",
        "down",
        "down",
        "ok",
    ]
    asked = len(web.asked)
    assert statuses(["/busy"] * 5 + ["/good"]) == ["down"] * 6
    assert len(web.asked) - asked == STRIKES
    # A page that is not there is the account's own trouble, not the host's.
    assert statuses(["/gone"] * 5 + ["/good"]) == ["down"] * 5 + ["ok"]


@pytest.mark.long
def test_memory_hardly_grows_with_the_number_of_accounts():
    found = bench_collection.figures(accounts=(250, 1_000, 4_000))
    assert [one.at_once_per_host <= PER_HOST for one in found] == [True] * 3
    assert bench_collection.growth_per_account_kib(found[1:]) < 60
