"""X's API v2 with a bearer token: what is read is paid for, so it is counted before and after each request."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from sources.budget import Budget, BudgetSpentError
from sources.http import Client, HttpError
from sources.model import AccountSource, SourceError

API = "https://api.x.com"
_WHERE = (
    "Make an app at https://console.x.com, and put its bearer token into the environment as RAPPORT_X_TOKEN. "
    "X charges for what is read: [budgets] in rapport.toml says how much that may be."
)
_HOSTS = {"x.com", "www.x.com", "mobile.x.com", "twitter.com", "www.twitter.com", "mobile.twitter.com"}
_NOT_NAMES = {"home", "explore", "search", "settings", "notifications", "messages", "intent", "share", "hashtag", "tos"}
_EPOCH = datetime(2010, 11, 4, 1, 42, 54, 657_000, tzinfo=UTC)
_USED_UP = re.compile(r"UsageCapExceeded|CreditsDepleted|usage-capped|credits", re.IGNORECASE)


class TokenRefusedError(SourceError):
    """X does not accept the token (any more): nothing further can be read."""


class AbsentError(SourceError):
    """X says by a code that something is not there."""


class ForbiddenError(SourceError):
    """X does not show this to the token, though it accepts it."""


class Api:
    """The API with a token and a budget of posts and users: nothing more once either is refused.

    `client_of(endpoint)` gives the client of an endpoint, since X limits the rate of each apart.
    """

    def __init__(
        self,
        client_of: Callable[[str], Client],
        account: AccountSource,
        budget: Budget,
        *,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Ask on the budget, with `headers` that the clients do not have of themselves."""
        self.client_of, self.account, self.budget, self.headers = client_of, account, budget, headers
        self.base = (account.endpoint or API).rstrip("/")
        self.stopped: SourceError | None = None

    def get(
        self,
        endpoint: str,
        path: str,
        *,
        cost: int,
        least: int | None = None,
        params: dict[str, str | int] | None = None,
    ) -> dict[str, Any]:
        """The answer of one request that returns posts and users up to `cost`; with `least`, fewer where less is left.

        Then `max_results` of the `params` is made smaller in proportion. A request costs what it returns, and one
        where it returns nothing. Raises `BudgetSpentError`, `TokenRefusedError`, `AbsentError`, `ForbiddenError`
        or another `SourceError`.
        """
        self.check()
        asked, who = dict(params or {}), self.account.account_id
        try:
            taken = self.budget.spend(cost, account_id=who, least=least)
        except BudgetSpentError as error:
            self.stopped = error
            raise
        if "max_results" in asked:
            asked["max_results"] = int(asked["max_results"]) * taken // cost
        returned = 0
        try:
            client = self.client_of(endpoint)
            said: dict[str, Any] = client.get_json(
                f"{self.base}/2/{path}", params=asked, headers=self.headers, shape=dict
            )[0]
            returned = max(_resources(said), 1)
        except HttpError as error:
            refused = self._meaning(error, path)
            if isinstance(refused, BudgetSpentError | TokenRefusedError):
                self.stopped = refused
            raise (refused or error) from None
        finally:
            self.budget.give_back(taken - returned, account_id=who)
        return said

    def pages(
        self, endpoint: str, path: str, params: dict[str, str | int], *, each: int, least: int, size: int = 100
    ) -> Iterator[dict[str, Any]]:
        """The pages of a list, of which an item costs up to `each` and a page has at least `least` items, to its end."""
        token, seen = "", {""}
        while True:
            cursor: dict[str, str | int] = {"pagination_token": token} if token else {}
            said = self.get(
                endpoint, path, cost=size * each, least=least * each, params={**params, "max_results": size, **cursor}
            )
            if "data" not in said and (problem := _problem(said)):
                raise problem(
                    f"X does not show this ({_title(said)})", f"{self.base}/2/{path}", "Look at it in a browser."
                )
            yield said
            token = str(section(said, "meta").get("next_token") or "")
            if not token:
                return
            if token in seen:
                raise SourceError("The list repeats itself without end", f"{self.base}/2/{path}", "Try again later.")
            seen.add(token)

    def require(self, cost: int) -> None:
        """See that so much may still be spent, before something is begun that would be of no use cut short."""
        self.check()
        try:
            self.budget.require(cost, account_id=self.account.account_id)
        except BudgetSpentError as error:
            self.stopped = error
            raise

    def check(self) -> None:
        """Raise again what ended the reading for good, if anything did."""
        if self.stopped is not None:
            raise self.stopped

    def _meaning(self, error: HttpError, path: str) -> SourceError | None:
        where, said = f"{self.base}/2/{path}", _json(error.body)
        title = _title(said)
        if error.status == 402 or (error.status in (403, 429) and _USED_UP.search(f"{title} {said.get('type')}")):
            return self.budget.stop(f"X says that what was paid for is used ({title or error.status})")
        if error.status == 401:
            return TokenRefusedError("X refuses the token (401)", self.base, _WHERE)
        if error.status == 403:
            return ForbiddenError(f"X does not show this to the token ({title or 403})", where, "Another plan may.")
        return (
            AbsentError("X says that this is not there", where, "Look at it in a browser.")
            if error.status == 404
            else None
        )


