"""RSS, Atom and JSON Feed: from bytes to one neutral shape; and finding feeds in a page.

Values stay as the feed says them: no date is parsed and no text shortened here. XML is read by
defusedxml, so that a hostile feed ends in a message and not in a full memory.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.etree.ElementTree import Element, ParseError, tostring

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from sources.model import Row, SourceError

_ATOM = "{http://www.w3.org/2005/Atom}"
_CONTENT = "{http://purl.org/rss/1.0/modules/content/}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_XHTML = "{http://www.w3.org/1999/xhtml}"
_XML = "{http://www.w3.org/XML/1998/namespace}"
_DECLARED = re.compile(rb"^\s*<\?xml[^>]*?encoding\s*=\s*[\"']([\w.:-]+)")
_HTML = re.compile(r"<!doctype\s+html|<html[\s>]|<head[\s>]|<body[\s>]", re.IGNORECASE)
_FEED_TYPES = ("application/feed+json", "application/atom+xml", "application/rss+xml", "application/json")
_NO_FEED = "Give the address of the feed itself, or of a page that links to it."
_ASK_OWNER = "Check the feed with a validator, and ask its owner to repair it."


@dataclass(frozen=True, kw_only=True)
class Feed:
    """A feed as it came: what it says about itself, its items, and where it goes on."""

    format: str
    title: str | None
    home_page_url: str | None
    language: str | None
    items: list[Row]
    next_url: str | None = None


def is_html(body: bytes, media_type: str) -> bool:
    """Whether the answer is a web page and not a feed, whatever its content type claims."""
    start = body[:4096].decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if start.startswith(("{", "[", "<rss", "<feed")):
        return False
    return bool(_HTML.search(start)) or (media_type == "text/html" and not start.startswith("<?xml"))


def parse_feed(body: bytes, *, charset: str | None, url: str, where: str) -> Feed:
    """The feed in the body. Raises `SourceError` where it is none, or a broken one.

    `charset` is what the server declared; a byte order mark and the XML declaration come first.
    Relative addresses are resolved against `url`; `where` is how messages name the place.
    """
    text = _decoded(body, charset, where).strip().lstrip("\ufeff")
    if not text:
        raise SourceError("The answer is empty", where, "Check the address in a browser; it may be a passing fault.")
    if text[0] in "{[":
        return _json_feed(text, url, where)
    if text[0] == "<":
        return _xml_feed(text, url, where)
    raise SourceError("This is neither RSS nor Atom nor JSON Feed", where, _NO_FEED)


def _decoded(body: bytes, charset: str | None, where: str) -> str:
    declared = _DECLARED.match(body)
    marks = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    mark = next((name for mark, name in marks.items() if body.startswith(mark)), None)
    candidates = dict.fromkeys(
        name for name in (mark, declared and declared.group(1).decode(), charset, "utf-8") if name
    )
    for name in candidates:
        try:
            return body.decode(name)
        except (UnicodeDecodeError, LookupError):
            continue
    raise SourceError(f"The text is not in the encoding it declares ({', '.join(candidates)})", where, _ASK_OWNER)


def _json_feed(text: str, url: str, where: str) -> Feed:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", "?")
        raise SourceError(f"The JSON is broken (line {line})", where, _ASK_OWNER) from None
    items = said.get("items") if isinstance(said, dict) else None
    if not isinstance(items, list):
        raise SourceError("This is JSON, but no JSON Feed (no list of `items`)", where, _NO_FEED)
    return Feed(
        format="JSON Feed",
        title=_said(said.get("title")),
        home_page_url=_absolute(_said(said.get("home_page_url")), url),
        language=_said(said.get("language")),
        items=[_json_item(item, url) for item in items],
        next_url=_absolute(_said(said.get("next_url")), url),
    )


def _json_item(item: Any, url: str) -> Row:
    if not isinstance(item, dict):
        return {"extra": json.dumps(item, ensure_ascii=False)}
    tags = item.get("tags")
    return {
        "item_id": _said(item.get("id")) or None,
        "url": _absolute(_said(item.get("url")), url),
        "external_url": _said(item.get("external_url")),
        "published": _said(item.get("date_published")),
        "updated": _said(item.get("date_modified")),
        "title": _said(item.get("title")),
        "summary": _said(item.get("summary")),
        "content_text": _said(item.get("content_text")),
        "content_html": _said(item.get("content_html")),
        "language": _said(item.get("language")),
        "tags": json.dumps(tags, ensure_ascii=False) if tags else None,
    }


def _said(value: Any) -> str | None:
    """The value as text; numbers (ids, against the letter of the format) as they are written."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _absolute(address: str | None, base: str) -> str | None:
    if not address or not address.strip():
        return None
    try:
        return address if urlsplit(address).scheme else urljoin(base, address.strip())
    except ValueError:
        return address


def _base(said: str | None, url: str) -> str:
    """What relative addresses are relative to; the document's own address where what it says is none."""
    try:
        return urljoin(url, said or "")
    except ValueError:
        return url


def _xml_feed(text: str, url: str, where: str) -> Feed:
    try:
        root = fromstring(text, forbid_entities=True, forbid_external=True)
    except ParseError as error:
        line = error.position[0]
        raise SourceError(f"The XML is broken (line {line})", where, _ASK_OWNER) from None
    except DefusedXmlException:
        raise SourceError(
            "The XML defines entities, as attacks do, and was not read", where, "Read a feed you trust instead."
        ) from None
    kind = root.tag.rpartition("}")[2].lower()
    if root.tag == f"{_ATOM}feed":
        return _atom(root, url)
    if kind in ("rss", "rdf"):
        return _rss(root, url)
    raise SourceError(f"This is XML, but neither RSS nor Atom (it starts with <{kind}>)", where, _NO_FEED)


