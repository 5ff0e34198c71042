"""The archive that Mastodon hands out (zip or tar.gz), or its outbox.json alone: own posts, replies, boosts, likes given.

It is ActivityPub: ids are the addresses of objects, as the API's `uri`, so a post from both is one.
People are `user@host` in lower case, as in the API; where only the address of a post tells its
author, they are read from it. Likes are a list of addresses without times; bookmarks are private and left out.
"""

import re
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import urlsplit

import orjson

from sources.archive_files import damage_told, members
from sources.archive_rows import Contents, moment
from sources.batches import Batch
from sources.json_stream import arrays
from sources.model import Row, SourceError
from sources.observations import INTERACTIONS, POSTS, PROFILES

_AUTHOR = re.compile(r"https?://([^/]+)/(?:users/|@)([^/@?#]+)(?:/statuses)?(?:/[^/]+)?/?$")
_PUBLIC = {"https://www.w3.org/ns/activitystreams#Public", "as:Public", "Public"}
_LARGEST_ACTOR = 1 << 24


def read(contents: Contents) -> Iterator[Batch]:
    """Everything of one archive. Raises `SourceError` where it is damaged."""
    reader = _Reader(contents)
    for member in members(contents.path):
        where = f"{contents.path}, {member.name}"
        name = member.name.rsplit("/", 1)[-1]
        is_alone = member.written_at is None and member.name == contents.path.name
        if not is_alone and name not in ("actor.json", "outbox.json", "likes.json"):
            continue
        if member.written_at:
            contents.made_at = max(filter(None, (contents.made_at, member.written_at)))
        with damage_told(where), member.open() as stream:
            if name == "actor.json" and not is_alone:
                yield reader.actor(stream, where)
                continue
            for items in arrays(stream, where=where, key="orderedItems"):
                yield from reader.likes(items) if name == "likes.json" else reader.outbox(items)
    yield from reader.liked()


