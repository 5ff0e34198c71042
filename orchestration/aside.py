"""What several marts begin with, put aside on disk while accounts are computed after each other.

Marts share such frames (`assets.metrics.once`). Of all accounts together they would fill the memory that computing some
accounts at a time saves; as Parquet each mart reads the columns and the accounts that it is about.
"""

import shutil
from pathlib import Path

import polars as pl

from assets.metrics import once

_SMALL = 32_000_000
"""Frames of fewer bytes stay in memory."""


class Aside:
    """A folder for frames, in use from `begin` to `end`, emptied by both."""

    def __init__(self, folder: Path) -> None:
        """Use that folder when there is something to put aside."""
        self._folder = folder
        self._frames = 0
        self._is_begun = False

    def begin(self) -> None:
        """From now on what is computed once goes here."""
        if not self._is_begun:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            self._is_begun = True
            once.keep_by(self._put)

    def end(self) -> None:
        """Frames stay in memory again, and the folder is gone."""
        if self._is_begun:
            once.keep_by(None)
            shutil.rmtree(self._folder, ignore_errors=True)
            self._is_begun = False

    def _put(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        rows = frame.collect()
        if rows.estimated_size() < _SMALL:
            return rows.lazy()
        self._frames += 1
        path = self._folder / f"{self._frames}.parquet"
        rows.write_parquet(path, compression="lz4", statistics=False)
        return pl.scan_parquet(path)
