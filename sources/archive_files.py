"""Opening what a user calls an archive: a zip, a tar, or one file of it, told by content, never by name.

Members are streamed out of their archive; nothing is unpacked to disk. What is damaged, encrypted or
made to harm is refused with a sentence.
"""

import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

from sources.model import SourceError

Kind = Literal["x", "mastodon", "bluesky", "webmention"]
LOOK = 1 << 16
_INFLATED, _RATIO = 1 << 26, 250
"""Text shrinks to a twentieth; a large member that shrank to less than 1/250 was made to fill a disk."""
_X = re.compile(r"(?:^|/)(tweets?|deleted-tweets?|like|follower|following|account)(?:-part\d+)?\.js$")
_X_HEAD = re.compile(rb"(?:\xef\xbb\xbf)?\s*window\.YTD\.([a-z_]+)\.part\d+\s*=")
_MASTODON = re.compile(r"(?:^|/)(actor|outbox|likes)\.json$")
_AGAIN = "Download the archive again; nothing was imported."


@dataclass(frozen=True)
class Member:
    """One file of an archive: its name, when it was written, and how to open it once.

    A member of a tar can be opened only before the next one is asked for.
    """

    name: str
    written_at: datetime | None
    open: Callable[[], IO[bytes]]


@contextmanager
def damage_told(where: str) -> Iterator[None]:
    """What the readers of zip, tar and gzip raise for damaged bytes, as a `SourceError`."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise SourceError(f"The archive is damaged ({error})", where, _AGAIN) from error
    except NotImplementedError as error:
        raise SourceError(
            f"The archive is packed in an unusual way ({error})", where, "Pack it again as zip."
        ) from error
    except OSError as error:
        raise SourceError(f"The file cannot be read ({error.strerror or error})", where, _AGAIN) from error


def recognise(path: Path) -> Kind | None:
    """What kind of archive the file is, by its content; None where it is none that rapport knows.

    Raises `SourceError` where it is a zip or tar that is damaged, encrypted, or holds no known archive.
    """
    with damage_told(str(path)):
        if path.is_dir():
            raise SourceError("This is a folder", str(path), "Name the archive, or the files in it.")
        with path.open("rb") as file:
            head = file.read(LOOK)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06") or _is_tar(head):
        for member in members(path):
            if _MASTODON.search(member.name):
                return "mastodon"
            if _X.search(member.name):
                return "x"
        raise SourceError(
            "This archive is none that rapport knows", str(path),
            "It reads archives of X and Mastodon (zip, tar.gz), Bluesky repositories (CAR) and exports of webmention.io.",
        )  # fmt: skip
    return _of_file(head)


def _of_file(head: bytes) -> Kind | None:
    if b"\xa2eroots" in head[:16] or b"gversion\x01" in head[:128]:
        return "bluesky"
    if _X_HEAD.match(head):
        return "x"
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return None
    if b'"OrderedCollection"' in head and b'"orderedItems"' in head:
        return "mastodon"
    if re.search(rb'"children"\s*:\s*\[', head) and (
        re.search(rb'"wm-(?:id|source|target|property)"', head) or re.search(rb'"children"\s*:\s*\[\s*\]', head)
    ):
        return "webmention"
    return None


def _is_tar(head: bytes) -> bool:
    return head[:2] == b"\x1f\x8b" or head[257:262] == b"ustar"


def part_of_x(member: str, head: bytes = b"") -> str | None:
    """What a file of an X archive holds: tweets, deleted_tweets, like, follower, following, account.

    >>> part_of_x("data/tweets-part3.js"), part_of_x("any.js", b"window.YTD.tweet.part0 = [")
    ('tweets', 'tweets')
    """
    named = _X.search(member)
    said = _X_HEAD.match(head)
    name = said[1].decode() if said else named[1].replace("-", "_") if named else None
    return {"tweet": "tweets", "deleted_tweet": "deleted_tweets"}.get(name or "", name)


def members(path: Path) -> Iterator[Member]:
    """The files of an archive, in its order; a plain file is its own only member.

    Raises `SourceError` for a damaged, encrypted or harmful archive.
    """
    with damage_told(str(path)):
        with path.open("rb") as file:
            head = file.read(512)
        if head[:2] == b"PK":
            yield from _zipped(path)
        elif _is_tar(head):
            yield from _tarred(path)
        else:
            yield Member(path.name, None, lambda: path.open("rb"))


def _zipped(path: Path) -> Iterator[Member]:
    if not zipfile.is_zipfile(path):
        raise SourceError("The zip file is truncated: its list of contents is missing", str(path), _AGAIN)
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            if info.flag_bits & 1:
                raise SourceError(
                    "The zip file is encrypted", f"{path}, {info.filename}", "Unpack it with its password, and pack it without."
                )  # fmt: skip
            if info.file_size > _INFLATED and info.file_size > _RATIO * max(info.compress_size, 1):
                raise SourceError(
                    f"The zip file claims to hold {info.file_size / max(info.compress_size, 1):,.0f} times its size, as a zip bomb does",
                    f"{path}, {info.filename}", "Use the archive as the platform gave it.",
                )  # fmt: skip
            yield Member(info.filename, _moment(info.date_time), lambda info=info: archive.open(info))  # type: ignore[misc]


def _moment(parts: tuple[int, int, int, int, int, int]) -> datetime | None:
    """When a member was written; None for the zero of zip's clock (1980) and for what is no date."""
    try:
        return datetime(*parts, tzinfo=UTC) if parts[0] > 1980 else None
    except ValueError:
        return None


def _tarred(path: Path) -> Iterator[Member]:
    with tarfile.open(path, "r|*") as archive:
        for info in archive:
            if not info.isfile():
                continue
            written = datetime.fromtimestamp(info.mtime, UTC) if info.mtime > 0 else None
            yield Member(info.name, written, lambda info=info: archive.extractfile(info) or io.BytesIO())  # type: ignore[misc]