class _Reader:
    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self._likes: list[str] | None = None

    def actor(self, stream: IO[bytes], where: str) -> Batch:
        """The profile."""
        try:
            said = orjson.loads(stream.read(_LARGEST_ACTOR))
            uri = said["id"]
        except (ValueError, KeyError, TypeError):
            raise SourceError(
                "The file is damaged", where, "Download the archive again; nothing was imported."
            ) from None
        born = _text(said.get("published"))
        self.contents.born_at = moment(born)
        person = author_of(uri) or uri
        row = self.contents.row(
            profile=person, handle=person, url=_text(said.get("url")) or uri, name=_text(said.get("name"))
        )
        return Batch(PROFILES, [{**row, "born_at": born}])

    def outbox(self, items: list[Any]) -> Iterator[Batch]:
        """Created posts and boosts."""
        posts: list[Row] = []
        interactions: list[Row] = []
        for activity in (item for item in items if isinstance(item, dict)):
            inner = activity.get("object")
            if activity.get("type") == "Announce":
                interactions += self._boost(activity, inner)
            elif activity.get("type") == "Create" and isinstance(inner, dict):
                self._created(activity, inner, posts, interactions)
        self.contents.holds |= {"posts", "outbound"}
        self.contents.saw([*(row["published_at"] for row in posts), *(row["occurred_at"] for row in interactions)])
        yield Batch(POSTS, posts)
        yield Batch(INTERACTIONS, interactions)

    def _boost(self, activity: dict[str, Any], boosted: Any) -> Iterator[Row]:
        uri = boosted if isinstance(boosted, str) else _text(boosted.get("id")) if isinstance(boosted, dict) else None
        person = author_of(uri) or (_text(boosted.get("attributedTo")) if isinstance(boosted, dict) else None)
        if person is None or person != author_of(_text(activity.get("actor"))):
            yield self._outbound(
                "repost", f"out:repost:{uri}" if uri else None, person, uri, _text(activity.get("published"))
            )

    def _created(
        self, activity: dict[str, Any], note: dict[str, Any], posts: list[Row], interactions: list[Row]
    ) -> None:
        actor = _text(activity.get("actor")) or _text(note.get("attributedTo")) or ""
        uri, at, answered = _text(note.get("id")), _text(note.get("published")), _text(note.get("inReplyTo"))
        mentions = {
            person: tag
            for tag in note.get("tag") or ()
            if isinstance(tag, dict) and tag.get("type") == "Mention" and (person := _mentioned(tag, actor))
        }
        own, parent = author_of(actor), author_of(answered)
        addressed = {*_list(note.get("to")), *_list(note.get("cc"))}
        is_direct = not addressed & _PUBLIC and not any(address.endswith("/followers") for address in addressed)
        if is_direct:
            people = sorted(set(mentions) - {own}) or ([parent] if parent and parent != own else [])
            for person in people:
                key = uri if len(people) == 1 or not uri else f"{uri}:{person}"
                interactions.append({**self._outbound("message", key, person, None, at), "in_reply_to": answered})
            return
        if answered and not answered.startswith(f"{actor}/") and (parent is None or parent != own):
            person = next((p for p, tag in mentions.items() if answered.startswith(f"{tag.get('href')}/")), parent)
            person = person or next(iter(mentions), None)
            row = self._outbound("reply", uri, person, answered, at)
            interactions.append({**row, "in_reply_to": answered})
            return
        for person in sorted(set(mentions) - {own}):
            said = self._outbound("mention", f"out:mention:{uri}:{person}" if uri else None, person, None, at)
            interactions.append({**said, "person_url": _text(mentions[person].get("href"))})
        languages = note.get("contentMap")
        posts.append(
            self.contents.row(
                post=uri,
                url=_text(note.get("url")),
                published_at=at,
                edited_at=_text(note.get("updated")),
                kind=_kind(note),
                language=next(iter(languages), None) if isinstance(languages, dict) and len(languages) == 1 else None,
                text=_text(note.get("content")),
                in_reply_to=answered,
            )
        )

    def likes(self, items: list[Any]) -> Iterator[Batch]:
        """Likes given: addresses of posts, and nothing else. Kept until it is known when the archive was made."""
        self._likes = [*(self._likes or []), *(item for item in items if isinstance(item, str))]
        yield from ()

    def liked(self) -> Iterator[Batch]:
        """The rows of the likes."""
        if self._likes is None:
            return
        for start in range(0, len(self._likes), 20_000):
            uris = self._likes[start : start + 20_000]
            rows = [self._outbound("like", f"out:like:{uri}", author_of(uri), uri, None) for uri in uris]
            yield from self.contents.undated("outbound:likes", rows)
        yield self.contents.whole("outbound:likes", len(self._likes))

    def _outbound(
        self, kind: str, interaction: str | None, person: str | None, about: str | None, at: str | None
    ) -> Row:
        name, _, host = (person or "").partition("@")
        return self.contents.row(
            interaction=interaction,
            direction="outbound",
            kind=kind,
            person=person,
            person_url=f"https://{host}/@{name}" if host else None,
            target_url=about,
            occurred_at=at,
        )


def author_of(uri: str | None) -> str | None:
    """Who an address of a post or of an account belongs to, `user@host`; None where the address does not say.

    >>> author_of("https://Social.example/users/Ann/statuses/1"), author_of("https://social.example/@ann")
    ('ann@social.example', 'ann@social.example')
    >>> author_of("https://other.example/objects/0af")
    """
    found = _AUTHOR.match(uri or "")
    return f"{found[2]}@{found[1]}".lower() if found else None


def _mentioned(tag: dict[str, Any], actor: str) -> str | None:
    """Whom a mention names; one without a host is of the account's own server."""
    name = (_text(tag.get("name")) or "").lstrip("@").lower()
    return (name if "@" in name else f"{name}@{urlsplit(actor).netloc.lower()}") if name else None


def _kind(note: dict[str, Any]) -> str:
    if note.get("type") == "Question":
        return "poll"
    media = note.get("attachment")
    first = media[0] if isinstance(media, list) and media and isinstance(media[0], dict) else {}
    shown = str(first.get("mediaType", "")).partition("/")[0]
    return shown if shown in ("image", "video", "audio") else "note"


def _list(value: object) -> list[str]:
    return (
        [v for v in value if isinstance(v, str)]
        if isinstance(value, list)
        else [value]
        if isinstance(value, str)
        else []
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
