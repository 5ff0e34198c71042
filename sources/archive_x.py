"""The archive that X hands out (a zip, or single files of its folder `data`): own posts, own replies, likes given.

Nobody else's activity is in it, except who follows, without a time. X names the account that a
reply answers or that a repost is of, but not the author of a liked post: such a like has no person
unless its address names one, and staging sets it aside with that reason.
"""

import re
from collections.abc import Iterator
from typing import IO, Any

import orjson

from sources.archive_files import LOOK, damage_told, members, part_of_x
from sources.archive_rows import Contents, moment
from sources.archive_x_tweets import Tweet, inner, text, tweets
from sources.batches import Batch
from sources.json_stream import arrays
from sources.model import Row, SourceError
from sources.observations import INTERACTIONS, POSTS, PROFILES

_MONTHS = dict(
    zip(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], range(1, 13), strict=True)
)
_REPOST = re.compile(r"RT @(\w+)")
_AUTHOR = re.compile(r"https?://(?:www\.|mobile\.)?(?:twitter|x)\.com/(?!i/)(\w+)/status/\d+")
_NO_LANGUAGE = {"und", "zxx", "qme", "qht", "qam", "qct", "qst", "art", ""}
_LARGEST_NOTE = 1 << 24


def read(contents: Contents) -> Iterator[Batch]:
    """Everything of one archive or of one of its files. Raises `SourceError` where it is damaged."""
    own = _Own(contents)
    yield from own.profile()
    counted: dict[str, int] = {}
    for member in members(contents.path):
        with damage_told(f"{contents.path}, {member.name}"), member.open() as stream:
            part = part_of_x(member.name, b"" if contents.path.name != member.name else _head(stream))
            if part in _PARTS:
                parse = tweets if _PARTS[part] is _Own.posts else None
                for items in arrays(stream, where=f"{contents.path}, {member.name}", parse=parse):
                    counted[part] = counted.get(part, 0) + len(items)
                    yield from _PARTS[part](own, items)
    for part, name in (("follower", "followers"), ("following", "following"), ("like", "outbound:likes")):
        if part in counted:
            yield contents.whole(name, counted[part])
    if counted.keys() & {"tweets", "deleted_tweets"} and own.id is None:
        contents.warn(
            f"{contents.path.name}: without account.js own threads look like replies to others. Import the whole archive."
        )
    if "tweets" in counted:
        contents.holds |= {"posts", "outbound"}


def _head(stream: IO[bytes]) -> bytes:
    head = stream.read(LOOK)
    stream.seek(0)
    return head


