"""Comments and pingbacks of a WordPress site as interactions: whose they are and whom they answer."""

import html
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sources.answers import HttpError
from sources.model import Row, SourceError
from sources.visit import Pages, Visit
from sources.wordpress_api import Site, host_and_path

_MARGIN = timedelta(days=2)
"""`after` is compared with the site's local time: ask for more than is judged."""

_COMMENT = {
    "id": int, "post": int, "parent": int, "author": int, "author_name": str, "author_url": str, "date_gmt": str,
    "content": dict, "link": str, "status": str, "type": str, "author_avatar_urls": dict,
}  # fmt: skip
_AVATAR = re.compile(r"/avatar/([0-9a-f]{64}|[0-9a-f]{32})(?:[/?#]|$)")
_OF_NOTHING = {
    "d41d8cd98f00b204e9800998ecf8427e",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
}
"""MD5 and SHA-256 of no e-mail address at all."""


@dataclass(frozen=True)
class _Person:
    id: str | None
    name: str | None
    url: str | None
    is_own: bool


@dataclass
class Comments:
    """The comments of a site as interactions of the account.

    `own` are the ids of the account's own authors (`user:<id>`), `history()` the raw interactions so far.
    """

    visit: Visit
    site: Site
    own: set[str]
    history: Callable[[], list[Row]]
    _fetched: dict[int, _Person] = field(default_factory=dict)

    def pages(self, since: datetime | None) -> Pages:
        """Rows of the comments; one whose parent is not read yet waits for the end of the list."""
        known: dict[int, _Person] = {}
        names: set[str] = set()
        waiting: list[Row] = []
        for page in self.site.listed("comments", after(since), _COMMENT):
            approved = [comment for comment in page if comment.get("status", "approved") == "approved"]
            for comment in approved:
                known[comment["id"]] = person = self._person(comment)
                if person.is_own and person.name:
                    names.add(f"@{person.name.casefold()}")
            ready = [c for c in approved if not c.get("parent") or self._is_clear(c, known)]
            clear = {comment["id"] for comment in ready}
            waiting += [comment for comment in approved if comment["id"] not in clear]
            yield [row for comment in ready for row in self._row(comment, known)]
        if waiting:
            unknown = {comment["parent"] for comment in waiting} - known.keys()
            known |= self._elsewhere(unknown, is_whole=since is None)
            said = [c for c in waiting if not self._is_between(c, known) or _names(c, names)]
            yield [row for comment in said for row in self._row(comment, known)]

    def pingbacks(self) -> Pages:
        """Rows of pingbacks and trackbacks: other sites that link here. Only for those who log in."""
        for kind in ("pingback", "trackback"):
            try:
                for page in self.site.listed("comments", {"type": kind}, _COMMENT, login=True):
                    yield [self._pingback(item) for item in page if self._is_on_own(item)]
            except HttpError as error:
                if error.status not in (400, 401, 403):
                    raise
                raise SourceError(
                    f"The application password is refused, or its user may not see pingbacks ({error.status})",
                    error.where,
                    "Make a new one in the profile of a user who may edit posts.",
                ) from None

    def _row(self, comment: Row, known: Mapping[int, _Person]) -> Iterator[Row]:
        """The comment as an interaction; none where it has nothing to do with the account."""
        author, answered = known[comment["id"]], known.get(comment.get("parent") or 0)
        other = author
        if author.is_own and answered and not answered.is_own:
            other = answered
        elif not self._is_on_own(comment) and (author.is_own or not (answered and answered.is_own)):
            return
        row = {
            **self._shared(comment),
            "direction": "outbound" if other is not author else "inbound",
            "kind": "reply",
            "person": other.id,
            "person_name": other.name,
            "person_url": other.url,
            "in_reply_to": str(comment["parent"]) if comment.get("parent") else None,
        }
        yield row

    def _pingback(self, comment: Row) -> Row:
        address = comment.get("author_url") or ""
        host = (host_and_path(address) or "").partition("/")[0].partition("?")[0] or None
        shown = {
            "person": host,
            "person_name": _text(comment.get("author_name")),
            "person_url": host and f"https://{host}/",
        }
        return {**self._shared(comment), "direction": "inbound", "kind": "mention", **shown}

    def _shared(self, comment: Row) -> Row:
        link = comment.get("link")
        said = _plain(comment) if self.visit.store_text else None
        return {
            "interaction": str(comment["id"]),
            "post": str(comment["post"]) if comment.get("post") else None,
            "target_url": link.partition("#")[0] if link else None,
            "occurred_at": comment.get("date_gmt"),
            "content_text": said,
        }

    def _is_on_own(self, comment: Row) -> bool:
        return self.site.author is None or str(comment.get("post")) in self.visit.memory.present["posts"]

    def _is_clear(self, comment: Row, known: Mapping[int, _Person]) -> bool:
        """Whether it is known already whom the comment answers, and that this concerns the account."""
        return comment["parent"] in known and not self._is_between(comment, known)

    def _is_between(self, comment: Row, known: Mapping[int, _Person]) -> bool:
        """Whether one reader answers another, on the account's own ground but not the account."""
        author, answered = known[comment["id"]], known.get(comment.get("parent") or 0)
        return answered is not None and not author.is_own and not answered.is_own and author.id != answered.id

    def _person(self, comment: Row) -> _Person:
        """Who wrote it: a registered user, else an address, else the hash of an e-mail address, else a name."""
        name, url = _text(comment.get("author_name")), _text(comment.get("author_url"))
        page = host_and_path(url or "")
        if user := comment.get("author"):
            person = f"user:{user}"
            if person in self.own:
                return _Person(person, name, self.site.url, is_own=True)
            # Members' pages are often on the site's own host, and what is there counts as the account itself.
            is_here = page is not None and page.partition("/")[0] == self.site.host
            return _Person(person, name, None if is_here else url, is_own=False)
        return _Person(page or _gravatar(comment) or (name and f"name:{name.casefold()}"), name, url, is_own=False)

    def _elsewhere(self, parents: set[int], *, is_whole: bool) -> dict[int, _Person]:
        """Who wrote comments that the reading did not show: as known from earlier, else asked for one by one.

        A whole reading that lacks a comment has seen that it is held back or in the bin; earlier
        rows still tell who wrote it, so that an answer does not change when its parent vanishes.
        """
        found: dict[int, _Person] = {}
        for row in self.history():
            number = int(row["interaction"]) if str(row["interaction"]).isdecimal() else 0
            if number in parents:
                is_own = row["direction"] == "outbound" or row["person"] in self.own
                found[number] = _Person(row["person"], row["person_name"], row["person_url"], is_own=is_own)
        missing = sorted(parents - found.keys() - self._fetched.keys())
        for start in range(0, 0 if is_whole else len(missing), 100):
            include = ",".join(map(str, missing[start : start + 100]))
            for page in self.site.listed("comments", {"include": include}, _COMMENT, may_be_empty=True):
                self._fetched |= {comment["id"]: self._person(comment) for comment in page}
        return {**found, **{number: self._fetched[number] for number in parents & self._fetched.keys()}}


def after(since: datetime | None) -> dict[str, str | int]:
    """The parameter of a list that is read from `since` on; none where it is read whole."""
    return {"after": (since - _MARGIN).strftime("%Y-%m-%dT%H:%M:%S")} if since else {}


def _gravatar(comment: Row) -> str | None:
    avatars = comment.get("author_avatar_urls") or {}
    hashes = {found[1] for url in avatars.values() if isinstance(url, str) and (found := _AVATAR.search(url))}
    return next((f"gravatar:{value}" for value in sorted(hashes - _OF_NOTHING)), None)


def _text(value: object) -> str | None:
    return " ".join(html.unescape(value).split()) or None if isinstance(value, str) else None


def _plain(comment: Row) -> str | None:
    rendered = (comment.get("content") or {}).get("rendered")
    return _text(re.sub(r"<[^>]*>", " ", rendered)) if isinstance(rendered, str) else None


def _names(comment: Row, names: set[str]) -> bool:
    said = (_plain(comment) or "").casefold()
    return any(name in said for name in names)
