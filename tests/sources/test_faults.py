"""The fault proxy does to the client what it says, and the client gets over what it can."""

import gzip
import json
import socket

import pytest
from faults import PAGING, SHAPES, TRANSIENT, FaultProxy, Recorder, Replay, Schedule

from sources.http import Client, Hosts, HttpError, Limits, UnreachableError
from sources.model import SourceError

ITEMS = [{"id": str(n), "text": f"post {n}"} for n in range(6)]


@pytest.fixture
def listing(web, answer):
    """Three pages of two, as Mastodon (`/list`, by Link) and as Bluesky (`/cursor`) give them."""

    def by_link(request):
        page = int(request.query.get("page", 0))
        link = f'<{web.address}/list?page={page + 1}>; rel="next", <{web.address}/list>; rel="first"'
        return answer(json.dumps(ITEMS[2 * page : 2 * page + 2]), headers={"Link": link} if page < 2 else {})

    def by_cursor(request):
        page = int(request.query.get("cursor", 0))
        body = {"feed": ITEMS[2 * page : 2 * page + 2], **({"cursor": str(page + 1)} if page < 2 else {})}
        return answer(json.dumps(body))

    web.routes |= {"/list": by_link, "/cursor": by_cursor, "/item": json.dumps({"id": "1", "text": "x"})}
    return web.address


@pytest.fixture
def reader():
    """A patient client that records its waits instead of waiting."""
    slept = []
    limits = Limits(connect=3, read=0.8, total=5, attempts=4, backoff=0.25)
    with Client(allow_private=True, limits=limits, sleep=slept.append, hosts=Hosts()) as client:
        client.slept = slept
        yield client


def walk(client, base, most=9):
    """The pages of `/list`, as a connector reads them."""
    url, pages = f"{base}/list", []
    while url and len(pages) < most:
        items, response = client.get_json(url, shape=list)
        pages.append(items)
        url = response.link("next")
    return pages


def ids(pages):
    return [item["id"] for page in pages for item in page]


@pytest.mark.parametrize("kind", TRANSIENT)
def test_client_gets_over_what_passes(listing, reader, kind):
    with FaultProxy(listing, Schedule(planned={("/list", 2): kind})) as proxy:
        assert ids(walk(reader, proxy.base)) == list("012345")
        assert [fault.kind for fault in proxy.schedule.injected] == [kind]
        assert len(proxy.asked) == (3 if kind in ("clock_skew", "latency") else 4)
    assert reader.slept in ([], [0.25], [1.0])
    assert (reader.slept == []) == (kind in ("clock_skew", "latency"))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("too_many", "answers 429"),
        ("503", "answers 503"),
        ("timeout", "sent nothing"),
        ("reset", "broke off|cannot be reached"),
        ("truncated", "is no JSON"),
        ("malformed", "is no JSON"),
    ],
)
def test_client_says_what_did_not_pass(listing, reader, kind, message):
    schedule = Schedule(planned=dict.fromkeys(range(1, 9), kind))
    with FaultProxy(listing, schedule) as proxy, pytest.raises(SourceError, match=message) as caught:
        walk(reader, proxy.base)
    assert isinstance(caught.value, HttpError) == (kind in ("too_many", "503"))
    assert isinstance(caught.value, UnreachableError) == (kind in ("timeout", "reset"))
    assert len(schedule.injected) == 4


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("duplicated_page", "01012345"), ("repeated_page", "010145"), ("reordered_page", "013245")],
)
def test_pages_that_repeat_or_change_order(listing, reader, kind, expected):
    with FaultProxy(listing, Schedule(planned={2: kind})) as proxy:
        assert ids(walk(reader, proxy.base)) == list(expected)


def test_first_page_repeats_nothing(listing, reader):
    with FaultProxy(listing, Schedule(planned={4: "duplicated_page"})) as proxy:
        walk(reader, proxy.base)
        assert ids(walk(reader, proxy.base)) == list("012345")


def test_cursor_without_end(listing, reader):
    with FaultProxy(listing, Schedule(planned={2: "endless_cursor"})) as proxy:
        assert ids(walk(reader, proxy.base, most=5)) == list("0123232323")
    with FaultProxy(listing, Schedule(planned={1: "endless_cursor"})) as proxy:
        pages = [
            reader.get_json(f"{proxy.base}/cursor", params={"cursor": c} if c else {})[0]
            for c in ("", "again", "again")
        ]
        assert [page["cursor"] for page in pages] == ["again"] * 3
        assert ids(page["feed"] for page in pages) == list("010101")


def test_detail_is_gone(listing, reader):
    with FaultProxy(listing, Schedule(rate=1.0, kinds=("gone",), only={"gone": "^/item"})) as proxy:
        assert len(walk(reader, proxy.base)) == 3
        with pytest.raises(HttpError, match="nothing at this address") as caught:
            reader.get_json(f"{proxy.base}/item")
    assert caught.value.status == 404
    assert reader.slept == []


