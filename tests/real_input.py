"""The README's commands on real data sets, as a user would type them; what the marts say is held against the JSON.

Run as `python tests/real_input.py FOLDER`: prints what the commands print, ends with an error where a count differs.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb

sys.path.insert(0, str(Path(__file__).resolve().parent))

from serve_webmention import serving

CHECKOUT = Path(__file__).resolve().parent.parent
KINDS = {
    "in-reply-to": "reply",
    "like-of": "like",
    "repost-of": "repost",
    "mention-of": "mention",
    "bookmark-of": "bookmark",
    "rsvp": "rsvp",
}
SITES = {
    "nhoizey": ("webmention-nhoizey", "https://nicolas-hoizey.com/", "2020-09-18"),
    "webwewant": ("webmention-webwewant", "https://webwewant.fyi/", "2022-06-30"),
}


def rapport(home: Path, *arguments: str) -> None:
    """Run a verb and show what it prints; an exit code other than 0 is an error."""
    print(f"\n$ ./rapport {' '.join(arguments)}", flush=True)
    environment = {**os.environ, "RAPPORT_HOME": str(home), "RAPPORT_WEBMENTION_TOKEN": "secret"}  # noqa: TID251
    subprocess.run([str(CHECKOUT / "rapport"), *arguments], env=environment, check=True)


def expect(what: str, found: object, wanted: object) -> None:
    """Say what was found; an error where it is not what the source says."""
    print(f"{'✓' if found == wanted else '✗'} {what}: {found}", flush=True)
    if found != wanted:
        raise SystemExit(f"{what}: the source says {wanted}")


def published(home: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query on the published file."""
    with duckdb.connect(str(home / "published" / "rapport.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def warehouse(home: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query on the warehouse."""
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def sites(data: Path, home: Path) -> None:
    """Both sites, the second joining a home that already has the first."""
    with ExitStack() as servers:
        addresses = {name: servers.enter_context(serving(data / folder))[0] for name, (folder, _, _) in SITES.items()}
        for account, (folder, site, as_of) in SITES.items():
            _site(data / folder, home, account, site, addresses[account], as_of)
    rapport(
        home, "query", "select account_id, metric, round(value, 3) as value, n, note from mart_summary order by 1, 2"
    )
    rapport(home, "status")


def _site(folder: Path, home: Path, account: str, site: str, address: str, as_of: str) -> None:
    """Add one site, run its night, hold what was collected against its files."""
    mentions = json.loads((folder / "mentions.jf2.json").read_text(encoding="utf-8"))["children"]
    posts = json.loads((folder / "feed.json").read_text(encoding="utf-8"))["items"]
    common = ["--account", account, "--endpoint", address, "--allow-private"]
    rapport(home, "add", f"{site}feed.json", *common)
    rapport(home, "add", site, "--source", "webmention", *common)
    rapport(home, "run", "--as-of", as_of)
    kinds = Counter(KINDS[mention["wm-property"]] for mention in mentions)
    where = f"where account_id = '{account}'"
    found = warehouse(home, f"select kind, count(*) from core.fct_interaction {where} group by 1")
    expect(f"{account}: interactions by kind", dict(sorted(found)), dict(sorted(kinds.items())))
    expect(f"{account}: posts", warehouse(home, f"select count(*) from core.dim_post {where}"), [(len(posts),)])
    expect(
        f"{account}: set aside",
        warehouse(home, f"select count(*) from staging.stg_webmention__quarantine {where}"),
        [(0,)],
    )


def mathoverflow(data: Path, home: Path) -> None:
    """An activity file of 390,441 interactions."""
    rapport(home, "import", "--interactions", str(data / "mathoverflow" / "interactions.parquet"))
    rapport(home, "run", "--as-of", "2016-03-06")
    expect("mathoverflow: interactions", warehouse(home, "select count(*) from core.fct_interaction"), [(390_441,)])
    [(hash_before,)] = published(home, "select content_hash from marts.about")
    rapport(home, "import", "--interactions", str(data / "mathoverflow" / "interactions.parquet"))
    rapport(home, "run", "--as-of", "2016-03-06")
    expect(
        "mathoverflow, again: content hash", published(home, "select content_hash from marts.about"), [(hash_before,)]
    )


def main() -> None:
    """Both kinds of input, each in a home of its own."""
    data = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        sites(data, Path(folder) / "sites")
        mathoverflow(data, Path(folder) / "mathoverflow")


if __name__ == "__main__":
    main()
