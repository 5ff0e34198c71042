"""How a WordPress REST API is found, asked and paged. What its answers mean is `sources.wordpress`'s business."""

import base64
import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urljoin, urlsplit, urlunsplit

from requests.utils import parse_header_links

from sources.answers import HttpError, Response, UnreachableError, mask
from sources.http import Client
from sources.model import AccountSource, Row, SourceError

PER_PAGE = 100
"""More is refused with 400."""
_REL = "https://api.w.org/"
_TAG = re.compile(r"<link\b[^>]*>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""\b(rel|href)\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_AUTHOR = re.compile(r"/author/([^/?#]+)/?$")
_USER = re.compile(r"/wp/v2/users/(\d+)$")
_PARTS = re.compile(
    r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?:[^/?#@]*@)?(?:[Ww]{3}\.)?([^/?#:]+)(?::\d+)?([^?#]*)(\?[^#]+)?"
)
_EMPTY_PAGES = 3

Types = Mapping[str, type]
Params = Mapping[str, str | int]


def host_and_path(url: str) -> str | None:
    """What two addresses of the same person share: host without `www.`, path without last slash, query.

    The same as `assets.urls.author_key`, so that a commenter and the author of a webmention have one id.

    >>> host_and_path("https://www.Example.org/ann/?id=7#me"), host_and_path("no address")
    ('example.org/ann?id=7', None)
    """
    found = _PARTS.match(url)
    return found and found[1].lower() + found[2].rstrip("/") + (found[3] or "")


@dataclass
class Site:
    """An open API: `root` is its address, `author` the one author that the account is, or none.

    `profile`, `url`, `name` and `slug` are what the profile is called; `host` the site's, without `www.`.
    """

    client: Client
    account: AccountSource
    root: str
    profile: str
    url: str
    host: str
    name: str | None = None
    slug: str | None = None
    author: int | None = None
    is_trusted: bool = True
    is_closed: bool = False

    def listed(
        self, path: str, params: Params, types: Types, *, login: bool = False, may_be_empty: bool = False
    ) -> Iterator[list[Row]]:
        """A list to its end, each item once, in pages; oldest first, so that what is added meanwhile comes last.

        The number of items is compared between first and last page; where it moved, the list is read once
        more. Items are checked against `types`. Raises `SourceError` where a page repeats an earlier one,
        where an item is damaged, and where nothing is shown of what is counted.
        """
        seen: set[int] = set()
        first = total = None
        for is_again in (False, True):
            number, empty = 1, 0
            while True:
                items, total = self._page(path, {**params, "page": number}, types, login=login)
                first = total if number == 1 else first
                fresh = [item for item in items if item["id"] not in seen]
                if items and not fresh and not is_again:
                    raise SourceError("The list repeats itself", self._where(path), "Try again later.")
                seen.update(item["id"] for item in fresh)
                yield fresh
                empty = 0 if items else empty + 1
                is_last = len(items) < PER_PAGE if total is None else number * PER_PAGE >= total
                if is_last or empty > _EMPTY_PAGES:
                    break
                number += 1
            if first == total:
                break
        if total and not seen and not may_be_empty:
            todo = "A login (an application password) may open it."
            raise SourceError(f"The site hides this list ({total} are counted)", self._where(path), todo)

    def count(self, path: str, params: Params) -> int | None:
        """How many items a list has; None where the site does not say."""
        try:
            _, response = self._ask(path, {**params, "per_page": 1, "_fields": "id"}, login=False)
        except HttpError:
            return None
        return _number(response.headers.get("X-WP-Total"))

    def _page(self, path: str, params: Params, types: Types, *, login: bool) -> tuple[list[Row], int | None]:
        query = {"per_page": PER_PAGE, "order": "asc", "orderby": "id", "_fields": ",".join(types), **params}
        try:
            items, response = self._ask(path, query, login=login)
        except HttpError as error:
            if error.code == "rest_post_invalid_page_number" and params["page"] != 1:
                return [], None  # the list has become shorter; the other number says that it moved
            raise
        _check(items, types, kind=params.get("type"), where=mask(response.url))
        return items, _number(response.headers.get("X-WP-Total"))

    def _ask(self, path: str, params: Params, *, login: bool) -> tuple[list[Any], Response]:
        url = f"{self.root}wp/v2/{path}"
        if not login and not self.is_closed:
            try:
                return self.client.get_json(url, params=params, shape=list)
            except HttpError as error:
                if error.status not in (401, 403) or not self.account.options.get("token"):
                    raise
                self.is_closed = True  # to strangers: from here on with the login
        return self.client.get_json(url, params=params, headers=self._login(), shape=list)

    def _login(self) -> dict[str, str]:
        user, colon, password = self.account.options.get("token", "").partition(":")
        if not colon or not user or not password:
            raise SourceError(
                "The token is no login", self.account.url, "Give it as <user>:<application password>, with the colon."
            )
        if not self.is_trusted:
            raise SourceError(
                "The API is on another host, or asked without https: the login stays here",
                mask(self.root),
                "Configure the address that the site itself uses, with https.",
            )
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}

    def _where(self, path: str) -> str:
        return mask(f"{self.root}wp/v2/{path}")


def looks_like_wordpress(client: Client, account: AccountSource) -> bool:
    """Whether the page at the address links to a WordPress API, or at least to files of WordPress.

    Raises `SourceError` where no page answers.
    """
    page = client.get(_relocated(account.url, account))
    return _root_of(page) is not None or any(sign in page.body for sign in (b"/wp-content/", b"/wp-includes/"))


def open_site(client: Client, account: AccountSource) -> Site:
    """The API of the site at the account's address: where the page says that it is, else where it is by default.

    Raises `SourceError` where there is none, or the author that the address names is unknown.
    """
    base, slug, number = _parts(account.url)
    page: Response | None = None
    try:
        page = client.get(_relocated(account.url if slug or number else base, account))
    except HttpError as error:
        if error.status == 429 or error.status >= 500:
            raise
    root, about = _root(client, account, page, base)
    home = about.get("home") or about.get("url")
    home = f"{home.rstrip('/')}/" if isinstance(home, str) and host_and_path(home) else base
    name = about.get("name")
    site = Site(
        client=client, account=account, root=root, profile=host_and_path(home) or home, url=home,
        host=(host_and_path(home) or "").partition("/")[0], name=html.unescape(name) if isinstance(name, str) else None,
        is_trusted=_is_trusted(root, account, page),
    )  # fmt: skip
    if slug is None and number is None:
        return site
    return _of_author(site, slug, number or (_linked_user(page) if page else None))


def _of_author(site: Site, slug: str | None, number: int | None) -> Site:
    """The site as one author's: by the list of users, else by what the author's page links to."""
    params: dict[str, str | int] = {"slug": slug} if slug else {"include": number or 0}
    users: list[Any] = []
    try:
        users, _ = site._ask("users", {**params, "_fields": "id,name,slug,link"}, login=False)
    except HttpError as error:
        if error.status == 429 or error.status >= 500 or number is None:
            raise
    user = users[0] if users and isinstance(users[0], dict) else {}
    found = user.get("id", number)
    if not isinstance(found, int):
        raise SourceError(
            f"The site names no author {slug!r}", site.account.url, "Give the address of an author who has posts."
        )
    site.author, site.profile = found, f"{site.profile} user:{found}"
    link, name, slug = user.get("link"), user.get("name"), user.get("slug", slug)
    site.url = link if isinstance(link, str) else site.account.url
    site.name = name if isinstance(name, str) else site.name
    site.slug = slug if isinstance(slug, str) else None
    return site


def _root(client: Client, account: AccountSource, page: Response | None, base: str) -> tuple[str, Row]:
    """The address of the API and what it says of itself."""
    linked = _root_of(page) if page else None
    parts = urlsplit(base)
    top = urlunsplit((parts.scheme, parts.netloc, "/", "", ""))
    tried = [linked] if linked else []
    for folder in dict.fromkeys((base, top)):
        tried += [f"{folder}wp-json/", f"{folder}?rest_route=/"]
    for address in tried:
        root = _relocated(address, account)
        root = root if root.endswith("/") else f"{root}/"
        try:
            about, _ = client.get_json(root, params={"_fields": "name,url,home,namespaces"}, shape=dict)
        except HttpError as error:
            if error.status == 429 or error.status >= 500:
                raise
            if error.status in (401, 403) and linked:
                return root, {}  # closed to strangers; the lists say so, or take a login
            continue
        except UnreachableError:
            raise
        except SourceError:  # no JSON: a page that is shown for every address
            if address == linked:
                raise
            continue
        if "wp/v2" in (about.get("namespaces") or ()):
            return root, about
    raise SourceError("No WordPress API is found", mask(account.url), "Check the address; some sites switch it off.")


def _root_of(page: Response) -> str | None:
    """Where the page says that its API is: in the `Link` header, else in a `<link>`."""
    for link in parse_header_links(page.headers.get("Link", "")):
        if _REL in link.get("rel", "").split():
            return urljoin(page.url, unquote(link["url"]) if "rest_route=" in link["url"] else link["url"])
    for tag in _TAG.findall(page.body[: 512 * 1024].decode("utf-8", "replace")):
        said = {name.lower(): html.unescape(double or single) for name, double, single in _ATTRIBUTE.findall(tag)}
        if _REL in said.get("rel", "").split() and said.get("href"):
            return urljoin(page.url, said["href"])
    return None


def _linked_user(page: Response) -> int | None:
    """The user whose page this is, as its `Link` header says."""
    for link in parse_header_links(page.headers.get("Link", "")):
        if found := _USER.search(link.get("url", "")):
            return int(found[1])
    return None


def _parts(url: str) -> tuple[str, str | None, int | None]:
    """The site of an address, and the author's slug or number that it names.

    >>> _parts("https://blog.example/de/author/ann/"), _parts("https://blog.example/wp-json/wp/v2/")
    (('https://blog.example/de/', 'ann', None), ('https://blog.example/', None, None))
    """
    parts = urlsplit(url)
    path = parts.path.partition("/wp-json")[0]
    found = _AUTHOR.search(path)
    folder = path[: found.start()] if found else path
    author = parse_qs(parts.query).get("author", [""])[0]
    base = urlunsplit((parts.scheme, parts.netloc, folder.rstrip("/") + "/", "", ""))
    return base, unquote(found[1]) if found else None, int(author) if author.isdecimal() else None


def _relocated(url: str, account: AccountSource) -> str:
    """The address at the account's endpoint, where it has one; by https where the account's address is."""
    wanted, there = urlsplit(url), urlsplit(account.endpoint or account.url)
    if account.endpoint or (wanted.netloc == there.netloc and there.scheme == "https"):
        return urlunsplit(wanted._replace(scheme=there.scheme, netloc=there.netloc))
    return url


def _is_trusted(root: str, account: AccountSource, page: Response | None) -> bool:
    """Whether a login may go to the API: on the site's own host, and not readable on the way there."""
    hosts = {_host(url) for url in (account.url, account.endpoint or "", page.url if page else "")}
    return _host(root) in hosts and (urlsplit(root).scheme == "https" or account.allow_private)


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").removeprefix("www.")


def _check(items: list[Any], types: Types, *, kind: object, where: str) -> None:
    """Refuse a page with damaged items: a field that others on it have is missing, or of another type.

    A field that the whole page lacks is one that the site does not give.
    """
    names = {name for item in items if isinstance(item, dict) for name in item} & types.keys()
    for item in items:
        is_sound = isinstance(item, dict) and all(
            name in item and (item[name] in (None, []) or isinstance(item[name], types[name])) for name in names
        )
        if not is_sound or not isinstance(item.get("id"), int) or (kind and item.get("type", kind) != kind):
            raise SourceError("An item of the list is damaged", where, "Try again later.")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
