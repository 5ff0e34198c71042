"""Bluesky: records as rows, and accounts from replies that were recorded from real servers."""

from datetime import timedelta

import pytest
import sources_campaign
from collected import Store, settled
from faults import FaultProxy, Replay, Schedule
from loopback import Said
from sources_campaign import FIRST as NIGHT

from assets.staging import bluesky as staging
from sources import bluesky
from sources.bluesky_api import Api, Session, follow
from sources.bluesky_records import (
    FOLLOW,
    LIKE,
    POST,
    REPOST,
    full_text,
    inbound_click,
    inbound_message,
    moment,
    own_rows,
)
from sources.collection import Collection
from sources.http import Client, Limits
from sources.model import AccountSource, SourceError

campaign = sources_campaign.campaign("bluesky")
RECORDING, make_account = campaign.RECORDING, campaign.make_account
ME, ANN, BEN = "did:plc:me", "did:plc:ann", "did:web:ben.example"
MINE, HERS = f"at://{ME}/{POST}/1", f"at://{ANN}/{POST}/2"
AT = "2026-05-01T10:00:00.000Z"
QUICK = Limits(connect=2.0, read=0.4, total=3.0, attempts=3, backoff=0.0, longest_wait=5.0)


def post(text="hello", *, parent=None, root=None, quote=None, mentions=(), at=AT):
    record = {"$type": POST, "text": text, "createdAt": at, "langs": ["en"]}
    if parent:
        record["reply"] = {"parent": {"uri": parent}, "root": {"uri": root or parent}}
    if quote:
        record["embed"] = {"$type": "app.bsky.embed.record", "record": {"uri": quote}}
    if mentions:
        features = [{"$type": "app.bsky.richtext.facet#mention", "did": did} for did in mentions]
        record["facets"] = [{"index": {"byteStart": 0, "byteEnd": 1}, "features": features}]
    return record


class TestOwnRecords:
    def test_post(self):
        rows = own_rows(MINE, post(), ME)
        assert not rows.interactions
        assert rows.posts[0]["published_at"] == AT
        assert rows.posts[0]["url"] == f"https://bsky.app/profile/{ME}/post/1"

    def test_reply_to_another_is_no_post(self):
        rows = own_rows(f"at://{ME}/{POST}/9", post(parent=HERS, root=MINE), ME)
        assert not rows.posts
        (reply,) = rows.interactions
        assert (reply["kind"], reply["direction"], reply["person"]) == ("reply", "outbound", ANN)
        assert (reply["post"], reply["in_reply_to"], reply["content_text"]) == (MINE, HERS, None)

    def test_reply_to_oneself_continues_the_post(self):
        (found,) = own_rows(f"at://{ME}/{POST}/9", post(parent=MINE), ME).posts
        assert found["in_reply_to"] == MINE

    def test_going_on_in_the_thread_of_another_answers_them(self):
        rows = own_rows(f"at://{ME}/{POST}/9", post(parent=f"at://{ME}/{POST}/8", root=HERS), ME)
        assert [row["person"] for row in rows.interactions] == [ANN]
        assert not rows.posts

    def test_quoting_another_is_a_post_and_a_quote(self):
        rows = own_rows(MINE, post(quote=HERS, mentions=[ANN, BEN]), ME)
        assert rows.posts[0]["kind"] == "quote"
        assert [(row["interaction"], row["person"]) for row in rows.interactions] == [
            (f"quote:{MINE}", ANN),
            (f"out:mention:{MINE}:{BEN}", BEN),
        ]

    @pytest.mark.parametrize(
        ("collection", "subject", "interaction"),
        [
            (LIKE, {"uri": HERS}, f"out:like:{HERS}"),
            (REPOST, {"uri": HERS}, f"out:repost:{HERS}"),
            (FOLLOW, ANN, f"out:follow:{ANN}"),
        ],
    )
    def test_clicks(self, collection, subject, interaction):
        record = {"subject": subject, "createdAt": AT}
        (row,) = own_rows(f"at://{ME}/{collection}/1", record, ME).interactions
        assert (row["interaction"], row["person"], row["occurred_at"]) == (interaction, ANN, AT)

    @pytest.mark.parametrize("subject", [{"uri": MINE}, {"uri": f"at://{ANN}/app.bsky.feed.generator/1"}, None, 7])
    def test_what_is_no_interaction_with_anybody(self, subject):
        rows = own_rows(f"at://{ME}/{LIKE}/1", {"subject": subject, "createdAt": AT}, ME)
        assert not rows.posts
        assert not rows.interactions

    def test_odd_records(self):
        assert own_rows(MINE, {"text": 3, "facets": "x", "embed": [], "langs": [None]}, ME).posts[0]["text"] is None
        assert not own_rows("nonsense", post(), ME).posts