@pytest.mark.parametrize(("status", "body"), [(401, "{}"), (400, '{"error": "InvalidToken"}'), (422, "{}")])
def test_token_is_revoked_from_then_on(listing, reader, status, body):
    with FaultProxy(listing, Schedule(planned={2: "revoked"}, revoked=(status, body))) as proxy:
        token = {"Authorization": "Bearer s3cret"}
        reader.get(f"{proxy.base}/item", headers=token)
        for _ in range(2):
            with pytest.raises(HttpError) as caught:
                reader.get(f"{proxy.base}/item", headers=token)
            assert caught.value.status == status
            assert caught.value.code == json.loads(body).get("error")
        assert reader.get_json(f"{proxy.base}/item")[0]["id"] == "1", "who shows no token is served"


def test_fields_change(listing, reader):
    with FaultProxy(listing, Schedule(planned={1: "unknown_fields"})) as proxy:
        assert all(len(item) == 3 for item in walk(reader, proxy.base)[0])
    with FaultProxy(listing, Schedule(planned={1: "field_missing"}, fields=("text",))) as proxy:
        assert sorted(map(len, walk(reader, proxy.base)[0])) == [1, 2]
    with FaultProxy(listing, Schedule(planned={1: "field_type"}, fields=("text",))) as proxy:
        page = reader.get_json(f"{proxy.base}/cursor")[0]["feed"]
        assert sum(isinstance(item["text"], list) for item in page) == 1


def test_a_seed_is_a_schedule(listing, reader):
    def run(seed, **options):
        with FaultProxy(listing, Schedule.seeded(seed, 0.5, silence=0.4, **options)) as proxy:
            pages = [walk(reader, proxy.base) for _ in range(2)]
            return pages, proxy.schedule.injected

    assert run(3) == run(3)
    assert run(3)[1]
    assert run(3)[1] != run(4)[1]
    for seed in range(3):
        pages, injected = run(seed)
        assert all(set(ids(walked)) == set("012345") for walked in pages), "patience loses nothing"
        assert {fault.kind for fault in injected} <= {*TRANSIENT, *PAGING}
    assert run(5, kinds=SHAPES)[1]


def test_recorded_once_served_without_the_server(web, answer, reader, tmp_path):
    def listed(request):
        page = int(request.query.get("page", 1))
        body = json.dumps([{"url": f"{web.address}/{page}", "next": f"{web.address}/x"}]).replace("/", "\\/")
        link = {"Link": f'<{web.address}/list?page=2>; rel="next"'} if page == 1 else {}
        return answer(body, headers={"X-WP-Total": "2", "Set-Cookie": "s3cret", "X-RateLimit-Limit": "9", **link})

    web.routes["/list"] = listed
    web.routes["/car"] = b"\x00\xff\xfecar"
    web.routes["/login"] = json.dumps({"accessJwt": "s3cret", "did": "did:x"})

    def collect(base):
        pages = walk(reader, base)
        assert all(item["url"].startswith(base) for page in pages for item in page)
        assert reader.get(f"{base}/car", params={"token": "s3cret"}).body == b"\x00\xff\xfecar"
        return [[{k: v.removeprefix(base) for k, v in item.items()} for item in page] for page in pages]

    files = [tmp_path / "a.json.gz", tmp_path / "b.json.gz"]
    for file in files:
        with Recorder(web.address) as recorder:
            real = collect(recorder.base)
            reader.get(f"{recorder.base}/login")
        recorder.save(file)
    asked = len(web.asked)
    with Replay(files[0]) as replay:
        assert collect(replay.base) == real
        assert reader.get_json(f"{replay.base}/login")[0] == {"accessJwt": "recorded", "did": "did:x"}
        with pytest.raises(HttpError):
            reader.get(f"{replay.base}/never")
        response = reader.get(f"{replay.base}/list")
        with FaultProxy(replay.base, Schedule(planned={1: "503"})) as proxy:
            assert collect(proxy.base) == real
    assert replay.missed == ["GET /never"]
    assert len(web.asked) == asked
    assert files[0].read_bytes() == files[1].read_bytes()
    assert "Set-Cookie" not in response.headers
    assert (response.headers["X-WP-Total"], response.headers["X-RateLimit-Limit"]) == ("2", "9")
    text = gzip.decompress(files[0].read_bytes()).decode()
    assert "s3cret" not in text
    assert web.address not in text


def test_proxy_address_can_be_taken_again(listing):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for _ in range(2):
        with FaultProxy(listing, Schedule(), port=port) as proxy:
            assert proxy.base == f"http://127.0.0.1:{port}"
