"""A blog on loopback: feeds of 30 posts and a webmention.io of 1,200 mentions, and what nights of reading them bring."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import polars as pl
import pyarrow as pa
from collected import settled
from loopback import Loopback, Said
from sources_campaign import FIRST, IMPATIENT, Case

from assets.staging import feed as feed_staging
from assets.staging import webmention as webmention_staging
from sources import collection as collecting
from sources import feed, webmention
from sources.collection import Collection
from sources.model import AccountSource

SITE = "https://blog.example"


def case(path: str) -> Case:
    """The campaign's case of one of the blog's addresses."""
    # A night asks for little here: more of it has to go wrong.
    return Case(serve=Blog, begin=lambda: Nights(path), aliases=(SITE,), bodies=False, rates=(0.3, 0.6, 0.9))


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
        self.state = {}

    def read(self, base, night):
        url = SITE if self.module is webmention else SITE + self.path
        account = AccountSource(
            account_id="b", source=self.module.NAME, url=url, endpoint=base, allow_private=True, options={"token": "t"}
        )
        read_at = FIRST + timedelta(days=night)
        collection = Collection(limits=IMPATIENT, state=self.state)
        for batch in collecting.batches(
            self.module.NAME, self.module.PLATFORM, self.module.read, [account], read_at=read_at, collection=collection,
            streams=self.module.STREAMS, keeps_history=self.module is webmention,
        ):  # fmt: skip
            for row in batch.table.arrow(batch.rows, loaded_at=read_at).to_pylist():
                self.rows[batch.table.name].setdefault(row["row_hash"], row)

    def settled(self):
        frames = {
            table.name: pl.DataFrame(
                pl.from_arrow(pa.Table.from_pylist(list(self.rows[table.name].values()), schema=table.schema))
            )
            for table in self.module.TABLES
        }
        if self.module is webmention:
            return {"interactions": settled(webmention_staging.interactions(frames["mentions"]).collect())}
        return {"posts": settled(feed_staging.posts(frames["items"], frames["profiles"]).collect())}

    def statuses(self):
        rows = sorted(self.rows["readings"].values(), key=lambda row: row["read_at"])
        return [row["status"] for row in rows if row["status"] != "not_offered"]
