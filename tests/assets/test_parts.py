"""What `assets.parts` says in SQL is what staging and core say in Polars: ids, pages, stripped texts."""

import sys

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets import parts, urls
from assets.resolve import published_id

ADDRESSES = [
    "https://www.Example.org:8080/a/b/?q=1#top", "http://EXAMPLE.org", "//user@host.example/a//", "WWW://x", "mailto:a@b",
    "https://host/", "https://www.www.example/x", "", "no address", "https://bücher.example/ä?", "https://h/a#b?c",
    "https://a@b@c/d", "https://[::1]/x", "HTTPS://WwW.h:/p",
]  # fmt: skip
pieces = st.sampled_from(
    ["https:", "//", "www.", "WWW.", "a.Example", "host", ":80", "/", "p/q", "?x=1", "#f", "@", "é", " "]
)


def in_duckdb(expression: str, texts: list[str], **more: list[str]) -> list[str | None]:
    rows = pl.DataFrame({"text": texts, **more}).to_arrow()
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        return [row[0] for row in connection.execute(f"select {expression} from rows").fetchall()]


def assert_pages_agree(addresses: list[str]) -> None:
    known = pl.DataFrame({"text": addresses}).select(urls.match_key(pl.col("text"))).to_series().to_list()
    page = parts._page("text").replace("{{", "{").replace("}}", "}")
    assert in_duckdb(page, addresses) == [key or "" for key in known]


def test_pages_of_addresses() -> None:
    assert_pages_agree(ADDRESSES)


@given(st.lists(st.lists(pieces, max_size=7).map("".join), min_size=1, max_size=20))
def test_pages_of_any_addresses(addresses: list[str]) -> None:
    assert_pages_agree(addresses)


@pytest.mark.parametrize(
    "said", [("a/b", "feed", "https://x/1"), ("a%2Fb", "t/%", "%"), ("", "/", "//"), ("é", "x", "1/2")]
)
def test_published_ids(said: tuple[str, str, str]) -> None:
    account, platform, native = said
    (found,) = in_duckdb(
        parts._ID.format(""), [native], account_id=[account], platform=[platform], interaction=[native]
    )
    assert found == pl.select(published_id(*(pl.lit(part) for part in said))).item()


def test_every_character_that_is_stripped() -> None:
    texts = [f"{chr(code)}a {chr(code)}" for code in range(1, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    stripped = pl.DataFrame({"text": texts}).select(pl.col("text").str.strip_chars()).to_series().to_list()
    assert in_duckdb(parts._stripped("text"), texts) == stripped