def _json(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _title(said: dict[str, Any]) -> str:
    """The title of a problem: one of a few fixed texts; never its detail, which may repeat what was sent."""
    problems = [said, *problems_of(said)]
    found = next((str(p["title"]) for p in problems if p.get("title")), "")
    return re.sub(r"[^A-Za-z0-9 ]", "", found)[:60]


def problems_of(said: dict[str, Any]) -> list[dict[str, Any]]:
    """The `errors` of an answer that is otherwise well."""
    errors = said.get("errors")
    return [problem for problem in errors if isinstance(problem, dict)] if isinstance(errors, list) else []


def is_absent(problem: dict[str, Any]) -> bool:
    """Whether a problem says that what was asked for does not exist (any more)."""
    return str(problem.get("type", "")).endswith("resource-not-found")


def _problem(said: dict[str, Any]) -> type[SourceError] | None:
    found = problems_of(said)
    return (AbsentError if is_absent(found[0]) else ForbiddenError) if found else None


def section(item: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A part of an answer or item; empty where it is missing or no object."""
    found = item.get(name)
    return found if isinstance(found, dict) else {}


def text(value: object) -> str | None:
    """The text; null where it is none."""
    return value if isinstance(value, str) else None


def objects(said: Mapping[str, Any], name: str = "data") -> list[dict[str, Any]]:
    """The objects of an answer: its `data`, or `users` and `tweets` that were included with it.

    Raises `SourceError` where one of the `data` has no id: such a list is not believed.
    """
    found = said.get("data") if name == "data" else section(said, "includes").get(name)
    listed = [found] if isinstance(found, dict) else found if isinstance(found, list) else []
    whole = [item for item in listed if isinstance(item, dict) and text(item.get("id"))]
    if name == "data" and (len(whole) < len(listed) or not isinstance(found, list | dict | None)):
        raise damaged()
    return whole


def posts_of(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The posts of a timeline. Raises `SourceError` where one lacks its author or time, or says oddly what it refers to."""
    posts = objects(said)
    for post in posts:
        answered = post.get("in_reply_to_user_id", "")
        refers = post.get("referenced_tweets", [])
        is_whole = text(post.get("author_id")) and text(post.get("created_at")) and str(post["id"]).isdigit()
        if not is_whole or not isinstance(answered, str) or not isinstance(refers, list):
            raise damaged()
    return posts


def damaged() -> SourceError:
    """An answer lacks what every such answer has."""
    return SourceError("X's answer is damaged", API, "It is read again the next night.")


def _resources(said: dict[str, Any]) -> int:
    parts = (said.get("data"), *section(said, "includes").values())
    return sum(len(part) if isinstance(part, list) else 1 for part in parts if part)


def published_at(post: str) -> datetime:
    """The time that an id holds: milliseconds since November 2010 in all but its last 22 bits.

    >>> published_at("1212092628029698048").isoformat()
    '2019-12-31T19:26:16.771000+00:00'
    """
    return _EPOCH + timedelta(milliseconds=int(post) >> 22 if post.isdigit() else 0)


def token(account: AccountSource) -> str:
    """The bearer token. Raises `SourceError`, which says where to get one, where there is none."""
    found = account.options.get("token")
    if not found:
        raise SourceError("X is read with a bearer token, and there is none", account.url, _WHERE)
    return found


def headers(account: AccountSource) -> dict[str, str]:
    """The token in a header."""
    return {"Authorization": f"Bearer {token(account)}"}


def username(url: str) -> str | None:
    """The name in the address of a profile; null where it is none.

    >>> username("https://x.com/ann"), username("twitter.com/@ann/status/1"), username("https://blog.example/ann")
    ('ann', 'ann', None)
    """
    address = url.strip()
    if re.fullmatch(r"@\w{1,15}", address):
        return address[1:]
    try:
        parts = urlsplit(address if "://" in address else f"https://{address}")
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    names = [unquote(name).lstrip("@") for name in parts.path.split("/") if name] if host in _HOSTS else []
    known = names and re.fullmatch(r"\w{1,15}", names[0]) and names[0].lower() not in _NOT_NAMES
    return names[0] if known else None


def user(api: Api) -> dict[str, Any]:
    """The user that the account's address names. Raises `SourceError` where there is none, or X does not show it."""
    url = api.account.url
    name = username(url)
    if name is None:
        raise SourceError("This names no user of X", url, "Give the profile's address, such as https://x.com/name.")
    fields = "created_at,public_metrics,protected,name,username"
    said = api.get("user", f"users/by/username/{name}", cost=1, params={"user.fields": fields})
    for found in objects(said):
        return found
    what = f"X does not show this user ({_title(said) or 'no data'})"
    raise SourceError(what, url, "Look at the address in a browser: was it renamed, suspended or closed?")
