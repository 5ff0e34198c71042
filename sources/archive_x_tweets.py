"""A tweet as X's archive writes it: the fields that are of use, read without the others.

Reading all of a tweet into dictionaries takes twice as long. Whatever is not as X writes it (a field
of another type, half a surrogate pair) is read the long way, and what makes no sense there is left out.
"""

from typing import Any

import msgspec

from sources.json_stream import parsed


class Link(msgspec.Struct, gc=False):
    """A short link in the text, and what it stands for."""

    url: str | None = None
    expanded_url: str | None = None


class Named(msgspec.Struct, gc=False):
    """An account that the text names."""

    id_str: str | None = None
    id: str | None = None
    screen_name: str | None = None


class Entities(msgspec.Struct, gc=False):
    """What X found in the text."""

    urls: list[Link] | None = None
    user_mentions: list[Named] | None = None


class Tweet(msgspec.Struct, gc=False):
    """A tweet; older archives have it bare, newer ones as `{"tweet": {...}}`."""

    id_str: str | None = None
    id: str | None = None
    created_at: str | None = None
    deleted_at: str | None = None
    lang: str | None = None
    full_text: str | None = None
    text: str | None = None
    in_reply_to_status_id_str: str | None = None
    in_reply_to_user_id_str: str | None = None
    in_reply_to_screen_name: str | None = None
    entities: Entities | None = None

    @property
    def number(self) -> str | None:
        """The tweet's id."""
        return self.id_str or self.id


class _Item(Tweet, gc=False):
    tweet: Tweet | None = None


_items = msgspec.json.Decoder(list[_Item])


def tweets(data: bytes) -> list[Tweet]:
    """The tweets of a JSON array. Raises `ValueError` where the bytes are none."""
    try:
        return [item.tweet or item for item in _items.decode(data)]
    except msgspec.DecodeError:
        return [_tolerant(inner(item, "tweet"), Tweet) for item in parsed(data)]


def inner(item: Any, name: str) -> dict[str, Any]:
    """The object inside `{"tweet": {...}}`; older archives have it bare. What is no object is an empty one."""
    inside = item.get(name, item) if isinstance(item, dict) else None
    return inside if isinstance(inside, dict) else {}


def text(value: object) -> str | None:
    """A field as text; X has changed between numbers and texts before."""
    return value if isinstance(value, str) else None if value is None or isinstance(value, bool) else str(value)


def _tolerant(said: dict[str, Any], kind: Any) -> Any:
    values = {name: said.get(name) for name in kind.__struct_fields__}
    if kind is Entities:
        links, named = (
            [x for x in found if isinstance(x, dict)] if isinstance(found, list) else [] for found in values.values()
        )
        return Entities([_tolerant(x, Link) for x in links], [_tolerant(x, Named) for x in named])
    if kind is Tweet:
        entities = values.pop("entities")
        told = _tolerant(entities, Entities) if isinstance(entities, dict) else None
        return Tweet(**{name: text(value) for name, value in values.items()}, entities=told)
    return kind(**{name: text(value) for name, value in values.items()})
