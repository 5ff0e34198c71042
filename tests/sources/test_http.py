"""The HTTP client: patient, bounded, discreet."""

import io
import json
import logging
import socket

import pytest
from requests.structures import CaseInsensitiveDict

from sources.http import Client, Hosts, HttpError, Limits, Response, mask
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


def test_error_carries_status_headers_and_code_but_shows_no_secret(web, quick, answer):
    said = json.dumps({"error": "InvalidToken", "message": "s3cret is wrong"})
    web.routes["/x"] = answer(said, status=400, headers={"X-Id": "7"})
    with client(quick, headers={"Authorization": "Bearer s3cret"}) as c, pytest.raises(HttpError) as caught:
        c.get(f"{web.address}/x")
    error = caught.value
    assert (error.status, error.code, error.headers["x-id"], error.body) == (400, "InvalidToken", "7", said.encode())
    assert web.asked[0].headers["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in f"{error!r} {error} {error.__context__!r}"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"code": "rest_post_invalid_page_number", "message": "x"}', "rest_post_invalid_page_number"),
        ('{"error": "The access token is invalid"}', None),
        ('{"error": {"code": 7}}', None),
        ('["error"]', None),
        ("[" * 20_000, None),
        ("<html>", None),
    ],
)
def test_code_is_a_name_never_a_sentence(web, quick, answer, body, code):
    web.routes["/x"] = answer(body, status=400)
    with client(quick) as c, pytest.raises(HttpError) as caught:
        c.get(f"{web.address}/x")
    assert caught.value.code == code


def test_errors_keep_the_beginning_of_a_long_body_and_the_status_of_a_broken_one(web, quick, answer):
    web.routes["/long"] = answer(b"x" * 1_000_000, status=404)
    web.routes["/cut"] = answer(b"x", status=404, cut=True)
    with client(quick) as c:
        for path, size in (("/long", 64 * 1024), ("/cut", 1)):
            with pytest.raises(HttpError, match="404") as caught:
                c.get(f"{web.address}{path}")
            assert len(caught.value.body) <= size


def test_json_is_asked_for_again_until_it_is_some(web, quick, answer):
    web.routes["/x"] = [answer('[{"a": 1'), answer('[{"a": 1}]')]
    with client(quick, hosts=Hosts()) as c:
        said, response = c.get_json(f"{web.address}/x", shape=list)
        assert (said, response.status) == ([{"a": 1}], 200)
        with pytest.raises(SourceError, match=r"is JSON, but no object.*platform's API"):
            c.get_json(f"{web.address}/x", shape=dict)
        web.routes["/x"] = answer(b"<html>\xff")
        with pytest.raises(SourceError, match="The answer is no JSON"):
            c.get_json(f"{web.address}/x")
        assert len(web.asked) == 2 + 2 * quick.attempts
        web.routes["/x"] = answer(status=304)
        assert c.get_json(f"{web.address}/x")[0] is None


def test_json_text_can_always_be_stored(web, quick):
    web.routes["/x"] = r'{"half": "\ud83d!", "whole": "\ud83d\ude80", "plain": "\\ud83d"}'
    with client(quick) as c:
        said = c.get_json(f"{web.address}/x")[0]
    assert said == {"half": "?!", "whole": "\N{ROCKET}", "plain": r"\ud83d"}


def test_link_stays_with_the_host():
    def link(header, url="https://a.example/api/list?limit=2"):
        return Response(url=url, status=200, headers=CaseInsensitiveDict({"Link": header}), body=b"")

    header = (
        '<https://a.example/api/list?max_id=01H%20X>; rel="next", <https://a.example/api/list?min_id=9>; rel="prev"'
    )
    assert link(header).link("next") == "https://a.example/api/list?max_id=01H%20X"
    assert link(header).link("prev") == "https://a.example/api/list?min_id=9"
    assert link(header).link("first") is None
    assert link("").link("next") is None
    assert link("</api/list?page=2>; rel=next").link("next") == "https://a.example/api/list?page=2"
    assert link('<http://a.example/list?page=2>; rel="next"').link("next") == "https://a.example/list?page=2"
    for away in (
        "https://b.example/",
        "https://a.example:8443/",
        "//a.example.b.example/",
        "https://[",
        "javascript:1",
    ):
        said = link(f'<{away}>; rel="next"')
        assert (said.link("next"), said.leads_away("next"), said.leads_away("prev")) == (None, True, False)


