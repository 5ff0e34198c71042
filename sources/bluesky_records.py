"""Records of the AT Protocol as raw rows: posts, replies, reposts, likes and follows, of the account and to it.

The API, notifications and a repository (CAR) hold the same records, so what one of them says becomes
the same rows with the same ids. Nothing here talks to a network; `sources.bluesky_api` does.
"""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sources.model import Row
from sources.timestamps import EARLIEST, parse_time

POST = "app.bsky.feed.post"
LIKE = "app.bsky.feed.like"
REPOST = "app.bsky.feed.repost"
FOLLOW = "app.bsky.graph.follow"
COLLECTIONS = (POST, LIKE, REPOST, FOLLOW)
"""The collections of a repository that hold what the account did."""

WEB = "https://bsky.app/profile/"
_DID = re.compile(r"did:[a-z]+:[A-Za-z0-9._:%-]+")
_URI = re.compile(r"at://(did:[a-z]+:[A-Za-z0-9._:%-]+)/([A-Za-z0-9.-]+)/([^/?#\s]+)")

Record = Mapping[str, Any]


@dataclass
class OwnRows:
    """What one own record says: rows of `POSTS` and of `INTERACTIONS`, without account and platform."""

    posts: list[Row] = field(default_factory=list)
    interactions: list[Row] = field(default_factory=list)


def own_rows(uri: str, record: Record, did: str, *, store_text: bool = False) -> OwnRows:
    """The rows of a record of the account `did` itself, from the API or from its repository.

    A post is a post; a reply to somebody else is an outbound reply and nothing else; a post that quotes
    or mentions others is a post and an outbound quote or mention. An own reply to an own record is a post
    that continues it, unless the thread is somebody else's: then it goes on answering them. Likes and
    reposts of own posts are left to the inbound lists, which show them too. A record of another
    collection, or without a subject, gives nothing.
    """
    parts = _URI.fullmatch(uri)
    collection = parts[2] if parts else ""
    if collection == POST:
        return _own_post(uri, record, did, store_text=store_text)
    about = record.get("subject") if collection == FOLLOW else text_of(record, "subject", "uri")
    kind = {LIKE: "like", REPOST: "repost", FOLLOW: "follow"}.get(collection)
    if not kind or not isinstance(about, str):
        return OwnRows()
    person = did_of(about) if collection == FOLLOW else post_author(about)
    if not person or person == did:
        return OwnRows()
    target = profile_url(person) if collection == FOLLOW else post_url(about)
    row = _outbound(f"out:{kind}:{about}", kind, person, target_url=target, occurred_at=text_of(record, "createdAt"))
    return OwnRows(interactions=[row])


def _own_post(uri: str, record: Record, did: str, *, store_text: bool) -> OwnRows:
    at, text = text_of(record, "createdAt"), text_of(record, "text")
    parent, root = text_of(record, "reply", "parent", "uri"), text_of(record, "reply", "root", "uri")
    answered = post_author(parent)
    if answered == did and post_author(root) not in (did, None):
        answered = post_author(root)
    said = {"occurred_at": at, "content_text": text if store_text else None}
    if answered and answered != did:
        own_root = root if post_author(root) == did else None
        reply = _outbound(
            uri, "reply", answered, post=own_root, target_url=post_url(parent), in_reply_to=parent, **said
        )
        return OwnRows(interactions=[reply, *_outbound_mentions(uri, record, {did, answered}, said)])
    quoted = quoted_post(record)
    post = {
        "post": uri,
        "url": post_url(uri),
        "published_at": at,
        "kind": _kind(record),
        "language": next((tag for tag in _list(record.get("langs")) if isinstance(tag, str)), None),
        "text": full_text(record),
        "external_url": _external(record),
        "in_reply_to": parent if answered == did else None,
    }
    interactions, person = [], post_author(quoted)
    if quoted and person and person != did:
        interactions = [_outbound(f"quote:{uri}", "quote", person, target_url=post_url(quoted), **said)]
    interactions += _outbound_mentions(uri, record, {did, person}, said)
    return OwnRows(posts=[post], interactions=interactions)


def _outbound_mentions(uri: str, record: Record, done: Container[str | None], said: Row) -> list[Row]:
    people = [person for person in sorted(mentioned(record)) if person not in done]
    return [
        _outbound(f"out:mention:{uri}:{person}", "mention", person, target_url=profile_url(person), **said)
        for person in people
    ]


def _outbound(interaction: str, kind: str, person: str, **values: object) -> Row:
    return {
        "interaction": interaction, "direction": "outbound", "kind": kind, "person": person,
        "person_url": profile_url(person), **values,
    }  # fmt: skip


def inbound_click(
    kind: str, about: str, person: str, *, name: str | None, occurred_at: str | None, own_posts: Container[str] = ()
) -> Row:
    """An inbound like, repost or follow; `about` is the own record, or the own DID for a follow.

    One that is about an own reply belongs to no post, but its address is kept.
    """
    return {
        "interaction": f"{kind}:{about}:{person}", "direction": "inbound", "kind": kind, "person": person,
        "person_name": name, "person_url": profile_url(person), "post": about if about in own_posts else None,
        "target_url": profile_url(about) if about.startswith("did:") else post_url(about), "occurred_at": occurred_at,
    }  # fmt: skip


