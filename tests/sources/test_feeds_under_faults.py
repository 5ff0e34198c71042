"""Feeds and webmentions under seeded fault schedules: nothing lost, nothing doubled after the next good night."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import polars as pl
import pyarrow as pa
import pytest
from collected import settled
from faults import FaultProxy, Schedule
from loopback import Loopback, Said

from assets.staging import feed as feed_staging
from assets.staging import webmention as webmention_staging
from sources import feed, webmention
from sources.http import Limits
from sources.model import AccountSource

FIRST = datetime(2027, 1, 10, 3, tzinfo=UTC)
SITE = "https://blog.example"
IMPATIENT = Limits(connect=2.0, read=0.3, total=3.0, attempts=3, backoff=0.0, longest_wait=5.0)
SCHEDULES = 12


class Blog(Loopback):
    """A JSON Feed in three pages, the same as RSS, and a webmention.io of 1,200 mentions."""

    def answer(self, request):
        query = dict(parse_qsl(urlsplit(request.target).query))
        match request.path:
            case "/feed.json":
                return self._feed(int(query.get("page", 1)), request)
            case "/feed.xml":
                items = "".join(
                    f"<item><guid>{SITE}/{n}</guid><link>{SITE}/{n}</link><pubDate>{_at(n):%a, %d %b %Y %H:%M:%S} GMT"
                    f"</pubDate><description>🚀 مرحبا {n}</description></item>"
                    for n in range(30)
                )
                body = f"<rss version='2.0'><channel><title>B</title><link>{SITE}</link>{items}</channel></rss>"
                return Said(200, {"Content-Type": "application/rss+xml"}, body.encode())
            case "/api/mentions.jf2":
                since, page = int(query.get("since_id", 0)), int(query["page"])
                found = [self._mention(n) for n in range(1, 1201) if n > since][page * 500 : (page + 1) * 500]
                return Said(200, {"Content-Type": "application/json"}, json.dumps({"children": found}).encode())
        return Said(404)

    def _feed(self, page, request):
        if request.headers.get("If-None-Match") == '"one"' and page == 1:
            return Said(304)
        said = {
            "version": "https://jsonfeed.org/version/1.1",
            "title": "B",
            "items": [
                {"id": str(n), "url": f"{SITE}/{n}", "date_published": _at(n).isoformat(), "content_text": f"🚀 {n}"}
                for n in range(10 * page, 10 * page + 10)
            ],
        }
        if page < 3:
            said["next_url"] = f"{SITE}/feed.json?page={page + 1}"
        return Said(200, {"Content-Type": "application/feed+json", "ETag": '"one"'}, json.dumps(said).encode())

    def _mention(self, number):
        return {
            "wm-id": number,
            "wm-received": _at(number).isoformat(),
            "wm-property": ("like-of", "in-reply-to")[number % 2],
            "wm-target": f"{SITE}/{number % 7}",
            "url": f"https://other.example/{number}",
            "author": {"name": "Ann", "url": f"https://ann.example/{number % 50}"},
        }


def _at(number):
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)


class Nights:
    """A source read night after night: its raw rows, insert-only, and what it remembers."""

    def __init__(self, path):
        self.path = path
        self.module = webmention if path.startswith("/api") else feed
        self.rows = {table.name: {} for table in self.module.TABLES}
        self.state, self.night = {}, 0

    def read(self, base, *, days=1):
        url = SITE if self.module is webmention else SITE + self.path
        account = AccountSource(
            account_id="b", source=self.module.NAME, url=url, endpoint=base, allow_private=True, options={"token": "t"}
        )
        options = {"tokens": {}} if self.module is webmention else {}
        read_at = FIRST + timedelta(days=self.night)
        self.night += days
        for batch in self.module.batches([account], read_at=read_at, limits=IMPATIENT, state=self.state, **options):
            for row in batch.table.arrow(batch.rows, loaded_at=read_at).to_pylist():
                self.rows[batch.table.name].setdefault(row["row_hash"], row)

    def staged(self):
        frames = {
            table.name: pl.DataFrame(
                pl.from_arrow(pa.Table.from_pylist(list(self.rows[table.name].values()), schema=table.schema))
            )
            for table in self.module.TABLES
        }
        if self.module is webmention:
            return settled(webmention_staging.interactions(frames["mentions"]).collect())
        return settled(feed_staging.posts(frames["items"], frames["profiles"]).collect())

    def statuses(self):
        rows = sorted(self.rows["readings"].values(), key=lambda row: row["read_at"])
        return [row["status"] for row in rows if row["status"] != "not_offered"]


@pytest.mark.parametrize(("path", "number"), [("/feed.json", 30), ("/feed.xml", 30), ("/api/mentions.jf2", 1200)])
def test_nothing_lost_nothing_doubled(path, number):
    injected = Counter()
    with Blog() as blog:
        calm = Nights(path)
        calm.read(blog.base)
        truth = calm.staged()
        assert truth.height == number
        for seed in range(SCHEDULES):
            nights = Nights(path)
            schedule = Schedule.seeded(seed, rate=(0.2, 0.5, 0.9)[seed % 3], in_a_row=3, silence=0.5)
            with FaultProxy(blog.base, schedule, aliases=(SITE,), bodies=False) as proxy:
                nights.read(proxy.base)
                nights.read(proxy.base)
                proxy.schedule = Schedule()  # the same address: what is remembered belongs to it
                nights.read(proxy.base)
            assert nights.staged().equals(truth), f"schedule {seed}: {schedule.injected}"
            assert nights.statuses()[-1] == "ok"
            injected.update(fault.kind for fault in schedule.injected)
    assert injected.total() > SCHEDULES


def test_a_damaged_webmention_is_made_good_within_four_weeks():
    with Blog() as blog:
        nights, calm = Nights("/api/mentions.jf2"), Nights("/api/mentions.jf2")
        calm.read(blog.base)
        schedule = Schedule.seeded(3, rate=1.0, kinds=["field_missing"], fields=("author",))
        with FaultProxy(blog.base, schedule) as proxy:
            nights.read(proxy.base)
            assert nights.staged().height == 1197
            proxy.schedule = Schedule()
            nights.read(proxy.base, days=27)
            assert nights.staged().height == 1197, "not asked for again yet"
            nights.read(proxy.base)
        assert nights.staged().equals(calm.staged())
