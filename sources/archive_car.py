"""A Bluesky repository as the network hands it out (`com.atproto.sync.getRepo`): a CAR file of everything one account did.

The file is blocks in no useful order; a search tree (MST) in some of them names the others. So the blocks
are indexed by where they are, sixteen bytes each, and read when the tree comes to them. DAG-CBOR is
a small fixed part of CBOR; reading it takes fewer lines than a further compiled dependency would need
reasons. Every block is held against the hash that names it.
"""

import hashlib
import struct
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import IO, Any

import numpy as np

from sources import bluesky_records
from sources.archive_rows import Contents
from sources.batches import Batch
from sources.model import SourceError
from sources.observations import INTERACTIONS, POSTS, PROFILES

_PAGE = 5_000
_CID = b"\x01\x71\x12\x20"  # CIDv1, DAG-CBOR, SHA-256
_TID = "234567abcdefghijklmnopqrstuvwxyz"
_DEEPEST = 128
_LARGEST = 1 << 22
_AGAIN = "Download the repository again; nothing was imported."


class Cid(bytes):
    """A link to another block: its content identifier."""

    __slots__ = ()


def read(contents: Contents) -> Iterator[Batch]:
    """Everything of one repository. Raises `SourceError` where it is damaged or incomplete."""
    with contents.path.open("rb") as file:
        repository = Repository(file, where=str(contents.path))
        commit = repository.block(repository.root)
        did = commit.get("did") if isinstance(commit, dict) else None
        if not isinstance(did, str) or not isinstance(commit.get("data"), Cid):
            raise SourceError(
                "The CAR file holds no repository", str(contents.path), "Download it by com.atproto.sync.getRepo."
            )
        contents.made_at = time_of_tid(commit.get("rev"))
        contents.holds |= {"posts", "outbound"}
        profile = contents.row(profile=did, url=bluesky_records.profile_url(did))
        posts, interactions = [], []
        for key, link in repository.records(commit["data"]):
            collection = key.split("/", 1)[0]
            if key == "app.bsky.actor.profile/self":
                name = repository.block(link).get("displayName")
                profile["name"] = name if isinstance(name, str) else None
            if collection not in bluesky_records.COLLECTIONS:
                continue
            record = repository.block(link)
            if not isinstance(record, dict):
                continue
            rows = bluesky_records.own_rows(f"at://{did}/{key}", record, did, store_text=contents.store_text)
            posts += [contents.row(**row) for row in rows.posts]
            interactions += [contents.row(**row) for row in rows.interactions]
            if len(posts) + len(interactions) >= _PAGE:
                yield from _page(contents, posts, interactions)
                posts, interactions = [], []
        yield from _page(contents, posts, interactions)
        yield Batch(PROFILES, [profile])


def _page(contents: Contents, posts: list[Any], interactions: list[Any]) -> Iterator[Batch]:
    contents.saw([*(row["published_at"] for row in posts), *(row.get("occurred_at") for row in interactions)])
    yield Batch(POSTS, posts)
    yield Batch(INTERACTIONS, interactions)


