"""A web server that misbehaves as real ones do, by a schedule that can be repeated.

    with FaultProxy("http://127.0.0.1:8803", Schedule.seeded(7)) as proxy:
        collect(proxy.base)
    assert proxy.schedule.injected

What a proxy does depends on the seed, the path, and how often that path was asked before: on nothing
else, so several threads may ask. Assign `proxy.schedule` to run another schedule at the same address.
"""

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.utils import format_datetime, formatdate, parsedate_to_datetime
from re import search, sub
from threading import RLock
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from loopback import Loopback, Recorder, Replay, Request, Said, forward, rebase

__all__ = ["LASTING", "PAGING", "SHAPES", "TRANSIENT", "FaultProxy", "Injected", "Recorder", "Replay", "Schedule"]

TRANSIENT = (
    "retry_after",  # 429 with Retry-After of 0 or 1 s
    "too_many",  # 429 without
    "500",
    "502",
    "503",
    "timeout",  # silence for Schedule.silence seconds: longer than the client's read limit
    "reset",  # connection reset in the middle of the body
    "truncated",  # half of the JSON, with the right Content-Length of that half
    "malformed",  # JSON with a comma too many
    "clock_skew",  # Date is hours off
    "latency",
)
"""What a patient client gets over by itself; nothing may be lost."""

PAGING = (
    "duplicated_page",  # the items of the previous page once more, before those of this one
    "reordered_page",  # the items in reverse
)
"""What a connector gets over by its keys; nothing may be lost or doubled."""

SHAPES = ("unknown_fields", "field_missing", "field_type")
"""The platform changed: items with a new field, without one, or with one of another type."""

LASTING = (
    "repeated_page",  # the items of the previous page instead of this one's, while the cursor moves on
    "endless_cursor",  # from then on this list answers this page again and again, which leads to itself
    "gone",  # 404
    "revoked",  # from then on whoever shows a token is refused
)
"""What costs data until the next good run: the ledger must say so."""

_STICKY = ("endless_cursor", "revoked")


class Injected(NamedTuple):
    """What was done: the path, its how-manieth request (from 1), the kind of fault."""

    path: str
    ordinal: int
    kind: str


@dataclass(kw_only=True)
class Schedule:
    """Which request meets which fault.

    `planned` names faults by (path, ordinal), or by the ordinal over all paths. `only` limits a kind to
    paths that match a pattern (`{"gone": r"/statuses/"}`); `fields` are the names that may go missing or
    change type (default: any). No more than `in_a_row` transient faults follow each other on one
    address, so that a client with more attempts than that gets through.
    """

    seed: int = 0
    rate: float = 0.0
    kinds: tuple[str, ...] = TRANSIENT
    planned: Mapping[tuple[str, int] | int, str] = field(default_factory=dict)
    only: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    in_a_row: int = 2
    silence: float = 1.0
    delay: float = 0.02
    skew: timedelta = timedelta(hours=7)
    revoked: tuple[int, str] = (401, '{"error": "invalid_token"}')
    injected: list[Injected] = field(default_factory=list)
    _asked: Counter[str] = field(default_factory=Counter, repr=False)
    _row: Counter[str] = field(default_factory=Counter, repr=False)
    _stuck: dict[str, str] = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=RLock, repr=False)

    @classmethod
    def seeded(
        cls, seed: int, rate: float = 0.15, kinds: Iterable[str] = (*TRANSIENT, *PAGING), **options: Any
    ) -> "Schedule":
        """Faults at random, the same ones for the same seed."""
        return cls(seed=seed, rate=rate, kinds=tuple(kinds), **options)

    def next(self, request: Request) -> tuple[str | None, random.Random]:
        """The fault of this request, and the dice for its details."""
        with self._lock:
            self._asked.update([request.path, ""])
            ordinal, overall = self._asked[request.path], self._asked[""]
            dice = random.Random(f"{self.seed} {request.method} {request.path} {ordinal}")
            kind = self._kind(request, ordinal, overall, dice)
            target = request.public_target
            self._row[target] = self._row[target] + 1 if kind in TRANSIENT else 0
            if kind:
                self.injected.append(Injected(request.path, ordinal, kind))
            return kind, dice

    def _kind(self, request: Request, ordinal: int, overall: int, dice: random.Random) -> str | None:
        if "revoked" in self._stuck and request.has_secret:
            return "revoked"
        if request.list_target in self._stuck:
            return self._stuck[request.list_target]
        kind = self.planned.get((request.path, ordinal)) or self.planned.get(overall)
        if kind is None and dice.random() < self.rate:
            possible = [k for k in self.kinds if search(self.only.get(k, ""), request.path)]
            kind = dice.choice(possible) if possible else None
            if kind in TRANSIENT and self._row[request.public_target] >= self.in_a_row:
                kind = None
        if kind in _STICKY:
            if kind == "revoked" and not request.has_secret:
                return None
            self._stuck["revoked" if kind == "revoked" else request.list_target] = kind
        return kind


