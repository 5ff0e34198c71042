"""Two real sites, collected over HTTP in the API's own shape, held against plain counts over the JSON itself."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pytest
from serve_webmention import serving

from orchestration import cli, definitions

pytestmark = [pytest.mark.shared, pytest.mark.slow]
AS_OF = date(2020, 9, 18)
END = datetime(2020, 9, 19, tzinfo=UTC)
WEEK = timedelta(days=7)


def page(url: str) -> str:
    """Host without `www.` and path without trailing slash: what two addresses of a page share."""
    parts = urlsplit(url)
    return (parts.hostname or "").removeprefix("www.") + parts.path.rstrip("/")


def moment(text: str) -> datetime:
    """A time; without a zone it is UTC."""
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with both sites, nhoizey run twice; afterwards webwewant joined it."""
    folder = tmp_path_factory.mktemp("sites")
    data = Path(__file__).resolve().parents[2] / "shared" / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPPORT_HOME", str(folder))
        patch.setenv("RAPPORT_WEBMENTION_TOKEN", "secret")
        with serving(data / "webmention-nhoizey") as (address, requests):
            add("nhoizey", "https://nicolas-hoizey.com/", address)
            assert cli.main(["run", "--as-of", str(AS_OF)]) == 0
            first = published(folder, "select content_hash from about")
            before = len(requests)
            assert cli.main(["run", "--as-of", str(AS_OF)]) == 0
            assert published(folder, "select content_hash from about") == first
            assert all("since_id=853533" in r for r in requests[before:] if "mentions" in r)
        assert warehouse(folder, "select count(*) from raw_webmention.mentions") == [(2717,)]
        assert warehouse(folder, "select count(*) from raw_feed.items") == [(1476,)]
        with serving(data / "webmention-webwewant") as (address, _):
            add("webwewant", "https://webwewant.fyi/", address)
            assert cli.main(["run", "--as-of", "2022-06-30"]) == 3  # the first site's server is gone
        yield folder
    definitions.build.cache_clear()


def add(account: str, site: str, address: str) -> None:
    """Add a site's feed and webmentions, read from another server."""
    common = ["--account", account, "--endpoint", address, "--allow-private"]
    assert cli.main(["add", f"{site}feed.json", *common]) == 0
    assert cli.main(["add", site, "--source", "webmention", *common]) == 0