class TestOthersMessages:
    @pytest.mark.parametrize(
        ("record", "kind", "about"),
        [
            (post(parent=MINE), "reply", MINE),
            (post(parent=MINE, quote=MINE, mentions=[ME]), "reply", MINE),
            (post(parent=f"at://{ME}/{POST}/9", root=MINE), "reply", MINE),
            (post(parent=f"at://{ME}/{POST}/9", root=HERS), "reply", None),
            (post(parent=HERS, root=MINE, mentions=[ME]), "reply", MINE),
            (post(parent=HERS, root=HERS, mentions=[ME]), "mention", None),
            (post(quote=MINE, mentions=[ME]), "quote", MINE),
            (post(mentions=[ME]), "mention", None),
        ],
    )
    def test_kind_and_post(self, record, kind, about):
        row = inbound_message(HERS, record, ANN, ME, own_posts={MINE})
        assert (row["kind"], row.get("post")) == (kind, about)

    @pytest.mark.parametrize("record", [post(parent=HERS, root=MINE), post(quote=HERS), post(mentions=[BEN])])
    def test_others_among_themselves(self, record):
        assert inbound_message(f"at://{BEN}/{POST}/1", record, BEN, ME, own_posts={MINE}) is None

    def test_own_messages_are_none(self):
        assert inbound_message(MINE, post(parent=MINE), ME, ME) is None

    def test_text_only_if_wanted(self):
        wanted = inbound_message(HERS, post("hi", parent=MINE), ANN, ME, store_text=True)
        assert wanted["content_text"] == "hi"
        assert inbound_message(HERS, post("hi", parent=MINE), ANN, ME)["content_text"] is None

    def test_the_same_click_has_the_same_id_from_everywhere(self):
        row = inbound_click("follow", ME, ANN, name="Ann", occurred_at=None)
        assert (row["interaction"], row["post"]) == (f"follow:{ME}:{ANN}", None)


def test_time_is_the_earlier_one():
    assert moment("0001-01-01T00:00:00Z", AT) == AT
    assert moment("nonsense", AT) == AT
    assert moment(AT, None) == AT


def test_links_in_full():
    text = "\N{ROCKET} see example.org/lo..."
    start = len("\N{ROCKET} see ".encode())
    link = {"$type": "app.bsky.richtext.facet#link", "uri": "https://example.org/long?utm_source=x"}
    facet = {"index": {"byteStart": start, "byteEnd": len(text.encode())}, "features": [link]}
    assert full_text({"text": text, "facets": [facet]}) == "\N{ROCKET} see https://example.org/long?utm_source=x"
    facet["index"]["byteEnd"] = 999
    assert full_text({"text": text, "facets": [facet]}) == text


class TestPaging:
    def test_ends_at_an_empty_page_or_without_a_cursor(self):
        pages = {None: {"x": [1], "cursor": "a"}, "a": {"x": [], "cursor": "b"}}
        assert list(follow(lambda at: pages[at.get("cursor")], "x", "x")) == [[1]]
        assert list(follow(lambda _: {"x": [1]}, "x", "x")) == [[1]]

    @pytest.mark.parametrize("page", [{}, {"x": None}, {"x": {}}])
    def test_no_list_is_no_empty_list(self, page):
        with pytest.raises(SourceError, match="no list"):
            list(follow(lambda _: page, "x", "x"))

    def test_a_cursor_without_end(self):
        number = iter(range(9))
        with pytest.raises(SourceError, match="leads to itself"):
            list(follow(lambda _: {"x": [next(number)], "cursor": "a"}, "x", "x"))


