"""YouTube, by its Data API v3 with an API key: videos, their numbers, their comments and our answers.

Everything costs units of a daily quota, so everything is counted (`sources.budget`); searching, which
costs a hundred times as much, is never done. What people wrote below a video is told apart from what
they wrote to each other in `sources.youtube_comments`.
"""

import math
from collections.abc import Generator, Iterator, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from dlt.extract.source import DltSource

from sources import budget as budgets
from sources import collection as collecting
from sources.batches import Batch
from sources.budget import SPENDING, BudgetSpentError
from sources.collection import Collection
from sources.http import Client
from sources.memory import Memory
from sources.model import AccountSource, Recognised, Row, SourceError
from sources.observations import LISTS, POSTS
from sources.observations import TABLES as OBSERVATIONS
from sources.schedule import AGES
from sources.visit import PausedError, Visit
from sources.youtube_api import (
    API,
    AbsentError,
    Api,
    Asking,
    channel,
    channel_url,
    count,
    damaged,
    headers,
    items,
    moment,
    section,
    selector,
    text,
)
from sources.youtube_comments import Thread, comment, reply_rows, thread, top_row

NAME = PLATFORM = "youtube"
STREAMS = ("posts", "inbound", "outbound", "counters")
TABLES = (*OBSERVATIONS, SPENDING)
UNIT = "quota units"
BUDGET = 8_000
"""Units a day. Google gives 10,000 without asking; the rest is for retries and for other uses of the key."""
DAY = ZoneInfo("America/Los_Angeles")
"""The quota begins anew at midnight there."""


def source(
    accounts: Sequence[AccountSource],
    *,
    read_at: datetime,
    store_text: bool = False,
    collection: Collection | None = None,
) -> DltSource:
    """The accounts: one dlt resource a raw table."""
    return collecting.source(
        NAME, PLATFORM, read, accounts, read_at=read_at, store_text=store_text, collection=collection, streams=STREAMS,
        tables=TABLES, service=API,
    )  # fmt: skip


def read(visit: Visit, collection: Collection) -> Iterator[Batch]:
    """Everything of one channel, within the budget: its videos and their numbers, then comments."""
    key = headers(visit.account)
    budget = budgets.opened(collection, visit, name=NAME, unit=UNIT, default=BUDGET, day=DAY)
    with collection.client(visit.account, headers=key) as client:
        yield from budgets.accounted(visit, budget, _Channel(visit, Api(client, visit.account, budget)).read())


