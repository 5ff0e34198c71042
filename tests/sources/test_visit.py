"""Reading lists to their end: what is seen, what is gone, what is due, what is covered."""

from datetime import UTC, datetime, timedelta

import pytest
from collected import Store

from sources.collection import Collection, batches
from sources.memory import Memory
from sources.model import AccountSource, SourceError
from sources.observations import POSTS
from sources.visit import HopelessError, PausedError, Visit

NOW = datetime(2026, 5, 1, 3, tzinfo=UTC)
ACCOUNT = AccountSource(account_id="a", source="x", url="https://x.example/a")
FAILURE = SourceError("The server answers 500", "https://x.example", "Try again later.")


def likes(*people):
    return [{"interaction": f"like:1:{p}", "direction": "inbound", "kind": "like", "person": p} for p in people]


def visit(memory=None, at=NOW, **more):
    return Visit(account=ACCOUNT, platform="x", read_at=at, memory=memory or Memory(), **more)


def events(batch_list):
    return [(r["item"], r["event"]) for b in batch_list if b.table.name == "sightings" for r in b.rows]


def lists(batch_list):
    return [(r["list"], r["is_complete"], r["items"]) for b in batch_list if b.table.name == "lists" for r in b.rows]


def test_first_reading_sees_everything():
    read = visit()
    found = list(read.items("inbound", "likes:1", lambda: iter([likes("ann"), likes("bob")])))
    assert events(found) == [("like:1:ann", "seen"), ("like:1:bob", "seen")]
    assert lists(found) == [("likes:1", True, 2)]
    assert read.outcomes()["inbound"].status == "ok"


def test_what_vanished_is_gone_only_where_a_second_look_agrees():
    memory = Memory(present={"likes:1": {"like:1:ann", "like:1:bob", "like:1:cy"}})
    pages = iter([[likes("ann")], [likes("ann", "bob")]])
    found = list(visit(memory).items("inbound", "likes:1", lambda: iter(next(pages))))
    assert events(found) == [("like:1:cy", "gone")]
    assert memory.present["likes:1"] == {"like:1:ann", "like:1:bob"}


def test_a_list_that_breaks_off_says_nothing_of_the_rest():
    def pages():
        yield likes("ann", "dan")
        raise FAILURE

    memory = Memory(present={"likes:1": {"like:1:ann", "like:1:bob"}})
    read = visit(memory)
    found = list(read.items("inbound", "likes:1", pages))
    assert events(found) == [("like:1:dan", "seen")]
    assert lists(found) == [("likes:1", False, 2)]
    assert read.outcomes()["inbound"].status == "down"
    assert "likes:1" not in memory.complete


def test_an_empty_list_that_is_counted_is_hidden_not_empty():
    memory = Memory(present={"followers": {"follow:a:ann"}})
    read = visit(memory)
    found = list(read.items("inbound", "followers", lambda: iter([[]]), claimed=3))
    assert events(found) == []
    assert "hides this list" in str(read.outcomes()["inbound"].reason)


def test_pages_that_never_end():
    def pages():
        while True:
            yield likes("ann")

    found = list(visit().items("inbound", "likes:1", pages))
    assert lists(found) == [("likes:1", False, 1)]


def test_only_what_could_have_been_found_is_gone():
    memory = Memory(present={"posts": {"old", "new"}})
    found = list(visit(memory).items("posts", "posts", lambda: iter([[]]), table=POSTS, judged=lambda p: p == "new"))
    assert events(found) == [("new", "gone")]


def test_too_many_failures_in_a_row_end_the_stream_and_no_other():
    def broken():
        raise FAILURE
        yield

    read = visit()
    with read.stream("inbound"):
        for number in range(9):
            list(read.items("inbound", f"likes:{number}", broken))
        pytest.fail("goes on for ever")
    with read.stream("outbound"):
        pass
    assert read.outcomes()["inbound"].status == "down"
    assert read.outcomes()["outbound"].status == "ok"
    with pytest.raises(HopelessError):
        read.failed("inbound", FAILURE)


@pytest.mark.parametrize(
    ("last", "counts", "after", "due"),
    [
        (None, {}, timedelta(), True),
        (timedelta(days=40), {"likes": 3}, timedelta(days=41), False),
        (timedelta(days=40), {"likes": 4}, timedelta(days=41), True),
        (timedelta(days=40), {"likes": None}, timedelta(days=41), False),
        (timedelta(days=40), {"likes": 3}, timedelta(days=90), True),
        (timedelta(days=6), {"likes": 3}, timedelta(days=7), True),
        (timedelta(days=5, hours=1), {"likes": 3}, timedelta(days=6), False),
    ],
)
def test_due_by_age_or_by_a_changed_counter(last, counts, after, due):
    memory = Memory(counters={("1", "likes"): 3}, changed={("1", "likes"): NOW})
    if last is not None:
        memory.complete["likes:1"] = NOW + last
    assert visit(memory, at=NOW + after).is_due("likes:1", NOW, post="1", counts=counts) is due


def test_a_list_cut_off_last_time_is_due():
    memory = Memory(complete={"likes:1": NOW}, cut={"likes:1"})
    assert visit(memory, at=NOW + timedelta(hours=1)).is_due("likes:1", NOW - timedelta(days=400))


