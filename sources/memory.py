"""What earlier readings of an account found: the state of a connector, read from its own raw tables.

There is no second book to keep in step: what was loaded is what is known, so a reading that was cut
off simply goes on where the loaded rows end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from sources.model import Row

History = Callable[[str], Mapping[str, pa.Table]]
"""The raw rows of an account so far, by table name; tables never loaded may be missing."""


def no_history(_account_id: str) -> Mapping[str, pa.Table]:
    """Nothing was ever collected."""
    return {}


@dataclass
class Memory:
    """What is known of an account on a platform.

    `present` holds each list's items, `complete` when it was last read to its end, `cut` the lists whose
    newest reading was not; `counters` the newest value of each (subject_id, counter) and `changed` since when.
    """

    present: dict[str, set[str]] = field(default_factory=dict)
    complete: dict[str, datetime] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    counters: dict[tuple[str, str], int] = field(default_factory=dict)
    changed: dict[tuple[str, str], datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, tables: Mapping[str, pa.Table], *, platform: str) -> "Memory":
        """The memory that the raw tables `lists`, `sightings` and `counters` of one account hold."""
        known = cls()
        for row in _rows(tables, "sightings", platform):
            items = known.present.setdefault(row["list"], set())
            (items.add if row["event"] == "seen" else items.discard)(row["item"])
        for row in _rows(tables, "lists", platform):
            if row["is_complete"]:
                known.complete[row["list"]] = row["observed_at"]
                known.cut.discard(row["list"])
            else:
                known.cut.add(row["list"])
        for row in _rows(tables, "counters", platform):
            key = (row["subject_id"], row["counter"])
            if known.counters.get(key) != row["value"]:
                known.changed[key] = row["observed_at"]
            known.counters[key] = row["value"]
        return known


def _rows(tables: Mapping[str, pa.Table], name: str, platform: str) -> list[Row]:
    if name not in tables:
        return []
    rows = [row for row in tables[name].to_pylist() if row["platform"] == platform]
    # A reading may say of one item both: `gone`, then `seen` again, within the moment of one night.
    return sorted(rows, key=lambda row: (row["observed_at"], row.get("event") == "seen"))