class _Channel:
    """One channel being read."""

    def __init__(self, visit: Visit, api: Api) -> None:
        self.visit, self.api = visit, api
        self.id = ""
        self.handle: str | None = None
        self.videos: dict[str, tuple[datetime, dict[str, int | None]]] = {}

    def read(self) -> Iterator[Batch]:
        visit = self.visit
        try:
            found = channel(self.api)
        except BudgetSpentError:
            for stream in STREAMS:
                visit.succeeded(stream)  # partial and not down: the platform is well
            raise
        snippet, statistics = section(found, "snippet"), section(found, "statistics")
        self.id, self.handle = str(found["id"]), text(snippet.get("customUrl"))
        born_at = text(snippet.get("publishedAt"))
        yield visit.profile(
            profile=self.id, handle=self.handle, url=channel_url(self.id), name=text(snippet.get("title")), born_at=born_at,
            state="active",
        )  # fmt: skip
        visit.born_at = moment(born_at)
        followers = None if statistics.get("hiddenSubscriberCount") is True else statistics.get("subscriberCount")
        uploads = text(section(section(found, "contentDetails"), "relatedPlaylists").get("uploads"))
        with budgets.within(visit, "posts"):
            pages = lambda: self._posts(uploads, count(statistics.get("videoCount")))  # noqa: E731
            yield from visit.items("posts", "posts", pages, table=POSTS)
            self.api.check()
        visit.oldest = min((published for published, _ in self.videos.values()), default=None)
        # Whether comments are due is asked before the new numbers are remembered.
        due = {video: self._is_due(video) for video in self.videos}
        with budgets.within(visit, "counters"):
            said = {
                "followers": followers,
                "posts": statistics.get("videoCount"),
                "views": statistics.get("viewCount"),
            }
            yield visit.counters("profile", PLATFORM, {name: count(value) for name, value in said.items()})
            visit.succeeded("counters")
            for video, (_, counts) in self.videos.items():
                yield visit.counters("post", video, counts, note=due[video])
            if visit.memory.complete.get("posts") != visit.read_at:
                visit.failed("counters", self.api.stopped or _unread(channel_url(self.id)))
            self.api.check()
        with budgets.within(visit, "inbound", "outbound"):
            for video in sorted((v for v in self.videos if due[v]), key=self._urgency):
                yield from self._comments(video)
                self.api.check()
            self.api.check()

    def _posts(self, uploads: str | None, claimed: int | None) -> Iterator[list[Row]]:
        """The uploads, newest first; only what `videos.list` still shows is a video (not private, not deleted)."""
        if not uploads:
            raise damaged(f"{self.api.base}/channels")
        try:
            for page in self.api.pages("playlistItems", part="contentDetails", playlistId=uploads, maxResults=50):
                ids = {text(section(item, "contentDetails").get("videoId")) or "" for item in page}
                if "" in ids:
                    raise damaged(f"{self.api.base}/playlistItems")
                known = ",".join(sorted(ids))
                shown = self.api.get("videos", part="snippet,statistics", id=known, maxResults=50) if known else {}
                yield [row for item in items(shown, self.api.base) for row in self._video(item)]
        except AbsentError as error:
            if error.reason != "playlistNotFound" or claimed:
                raise  # a channel without videos has no list of them

    def _video(self, item: dict[str, Any]) -> Iterator[Row]:
        snippet, statistics = section(item, "snippet"), section(item, "statistics")
        if snippet.get("liveBroadcastContent") == "upcoming":
            return  # announced and not yet published
        video, published = text(item.get("id")), moment(snippet.get("publishedAt"))
        if video is None or published is None:
            raise damaged(f"{self.api.base}/videos")
        counts = {n: count(statistics.get(f"{n[:-1]}Count")) for n in ("views", "likes", "comments")}
        self.videos[video] = (published, counts)
        title, description = text(snippet.get("title")) or "", text(snippet.get("description")) or ""
        yield {
            "post": video,
            "url": f"https://www.youtube.com/watch?v={video}",
            "published_at": snippet.get("publishedAt"),
            "kind": "video",
            "language": text(snippet.get("defaultAudioLanguage")) or text(snippet.get("defaultLanguage")),
            "text": f"{title}\n\n{description}".strip(),
        }

    def _is_due(self, video: str) -> bool:
        """Comments never read, cut short, of an age of the schedule, or more or fewer than before."""
        published, counts = self.videos[video]
        if counts["comments"] is None and f"comments:{video}" in self.visit.memory.complete:
            return False  # disabled
        return f"replies:{video}" in self.visit.memory.cut or self.visit.is_due(
            f"comments:{video}", published, post=video, counts={"comments": counts["comments"]}
        )

    def _urgency(self, video: str) -> tuple[bool, bool, float, str]:
        """Young videos first, of these the never read ones, of these the newest; the backlog after them."""
        published = self.videos[video][0]
        is_read = f"comments:{video}" in self.visit.memory.complete
        return published + AGES[-1] < self.visit.read_at, is_read, -published.timestamp(), video

    def _comments(self, video: str) -> Iterator[Batch]:
        """The comments of a video, then the answers to each."""
        visit, name, address = self.visit, f"comments:{video}", f"https://www.youtube.com/watch?v={video}"
        threads: dict[str, Thread] = {}
        absent: list[str] = []
        claimed = self.videos[video][1]["comments"]

        def pages() -> Iterator[list[Row]]:
            try:
                for page in self.api.pages(
                    "commentThreads", part="snippet,replies", videoId=video, order="time", maxResults=100,
                    textFormat="plainText",
                ):  # fmt: skip
                    read = [thread(item, address) for item in page]
                    threads.update({found.top.id: found for found in read})
                    rows = [top_row(t.top, me=self.id, video=video, store_text=visit.store_text) for t in read]
                    yield [row for row in rows if row is not None]
            except AbsentError as error:
                absent.append(error.reason)

        # Hidden is not taken back: comments can be switched off, or held back while their number still shows.
        judged = lambda _: not absent and (bool(threads) or not claimed)  # noqa: E731
        yield from visit.items("inbound", name, pages, judged=judged)
        if "videoNotFound" in absent:
            yield visit.gone("posts", [video])  # deleted since the list was read
        if absent:
            visit.succeeded("outbound")
        elif visit.memory.complete.get(name) != visit.read_at:
            visit.failed("outbound", self.api.stopped or _unread(address))
        else:
            yield from self._answers(video, threads, has_all=bool(threads) or not claimed)

    def _answers(self, video: str, threads: dict[str, Thread], *, has_all: bool) -> Iterator[Batch]:
        """The answers to all comments of a video; the list `replies:<video>` says whether all of them were read."""
        visit, are_read = self.visit, True
        try:
            for found in threads.values():
                are_read &= yield from self._replies(video, found)
                self.api.check()
        except (PausedError, SourceError) as error:
            yield self._whole(video, str(error) or "The reading was paused")
            raise
        for known in [name for name in visit.memory.present if name.startswith(f"replies:{video}:")]:
            if has_all and known.rpartition(":")[2] not in threads:  # with the comment its answers went
                yield visit.gone(known, set(visit.memory.present[known]))
        if are_read:
            visit.succeeded("outbound")
        else:
            visit.failed("outbound", _unread(f"https://www.youtube.com/watch?v={video}"))
        yield self._whole(video, None if are_read else "Not all answers could be read")

    def _replies(self, video: str, found: Thread) -> Generator[Batch, None, bool]:
        """The answers below one comment: those shown with it where these are all, else by their own list.

        Gives whether they are known now. They are not read again while their number is the same, but at the
        comment's ages of the schedule.
        """
        visit, top, name = self.visit, found.top, f"replies:{video}:{found.top.id}"
        counted = f"replied:{video}:{top.id}:{found.total}"
        last = visit.memory.complete.get(name)
        if not found.total and not visit.memory.present.get(name):
            return True
        is_same = last is not None and visit.memory.complete.get(counted) == last
        if is_same and not visit.is_due(name, moment(top.published_at) or visit.read_at):
            return True

        def pages() -> Iterator[list[Row]]:
            replies = found.shown
            if len(replies) < found.total:
                listed = self.api.pages(
                    "comments", part="snippet", parentId=top.id, maxResults=100, textFormat="plainText"
                )
                replies = [comment(item, self.api.base) for page in listed for item in page]
            # All at once: who is answered follows from what was said before.
            yield reply_rows(top, replies, me=self.id, handle=self.handle, video=video, store_text=visit.store_text)

        yield from visit.items("inbound", name, pages)
        is_read = visit.memory.complete.get(name) == visit.read_at
        if is_read:
            visit.memory.complete[counted] = visit.read_at
            yield Batch(LISTS, [self._list(counted, found.total, None)])
        return is_read

    def _whole(self, video: str, reason: str | None) -> Batch:
        name = f"replies:{video}"
        (self.visit.memory.cut.add if reason else self.visit.memory.cut.discard)(name)
        return Batch(LISTS, [self._list(name, None, reason)])

    def _list(self, name: str, items: int | None, reason: str | None) -> Row:
        return self.visit.row(
            list=name, observed_at=self.visit.read_at, is_complete=reason is None, items=items, reason=reason
        )


