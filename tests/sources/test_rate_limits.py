"""Limits that servers announce are kept before they are reached, by all clients together."""

import threading
import time

import pytest
from requests.structures import CaseInsensitiveDict

from sources.http import Client, Hosts, Limits
from sources.model import SourceError
from sources.rate_limits import Quota, read_quotas, retry_after

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2023-11-14T22:15:00.000000Z", "Date": DATE}, (0, 100)),
        ({"X-RateLimit-Remaining": "7", "X-RateLimit-Reset": "1700000042"}, (7, 42)),
        ({"x-rate-limit-remaining": "7", "x-rate-limit-reset": "1700000042"}, (7, 42)),
        ({"RateLimit-Remaining": "2999", "RateLimit-Reset": "1700000300", "Date": DATE}, (2999, 300)),
        ({"RateLimit-Remaining": "1", "RateLimit-Reset": "30"}, (1, 30)),
        ({"RateLimit": '"default";r=50;t=30'}, (50, 30)),
        ({"RateLimit": "limit=100, remaining=50, reset=30"}, (50, 30)),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1699999000"}, (0, 0)),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, None),
        ({"X-RateLimit-Remaining": "many", "X-RateLimit-Reset": "30"}, None),
        ({"X-RateLimit-Remaining": "0"}, None),
        ({"RateLimit": '"default"'}, None),
        ({}, None),
    ],
)
def test_what_servers_say(headers, expected):
    found = read_quotas(CaseInsensitiveDict(headers), clock=NOW)
    assert [(quota.remaining, quota.reset) for quota in found] == ([expected] if expected else [])


def test_two_windows():
    found = read_quotas({"RateLimit": '"burst";r=5;t=1, "daily";r=0;t=3600'}, clock=NOW)
    assert found == [Quota(remaining=5, reset=1.0), Quota(remaining=0, reset=3600.0)]


def test_wrong_clocks_make_no_absurd_waits():
    reset = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000042"}
    for ours in (NOW - 90 * 86_400, NOW + 3600):
        assert read_quotas({**reset, "Date": DATE}, clock=ours)[0].reset == 42, "the server's own clock counts"
    wrong = {**reset, "Date": "Tue, 14 Nov 2000 22:13:20 GMT"}
    assert read_quotas(wrong, clock=NOW)[0].reset == 42, "unless it is the one that is wrong"
    dated = {"Retry-After": "Tue, 14 Nov 2023 22:13:50 GMT", "Date": DATE}
    assert retry_after(dated, clock=NOW + 86_400) == 30
    assert [retry_after({"Retry-After": said}, clock=NOW) for said in ("1.5", "-3", "x", "")] == [1.5, 0, 0, 0]


@pytest.fixture
def used_up(web, answer):
    """A server whose window is used up after the first answer, for 42 s."""
    spent = answer("{}", headers={"RateLimit-Remaining": "0", "RateLimit-Reset": "42"})
    web.routes["/x"] = [spent, answer("{}")]
    return f"{web.address}/x"


def test_waits_before_the_limit_and_says_so(used_up, web):
    slept, lines, hosts = [], [], Hosts()
    options = {"sleep": slept.append, "say": lines.append, "hosts": hosts, "now": lambda: 100.0}
    with Client(allow_private=True, **options) as first, Client(allow_private=True, **options) as second:
        first.get(used_up, params={"token": "s3cret"})
        second.get(used_up)
        second.get(used_up)
    assert slept == [42.0]
    assert lines == [f"waiting 42 s for {web.address.removeprefix('http://')}: its rate limit"]


def test_does_not_wait_where_time_has_passed(used_up):
    slept, times = [], iter(range(0, 10_000, 50))
    with Client(allow_private=True, sleep=slept.append, hosts=Hosts(), now=lambda: float(next(times))) as c:
        c.get(used_up)
        c.get(used_up)
    assert slept == []


def test_refuses_a_wait_that_is_too_long(used_up, web):
    limits = Limits(longest_wait=30)
    with Client(allow_private=True, limits=limits, hosts=Hosts(), now=lambda: 0.0) as c:
        c.get(used_up)
        with pytest.raises(SourceError, match=r"rate limit is used up for another 42 s.*Try again later"):
            c.get(used_up)
    assert len(web.asked) == 1


def test_429_without_retry_after_waits_for_the_window(web, answer):
    spent = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "20"}
    web.routes["/x"] = [answer(status=429, headers=spent), answer("{}")]
    slept = []
    with Client(allow_private=True, sleep=slept.append, hosts=Hosts(), now=lambda: 0.0) as c:
        c.get(f"{web.address}/x")
    assert slept == [1.0, 20.0]


def test_few_ask_one_host_at_once():
    hosts, lock = Hosts(per_host=2), threading.Lock()
    running, most = [0], [0]

    def ask():
        with hosts.slot("a.example:443"):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(0.01)
            with lock:
                running[0] -= 1

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    with hosts.slot("b.example:443"):
        pass
    for thread in threads:
        thread.join()
    assert most == [2]


def test_a_longer_rest_outlasts_a_shorter_wait():
    hosts = Hosts()
    hosts.spare("a", until=50.0)
    hosts.spare("a", until=10.0)
    hosts.waited("a", until=20.0)
    assert hosts.wait("a", now=20.0) == 30.0
    hosts.waited("a", until=50.0)
    assert hosts.wait("a", now=20.0) == 0.0
