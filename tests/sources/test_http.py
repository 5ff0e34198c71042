"""The HTTP client: patient, bounded, discreet."""

import logging
import socket

import pytest

from sources.http import Client, Limits, mask
from sources.model import SourceError


def client(limits, **options):
    return Client(allow_private=True, limits=limits, **options)


def test_honours_retry_after_and_says_who_it_is(web, quick, answer):
    web.routes["/x"] = [answer(status=429, headers={"Retry-After": "1"}), answer(status=503), answer(b"hello")]
    slept = []
    limits = Limits(attempts=4, backoff=0.25)
    with client(limits, sleep=slept.append) as c:
        assert c.get(f"{web.address}/x").body == b"hello"
    assert slept == [1.0, 0.5]
    assert web.asked[0].headers["User-Agent"].startswith("rapport")


def test_does_not_wait_longer_than_it_said_and_does_not_ask_again_either(web, quick, answer):
    web.routes["/x"] = answer(status=429, headers={"Retry-After": "3600"})
    with client(quick) as c, pytest.raises(SourceError, match=r"answers 429 and asks to wait 3600 s"):
        c.get(f"{web.address}/x")
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [(500, "answers 500"), (404, "nothing at this address"), (401, "refuses access"), (418, "answers 418")],
)
def test_status_in_words(web, quick, answer, status, message):
    web.routes["/x"] = answer(status=status)
    with client(quick) as c, pytest.raises(SourceError, match=message):
        c.get(f"{web.address}/x")


def test_redirects_are_followed_but_not_for_ever(web, quick, answer):
    web.routes["/a"] = answer(status=301, headers={"Location": "/b"})
    web.routes["/b"] = answer(b"here")
    web.routes["/loop"] = answer(status=302, headers={"Location": "/loop"})
    with client(quick) as c:
        assert c.get(f"{web.address}/a").url.endswith("/b")
        with pytest.raises(SourceError, match="redirects more than 4 times, probably in a loop"):
            c.get(f"{web.address}/loop")


def test_redirect_out_of_the_web_is_refused(web, quick, answer):
    web.routes["/x"] = answer(status=302, headers={"Location": "file:///etc/hostname"})
    with client(quick) as c, pytest.raises(SourceError, match="no address that can be read"):
        c.get(f"{web.address}/x")


def test_time_out(web, quick, answer):
    web.routes["/x"] = answer(b"late", wait=5)
    with client(quick) as c, pytest.raises(SourceError, match=r"sent nothing for 0\.3 s.*Try again later"):
        c.get(f"{web.address}/x")
    assert len(web.asked) == quick.attempts


def test_answer_that_breaks_off_is_asked_for_again(web, quick, answer):
    web.routes["/x"] = [answer(b"hal", cut=True), answer(b"whole")]
    with client(quick) as c:
        assert c.get(f"{web.address}/x").body == b"whole"
    web.routes["/x"] = answer(b"hal", cut=True)
    with client(quick) as c, pytest.raises(SourceError, match="broke off"):
        c.get(f"{web.address}/x")


def test_answer_too_large(web, answer):
    web.routes["/x"] = b"x" * 3_000_000
    with client(Limits(size=2 * 1024 * 1024)) as c, pytest.raises(SourceError, match="larger than 2 MiB"):
        c.get(f"{web.address}/x")


def test_nobody_there(quick):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with client(quick) as c, pytest.raises(SourceError, match="cannot be reached"):
        c.get(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("url", ["nonsense", "https://", "http://[::1", "ftp://a.example/x", "https://a..b/"])
def test_no_address(quick, url):
    with client(quick) as c, pytest.raises(SourceError):
        c.get(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.1.2.3", "[::1]", "0.0.0.0"])
def test_private_addresses_are_refused(monkeypatch, quick, host):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with (
        Client(limits=quick) as c,
        pytest.raises(SourceError, match=r"leads into a private network.*add --allow-private"),
    ):
        c.get(f"http://{host}:9/")


def test_name_that_turns_private_after_the_check_is_refused(monkeypatch, web, quick):
    """The name resolves to a public address when asked first, and to loopback when it is used."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    port = int(web.address.rpartition(":")[2])
    answers = [("203.0.113.9", port), ("127.0.0.1", port)]  # the first is documentation space: made public below
    monkeypatch.setattr("sources.private_network._is_private", lambda address: address.startswith("127."))
    monkeypatch.setattr(
        "socket.getaddrinfo", lambda *a, **k: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", answers.pop(0))]
    )
    with Client(limits=quick) as c, pytest.raises(SourceError, match="private network"):
        c.get(f"http://rebinding.example:{port}/")
    assert not web.asked


def test_tokens_are_masked_everywhere(web, quick, answer, caplog):
    web.routes["/x"] = answer(status=500)
    with caplog.at_level(logging.DEBUG), client(quick) as c, pytest.raises(SourceError) as caught:
        c.get(f"{web.address}/x", params={"domain": "a.example", "token": "s3cret"})
    assert web.asked[0].query["token"] == "s3cret"
    assert "s3cret" not in f"{caught.value!r} {caught.value} {caught.value.__context__!r}" + caplog.text
    assert "token=***" in str(caught.value)
    assert "hidden" not in mask("https://a.example/?api_key=hidden&page=2")
    with client(quick) as c, pytest.raises(SourceError) as caught:
        c.get("http://127.0.0.1:1/x", params={"token": "s3cret"})
    assert "s3cret" not in f"{caught.value!r} {caught.value.__context__!r} {caught.value.__cause__!r}"