@pytest.mark.parametrize(
    ("url", "is_ours"),
    [
        ("https://bsky.app/profile/alice.test", True),
        ("@alice.test", True),
        ("did:plc:ts3ftpioegh2prhurro3h67w", True),
        ("alice.bsky.social", True),
        ("at://alice.test", True),
        ("@alice@social.example", False),
        ("https://blog.example/profile/x", False),
        ("blog.example", False),
        ("https://[bad", False),
    ],
)
def test_claims(url, is_ours):
    assert bluesky.claims(url) is is_ours


def read(store, base, *, night=0, **account):
    at = NIGHT + timedelta(days=night)
    night = Collection(limits=QUICK, sleep=lambda _: None)
    store.collect(bluesky, [make_account(base, **account)], read_at=at, collection=night)
    tonight = [row for row in store.rows["readings"].values() if row["read_at"] == at]
    return {row["stream"]: (row["status"], row["reason"]) for row in tonight}


@pytest.fixture
def recorded():
    with Replay(RECORDING) as server:
        yield server


class Changed(Replay):
    """The recording, with other answers to some methods."""

    def __init__(self):
        super().__init__(RECORDING)
        self.other = {}

    def answer(self, request):
        for part, said in self.other.items():
            if part in request.public_target:
                return said
        return super().answer(request)


@pytest.fixture
def changed():
    with Changed() as server:
        yield server


def refusal(status, code):
    return Said(status, {"Content-Type": "application/json"}, f'{{"error": "{code}", "message": "x"}}'.encode())


def test_recorded_account(recorded):
    store = Store()
    assert {status for status, _ in read(store, recorded.base).values()} == {"ok"}
    staged = store.staged(staging)
    kinds = set(staged["interactions"].select("direction", "kind").iter_rows())
    assert {("inbound", k) for k in ("like", "repost", "reply", "mention", "follow")} <= kinds
    assert ("outbound", "reply") in kinds
    follows = staged["interactions"].filter(kind="follow", direction="inbound")
    assert follows["occurred_at"].null_count() == 0, "notifications know when"
    assert not recorded.missed
    assert "recorded" not in repr(make_account(recorded.base))


def test_nothing_changes_the_second_night(recorded):
    store = Store()
    read(store, recorded.base)
    first = store.staged(staging)
    asked = len(store.rows["lists"])
    read(store, recorded.base, night=1)
    for shape in ("posts", "interactions", "profiles"):
        assert settled(store.staged(staging)[shape]).equals(settled(first[shape]))
    assert len(store.rows["lists"]) < 2 * asked, "old posts are not read again"


def test_without_a_login_there_are_no_mentions(recorded):
    store = Store()
    assert {status for status, _ in read(store, recorded.base, token=None).values()} == {"ok"}
    assert "mention" not in set(store.staged(staging)["interactions"]["kind"])


def test_a_refused_password_costs_only_what_needs_it(changed):
    store = Store()
    changed.other = {"createSession": refusal(401, "AuthenticationRequired")}
    said = read(store, changed.base)
    assert said["posts"][0] == said["outbound"][0] == "ok"
    assert said["inbound"][0] == "partial"
    assert "app password is refused" in said["inbound"][1]
    assert "RAPPORT_BLUESKY_TOKEN" in said["inbound"][1]


def test_a_session_that_ends_midway(recorded):
    store = Store()
    schedule = Schedule(planned={("/xrpc/app.bsky.notification.listNotifications", 2): "revoked"})
    schedule.revoked = (400, '{"error": "ExpiredToken"}')
    with FaultProxy(recorded.base, schedule) as proxy:
        said = read(store, proxy.base)
    assert {name: status for name, (status, _) in said.items() if name != "inbound"} == {
        "posts": "ok", "outbound": "ok", "counters": "ok",
    }  # fmt: skip
    if schedule.injected:
        assert "app password is refused" in said["inbound"][1]


@pytest.mark.parametrize(
    ("code", "state", "what"),
    [
        ("AccountTakedown", "suspended", "taken down"),
        ("AccountDeactivated", "deactivated", "deactivated"),
        ("InvalidRequest", "gone", "no such account"),
    ],
)
def test_an_account_that_is_no_more(changed, code, state, what):
    store = Store()
    read(store, changed.base)
    before = store.staged(staging)
    changed.other = {"getProfile": refusal(400, code)}
    said = read(store, changed.base, night=1)
    assert {status for status, _ in said.values()} == {"down"}
    assert what in said["posts"][1]
    newest = max(store.rows["profiles"].values(), key=lambda row: row["loaded_at"])
    assert (newest["state"], newest["handle"]) == (state, "alice.test")
    after = store.staged(staging)
    assert settled(after["interactions"]).equals(settled(before["interactions"]))
    assert settled(after["profiles"]).equals(settled(before["profiles"]))


