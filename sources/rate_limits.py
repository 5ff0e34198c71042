"""What servers say about how fast they may be asked, and what all clients of this process remember of it.

Reads `Retry-After`, `X-RateLimit-*`, `RateLimit-*` and the structured `RateLimit` header; `Hosts` keeps
the answers per host. Nothing here sends a request or sleeps: `sources.http` does.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import BoundedSemaphore, Lock

_DAY = 86_400.0
_FAMILIES = ("RateLimit", "X-RateLimit", "X-Rate-Limit")  # IETF drafts and Bluesky; Mastodon; X
_EPOCH = 1_000_000_000  # a number of seconds above this is a point in time, below it a duration
_POLICY = re.compile(r"\b(r|remaining|t|reset)\s*=\s*(\d+(?:\.\d+)?)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Quota:
    """How many requests are left, and in how many seconds there will be more."""

    remaining: int
    reset: float


def read_quotas(headers: Mapping[str, str], *, clock: float) -> list[Quota]:
    """What an answer says of its server's limits; several where there are several windows.

    `clock` is our time (seconds since 1970), used where the server does not give its own in `Date`:
    a point in time that a server with a wrong clock names is right only by that clock.

    >>> read_quotas({"RateLimit": '"default";r=50;t=30'}, clock=0.0)
    [Quota(remaining=50, reset=30.0)]
    """
    quotas = _structured(headers.get("RateLimit", ""))
    for family in _FAMILIES:
        remaining = re.match(r"\s*(\d+)", headers.get(f"{family}-Remaining", ""))
        reset = _until(headers.get(f"{family}-Reset", ""), headers, clock)
        if remaining and reset is not None:
            quotas.append(Quota(remaining=int(remaining.group(1)), reset=reset))
    return quotas


def retry_after(headers: Mapping[str, str], *, clock: float) -> float:
    """How many seconds the server asks to wait in `Retry-After`; 0 where it does not, or not readably.

    >>> retry_after({"Retry-After": "7"}, clock=0.0)
    7.0
    """
    header = headers.get("Retry-After", "")
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", header):
        return float(header)
    return _until(header, headers, clock) or 0.0


def _structured(header: str) -> list[Quota]:
    """`"default";r=50;t=30`, several of them with commas between, or `limit=100, remaining=50, reset=30`."""
    policies = [header] if "remaining" in header.lower() else header.split(",")
    quotas = []
    for policy in policies:
        said = {name.lower(): float(number) for name, number in _POLICY.findall(policy)}
        remaining, reset = said.get("r", said.get("remaining")), said.get("t", said.get("reset"))
        if remaining is not None and reset is not None:
            quotas.append(Quota(remaining=int(remaining), reset=reset))
    return quotas


def _until(said: str, headers: Mapping[str, str], clock: float) -> float | None:
    """Seconds until what a server calls a time: a duration, seconds or milliseconds since 1970, ISO 8601, an HTTP date.

    By the server's own `Date`; by our clock where there is none, or where it leads further away than
    a day and ours does not: then the `Date` is what is wrong. A time that is over is no wait.
    """
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", said):
        number = float(said)
        if number < _EPOCH:
            return number
        at: float | None = number / 1000 if number >= _EPOCH * 1000 else number
    else:
        at = _time(said)
    if at is None:
        return None
    theirs = _time(headers.get("Date", ""))
    wait = at - (clock if theirs is None else theirs)
    if abs(wait) > _DAY and abs(at - clock) <= _DAY:
        wait = at - clock
    return max(wait, 0.0)


def _time(said: str) -> float | None:
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            time = parse(said.strip())
        except ValueError:
            continue
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return None


@dataclass
class _Host:
    """One host: when it may be asked again, and how many may ask at once."""

    slots: BoundedSemaphore
    free_at: float = 0.0


@dataclass
class Hosts:
    """What the clients of a process know together about the hosts that they ask. Thread-safe.

    `per_host` requests run at once to one host; a window with `reserve` requests or fewer left is
    regarded as used up, since other requests may be on their way. Times are those of the clients'
    monotonic clock. Where a server limits each endpoint apart, give its client `Hosts` of its own.
    """

    per_host: int = 2
    reserve: int = 1
    _lock: Lock = field(default_factory=Lock, repr=False)
    _hosts: dict[str, _Host] = field(default_factory=dict, repr=False)

    def _of(self, host: str) -> _Host:
        with self._lock:
            return self._hosts.setdefault(host, _Host(BoundedSemaphore(self.per_host)))

    @contextmanager
    def slot(self, host: str) -> Iterator[None]:
        """The right to ask this host now; waits until fewer than `per_host` others do."""
        with self._of(host).slots:
            yield

    def wait(self, host: str, *, now: float) -> float:
        """For how many seconds this host should not be asked; 0 where it may."""
        known = self._of(host)
        with self._lock:
            return max(known.free_at - now, 0.0)

    def spare(self, host: str, *, until: float) -> None:
        """Do not ask this host before `until`."""
        known = self._of(host)
        with self._lock:
            known.free_at = max(known.free_at, until)

    def waited(self, host: str, *, until: float) -> None:
        """Somebody has waited until then: a rest that ended by then is over, a longer one stands."""
        known = self._of(host)
        with self._lock:
            if known.free_at <= until:
                known.free_at = 0.0

    def note(self, host: str, quotas: list[Quota], *, now: float) -> None:
        """Remember what an answer said: where a window is used up, spare the host until it ends."""
        used_up = [quota.reset for quota in quotas if quota.remaining <= self.reserve]
        if used_up:
            self.spare(host, until=now + max(used_up))


HOSTS = Hosts()
"""What all clients of this process share unless they are given `Hosts` of their own."""