def inbound_message(
    uri: str,
    record: Record,
    author: str,
    did: str,
    *,
    name: str | None = None,
    indexed_at: str | None = None,
    own_posts: Container[str] = (),
    store_text: bool = False,
) -> Row | None:
    """Somebody else's post as an interaction with `did`: a reply, else a quote, else a mention, else nothing.

    A reply answers an own record, or lies in a thread that the account began and mentions it. What
    two others say to each other below an own post is no interaction with the account.
    """
    if author == did:
        return None
    parent, root = text_of(record, "reply", "parent", "uri"), text_of(record, "reply", "root", "uri")
    quoted, addressed = quoted_post(record), did in mentioned(record)
    row = {
        "direction": "inbound", "person": author, "person_name": name, "person_url": profile_url(author),
        "occurred_at": moment(text_of(record, "createdAt"), indexed_at),
        "content_text": text_of(record, "text") if store_text else None,
    }  # fmt: skip
    if post_author(parent) == did or (post_author(root) == did and addressed):
        post = next((about for about in (parent, root) if about in own_posts), None)
        answers = None if parent in own_posts else parent
        return {
            **row, "interaction": uri, "kind": "reply", "post": post, "target_url": post_url(parent),
            "in_reply_to": answers,
        }  # fmt: skip
    if quoted and post_author(quoted) == did:
        post = quoted if quoted in own_posts else None
        return {**row, "interaction": f"quote:{uri}", "kind": "quote", "post": post, "target_url": post_url(quoted)}
    if addressed:
        return {**row, "interaction": uri, "kind": "mention", "target_url": profile_url(did)}
    return None


def moment(created_at: str | None, indexed_at: str | None) -> str | None:
    """When something happened: as its author's program says, unless that is no time or later than it was indexed.

    Programs can write any time; the network itself sorts by the earlier of the two.

    >>> moment("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), moment("2099-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    ('2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z')
    """
    created, indexed = time_of(created_at), time_of(indexed_at)
    return indexed_at if indexed and (created is None or created > indexed) else created_at


def time_of(text: object) -> datetime | None:
    """The time that a record names; null where it names none that can be true."""
    try:
        at = parse_time(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at and at >= EARLIEST else None


def did_of(text: object) -> str | None:
    """The text if it is a DID."""
    return text if isinstance(text, str) and _DID.fullmatch(text) else None


def post_author(uri: object) -> str | None:
    """The DID of the author of the post at an address; null where it is the address of nothing or of something else.

    >>> post_author("at://did:plc:a/app.bsky.feed.post/1"), post_author("at://did:plc:a/app.bsky.feed.generator/1")
    ('did:plc:a', None)
    """
    parts = _URI.fullmatch(uri) if isinstance(uri, str) else None
    return parts[1] if parts and parts[2] == POST else None


def profile_url(did: str) -> str:
    """Where a browser shows the profile. By the DID: handles change."""
    return f"{WEB}{did}"


def post_url(uri: str | None) -> str | None:
    """Where a browser shows the post; null for what is no post.

    >>> post_url("at://did:plc:a/app.bsky.feed.post/1")
    'https://bsky.app/profile/did:plc:a/post/1'
    """
    parts = _URI.fullmatch(uri or "")
    return f"{WEB}{parts[1]}/post/{parts[3]}" if parts and parts[2] == POST else None


def quoted_post(record: Record) -> str | None:
    """The address of the post that a post quotes, with or without pictures beside it."""
    quoted = text_of(record, "embed", "record", "uri") or text_of(record, "embed", "record", "record", "uri")
    return quoted if post_author(quoted) else None


def mentioned(record: Record) -> set[str]:
    """The DIDs that the text mentions."""
    found = {did_of(feature.get("did")) for _, _, feature in _features(record, "app.bsky.richtext.facet#mention")}
    return {did for did in found if did}


def full_text(record: Record) -> str | None:
    """The text with its links in full: what is shown of them is often cut short."""
    text = text_of(record, "text")
    if text is None:
        return None
    said = text.encode("utf-8", "replace")
    links = sorted(
        (start, end, feature["uri"])
        for start, end, feature in _features(record, "app.bsky.richtext.facet#link")
        if isinstance(feature.get("uri"), str) and 0 <= start < end <= len(said)
    )
    parts, at = [], 0
    for start, end, uri in links:
        if start >= at:
            parts += [said[at:start], uri.encode("utf-8", "replace")]
            at = end
    return b"".join([*parts, said[at:]]).decode("utf-8", "replace")


def text_of(record: object, *path: str) -> str | None:
    """The text at a path of keys; null where there is none, or something else."""
    for name in path:
        record = record.get(name) if isinstance(record, Mapping) else None
    return record if isinstance(record, str) else None


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _features(record: Record, kind: str) -> list[tuple[int, int, Record]]:
    """Start and end (bytes) and content of the text's features of a kind."""
    found = []
    for facet in _list(record.get("facets")):
        index = facet.get("index") if isinstance(facet, Mapping) else None
        if not isinstance(index, Mapping):
            continue
        start, end = (at if isinstance(at, int) else -1 for at in (index.get("byteStart"), index.get("byteEnd")))
        features = [f for f in _list(facet.get("features")) if isinstance(f, Mapping) and f.get("$type") == kind]
        found += [(start, end, feature) for feature in features]
    return found


def _embeds(record: Record) -> list[str]:
    """The kinds of what is embedded: `images`, `video`, `external`, `record`."""
    kinds = [text_of(record, "embed", "$type"), text_of(record, "embed", "media", "$type")]
    return [kind.removeprefix("app.bsky.embed.") for kind in kinds if kind]


def _kind(record: Record) -> str:
    shown = _embeds(record)
    for embed, kind in (("images", "image"), ("video", "video"), ("external", "link")):
        if embed in shown:
            return kind
    return "quote" if quoted_post(record) else "note"


def _external(record: Record) -> str | None:
    return text_of(record, "embed", "external", "uri") or text_of(record, "embed", "media", "external", "uri")
