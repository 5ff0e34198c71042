"""WordPress: replies of the real server, replayed; and small sites for what its seed does not hold."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
import sources_campaign
from collected import Store
from faults import FaultProxy, Replay, Schedule

from assets.staging import wordpress as staging
from assets.urls import author_key
from sources import wordpress
from sources.collection import Collection
from sources.http import Client, Limits
from sources.model import AccountSource, SourceError
from sources.wordpress_api import host_and_path, open_site

campaign = sources_campaign.campaign("wordpress")

NIGHT = datetime(2027, 1, 10, 3, tzinfo=UTC)
QUICK = Limits(connect=2.0, read=0.4, total=3.0, attempts=2, backoff=0.0, longest_wait=1.0, redirects=4)


def collect(store, account, *, nights=0, store_text=False):
    night = Collection(limits=QUICK, sleep=lambda _: None)
    store.collect(wordpress, [account], read_at=NIGHT + timedelta(days=nights), collection=night, store_text=store_text)
    return store.staged(staging)


def outcomes(tables):
    newest = tables["readings"].sort("read_at").group_by("stream", maintain_order=True).last()
    return dict(newest.select("stream", "status").iter_rows())


def reasons(tables):
    return " ".join(tables["readings"]["reason"].drop_nulls())


# replies of the real server


def test_what_the_real_server_said():
    with Replay(campaign.RECORDING) as replay:
        tables = collect(Store(), campaign.make_account(replay.base))
        assert replay.missed == []
    assert tables["posts"].height == 44
    assert tables["interactions"].group_by("direction", "kind").len().sort("len").rows() == [
        ("inbound", "mention", 1),
        ("outbound", "reply", 41),
        ("inbound", "reply", 90),
    ]
    assert tables["profiles"].select("url", "host").row(0) == ("https://blog.example/", "blog.example")
    assert outcomes(tables) == {"posts": "ok", "inbound": "ok", "outbound": "ok", "counters": "not_offered"}


def test_an_author_of_a_site_with_many():
    with Replay(campaign.OF_AN_AUTHOR) as replay:
        account = campaign.make_account(replay.base, url=f"{campaign.SITE}/author/bob/", token=None)
        tables = collect(Store(), account)
        with Client(allow_private=True) as client:
            found = wordpress.recognise(account, client)
    assert tables["posts"].height == 8
    assert set(tables["interactions"]["direction"]) == {"inbound"}
    # The host is not bob's alone: who has an address there need not be he.
    assert tables["profiles"].select("url", "host", "handle").row(0) == (f"{campaign.SITE}/author/bob/", None, "bob")
    assert (found.title, found.summary) == ("Bob", "WordPress 'Bob', 8 posts")


def test_a_site_is_recognised():
    with Replay(campaign.RECORDING) as replay, Client(allow_private=True) as client:
        found = wordpress.recognise(campaign.make_account(replay.base, token=None), client)
    assert (found.source, found.url) == ("wordpress", f"{campaign.SITE}/")
    assert found.summary == "WordPress 'Rapport Test', 44 posts, 131 comments"


def test_texts_of_others_only_if_wanted():
    with Replay(campaign.RECORDING) as replay:
        without, kept = Store(), Store()
        collect(without, campaign.make_account(replay.base))
        collect(kept, campaign.make_account(replay.base), store_text=True)
    assert without.frame("interactions")["content_text"].null_count() == 132
    assert "What Dana thinks of post 43" in kept.frame("interactions")["content_text"].to_list()


@pytest.mark.parametrize("kind", ["repeated_page", "endless_cursor", "gone", "field_missing", "field_type"])
def test_what_costs_data_is_made_good_the_next_night(kind):
    store, truth = Store(), Store()
    with Replay(campaign.RECORDING) as replay:
        wanted = collect(truth, campaign.make_account(replay.base))
        for night, seed in enumerate(range(4)):
            schedule = Schedule.seeded(seed, rate=0.5, kinds=[kind])
            with FaultProxy(replay.base, schedule) as proxy:
                collect(store, campaign.make_account(proxy.base), nights=night)
        found = collect(store, campaign.make_account(replay.base), nights=9)
    for shape, name in (("posts", "post"), ("interactions", "interaction")):
        gone = "deleted_at" if shape == "posts" else "retracted_at"
        assert set(found[shape][name]) == set(wanted[shape][name])
        assert found[shape][gone].null_count() == found[shape].height
        columns = [c for c in ("person", "direction", "words", "in_reply_to") if c in found[shape].columns]
        assert found[shape].select(name, *columns).equals(wanted[shape].select(name, *columns))
    assert outcomes(found)["inbound"] == "ok"


def test_a_revoked_login_costs_what_needs_it():
    with Replay(campaign.RECORDING) as replay:
        schedule = Schedule(seed=1, rate=1.0, kinds=("revoked",))
        with FaultProxy(replay.base, schedule) as proxy:
            tables = collect(Store(), campaign.make_account(proxy.base))
    assert tables["interactions"].height == 131
    assert outcomes(tables) == {"posts": "ok", "inbound": "partial", "outbound": "ok", "counters": "not_offered"}
    assert "application password is refused" in reasons(tables)
    assert "recorded" not in reasons(tables)


# sites that the seed does not hold


class Blog:
    """A small site behind the `web` fixture: lists that a test may change."""

    def __init__(self, web, answer, *, root="/wp-json/"):
        self.web, self.answer, self.root = web, answer, root
        self.posts = [self.post(1), self.post(2)]
        self.comments = []
        self.counted = None
        web.routes["/"] = answer("<html>", headers={"Link": f'<{web.address}{root}>; rel="https://api.w.org/"'})
        for path in ("", "wp/v2/posts", "wp/v2/comments", "wp/v2/users"):
            web.routes[f"/wp-json/{path}"] = lambda asked, path=path: self.say(path, asked.query)

    def account(self, **options):
        return AccountSource(
            account_id="blog", source="wordpress", url=f"{self.web.address}/", allow_private=True, options=options
        )

    def say(self, path, query):
        if not path:
            about = {"name": "Blog &amp; co", "home": "https://blog.example", "namespaces": ["wp/v2"]}
            return self.answer(json.dumps(about))
        items = {"wp/v2/posts": self.posts, "wp/v2/comments": self.comments, "wp/v2/users": []}[path]
        if query.get("type"):
            return self.answer("{}", status=401)
        after, include = query.get("after", ""), query.get("include")
        items = [i for i in items if i["date_gmt"] >= after and (not include or str(i["id"]) in include.split(","))]
        start = 100 * (int(query.get("page", 1)) - 1)
        total = {"X-WP-Total": str(self.counted if self.counted is not None else len(items))}
        return self.answer(json.dumps(items[start : start + 100]), headers=total)

    def post(self, number, at="2026-01-01T00:00:00", **more):
        return {
            "id": number, "date_gmt": at, "modified_gmt": at, "status": "publish", "format": "standard", "author": 1,
            "link": f"https://blog.example/{number}/", "content": {"rendered": "<p>a b</p>", "protected": False}, **more,
        }  # fmt: skip

    def say_so(self, number, name, *, parent=0, at="2026-01-02T00:00:00", text="well", **more):
        self.comments.append(
            {
                "id": number, "post": 1, "parent": parent, "author": 0, "author_name": name, "author_url": "",
                "date_gmt": at, "content": {"rendered": f"<p>{text}</p>"}, "link": f"https://blog.example/1/#comment-{number}",
                "status": "approved", "type": "comment", "author_avatar_urls": {}, **more,
            }
        )  # fmt: skip


@pytest.fixture
def blog(web, answer):
    return Blog(web, answer)


def found(tables, *names):
    names = names or ("interaction", "direction", "person", "in_reply_to")
    return {row[0]: row[1:] for row in tables["interactions"].select(names).iter_rows()}


def test_who_a_commenter_is(blog):
    md5 = "0123456789abcdef0123456789abcdef"
    avatar = {"24": f"https://secure.gravatar.com/avatar/{md5}?s=24&d=mm"}
    nobody = {"24": "https://secure.gravatar.com/avatar/d41d8cd98f00b204e9800998ecf8427e?s=24"}
    blog.say_so(1, "Ann", author_url="http://www.Ann.example/about/?x=1#me", author_avatar_urls=avatar)
    blog.say_so(2, "Ann", author_avatar_urls=avatar)
    blog.say_so(3, "  Ann  Other ", author_avatar_urls=nobody)
    blog.say_so(4, "A reader", author=7, author_url="https://blog.example/members/reader/")
    blog.say_so(5, "", author_avatar_urls=nobody)
    blog.say_so(6, "عمر 🚀", author_avatar_urls=[])
    tables = collect(Store(), blog.account())
    assert {key: value[0] for key, value in found(tables, "interaction", "person").items()} == {
        "1": "ann.example/about?x=1", "2": f"gravatar:{md5}", "3": "name:ann other", "4": "user:7", "6": "name:عمر 🚀",
    }  # fmt: skip
    # A member's page on the site's own host would make the reader the account itself.
    assert found(tables, "interaction", "person_url")["4"] == (None,)
    assert tables["quarantine"]["reason"].to_list() == ["no person"]


@pytest.mark.parametrize(
    "url",
    ["https://www.Example.org:8080/a/b/?x=1#y", "http://u:p@a.example", "//b.example/", "mailto:x", "WWW.c.example"],
)
def test_an_author_is_named_as_in_webmentions(url):
    assert host_and_path(url) == pl.select(author_key(pl.lit(url))).item()


def test_threads(blog):
    blog.say_so(1, "Ann")
    blog.say_so(2, "Me", author=1, parent=1)  # an answer
    blog.say_so(3, "Me", author=1)  # a word to all
    blog.say_so(4, "Ben", parent=1)  # between Ann and Ben
    blog.say_so(5, "Ann", parent=1)  # Ann goes on
    blog.say_so(6, "Ben", parent=1, text="as @me said")  # to Ann, but the account is named
    blog.say_so(7, "Me", author=1, parent=99)  # whatever it answered is not shown
    blog.say_so(8, "Me", author=1, parent=2)  # goes on
    assert found(collect(Store(), blog.account())) == {
        "1": ("inbound", "name:ann", None),
        "2": ("outbound", "name:ann", "1"),
        "3": ("inbound", "user:1", None),
        "5": ("inbound", "name:ann", "1"),
        "6": ("inbound", "name:ben", "1"),
        "7": ("inbound", "user:1", "99"),
        "8": ("inbound", "user:1", "2"),
    }


def test_a_parent_may_come_after_its_answer(blog):
    blog.say_so(1, "Me", author=1, parent=2)
    blog.say_so(2, "Ann")
    assert found(collect(Store(), blog.account()))["1"] == ("outbound", "name:ann", "2")


def test_an_answer_stays_one_when_what_it_answers_vanishes(blog):
    store = Store()
    blog.say_so(1, "Ann")
    blog.say_so(2, "Me", author=1, parent=1)
    before = found(collect(store, blog.account()))
    gone = blog.comments.pop(0)
    tables = collect(store, blog.account(), nights=1)
    assert found(tables) == before
    assert tables["interactions"].sort("interaction")["retracted_at"].is_not_null().to_list() == [True, False]
    blog.comments.insert(0, gone)
    tables = collect(store, blog.account(), nights=2)
    assert tables["interactions"]["retracted_at"].null_count() == 2


def test_who_once_wrote_here_stays_an_author(blog):
    store = Store()
    blog.posts.append(blog.post(3, author=5))
    collect(store, blog.account())
    blog.posts.pop()
    blog.say_so(1, "Ann")
    blog.say_so(2, "Five", author=5, parent=1)
    assert found(collect(store, blog.account(), nights=1))["2"][0] == "outbound"


def test_without_posts_nobody_knows_whose_comments_are_own(blog, answer):
    blog.say_so(1, "Me", author=1)
    blog.web.routes["/wp-json/wp/v2/posts"] = answer(status=500)
    tables = collect(Store(), blog.account())
    assert tables["interactions"].is_empty()
    assert outcomes(tables) == {"posts": "down", "inbound": "down", "outbound": "down", "counters": "not_offered"}


def test_a_failing_list_of_comments_fails_both_directions(blog, answer):
    blog.web.routes["/wp-json/wp/v2/comments"] = answer("[{}", status=200)
    tables = collect(Store(), blog.account())
    assert outcomes(tables) == {"posts": "ok", "inbound": "down", "outbound": "down", "counters": "not_offered"}


def test_a_list_that_moves_is_read_once_more(blog):
    """A deletion while the first page is shown moves an item from the second page to the first."""
    blog.posts = [blog.post(number) for number in range(1, 151)]
    say, asked = blog.say, []

    def moving(query):
        asked.append(query["page"])
        answer = say("wp/v2/posts", query)
        if len(asked) == 1:
            del blog.posts[0]
        return answer

    blog.web.routes["/wp-json/wp/v2/posts"] = lambda request: moving(request.query)
    tables = collect(Store(), blog.account())
    assert asked[:4] == ["1", "2", "1", "2"]
    assert set(map(str, range(2, 151))) <= set(tables["posts"]["post"])


def test_an_empty_list_that_is_counted_is_hidden(blog):
    store = Store()
    blog.say_so(1, "Ann")
    collect(store, blog.account())
    blog.comments.clear()
    blog.counted = 2
    tables = collect(store, blog.account(), nights=1)
    assert outcomes(tables)["inbound"] == "down"
    assert tables["interactions"]["retracted_at"].null_count() == 1
    assert "hides this list" in reasons(tables)


def test_a_long_list_is_read_back_to_three_months_and_whole_every_four_weeks(blog, monkeypatch):
    monkeypatch.setattr("sources.schedule.MANY", 2)
    store = Store()
    blog.say_so(1, "Old")
    blog.say_so(2, "Older", at="2026-01-01T00:00:00")
    blog.say_so(3, "New", at="2027-01-01T00:00:00")
    collect(store, blog.account())
    del blog.comments[0], blog.comments[1]  # one old, one new
    blog.say_so(4, "Me", author=1, parent=2, at="2027-01-09T00:00:00")
    blog.say_so(5, "Me", author=1, parent=2, at="2027-01-09T01:00:00")
    tables = collect(store, blog.account(), nights=1)
    assert [a.query["after"] for a in blog.web.asked if "after" in a.query] == ["2026-10-09T03:00:00"] * 2
    gone = tables["interactions"].filter(pl.col("retracted_at").is_not_null())
    assert gone["interaction"].to_list() == ["3"], "the old one was not looked for"
    assert found(tables)["4"] == ("outbound", "name:older", "2"), "as known from the first night"
    tables = collect(store, blog.account(), nights=29)
    gone = tables["interactions"].filter(pl.col("retracted_at").is_not_null())
    assert gone["interaction"].to_list() == ["1", "3"]


def test_a_parent_outside_the_window_is_asked_for(blog, monkeypatch):
    monkeypatch.setattr("sources.schedule.MANY", 0)
    store = Store()
    blog.say_so(1, "Held", status="hold")
    blog.say_so(2, "Ann", at="2027-01-01T00:00:00")
    collect(store, blog.account())
    blog.comments[0]["status"] = "approved"
    blog.say_so(3, "Me", author=1, parent=1, at="2027-01-09T00:00:00")
    assert found(collect(store, blog.account(), nights=1))["3"] == ("outbound", "name:held", "1")


def test_one_damaged_item_is_no_reason_to_believe_the_page(blog):
    store = Store()
    blog.say_so(1, "Ann", author_url="https://ann.example/")
    blog.say_so(2, "Ben")
    before = found(collect(store, blog.account()))
    del blog.comments[0]["author_url"]
    tables = collect(store, blog.account(), nights=1)
    assert found(tables) == before
    assert outcomes(tables)["inbound"] == "down"
    del blog.comments[1]["author_url"]  # a site that gives none
    assert outcomes(collect(store, blog.account(), nights=2))["inbound"] == "ok"


def test_a_night_cut_into_slices_reads_each_list_once():
    """The clock counts the lists that were asked for, so that each slice has time for one."""
    store, whole = Store(), Store()
    with Replay(campaign.RECORDING) as replay, FaultProxy(replay.base, Schedule()) as proxy:
        wanted = collect(whole, campaign.make_account(replay.base))

        def lists():
            return [target for target in proxy.asked if "page=1&per_page=100" in target]

        night = Collection(limits=QUICK, slice_seconds=0.5, clock=lambda: len(lists()))
        store.collect(wordpress, [campaign.make_account(proxy.base)], read_at=NIGHT, collection=night)
        assert len(lists()) == len(set(lists())) == 4
        assert proxy.asked.count("/") == 3, "it was cut twice"
    for shape, table in store.staged(staging).items():
        assert table.equals(wanted[shape]), shape


# finding the API


def test_the_api_without_pretty_addresses(blog, answer):
    blog.web.routes["/"] = lambda asked: (
        blog.say(asked.query["rest_route"].strip("/"), asked.query)
        if "rest_route" in asked.query
        else answer("<link rel='https://api.w.org/' href='/index.php?rest_route=/'>")
    )
    blog.web.routes["/index.php"] = blog.web.routes["/"]
    for path in [path for path in blog.web.routes if path.startswith("/wp-json")]:
        del blog.web.routes[path]
    assert collect(Store(), blog.account())["posts"].height == 2


def test_the_api_of_a_site_that_hides_it(blog, answer):
    blog.web.routes["/"] = answer("<img src='/wp-content/uploads/a.png'>")
    with Client(allow_private=True, limits=QUICK) as client:
        assert wordpress.recognise(blog.account(), client).title == "Blog & co"
    assert collect(Store(), blog.account())["posts"].height == 2


def test_what_is_no_wordpress(web, answer):
    web.routes["/"] = answer("<p>Hello</p>")
    account = AccountSource(account_id="a", source="wordpress", url=web.address, allow_private=True)
    with Client(allow_private=True, limits=QUICK) as client:
        assert wordpress.recognise(account, client) is None
        with pytest.raises(SourceError, match="No WordPress API is found"):
            open_site(client, account)
    assert [asked.path for asked in web.asked][:1] == ["/"]


def test_a_site_closed_to_strangers_opens_with_a_login(blog):
    say = blog.say

    def closed(request):
        return say("wp/v2/posts", request.query) if "Authorization" in request.headers else blog.answer(status=401)

    blog.web.routes["/wp-json/wp/v2/posts"] = closed
    assert outcomes(collect(Store(), blog.account()))["posts"] == "down"
    assert outcomes(collect(Store(), blog.account(token="me:pass word")))["posts"] == "ok"


def test_a_login_stays_on_the_site(blog, answer):
    blog.web.routes["/"] = answer(
        "",
        headers={"Link": f'<{blog.web.address.replace("127.0.0.1", "localhost")}/wp-json/>; rel="https://api.w.org/"'},
    )
    tables = collect(Store(), blog.account(token="me:pass word"))
    assert "the login stays here" in reasons(tables)
    assert not any("Authorization" in asked.headers for asked in blog.web.asked)
    assert tables["posts"].height == 2


def test_a_token_that_is_no_login(blog):
    tables = collect(Store(), blog.account(token="abcdef"))
    assert "<user>:<application password>" in reasons(tables)
    assert "abcdef" not in reasons(tables)
    assert outcomes(tables)["posts"] == "ok"


def test_an_author_that_the_site_does_not_know(blog, answer):
    blog.web.routes["/author/nobody/"] = answer(status=404)
    account = AccountSource(
        account_id="a", source="wordpress", url=f"{blog.web.address}/author/nobody/", allow_private=True
    )
    assert "names no author 'nobody'" in reasons(collect(Store(), account))


def test_what_dlt_loads(warehouse):
    """Two nights through the pipeline: what was loaded once is not loaded again."""
    store = warehouse("wordpress")
    with Replay(campaign.RECORDING) as replay:
        for night in range(2):
            at = NIGHT + timedelta(days=night)
            store.load(wordpress.source([campaign.make_account(replay.base)], read_at=at))
    assert store.table("posts").height == 44
    assert store.table("interactions").height == 132
    assert store.reading("outbound")["status"] == "ok"