class _Own:
    """Whose archive it is: account.js, which may be anywhere in the archive, or beside a single file."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.id: str | None = None
        self.handle: str | None = None
        account, manifest = self._notes()
        self.name = text(account.get("accountDisplayName"))
        self.born = text(account.get("createdAt"))
        user, made = manifest.get("userInfo") or {}, manifest.get("archiveInfo") or {}
        self.id = text(account.get("accountId")) or text(user.get("accountId"))
        self.handle = text(account.get("username")) or text(user.get("userName"))
        contents.born_at = moment(self.born)
        contents.made_at = moment(text(made.get("generationDate"))) or self.written

    def _notes(self) -> tuple[dict[str, Any], dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        self.written = None
        path = self.contents.path
        for member in members(path):
            name = member.name.rsplit("/", 1)[-1]
            if name in ("account.js", "manifest.js"):
                with member.open() as stream:
                    found[name] = _note(stream, f"{path}, {member.name}")
            if part_of_x(member.name) and member.written_at:
                self.written = max(filter(None, (self.written, member.written_at)))
        for name in ("account.js", "manifest.js"):
            if name not in found and path.suffix == ".js" and (beside := path.parent / name).is_file():
                with beside.open("rb") as stream:
                    found[name] = _note(stream, str(beside))
        return found.get("account.js", {}), found.get("manifest.js", {})

    def profile(self) -> Iterator[Batch]:
        """The profile, where the archive says whose it is."""
        if self.id:
            said = {"profile": self.id, "handle": self.handle, "name": self.name, "born_at": self.born}
            yield Batch(PROFILES, [self.contents.row(**said, url=_profile_url(self.handle, self.id))])

    def posts(self, items: list[Tweet]) -> Iterator[Batch]:
        """Tweets, deleted ones too: own posts, replies to others, reposts."""
        posts: list[Row] = []
        interactions: list[Row] = []
        for tweet in items:
            outbound = self._outbound(tweet)
            if outbound is None:
                posts.append(self._post(tweet))
                interactions += self._mentions(tweet)
            else:
                interactions.append(outbound)
        self.contents.saw(row["published_at"] for row in posts)
        self.contents.saw(row["occurred_at"] for row in interactions)
        yield Batch(POSTS, posts)
        yield Batch(INTERACTIONS, interactions)

    def _post(self, tweet: Tweet) -> Row:
        number = tweet.number
        return self.contents.row(
            post=number,
            url=f"https://x.com/i/status/{number}" if number else None,
            published_at=iso(tweet.created_at),
            deleted_at=iso(tweet.deleted_at),
            language=None if tweet.lang in _NO_LANGUAGE else tweet.lang,
            text=_expanded(tweet),
            in_reply_to=tweet.in_reply_to_status_id_str,
        )

    def _outbound(self, tweet: Tweet) -> Row | None:
        """A tweet that is no post of its own: a repost, or a reply to somebody else."""
        number, answered = tweet.number, tweet.in_reply_to_status_id_str
        person, name = tweet.in_reply_to_user_id_str, tweet.in_reply_to_screen_name
        interaction = number
        if repost := _REPOST.match(tweet.full_text or tweet.text or ""):
            kind, interaction, answered, name = "repost", f"out:repost:{number}", None, repost[1]
            person = _mentioned(tweet, name)
        elif answered is not None and (person is None or person != self.id):
            kind = "reply"  # without a person: to an account that is gone
        else:
            return None
        return self.contents.row(
            interaction=interaction if number else None,
            direction="outbound",
            kind=kind,
            person=person,
            person_name=name,
            person_url=_profile_url(name, person),
            in_reply_to=answered,
            occurred_at=iso(tweet.created_at),
            deleted_at=iso(tweet.deleted_at),
        )

    def _mentions(self, tweet: Tweet) -> Iterator[Row]:
        """Whom an own post mentions: each an outbound mention, beside the post."""
        number = tweet.number
        if not tweet.entities or not tweet.entities.user_mentions:
            return
        people = {named.id_str or named.id: named.screen_name for named in tweet.entities.user_mentions}
        for person, handle in people.items():
            if person and number and person not in ("-1", self.id):
                yield self.contents.row(
                    interaction=f"mention:{number}:{person}",
                    direction="outbound",
                    kind="mention",
                    person=person,
                    person_name=handle,
                    person_url=_profile_url(handle, person),
                    occurred_at=iso(tweet.created_at),
                    deleted_at=iso(tweet.deleted_at),
                )

    def likes(self, items: list[Any]) -> Iterator[Batch]:
        """Likes given: X says which post, not when, and whose only where the address names the author."""
        rows = []
        for like in (inner(item, "like") for item in items):
            number, url = text(like.get("tweetId")), text(like.get("expandedUrl"))
            author = _AUTHOR.match(url or "")
            handle = author[1] if author else None
            rows.append(
                self.contents.row(
                    interaction=f"out:like:{number}" if number else None,
                    direction="outbound",
                    kind="like",
                    person=f"@{handle.lower()}" if handle else None,
                    person_url=_profile_url(handle, None),
                    target_url=url,
                    content_text=text(like.get("fullText")) if self.contents.store_text else None,
                )
            )
        yield from self.contents.undated("outbound:likes", rows)

    def followers(self, items: list[Any]) -> Iterator[Batch]:
        """Who follows, when the archive was made."""
        people = [text(inner(item, "follower").get("accountId")) for item in items]
        yield from self.contents.undated(
            "followers",
            [self._follow(p, "inbound", f"follow:{self.id or self.contents.account_id}:{p}") for p in people],
        )

    def following(self, items: list[Any]) -> Iterator[Batch]:
        """Whom the account follows, when the archive was made."""
        people = [text(inner(item, "following").get("accountId")) for item in items]
        yield from self.contents.undated("following", [self._follow(p, "outbound", f"out:follow:{p}") for p in people])

    def _follow(self, person: str | None, direction: str, interaction: str) -> Row:
        return self.contents.row(
            interaction=interaction if person else None,
            direction=direction,
            kind="follow",
            person=person,
            person_url=_profile_url(None, person),
        )


_PARTS = {
    "tweets": _Own.posts, "deleted_tweets": _Own.posts, "like": _Own.likes,
    "follower": _Own.followers, "following": _Own.following,
}  # fmt: skip


def iso(text: object) -> str | None:
    """X's time as ISO 8601; anything else as it is written, for staging to judge.

    >>> iso("Wed Oct 10 20:19:24 +0000 2018")
    '2018-10-10T20:19:24Z'
    >>> iso("2018-10-10T20:19:24.000Z")
    '2018-10-10T20:19:24.000Z'
    """
    if text is None:
        return None
    if not isinstance(text, str):
        return str(text)
    month = _MONTHS.get(text[4:7])
    if month is None or len(text) != 30 or text[19:26] != " +0000 ":
        return text
    return f"{text[26:30]}-{month:02}-{text[8:10]}T{text[11:19]}Z"


def _note(stream: IO[bytes], where: str) -> dict[str, Any]:
    """A small file of the archive: one object, or a list of one."""
    said = stream.read(_LARGEST_NOTE)
    try:
        value = orjson.loads(said[said.index(b"=") + 1 :].strip().rstrip(b";"))
    except ValueError:
        raise SourceError("The file is damaged", where, "Download the archive again; nothing was imported.") from None
    value = value[0] if isinstance(value, list) and value else value
    return inner(value, "account")


def _profile_url(handle: str | None, person: str | None) -> str | None:
    if handle:
        return f"https://x.com/{handle}"
    return f"https://x.com/i/user/{person}" if person else None


def _mentioned(tweet: Tweet, handle: str) -> str | None:
    """The id of the account with that handle, as the tweet's entities say."""
    for named in tweet.entities.user_mentions or () if tweet.entities else ():
        if named.screen_name and named.screen_name.lower() == handle.lower():
            return named.id_str or named.id
    return None


def _expanded(tweet: Tweet) -> str | None:
    """The text with the addresses that its short links stand for."""
    said = tweet.full_text or tweet.text
    if said and "https://t.co/" in said:
        for link in tweet.entities.urls or () if tweet.entities else ():
            if link.url and link.expanded_url:
                said = said.replace(link.url, link.expanded_url)
    return said