def test_token_does_not_follow_to_another_host(web, quick, answer, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login u password p\nmachine 127.0.0.1 login u password p\n")
    monkeypatch.setenv("NETRC", str(netrc))
    other = web.address.replace("127.0.0.1", "localhost")
    web.routes["/away"] = answer(status=302, headers={"Location": f"{other}/there"})
    web.routes["/near"] = answer(status=302, headers={"Location": "/there"})
    web.routes["/there"] = b"x"
    with client(quick, headers={"Authorization": "Bearer s3cret", "X-Custom": "s3cret"}) as c:
        c._session.trust_env = True
        c.get(f"{web.address}/away", headers={"X-Api-Key": "s3cret"})
        c.get(f"{web.address}/near")
    asked, there, _, near = [request.headers for request in web.asked]
    assert (asked["Authorization"], asked["X-Api-Key"]) == ("Bearer s3cret", "s3cret")
    assert "s3cret" not in str(there)
    assert "Authorization" not in there
    assert (near["Authorization"], near["X-Custom"]) == ("Bearer s3cret", "s3cret")


def test_login(web, quick, answer, caplog):
    web.routes["/login"] = [answer(status=503), answer('{"accessJwt": "t"}')]
    payload = {"identifier": "a", "password": "s3cret"}
    with caplog.at_level(logging.DEBUG), client(quick, hosts=Hosts()) as c:
        assert c.post_json(f"{web.address}/login", payload)[0] == {"accessJwt": "t"}
        assert json.loads(web.asked[-1].body) == payload
        for broken in (answer('{"acc', cut=True), answer("{")):
            web.asked.clear()
            web.routes["/login"] = broken
            with pytest.raises(SourceError, match=r"broke off|no JSON") as caught:
                c.post_json(f"{web.address}/login", payload)
            assert len(web.asked) == 1, "an answer had begun"
            assert "s3cret" not in f"{caught.value!r} {caught.value.__context__!r} {caught.value.__cause__!r}"
        web.routes["/login"] = answer(status=307, headers={"Location": f"{web.address}/elsewhere"})
        with pytest.raises(HttpError, match="answers 307"):
            c.post_json(f"{web.address}/login", payload)
        web.routes["/login"] = answer('{"error": "AuthenticationRequired"}', status=401)
        with pytest.raises(HttpError) as refused:
            c.post_json(f"{web.address}/login", payload)
        assert refused.value.code == "AuthenticationRequired"
    assert "s3cret" not in caplog.text


def test_stream_into_a_file(web, quick, answer):
    web.routes["/car"] = [answer(b"x" * 900_000, cut=True), answer(b"y" * 1_000_000)]
    file = io.BytesIO(b"head")
    file.seek(4)
    with client(quick, hosts=Hosts()) as c:
        response = c.stream(f"{web.address}/car", to=file)
        assert (response.status, response.body) == (200, b"")
        assert file.getvalue() == b"head" + b"y" * 1_000_000
        with pytest.raises(SourceError, match="larger than 0 MiB"):
            c.stream(f"{web.address}/car", to=file, size=999_999)
    assert file.getvalue() == b"head" + b"y" * 1_000_000, "nothing is left of what failed"


def test_a_secret_in_an_address_is_not_in_the_cause_of_any_error(web, quick, answer):
    web.routes["/zip"] = answer(b"no gzip", headers={"Content-Encoding": "gzip"})
    web.routes["/loop"] = answer(status=302, headers={"Location": "/loop?token=s3cret"})
    with client(quick) as c:
        for path in ("/zip", "/loop", "/missing"):
            with pytest.raises(SourceError) as caught:
                c.get(f"{web.address}{path}?token=s3cret")
            assert (
                "s3cret"
                not in f"{caught.value!r} {caught.value} {caught.value.__context__!r} {caught.value.__cause__!r}"
            )