class FaultProxy(Loopback):
    """Forwards GET and POST to `upstream` (plain http) and injects the faults of `schedule`.

    The upstream's own addresses become the proxy's in headers and, with `bodies`, in texts; `aliases` are
    other addresses by which it calls itself. `silence` in the schedule must exceed the client's read limit.
    """

    def __init__(
        self, upstream: str, schedule: Schedule, *, aliases: tuple[str, ...] = (), bodies: bool = True, port: int = 0
    ) -> None:
        super().__init__(port)
        self.upstream, self.schedule = upstream.rstrip("/"), schedule
        self._names, self._bodies = (self.upstream, *aliases), bodies
        self._previous: dict[str, Any] = {}
        self._endless: dict[str, Said] = {}
        self.asked: list[str] = []

    def answer(self, request: Request) -> Said:
        self.asked.append(request.public_target)
        schedule = self.schedule
        kind, dice = schedule.next(request)
        if (refusal := _refusal(kind, schedule, dice)) is not None:
            return refusal
        if kind == "endless_cursor" and request.list_target in self._endless:
            return self._endless[request.list_target]
        self.closing.wait({"timeout": schedule.silence, "latency": schedule.delay}.get(kind or "", 0))
        said = rebase(forward(request, self.upstream), self._names, self.base, bodies=self._bodies)
        key = request.list_target
        if kind == "endless_cursor":
            return self._endless.setdefault(key, _endless(said, request, self.base))
        previous = self._previous.get(key) if request.is_later_page else None
        if said.status == 200 and (page := _json(said.body)) is not None:
            self._previous[key] = page
        return _spoil(kind, said, previous, schedule, dice)


def _refusal(kind: str | None, schedule: Schedule, dice: random.Random) -> Said | None:
    """The answer of a fault that does not need the upstream."""
    match kind:
        case "retry_after":
            return Said(429, {"Retry-After": dice.choice("01")})
        case "too_many":
            return Said(429)
        case "500" | "502" | "503":
            return Said(int(kind), {"Content-Type": "text/html"}, b"<h1>Something went wrong</h1>")
        case "gone":
            return Said(404, {"Content-Type": "application/json"}, b'{"error": "Record not found"}')
        case "revoked":
            status, body = schedule.revoked
            return Said(status, {"Content-Type": "application/json"}, body.encode())
    return None


def _spoil(kind: str | None, said: Said, previous: Any, schedule: Schedule, dice: random.Random) -> Said:
    """The upstream's answer with what the fault does to it."""
    half = len(said.body) // 2
    match kind:
        case "reset":
            return replace(said, cut=half)
        case "truncated":
            return replace(said, body=said.body[:half])
        case "malformed":
            return replace(said, body=b"{," + said.body)
        case "clock_skew":
            headers = {name: value for name, value in said.headers.items() if name.lower() != "date"}
            time = parsedate_to_datetime(said.header("Date") or formatdate()) + schedule.skew
            return replace(said, headers={**headers, "Date": format_datetime(time)})
    page = _json(said.body)
    if said.status != 200 or page is None or kind not in (*PAGING, *SHAPES, "repeated_page"):
        return said
    return replace(said, body=json.dumps(_reshape(kind, page, previous, schedule, dice)).encode())


def _reshape(kind: str, page: Any, previous: Any, schedule: Schedule, dice: random.Random) -> Any:
    items = _items(page)
    objects = [item for item in items or [page] if isinstance(item, dict)]
    match kind:
        case "duplicated_page" if previous is not None:
            return _with_items(page, _items(previous) + items)
        case "repeated_page" if previous is not None:
            return _with_items(page, _items(previous))
        case "reordered_page":
            return _with_items(page, items[::-1])
        case "unknown_fields":
            for item in objects:
                item["a_field_of_tomorrow"] = {"nested": [1, None, "\N{ROCKET}"]}
        case "field_missing" | "field_type":
            _damage(kind, objects, schedule, dice)
    return page


def _json(body: bytes) -> Any:
    try:
        page = json.loads(body)
    except ValueError:
        return None
    return page if isinstance(page, dict | list) else None


def _items(page: Any) -> list[Any]:
    """The list of a page: itself, or the first list that is not empty in an object (`feed`, `likes`, `posts`)."""
    lists = [page] if isinstance(page, list) else [value for value in page.values() if isinstance(value, list)]
    return next((found for found in lists if found), [])


def _with_items(page: Any, items: list[Any]) -> Any:
    if isinstance(page, list):
        return items
    names = [name for name, value in page.items() if isinstance(value, list)]
    name = next((name for name in names if page[name]), names[0] if names else None)
    return {**page, name: items} if name else page


def _endless(said: Said, request: Request, base: str) -> Said:
    """The answer, leading to itself: by cursor, by `Link`, or by a number of pages without end."""
    page, headers = _json(said.body), dict(said.headers)
    if isinstance(page, dict):
        page = {**page, "cursor": dict(parse_qsl(urlsplit(request.target).query)).get("cursor", "again")}
    rest = sub(r'<[^>]*>;\s*rel="?next"?,?\s*', "", said.header("Link")).strip(", ")
    headers = {name: value for name, value in headers.items() if name.lower() not in ("link", "x-wp-totalpages")}
    headers["Link"] = ", ".join(filter(None, (f'<{base}{request.target}>; rel="next"', rest)))
    if said.header("X-WP-TotalPages"):
        headers["X-WP-TotalPages"] = "9999"
    return replace(said, headers=headers, body=said.body if page is None else json.dumps(page).encode())


def _damage(kind: str, items: list[dict[str, Any]], schedule: Schedule, dice: random.Random) -> None:
    """Take a field from one of the items, or give it another type."""
    able = [(item, name) for item in items for name in sorted(item) if not schedule.fields or name in schedule.fields]
    if not able:
        return
    item, name = dice.choice(able)
    if kind == "field_missing":
        del item[name]
    else:
        item[name] = ["another type"] if not isinstance(item[name], list) else {"another": "type"}