class Repository:
    """The blocks of a CAR file, read where they are."""

    def __init__(self, file: IO[bytes], *, where: str) -> None:
        """Index the blocks. Raises `SourceError` for a truncated file."""
        self._file, self._where = file, where
        header, _ = _decoded(file.read(self._varint() or 0), where)
        roots = header.get("roots") if isinstance(header, dict) else None
        if not isinstance(roots, list) or not roots or not isinstance(roots[0], Cid):
            raise self._damaged("it has no root")
        self.root: Cid = roots[0]
        names, places = array("Q"), array("Q")
        at = file.tell()
        end = file.seek(0, 2)
        while file.seek(at) < end:
            size = self._varint()
            start = file.tell()
            name = file.read(36)
            if size is None or len(name) < 36 or start + size > end:
                raise self._damaged("it ends in the middle of a block")
            names.append(_short(name))
            places.append(at)
            at = start + size
        order = np.argsort(np.array(names, dtype=np.uint64), kind="stable")
        self._names = np.array(names, dtype=np.uint64)[order]
        self._places = np.array(places, dtype=np.uint64)[order]

    def _varint(self) -> int | None:
        value = shift = 0
        while byte := self._file.read(1):
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                return value
            shift += 7
            if shift > 56:
                break
        return None

    def block(self, cid: Cid) -> Any:
        """What a block says. Raises `SourceError` where it is missing or not what its name says."""
        if not cid.startswith(_CID):
            raise self._damaged("it names a block in an unknown way")
        first = int(np.searchsorted(self._names, np.uint64(_short(cid))))
        while first < len(self._names) and self._names[first] == _short(cid):
            data = self._at(int(self._places[first]), cid)
            if data is not None:
                return _decoded(data, self._where)[0]
            first += 1
        raise self._damaged("a block is missing")

    def _at(self, place: int, cid: Cid) -> bytes | None:
        self._file.seek(place)
        size = self._varint()
        if size is None or size > _LARGEST:
            raise self._damaged("a block of more than 4 MB")
        content = self._file.read(size)
        is_it = content[:36] == cid and hashlib.sha256(content[36:]).digest() == cid[4:]
        return content[36:] if is_it else None

    def records(self, root: Cid) -> Iterator[tuple[str, Cid]]:
        """Every record's key (collection/rkey) and block, in the order of keys."""
        yield from self._walk(root, 0)

    def _walk(self, node: Cid, depth: int) -> Iterator[tuple[str, Cid]]:
        said = self.block(node)
        if depth > _DEEPEST or not isinstance(said, dict) or not isinstance(said.get("e"), list):
            raise self._damaged("its tree is none")
        if isinstance(said.get("l"), Cid):
            yield from self._walk(said["l"], depth + 1)
        key = b""
        for entry in said["e"]:
            try:
                key = key[: entry["p"]] + entry["k"]
                yield key.decode(), entry["v"]
                right = entry.get("t")
            except (KeyError, TypeError, AttributeError, UnicodeDecodeError):
                raise self._damaged("its tree is none") from None
            if isinstance(right, Cid):
                yield from self._walk(right, depth + 1)

    def _damaged(self, how: str) -> SourceError:
        return SourceError(f"The CAR file is damaged ({how})", self._where, _AGAIN)


def _short(cid: bytes) -> int:
    return int.from_bytes(cid[4:12], "big")


def time_of_tid(rev: object) -> datetime | None:
    """The moment in a revision's name (a TID: microseconds and a clock's number in base 32).

    >>> time_of_tid("3jzfcijpj2z2a").isoformat()
    '2023-06-30T15:03:01.887007+00:00'
    """
    if not isinstance(rev, str) or len(rev) != 13 or set(rev) - set(_TID):
        return None
    number = 0
    for letter in rev:
        number = number * 32 + _TID.index(letter)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=number >> 10)


def _decoded(data: bytes, where: str) -> tuple[Any, int]:
    try:
        return _value(data, 0, 0)
    except (IndexError, ValueError, TypeError, struct.error, OverflowError) as error:
        raise SourceError("The CAR file is damaged (a block is no DAG-CBOR)", where, _AGAIN) from error


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:  # noqa: C901, PLR0911 - a case a kind of value
    """One DAG-CBOR value (RFC 8949 without indefinite lengths, tag 42 for links) and where it ends."""
    if depth > _DEEPEST:
        raise ValueError("too deep")
    kind, short = data[at] >> 5, data[at] & 31
    at += 1
    if kind == 7:
        if short == 27:
            return struct.unpack_from(">d", data, at)[0], at + 8
        return {20: False, 21: True, 22: None}[short] if short in (20, 21, 22) else _refuse(), at
    if short >= 24:
        width = 1 << (short - 24) if short < 28 else _refuse()
        number = int.from_bytes(data[at : at + width], "big")
        at += width
    else:
        number = short
    if kind in (0, 1):
        return (number if kind == 0 else -1 - number), at
    if kind in (2, 3):
        if at + number > len(data):
            raise ValueError("too short")
        said = data[at : at + number]
        return (said if kind == 2 else said.decode("utf-8", "replace")), at + number
    if kind == 4:
        items = []
        for _ in range(number):
            item, at = _value(data, at, depth + 1)
            items.append(item)
        return items, at
    if kind == 5:
        fields: dict[Any, Any] = {}
        for _ in range(number):
            name, at = _value(data, at, depth + 1)
            fields[name], at = _value(data, at, depth + 1)
        return fields, at
    link, at = _value(data, at, depth + 1)
    return (Cid(link[1:]) if number == 42 else _refuse()), at


def _refuse() -> Any:
    raise ValueError("no DAG-CBOR")