def published(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query on the published marts."""
    with duckdb.connect(str(folder / "published" / "rapport.duckdb"), read_only=True) as connection:
        return connection.execute("set search_path = 'marts'").execute(sql).fetchall()


def warehouse(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query on the warehouse."""
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        return connection.execute(sql).fetchall()


def read(data: Path, name: str) -> list[dict[str, Any]]:
    """The mentions or posts of nhoizey's site."""
    content = json.loads((data / "webmention-nhoizey" / name).read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = content["children" if "children" in content else "items"]
    return rows


def audience(data: Path) -> list[dict[str, Any]]:
    """Mentions by others, of something other than the home page, up to the end of the night."""
    host = "nicolas-hoizey.com"
    return [
        m for m in read(data, "mentions.jf2.json")
        if page(m["author"]["url"]).split("/")[0] != host and page(m["wm-target"]) != host
        and moment(m["published"] or m["wm-received"]) < END
    ]  # fmt: skip


def test_every_mention_and_post_is_there_and_none_is_quarantined(home: Path, shared_data: Path) -> None:
    mentions, posts = read(shared_data, "mentions.jf2.json"), read(shared_data, "feed.json")
    names = {
        "in-reply-to": "reply",
        "like-of": "like",
        "repost-of": "repost",
        "mention-of": "mention",
        "bookmark-of": "bookmark",
    }
    kinds = dict(
        warehouse(home, "select kind, count(*) from core.fct_interaction where account_id = 'nhoizey' group by 1")
    )
    assert kinds == Counter(names[m["wm-property"]] for m in mentions)
    assert kinds == {"like": 762, "reply": 685, "repost": 238, "mention": 1027, "bookmark": 5}
    assert (
        warehouse(home, "select count(*) from core.dim_post where account_id = 'nhoizey'")
        == [(len(posts),)]
        == [(1476,)]
    )
    for source in ("feed", "webmention"):
        assert warehouse(home, f"select * from staging.stg_{source}__quarantine") == []


def test_own_rows_are_kept_apart(home: Path) -> None:
    query = (
        "select count(*), bool_or(is_audience) from core.fct_interaction where is_own_row and account_id = 'nhoizey'"
    )
    assert warehouse(home, query) == [(337, False)]


def test_posts_visible_on_the_night(home: Path) -> None:
    in_window = published(
        home, f"select posts from mart_cadence where as_of = '{AS_OF}' and account_id = 'nhoizey' and platform = 'all'"
    )
    assert in_window[0][0] > 0
    visible = warehouse(
        home, "select count(*) from core.dim_post where published_at < '2020-09-19' and account_id = 'nhoizey'"
    )
    assert visible == [(710,)]


def test_coverage_is_told_by_stream(home: Path) -> None:
    rows = published(
        home,
        "select platform, stream, covered_from from mart_collection where account_id = 'nhoizey' and status <> 'not_offered'",
    )
    assert sorted(rows) == [("feed", "posts", date(2001, 1, 1)), ("webmention", "inbound", date(2016, 2, 4))]


def test_people_and_their_interactions_are_those_of_the_json(home: Path, shared_data: Path) -> None:
    wanted = Counter(
        page(m["author"]["url"]) + ("?" + q if (q := urlsplit(m["author"]["url"]).query) else "")
        for m in audience(shared_data)
    )
    fold = (
        "select account_id, identity_id, sum(inbound) as inbound from folds.fold_relationship_day "
        f"where account_id = 'nhoizey' and date <= '{AS_OF}' group by all"
    )
    found = warehouse(home, f"select count(*), sum(inbound) from ({fold})")
    assert found == [(len(wanted), sum(wanted.values()))]
    names = dict(
        warehouse(home, f"select person, inbound from ({fold}) join private.identity_name using (identity_id)")
    )
    assert names == wanted


def test_value_of_posts_is_that_of_the_json(home: Path, shared_data: Path) -> None:
    published_at = {page(p["url"]): moment(p["date_published"]) for p in read(shared_data, "feed.json")}
    wanted: Counter[str] = Counter()
    for mention in audience(shared_data):
        target, at = page(mention["wm-target"]), moment(mention["published"] or mention["wm-received"])
        if target in published_at and published_at[target] <= at < published_at[target] + WEEK:
            wanted[target] += 1
    settled = {p for p, at in published_at.items() if at <= END - WEEK}
    rows = published(
        home,
        "select url, interactions_7d from mart_post_value where account_id = 'nhoizey' and published_at < '2020-09-12'",
    )
    judged = {page(url): number for url, number in rows if number is not None}
    assert judged.keys() <= settled
    assert judged == {p: wanted[p] for p in judged}
    covered = datetime(2016, 2, 4, tzinfo=UTC)
    assert {p for p in settled if published_at[p] >= covered} <= judged.keys()
    assert not {p for p in judged if published_at[p] < covered - WEEK}


def test_the_second_site_stands_beside_the_first(home: Path) -> None:
    rows = warehouse(home, "select account_id, count(*) from core.fct_interaction group by 1 order by 1")
    assert rows == [("nhoizey", 2717), ("webwewant", 739)]
    accounts = published(home, "select distinct account_id from mart_summary where as_of = '2022-06-30' order by 1")
    assert accounts == [("nhoizey",), ("webwewant",)]
    reason = published(
        home,
        "select reason from mart_collection where account_id = 'nhoizey' and platform = 'feed' and stream = 'posts'",
    )
    assert reason == [(None,)]  # covered all the same: the last good reading reaches beyond that night