def test_a_renamed_account_is_known_by_its_did(changed):
    store = Store()
    read(store, changed.base)
    changed.other = {"getProfile?actor=alice.test": refusal(400, "InvalidRequest")}
    assert {status for status, _ in read(store, changed.base, night=1).values()} == {"ok"}


def test_a_server_without_quotes(changed):
    store = Store()
    changed.other = {"getQuotes": refusal(501, "MethodNotImplemented")}
    assert {status for status, _ in read(store, changed.base, token=None).values()} == {"ok"}
    assert "quote" not in set(store.staged(staging)["interactions"]["kind"])


def test_a_post_deleted_between_list_and_thread(changed):
    store = Store()
    read(store, changed.base)
    staged = store.staged(staging)
    gone = staged["interactions"].filter(kind="reply", direction="inbound").drop_nulls("post")["post"][0]
    rkey = gone.rpartition("/")[2]
    for target in [t for _, t in changed._answers if "getPostThread" in t and rkey in t]:
        changed.other[target.partition("?")[2]] = refusal(400, "NotFound")
    assert {status for status, _ in read(store, changed.base, night=60).values()} == {"ok"}
    posts = {row["post"]: row["deleted_at"] for row in store.staged(staging)["posts"].to_dicts()}
    assert {uri for uri, at in posts.items() if at} == {gone}


def test_an_empty_feed_deletes_nothing(changed):
    store = Store()
    read(store, changed.base)
    changed.other = {"getAuthorFeed": Said(200, {"Content-Type": "application/json"}, b'{"feed": []}')}
    said = read(store, changed.base, night=1)
    assert said["posts"][0] == said["counters"][0] == "partial" or said["posts"][0] == "down"
    assert store.staged(staging)["posts"]["deleted_at"].null_count() == store.staged(staging)["posts"].height


def test_recognise(recorded):
    with Client(allow_private=True, limits=QUICK) as client:
        found = bluesky.recognise(make_account(recorded.base), client)
        assert found.title == "Alice"
        assert found.url.startswith("https://bsky.app/profile/did:plc:")
        assert "@alice.test" in found.summary
        assert bluesky.recognise(make_account(recorded.base, url="https://blog.example/about"), client) is None
        with pytest.raises(SourceError, match="no such account"):
            bluesky.recognise(make_account(recorded.base, url="@nobody.test"), client)


def test_a_password_goes_nowhere_unencrypted():
    options = {"pds": "http://pds.example", "token": "abcd"}
    account = AccountSource(account_id="a", source="bluesky", url="@a.test", options=options)
    with Client() as client, pytest.raises(SourceError, match="no encrypted address"):
        list(Session(Api(client, account), ME, "abcd").pages("app.bsky.notification.listNotifications", "x"))


def test_more_than_can_be_read_every_night(recorded, monkeypatch):
    monkeypatch.setattr("sources.schedule.MANY", 3)
    store = Store()
    read(store, recorded.base)
    before = store.staged(staging)
    assert any(row["list"] == "whole:posts" for row in store.rows["lists"].values())
    assert {status for status, _ in read(store, recorded.base, night=1).values()} == {"ok"}
    after = store.staged(staging)
    for shape in ("posts", "interactions"):
        assert settled(after[shape]).equals(settled(before[shape]))


@pytest.mark.parametrize("seed", range(6))
def test_faults_lose_nothing(recorded, seed):
    wanted, store = Store(), Store()
    for night in range(3):
        read(wanted, recorded.base, night=night)
    for night in range(2):
        with FaultProxy(recorded.base, Schedule.seeded(100 * seed + night, rate=0.2)) as proxy:
            read(store, proxy.base, night=night)
    read(store, recorded.base, night=2)
    for shape in ("profiles", "posts", "interactions", "quarantine"):
        assert settled(store.staged(staging)[shape]).equals(settled(wanted.staged(staging)[shape])), shape
