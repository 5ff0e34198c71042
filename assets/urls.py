"""Addresses, compared without guessing: host without `www.`, path without trailing slash, nothing else."""

import polars as pl

PARTS = r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?:[^/?#@]*@)?(?:[Ww]{3}\.)?([^/?#:]+)(?::\d+)?([^?#]*)"
"""Of an address: 1 the host without `www.` and port, 2 the path. Also read by DuckDB (`assets/parts.py`)."""


def host(address: pl.Expr) -> pl.Expr:
    """The host of an address, lower case, without `www.` and port; null where there is none.

    >>> pl.select(host(pl.lit("https://www.Example.org:8080/a"))).item()
    'example.org'
    """
    return address.str.extract(PARTS, 1).str.to_lowercase()


def match_key(address: pl.Expr) -> pl.Expr:
    """What two addresses of the same page share: host and path, without query and fragment.

    >>> pl.select(match_key(pl.lit("http://www.example.org/a/?utm_source=x#top"))).item()
    'example.org/a'
    """
    return host(address) + address.str.extract(PARTS, 2).str.strip_chars_end("/")


def author_key(address: pl.Expr) -> pl.Expr:
    """What two addresses of the same person share: `match_key` and the query, which tells people apart.

    >>> pl.select(author_key(pl.lit("https://www.example.org/profile.php?id=7#top"))).item()
    'example.org/profile.php?id=7'
    """
    return match_key(address) + address.str.extract(r"^[^?#]*(\?[^#]+)", 1).fill_null("")