def test_counters_make_rows_when_they_change():
    read = visit()
    assert [r["value"] for r in read.counters("post", "1", {"likes": 3, "views": None}).rows] == [3]
    assert read.counters("post", "1", {"likes": 3}).rows == []
    assert [r["value"] for r in read.counters("post", "1", {"likes": 3}, note=True).rows] == [3]
    assert read.counters("post", "1", {"likes": True, "reposts": -1}).rows == []


class Connector:
    """A platform of one list, that can be told to fail."""

    NAME = PLATFORM = "x"
    STREAMS = ("posts", "inbound")

    def __init__(self):
        self.people, self.fails, self.down = ["ann", "bob"], False, False

    def read(self, visit, _collection):
        if self.down:
            raise FAILURE
        visit.oldest = NOW - timedelta(days=9)
        with visit.stream("inbound"):
            yield from visit.items("inbound", "likes:1", self.pages)

    def pages(self):
        yield likes(*self.people[:1])
        if self.fails:
            raise FAILURE
        yield likes(*self.people[1:])


def test_nights_remember_each_other():
    platform, store = Connector(), Store()
    store.collect(platform, [ACCOUNT], read_at=NOW)
    platform.people = ["ann", "cy"]
    store.collect(platform, [ACCOUNT], read_at=NOW + timedelta(days=1))
    platform.people = ["ann", "bob"]
    store.collect(platform, [ACCOUNT], read_at=NOW + timedelta(days=2))
    told = store.frame("sightings").sort("observed_at", "event").select("item", "event").rows()
    assert told == [
        ("like:1:ann", "seen"), ("like:1:bob", "seen"), ("like:1:bob", "gone"), ("like:1:cy", "seen"),
        ("like:1:cy", "gone"), ("like:1:bob", "seen"),
    ]  # fmt: skip
    assert store.frame("interactions").height == 3


def test_an_account_that_cannot_be_read_stops_no_other():
    bad, good = Connector(), Connector()
    bad.down = True
    other = AccountSource(account_id="b", source="x", url="https://x.example/b")

    def read(visit, night):
        yield from (bad if visit.account is ACCOUNT else good).read(visit, night)

    rows = [
        row
        for batch in batches(
            "x", "x", read, [ACCOUNT, other], read_at=NOW, collection=Collection(), streams=("posts", "inbound")
        )
        if batch.table.name == "readings"
        for row in batch.rows
    ]
    status = {(r["account_id"], r["stream"]): r["status"] for r in rows}
    assert status["a", "inbound"] == status["a", "posts"] == "down"
    assert (status["b", "inbound"], status["b", "counters"]) == ("ok", "not_offered")


def test_a_mistake_in_a_connector_is_not_swallowed():
    def read(_visit, _night):
        raise ZeroDivisionError
        yield

    accounts = [AccountSource(account_id=str(n), source="x", url=f"https://x.example/{n}") for n in range(30)]
    with pytest.raises(ZeroDivisionError):
        list(batches("x", "x", read, accounts, read_at=NOW, collection=Collection()))


def test_a_long_collection_is_cut_into_slices():
    ticks = iter(range(10_000))
    accounts = [AccountSource(account_id=str(n), source="x", url=f"https://x.example/{n}") for n in range(4)]
    night = Collection(slice_seconds=3, clock=lambda: next(ticks), hosts=1)
    store, platform = Store(), Connector()
    slices = 0
    night.history = store.history
    while True:
        slices += 1
        for batch in batches("x", "x", platform.read, accounts, read_at=NOW, collection=night):
            for row in batch.table.arrow(batch.rows, loaded_at=NOW).to_pylist():
                store.rows[batch.table.name].setdefault(row["row_hash"], row)
        if not night.has_more:
            break
    assert slices > 1
    assert store.frame("interactions").height == 8
    assert sorted(store.frame("readings").filter(stream="inbound")["account_id"]) == ["0", "1", "2", "3"]


def test_a_slice_that_is_over_pauses_before_the_next_list():
    with pytest.raises(PausedError):
        list(visit(is_over=lambda: True).items("inbound", "likes:1", lambda: iter([])))


def test_a_long_list_is_read_back_to_92_days_and_whole_every_28(monkeypatch):
    monkeypatch.setattr("sources.schedule.MANY", 1)
    store, asked = Store(), []

    class Long(Connector):
        def read(self, visit, _collection):
            since = visit.since("likes:1")
            asked.append(since)
            with visit.stream("inbound"):
                yield from visit.items("inbound", "likes:1", self.pages, judged=lambda _: since is None)
                yield from visit.whole("likes:1", since)

    for days in (0, 1, 27, 28, 29):
        store.collect(Long(), [ACCOUNT], read_at=NOW + timedelta(days=days))
    assert asked == [
        None,
        NOW + timedelta(days=1 - 92),
        NOW + timedelta(days=27 - 92),
        None,
        NOW + timedelta(days=29 - 92),
    ]
    assert store.frame("lists").filter(list="whole:likes:1")["items"].to_list() == [2, 2]
    assert visit().since("likes:1", count=0) is None