def _unread(address: str) -> SourceError:
    return SourceError("Not everything could be read", address, "What is missing is read the next night.")


def claims(url: str) -> bool:
    """Whether the address is a YouTube channel's. A bare @handle may be anybody's and is not claimed."""
    return not url.strip().startswith("@") and selector(url) is not None


def recognise(account: AccountSource, client: Client) -> Recognised | None:
    """The channel at the address, after asking for it (one unit); null where it is no address of YouTube's."""
    if not claims(account.url):
        return None
    asked = Asking(client, account)
    found = channel(asked)
    snippet, statistics = section(found, "snippet"), section(found, "statistics")
    videos = count(statistics.get("videoCount"))
    many = "" if videos is None else f", {videos:,} video{'' if videos == 1 else 's'}"
    title = text(snippet.get("title"))
    return Recognised(
        source=NAME, url=channel_url(str(found["id"])), title=title, summary=f"YouTube channel '{title}'{many}"
    )


def estimate(account: AccountSource, memory: Memory, read_at: datetime) -> float:  # noqa: ARG001 - as every connector
    """What a night costs at most, in quota units; `inf` before the first night, when nothing is known.

    It rests on the videos and the numbers of comments that were seen last: the channel, two units for each
    50 videos, and for each video with comments a unit for each 100 and one for each 6 (more answers than
    five below a comment are a list of their own).
    """
    videos = memory.present.get("posts")
    if videos is None:
        return math.inf
    comments = [memory.counters.get((video, "comments"), 0) for video in videos]
    pages = max(math.ceil(len(videos) / 50), 1)
    return float(1 + 2 * pages + sum(math.ceil(n / 100) + n // 6 for n in comments if n))
