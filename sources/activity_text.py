"""The text of an activity file: its encoding, and its lines in pieces, so that no file is held whole.

What the lines say is for `activity_csv` and `activity_json`; a file that cannot be cut into pieces
(see there) is still read whole.
"""

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sources.model import SourceError

PIECE = 16 * 1024 * 1024
"""Bytes read at once."""
ROW, PROBLEM = "(row)", "(problem)"
"""Columns beside those of the file, whose names may be any."""
_HEAD = 400_000
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True, kw_only=True)
class Content:
    """A file of any format: names of its columns, and its rows as frames with `ROW`, maybe `PROBLEM`."""

    names: tuple[str, ...]
    frames: Callable[[], Iterator[pl.DataFrame]]
    is_empty: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    """A text file: how it is encoded, and what was noted of that."""

    path: Path
    encoding: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path) -> "Text":
        """The file with its encoding, which is guessed where it is not UTF-8 and no mark says it.

        Raises `SourceError` where it is no text.
        """
        with path.open("rb") as file:
            head = file.read(4096)
        encoding = next((name for bom, name in _BOMS if head.startswith(bom)), None)
        if encoding is None and b"\x00" in head:
            even, odd = head[::2].count(0), head[1::2].count(0)
            if max(even, odd) < len(head) // 4:
                raise SourceError("It is no text", path.name, "Give a CSV, JSON Lines or Parquet file.")
            encoding = "utf-16-be" if even > odd else "utf-16-le"
        if _is_readable(path, encoding or "utf-8"):
            return cls(path, encoding or "utf-8")
        if encoding is not None:
            raise SourceError(f"It is broken {encoding.upper()}", path.name, "Export it again as UTF-8.")
        encoding, used = ("cp1252", "Windows-1252") if _is_readable(path, "cp1252") else ("latin-1", "Latin-1")
        note = f"not UTF-8, read as {used}; check a name with accents, and export as UTF-8 if it is wrong."
        return cls(path, encoding, (note,))

    def whole(self) -> str:
        """All of it."""
        return self.path.read_bytes().decode(self.encoding)

    def start(self) -> str:
        """The first character that is no white space; empty where there is none."""
        said = (piece.decode().lstrip() for piece in self.lines())
        return next((text[0] for text in said if text), "")

    def head(self) -> str:
        """What it begins with: some hundred thousand characters."""
        head = b""
        for piece in self.pieces():
            head += piece[:_HEAD]
            if len(head) >= _HEAD:
                break
        return head[:_HEAD].decode(errors="ignore")

    def pieces(self) -> Iterator[bytes]:
        """The text as UTF-8, cut anywhere."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        with self.path.open("rb") as file:
            while data := file.read(PIECE):
                yield data if self.encoding == "utf-8" else decoder.decode(data).encode()

    def lines(self) -> Iterator[bytes]:
        """The text as UTF-8 in pieces of whole lines."""
        left: list[bytes] = []
        for piece in self.pieces():
            end = piece.rfind(b"\n") + 1
            if not end:
                left.append(piece)
                continue
            yield b"".join([*left, piece[:end]])
            left = [piece[end:]]
        if last := b"".join(left):
            yield last


def _is_readable(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while data := file.read(PIECE):
                decoder.decode(data)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
