"""From X's posts to rows: what is an own post, what answers whom, what is shared, quoted or only mentioned."""

from collections.abc import Iterator, Mapping
from typing import Any

from sources.model import Row
from sources.x_api import text

_COUNTERS = {
    "likes": "like_count",
    "reposts": "retweet_count",
    "replies": "reply_count",
    "quotes": "quote_count",
    "bookmarks": "bookmark_count",
    "views": "impression_count",
}
Users = Mapping[str, Mapping[str, Any]]


def counts(post: Mapping[str, Any]) -> dict[str, int | None]:
    """The public numbers of a post; null where X does not show one."""
    said = post.get("public_metrics")
    shown = said if isinstance(said, dict) else {}
    return {name: value if isinstance(value := shown.get(field), int) else None for name, field in _COUNTERS.items()}


def references(post: Mapping[str, Any]) -> dict[str, str]:
    """The posts that a post refers to, by how: replied_to, quoted, retweeted."""
    said = post.get("referenced_tweets")
    listed = said if isinstance(said, list) else []
    return {str(ref.get("type")): str(ref["id"]) for ref in listed if isinstance(ref, dict) and ref.get("id")}


def mentioned(post: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Who is mentioned: id and name."""
    entities = post.get("entities")
    said = entities.get("mentions") if isinstance(entities, dict) else None
    listed = said if isinstance(said, list) else []
    return [(str(m["id"]), m.get("username")) for m in listed if isinstance(m, dict) and m.get("id")]


def user_url(username: object) -> str | None:
    """The address of a user's profile; null where the name is not known."""
    return f"https://x.com/{username}" if username else None


def person(user_id: str | None, users: Users) -> Row:
    """The columns that say who it is: the id, which outlives the name, and what is known of the name."""
    said = users.get(user_id or "", {})
    return {
        "person": user_id,
        "person_name": text(said.get("name")),
        "person_url": user_url(text(said.get("username"))),
    }


def own_post(post: Mapping[str, Any], *, me: str) -> Row | None:
    """The row of an own post; null for what is a repost or an answer to somebody else."""
    refs = references(post)
    if "retweeted" in refs or ("replied_to" in refs and post.get("in_reply_to_user_id") != me):
        return None
    note = post.get("note_tweet")
    return {
        "post": str(post["id"]),
        "url": f"https://x.com/i/status/{post['id']}",
        "published_at": post.get("created_at"),
        "kind": "note",
        "language": text(post.get("lang")),
        "text": (text(note.get("text")) if isinstance(note, dict) else None) or text(post.get("text")),
        "in_reply_to": refs.get("replied_to"),
    }


def outbound(post: Mapping[str, Any], *, me: str, authors: Mapping[str, str], own: set[str]) -> Iterator[Row]:
    """What an own post does to others: repost, answer, quote or mention. `authors` of the posts that it refers to."""
    refs, named = references(post), mentioned(post)
    users = {user_id: {"username": name} for user_id, name in named}
    base = {"direction": "outbound", "occurred_at": post.get("created_at")}
    if "retweeted" in refs:
        original = refs["retweeted"]
        author = authors.get(original) or (named[0][0] if named else None)
        if author != me:
            yield {**base, "interaction": f"out:repost:{original}", "kind": "repost", **person(author, users)}
        return
    answered = post.get("in_reply_to_user_id")
    if "replied_to" in refs and answered != me:
        root = str(post.get("conversation_id") or "")
        yield {
            **base,
            "interaction": str(post["id"]),
            "kind": "reply",
            "post": root if root in own else None,
            "in_reply_to": refs["replied_to"],
            **person(str(answered) if answered else None, users),
        }
        return
    quoted = authors.get(refs.get("quoted", ""))
    if quoted and quoted != me:
        yield {**base, "interaction": f"quote:{post['id']}", "kind": "quote", **person(quoted, users)}
    for user_id in dict.fromkeys(user_id for user_id, _ in named):
        if user_id not in {me, quoted}:
            mention = f"mention:{post['id']}:{user_id}"
            yield {**base, "interaction": mention, "kind": "mention", **person(user_id, users)}


def inbound(post: Mapping[str, Any], *, me: str, users: Users, own: set[str], store_text: bool) -> Row | None:
    """What somebody's post does to us: answers, quotes or mentions; null for our own.

    It answers if it is to us, or lies below an own post and names us.
    """
    author = str(post.get("author_id") or "") or None
    if author == me:
        return None
    refs, root = references(post), str(post.get("conversation_id") or "")
    parent, is_to_us = refs.get("replied_to"), post.get("in_reply_to_user_id") == me
    row = {
        "direction": "inbound",
        "occurred_at": post.get("created_at"),
        "content_text": text(post.get("text")) if store_text else None,
        **person(author, users),
    }
    names_us = any(user_id == me for user_id, _ in mentioned(post))
    if parent and (is_to_us or (root in own and names_us)):
        # What is answered is ours where it begins the conversation, also if it was not read yet.
        is_own = parent in own or (is_to_us and parent == root)
        about = parent if is_own else root if root in own else None
        return {
            **row, "interaction": str(post["id"]), "kind": "reply", "post": about, "in_reply_to": None if is_own else parent
        }  # fmt: skip
    if refs.get("quoted") in own:
        return {**row, "interaction": f"quote:{post['id']}", "kind": "quote", "post": refs["quoted"]}
    return {**row, "interaction": str(post["id"]), "kind": "mention"}


def one_click(kind: str, post: str, user: Mapping[str, Any]) -> Row:
    """Somebody's like or repost of an own post; X does not say when."""
    user_id = str(user["id"])
    row = {"interaction": f"{kind}:{post}:{user_id}", "direction": "inbound", "kind": kind, "post": post}
    return {**row, **person(user_id, {user_id: user})}
