"""A JSON array of any length, a few megabytes at a time: the large files of export archives.

A parser of the whole document would need many times its size in memory. Here a boundary between two
elements is guessed from the bytes and proved by parsing: what stands between two true boundaries is
valid JSON, and what a wrong guess cuts is not. The end is parsed as a document, so that a damaged or
truncated file is an error and never a shorter list.
"""

import gc
import json
import re
from collections.abc import Callable, Iterator
from typing import IO, Any

import orjson

from sources.model import SourceError

CHUNK = 1 << 21
LARGEST = 1 << 26
"""No single element of an archive is larger (64 MB); what is, is damaged or meant to harm."""
_GUESSES = 64
_TAIL = 1 << 16
_ASSIGNED = re.compile(rb"\s*window\.[\w.]+\s*=\s*")
_SPACE = b" \t\r\n"


def arrays(
    stream: IO[bytes], *, where: str, key: str | None = None, parse: Callable[[bytes], Any] | None = None
) -> Iterator[list[Any]]:
    """The elements of an array, in lists of some megabytes each: one after the other, all of them.

    The document is the array itself, also as JavaScript assigns it (`window.YTD.tweets.part0 = [...]`);
    or an object that has it as `key`. `parse` makes a list of elements of the bytes of an array that stands
    alone (all of them as Python has them where it is not given), and `ValueError` where they are none. Raises `SourceError`, naming `where`, for anything that is not
    such a document to its last byte.
    """
    document, rest = _opened(stream, where=where, key=key)
    guess: re.Pattern[bytes] | None = None
    while chunk := stream.read(CHUNK):
        rest += chunk
        if guess is None and (first := re.match(rb'\s*(?:\{\s*("(?:[^"\\]|\\.)*"\s*:)|("))', rest)):
            follows = rb'"' if first[2] else rb"\{\s*" + re.escape(first[1])
            guess = re.compile((rb'"' if first[2] else rb"\}") + rb"\s*(,)\s*(?=" + follows + rb")")
        for pattern in (guess, re.compile(rb"\}\s*(,)\s*(?=\{)")) if guess else ():
            found = _cut(rest, pattern, parse or parsed)
            if found is not None:
                elements, end = found
                yield elements
                rest = rest[end:]
                break
        if len(rest) > LARGEST:
            raise _damaged(where, "an element of more than 64 MB")
    if key is not None:
        parse = None
    yield _end(document, rest.rstrip(_SPACE + b";"), where=where, key=key, parse=parse or parsed)


def _opened(stream: IO[bytes], *, where: str, key: str | None) -> tuple[bytes, bytes]:
    """What comes before the array's first element, without the assignment, and what was read after it."""
    opening = re.compile(rb"\[" if key is None else rb'"' + re.escape(key.encode()) + rb'"\s*:\s*\[')
    read = b""
    while not (match := opening.search(read)):
        chunk = stream.read(CHUNK)
        if not chunk or len(read) > LARGEST:
            raise _damaged(where, f"no list `{key}`" if key else "no list")
        read += chunk
    head = read[: match.end()].removeprefix(b"\xef\xbb\xbf")
    assigned = _ASSIGNED.match(head)
    head = head[assigned.end() :] if assigned else head.lstrip(_SPACE)
    if key is None and head != b"[":
        raise _damaged(where, "no list")
    return head, read[match.end() :]


def _cut(rest: bytes, boundary: re.Pattern[bytes], parse: Callable[[bytes], Any]) -> tuple[list[Any], int] | None:
    """The elements up to the last true boundary, and where the next one starts."""
    for tail in (_TAIL, len(rest)):  # the last boundaries are wanted, and nearly always near the end
        guesses = [match.start(1) for match in boundary.finditer(rest, max(0, len(rest) - tail))]
        for comma in reversed(guesses[-_GUESSES:]):
            try:
                return parse(b"".join((b"[", memoryview(rest)[:comma], b"]"))), comma + 1
            except ValueError:
                continue  # inside an element, or inside a text
    return None


def _end(document: bytes, rest: bytes, *, where: str, key: str | None, parse: Callable[[bytes], Any]) -> list[Any]:
    try:
        whole = parse(document + rest)
    except ValueError:
        raise _damaged(where, "it ends too early, or is no valid JSON") from None
    elements = whole.get(key) if isinstance(whole, dict) else whole
    if not isinstance(elements, list):
        raise _damaged(where, "no list")
    return elements


def parsed(data: bytes) -> Any:
    """The value. The collector of cycles rests meanwhile: there are none, and looking for them takes half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if "surrogate" in str(error):  # half a pair is a text to Python's parser, and some platforms write it
            return json.loads(data)
        raise
    finally:
        if was_on:
            gc.enable()


def _damaged(where: str, how: str) -> SourceError:
    return SourceError(f"The file is damaged ({how})", where, "Download the archive again; nothing was imported.")
