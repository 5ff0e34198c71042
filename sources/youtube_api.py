"""YouTube's Data API v3: a request with a key on a budget, its pages, what its errors mean, whose channel it is."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from sources.budget import Budget, BudgetSpentError
from sources.http import Client, HttpError
from sources.model import AccountSource, SourceError
from sources.timestamps import parse_time

API = "https://www.googleapis.com/youtube/v3"
_NO_KEY = (
    "Make an API key for the YouTube Data API v3 at https://console.cloud.google.com/apis/credentials "
    "and put it into the environment as RAPPORT_YOUTUBE_TOKEN."
)
_QUOTA = {"quotaExceeded", "dailyLimitExceeded", "dailyLimitExceededUnreg"}
_REFUSED = {
    "keyInvalid", "keyExpired", "accessNotConfigured", "ipRefererBlocked", "API_KEY_INVALID", "API_KEY_EXPIRED",
    "API_KEY_SERVICE_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED", "SERVICE_DISABLED",
    "CONSUMER_SUSPENDED", "CONSUMER_INVALID", "ACCESS_TOKEN_TYPE_UNSUPPORTED",
}  # fmt: skip
_HOSTS = {"youtube.com", "www.youtube.com", "m.youtube.com"}
_CHANNEL_ID = re.compile(r"UC[\w-]{22}")


class KeyRefusedError(SourceError):
    """YouTube does not accept the key (any more): nothing further can be read."""


class AbsentError(SourceError):
    """YouTube says by a code that something is not there; `reason` is the code."""

    def __init__(self, reason: str, where: str) -> None:
        """The code and what it is about."""
        super().__init__(f"YouTube says {reason}", where, "Look at it in a browser.")
        self.reason = reason


class Api:
    """The API with a key and a budget: a unit a request, and nothing more once either is refused."""

    def __init__(self, client: Client, account: AccountSource, budget: Budget) -> None:
        """Ask through `client`, on the budget."""
        self.client, self.account, self.budget = client, account, budget
        self.base = (account.endpoint or API).rstrip("/")
        self.stopped: SourceError | None = None

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """The answer of one request. Raises `BudgetSpentError`, `KeyRefusedError`, `AbsentError` or another `SourceError`."""
        self.check()
        try:
            self.budget.spend(1, account_id=self.account.account_id)
            said: dict[str, Any] = self.client.get_json(f"{self.base}/{path}", params=params, shape=dict)[0]
        except BudgetSpentError as error:
            self.stopped = error
        except HttpError as error:
            refused = self._meaning(error, path)
            if refused is None:
                raise
            if not isinstance(refused, AbsentError):
                self.stopped = refused
            raise refused from None
        else:
            return said
        raise self.stopped

    def pages(self, path: str, **params: str | int) -> Iterator[list[Any]]:
        """The `items` of each page of a list, to its end."""
        token, seen = "", {""}
        while True:
            said = self.get(path, **params, **({"pageToken": token} if token else {}))
            yield items(said, f"{self.base}/{path}")
            token = str(said.get("nextPageToken") or "")
            if not token:
                return
            if token in seen:
                raise SourceError("The list repeats itself without end", f"{self.base}/{path}", "Try again later.")
            seen.add(token)

    def check(self) -> None:
        """Raise again what ended the reading for good, if anything did."""
        if self.stopped is not None:
            raise self.stopped

    def _meaning(self, error: HttpError, path: str) -> SourceError | None:
        reasons = _reasons(error.body)
        if reasons & _QUOTA:
            return self.budget.stop("YouTube says that the key's quota of the day is used")
        if error.status == 401 or reasons & _REFUSED:
            why = ", ".join(sorted(reasons & _REFUSED)) or str(error.status)
            return KeyRefusedError(f"YouTube refuses the key ({why})", self.base, _NO_KEY)
        absent = sorted(r for r in reasons if r == "commentsDisabled" or r.endswith("NotFound"))
        return AbsentError(absent[0], f"{self.base}/{path}") if absent else None


def items(said: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """The `items` of an answer. Raises `SourceError` where they are no list of objects."""
    found = said.get("items", [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise damaged(where)
    return found


def damaged(where: str) -> SourceError:
    """An answer lacks what every such answer has, so the list is not believed: nothing in it is regarded as gone."""
    return SourceError("YouTube's answer is damaged", where, "It is read again the next night.")


def section(item: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A part of an item; empty where it is missing or no object."""
    found = item.get(name)
    return found if isinstance(found, dict) else {}


