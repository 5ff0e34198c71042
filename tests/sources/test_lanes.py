"""Lanes: many hosts at once, few accounts of one host, and nobody held up by a host that lets one wait."""

import threading
from collections import Counter

import pytest

from sources.batches import TOGETHER, Batch, together
from sources.lanes import PER_HOST, Lanes
from sources.model import READINGS
from sources.observations import POSTS

PATIENCE = 30.0
"""Seconds after which a test that would hang fails instead."""


def rows(batches):
    return sorted(row["post"] for batch in batches for row in batch.rows)


def one(item):
    yield Batch(POSTS, [{"account_id": item, "post": item}])


def lanes_of(**many):
    return {host: [f"{host}{n}" for n in range(count)] for host, count in many.items()}


@pytest.mark.parametrize("hosts", [1, 2, 16])
def test_every_item_is_read_once(hosts):
    lanes = lanes_of(a=40, b=1, c=7)
    assert rows(Lanes(hosts).run(lanes, one)) == sorted(item for items in lanes.values() for item in items)
    assert list(Lanes(hosts).run({}, one)) == []


def test_few_of_a_host_and_no_more_than_allowed_in_all():
    running, most, lock = Counter(), Counter(), threading.Lock()

    def read(item):
        with lock:
            running[item[0]] += 1
            running["all"] += 1
            for name in running:
                most[name] = max(most[name], running[name])
        yield Batch(POSTS, [{"account_id": item, "post": item}])
        with lock:
            running[item[0]] -= 1
            running["all"] -= 1

    list(Lanes(3).run(lanes_of(a=50, b=50, c=50, d=50, e=1), read))
    assert most["all"] <= 3
    assert max(most[host] for host in "abcde") <= PER_HOST


def test_a_silent_host_holds_up_no_other():
    others = threading.Semaphore(0)

    def read(item):
        if item == "silent0":
            for _ in range(20):  # answers only after everybody else was read
                assert others.acquire(timeout=PATIENCE)
        else:
            others.release()
        yield from one(item)

    assert len(rows(Lanes(2).run(lanes_of(silent=1, a=10, b=10), read))) == 21


def test_more_hosts_than_places_may_be_waited_for():
    lanes, others = Lanes(2), threading.Semaphore(0)

    def read(item):
        if item.startswith("busy"):
            with lanes.resting():
                for _ in range(4):
                    assert others.acquire(timeout=PATIENCE)
        else:
            for _ in range(5):
                others.release()
        yield from one(item)

    hosts = lanes_of(**{f"busy{n}": 2 for n in range(2)}, calm=4)
    assert len(rows(lanes.run(hosts, read))) == 8


def test_an_error_ends_everything_and_nobody_goes_on_waiting():
    lanes, asleep = Lanes(4), threading.Event()

    def read(item):
        if item == "patient0":
            asleep.set()
            lanes.sleep(3_600)
        assert asleep.wait(PATIENCE)
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError):
        list(lanes.run(lanes_of(patient=1, wrong=1), read))
    for thread in threading.enumerate():
        if thread.name.startswith("collect-"):
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_what_one_run_has_stopped_the_next_may_wait_for():
    lanes = Lanes(4)

    def read(item):
        lanes.sleep(0.001)
        yield from one(item)

    for many in (3, 1, 2):  # one alone is read without threads
        assert len(rows(lanes.run(lanes_of(a=many), read))) == many


def test_whoever_stops_listening_stops_the_reading():
    read_items = []

    def read(item):
        read_items.append(item)
        yield from one(item)

    batches = Lanes(2).run(lanes_of(a=5_000, b=5_000), read)
    next(batches)
    batches.close()
    assert len(read_items) < 10_000


def test_small_batches_are_put_together_and_readings_come_last():
    small = [
        batch
        for n in range(TOGETHER)
        for batch in (
            Batch(READINGS, [{"account_id": str(n)}]), Batch(POSTS, [{"account_id": str(n)}]), Batch(POSTS, []),
        )
    ]  # fmt: skip
    found = list(together(small))
    assert [(batch.table.name, len(batch.rows)) for batch in found] == [("posts", 500), ("readings", 500)] * 2
    assert small[1].rows == [{"account_id": "0"}], "the batches that came are left as they were"