def _text(parent: Element | None, *names: str) -> str | None:
    """Text of the first child with one of the names; a name without namespace also fits RSS 1.0."""
    for name in names:
        for child in parent if parent is not None else ():
            plain = child.tag.replace("{http://purl.org/rss/1.0/}", "") if isinstance(child.tag, str) else ""
            if plain == name and (text := (child.text or "").strip()):
                return text
    return None


def _rss(root: Element, url: str) -> Feed:
    channel = next((e for e in root if str(e.tag).endswith("channel")), root)
    items = [e for e in root.iter() if str(e.tag).rpartition("}")[2] == "item"]
    return Feed(
        format="RSS",
        title=_text(channel, "title"),
        home_page_url=_absolute(_text(channel, "link"), url),
        language=_text(channel, "language", f"{_DC}language"),
        items=[_rss_item(item, url) for item in items],
    )


def _rss_item(item: Element, url: str) -> Row:
    guid_element = item.find("guid")
    guid, link = _text(item, "guid"), _text(item, "link")
    is_permalink = guid_element is not None and guid_element.get("isPermaLink", "true").lower() == "true"
    if link is None and guid and is_permalink and guid.startswith(("http://", "https://")):
        link = guid
    tags = [e.text.strip() for e in item.findall("category") if e.text and e.text.strip()]
    return {
        "item_id": guid or link,  # RSS makes the guid optional; the link is what readers then go by
        "url": _absolute(link, url),
        "published": _text(item, "pubDate", f"{_DC}date"),
        "updated": _text(item, f"{_ATOM}updated"),
        "title": _text(item, "title"),
        "summary": _text(item, "description"),
        "content_html": _text(item, f"{_CONTENT}encoded"),
        "language": _text(item, f"{_DC}language"),
        "tags": json.dumps(tags, ensure_ascii=False) if tags else None,
    }


def _atom(root: Element, url: str) -> Feed:
    base = _base(root.get(f"{_XML}base"), url)
    return Feed(
        format="Atom",
        title=_text(root, f"{_ATOM}title"),
        home_page_url=_link(root, base),
        language=root.get(f"{_XML}lang"),
        items=[_atom_entry(e, base) for e in root.findall(f"{_ATOM}entry")],
    )


def _link(parent: Element, url: str) -> str | None:
    """The address of the page itself: a link `alternate`, or without relation."""
    for link in parent.findall(f"{_ATOM}link"):
        if link.get("rel", "alternate") == "alternate" and link.get("href"):
            return _absolute(link.get("href"), url)
    return None


def _atom_entry(entry: Element, url: str) -> Row:
    content = entry.find(f"{_ATOM}content")
    summary = entry.find(f"{_ATOM}summary")
    is_text = content is not None and content.get("type", "text") == "text"
    said = _construct(content)
    tags = [e.get("term") for e in entry.findall(f"{_ATOM}category") if e.get("term")]
    return {
        "item_id": _text(entry, f"{_ATOM}id"),
        "url": _link(entry, url),
        "published": _text(entry, f"{_ATOM}published"),
        "updated": _text(entry, f"{_ATOM}updated"),
        "title": _construct(entry.find(f"{_ATOM}title")),
        "summary": _construct(summary),
        "content_text": said if is_text else None,
        "content_html": None if is_text else said,
        "language": entry.get(f"{_XML}lang"),
        "tags": json.dumps(tags, ensure_ascii=False) if tags else None,
    }


def _construct(element: Element | None) -> str | None:
    """An Atom text construct: text and html are character data, xhtml is the inside of a `div`."""
    if element is None:
        return None
    if element.get("type") == "xhtml" and len(element):
        for inner in element[0].iter():
            inner.tag = str(inner.tag).removeprefix(_XHTML)
        return tostring(element[0], encoding="unicode").strip()
    return (element.text or "").strip() or None


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base: str | None = None
        self.found: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "base" and self.base is None:
            self.base = given.get("href")
        if tag == "link" and "alternate" in given.get("rel", "").lower().split() and given.get("href"):
            media_type = given.get("type", "").partition(";")[0].strip().lower()
            self.found.append((media_type, given["href"], given.get("title", "")))


def feed_links(body: bytes, *, charset: str | None, url: str) -> list[str]:
    """Feeds that a page links to, the best first: JSON Feed, Atom, RSS; feeds of comments last.

    >>> page = b'<link rel="alternate" type="application/rss+xml" href="/feed.xml">'
    >>> feed_links(page, charset=None, url="https://blog.example/about/")
    ['https://blog.example/feed.xml']
    """
    try:
        text = body.decode(charset or "utf-8", "replace")
    except LookupError:
        text = body.decode("utf-8", "replace")
    parser = _Links()
    parser.feed(text)
    base = _base(parser.base, url)
    return [address for href in _by_preference(parser.found) if (address := _absolute(href, base))]


def _by_preference(found: list[tuple[str, str, str]]) -> Iterator[str]:
    for comments in (False, True):
        for wanted in _FEED_TYPES:
            for media_type, href, title in found:
                if media_type == wanted and ("comment" in f"{href} {title}".lower()) == comments:
                    yield href