def text(value: object) -> str | None:
    """The text; null where it is none."""
    return value if isinstance(value, str) else None


def _reasons(body: bytes) -> set[str]:
    """The machine-readable reasons of an error, old style (`errors`) and new style (`details`)."""
    try:
        error = json.loads(body)["error"]
        parts = [*(error.get("errors") or ()), *(error.get("details") or ())]
        return {str(part["reason"]) for part in parts if isinstance(part, dict) and part.get("reason")}
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()


class Asking(Api):
    """Somebody asks at the terminal: the client has no key of its own, and a unit is not accounted for."""

    def __init__(self, client: Client, account: AccountSource) -> None:
        """Ask through `client` with the account's key."""
        super().__init__(client, account, Budget(where="youtube", unit="quota units", limit=1))
        self.headers = headers(account)

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """The answer of one request."""
        try:
            said: dict[str, Any] = self.client.get_json(
                f"{self.base}/{path}", params=params, headers=self.headers, shape=dict
            )[0]
        except HttpError as error:
            raise (self._meaning(error, path) or error) from None
        return said


def count(value: object) -> int | None:
    """The number, which YouTube writes as text; what is no number is unknown."""
    try:
        return int(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
    except ValueError:
        return None


def moment(said: object) -> datetime | None:
    """The moment that a text names; null where it names none."""
    try:
        return parse_time(said) if isinstance(said, str) else None
    except ValueError:
        return None


def key(account: AccountSource) -> str:
    """The API key. Raises `SourceError`, which says where to get one, where there is none."""
    found = account.options.get("token")
    if not found:
        raise SourceError("YouTube is read with an API key, and there is none", account.url, _NO_KEY)
    return found


def headers(account: AccountSource) -> dict[str, str]:
    """The key in a header, so that no address holds the key."""
    return {"X-Goog-Api-Key": key(account)}


def channel_url(channel_id: str) -> str:
    """The address of a channel that outlives its handle."""
    return f"https://www.youtube.com/channel/{quote(channel_id, safe='')}"


def selector(url: str) -> dict[str, str] | None:
    """How `channels.list` finds the channel of an address; null where it is none.

    >>> selector("https://www.youtube.com/@ann/videos"), selector("youtube.com/channel/UC" + "x" * 22)
    ({'forHandle': '@ann'}, {'id': 'UCxxxxxxxxxxxxxxxxxxxxxx'})
    >>> selector("https://blog.example/@ann") is None
    True
    """
    address = url.strip()
    if _CHANNEL_ID.fullmatch(address):
        return {"id": address}
    if re.fullmatch(r"@[^\s/@]+", address):
        return {"forHandle": address}
    try:
        parts = urlsplit(address if "://" in address else f"https://{address}")
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    match [unquote(name) for name in parts.path.split("/") if name] if host in _HOSTS else []:
        case [name, *_] if name.startswith("@"):
            return {"forHandle": name}
        case ["channel" | "user" as by, name, *_]:
            return {"id" if by == "channel" else "forUsername": name}
    return None


def channel(api: Api) -> dict[str, Any]:
    """The channel that the account's address names: one unit. Raises `SourceError` where there is none."""
    url = api.account.url
    which = selector(url)
    if which is None:
        raise SourceError(
            "This names no YouTube channel", url, "Give its @handle, such as https://www.youtube.com/@handle."
        )
    for item in items(api.get("channels", part="snippet,statistics,contentDetails", **which), url):
        if text(item.get("id")):
            return item
    raise SourceError(
        "YouTube knows no such channel", url, "Look at the address in a browser: was it renamed, or closed?"
    )
