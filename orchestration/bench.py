"""`rapport bench`: how fast and how large, on this machine; whole processes where a user would wait for one.

Prints a table, and JSON on request. Each figure stands beside the bound it is held to; nothing is asserted,
a figure above its bound is marked.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as midnight
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from orchestration import bench_models, bench_survival
from orchestration.settings import CHECKOUT

ACCOUNTS = 200
PEOPLE_PER_ROW = 0.1
YEARS = 3
IMPORTS = {"parquet": 1_000_000, "csv": 300_000, "jsonl": 300_000}
"""Formats of activity files whose import is timed, and rows a second that are wanted."""
ARCHIVE_ITEMS = 200_000
"""Tweets of the archive whose reading is timed."""
LARGE_ARCHIVE_ITEMS = 1_700_000
"""Tweets of an archive of 2 GB, which must not need more memory than a small one."""


@dataclass(frozen=True)
class Figure:
    """One measured figure and the bound it is held to."""

    what: str
    value: float
    unit: str
    bound: float
    is_at_least: bool = False
    peer: str | None = None
    """What another package takes, in the same run."""

    @property
    def holds(self) -> bool:
        """Whether the figure is within its bound."""
        return self.value >= self.bound if self.is_at_least else self.value <= self.bound


def run(
    *, rows: int, json_path: str | None, as_of: date, archive_items: int = ARCHIVE_ITEMS, file: Path | None = None
) -> int:
    """Measure everything, print the table, and return 0: a slow machine is no error.

    `file` is a Parquet file of interactions whose marts are derived too, as of its last day.
    """
    figures: list[Figure] = []

    def add(figure: Figure) -> None:
        figures.append(figure)
        sign = "≥" if figure.is_at_least else "≤"
        mark = "✓" if figure.holds else "✗"
        print(
            f"{mark} {figure.what:<62} {figure.value:>12,.2f} {figure.unit:<7} ({sign} {figure.bound:,g})", flush=True
        )
        if figure.peer:
            print(f"  {figure.peer}", flush=True)

    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {rows:,} interactions, as_of {as_of}")
    launcher = [sys.executable, str(Path(sys.executable).with_name("rapport"))]
    with tempfile.TemporaryDirectory(prefix="rapport-bench-") as folder:
        home = Path(folder)
        add(Figure("rapport --help", _best(lambda: _process([*launcher, "--help"], home)), "s", 0.5))
        loading = [
            sys.executable,
            "-c",
            "import orchestration.definitions as d, pathlib, sys; d.build(pathlib.Path(sys.argv[1])).get_repository_def()",
            str(home),
        ]
        add(Figure("definitions load", _best(lambda: _process(loading, home)), "s", 6))
        add(Figure("demo, end to end", _timed(lambda: _process([*launcher, "demo"], home / "demo")), "s", 60))
        for figure in _imports(rows, as_of, home):
            add(figure)
        x_archive(home / "x.zip", tweets=archive_items)
        read = _inner(["archive", str(home / "x.zip")], home / "archive")
        rate = archive_items / read["seconds"]
        add(Figure("X archive import (pipeline run, modules loaded)", rate, "items/s", 50_000, is_at_least=True))
        add(Figure("X archive import, peak resident", read["resident_gb"], "GB", 1))
        x_archive(home / "large.zip", tweets=LARGE_ARCHIVE_ITEMS)
        read = _inner(["archive", str(home / "large.zip")], home / "large_archive")
        add(
            Figure(
                f"X archive of {_unpacked_gb(home / 'large.zip'):.1f} GB, peak resident", read["resident_gb"], "GB", 1
            )
        )
        derived = _inner(["derive", as_of.isoformat()], home / "parquet_0")
        add(Figure("derive: staging, core, folds and all marts", derived["derive_seconds"], "s", 30))
        add(Figure("the whole night around it (checks, publish, report, Dagster)", derived["seconds"], "s", 90))
        add(Figure("the night, peak resident", derived["resident_gb"], "GB", 3))
        if file is not None:
            last = pl.scan_parquet(file).select(pl.col("occurred_at").max()).collect().item().date()
            _inner(["import", str(file)], home / "file")
            derived = _inner(["derive", last.isoformat()], home / "file")
            accounts = pl.scan_parquet(file).select(pl.col("account").n_unique()).collect().item()
            add(Figure(f"all marts of {file.parent.name}, {accounts:,} accounts", derived["marts_seconds"], "s", 20))
    lives = bench_survival.km_bench()
    what = f"Kaplan-Meier of {lives.accounts:,} accounts x {lives.people} people"
    add(Figure(what, lives.seconds, "s", 2, peer=lives.peer_text))
    models = bench_models.bgbb()
    what = f"BG/BB of {models.people:,} people: fit, errors, probabilities"
    add(Figure(what, models.ours.total, "s", 1, peer=models.peer_text))
    if json_path:
        content = {
            "rows": rows,
            "as_of": as_of.isoformat(),
            "figures": [{**asdict(f), "holds": f.holds} for f in figures],
        }
        Path(json_path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


def interactions(*, rows: int, as_of: date, seed: int = 1) -> pl.DataFrame:
    """A made-up activity file: three years, 200 accounts, people with skewed activity; the same for the same seed."""
    random = np.random.default_rng(seed)
    people = max(1, int(rows * PEOPLE_PER_ROW))
    end = datetime.combine(as_of + timedelta(days=1), midnight(), UTC)
    seconds = random.integers(1, YEARS * 365 * 86_400, rows)
    kinds = np.array(["like", "reply", "repost", "mention", "follow"])
    person = (people * random.random(rows) ** 2).astype(np.int64)
    return pl.DataFrame(
        {
            "account": pl.Series(person % ACCOUNTS).cast(pl.String).str.pad_start(3, "0"),
            "person": pl.Series(person).cast(pl.String),
            "kind": kinds[random.choice(5, rows, p=[0.6, 0.2, 0.1, 0.07, 0.03])],
            "occurred_at": pl.Series(np.datetime64(end.replace(tzinfo=None), "us") - seconds.astype("timedelta64[s]")),
            "direction": np.where(random.random(rows) < 0.9, "inbound", "outbound"),
        }
    ).with_columns(pl.col("occurred_at").dt.replace_time_zone("UTC"), account="account" + pl.col("account"))


def _imports(rows: int, as_of: date, home: Path) -> Iterator[Figure]:
    """Imports by format, each the best of three into homes of their own; the night goes on from `parquet_0`."""
    made_up = interactions(rows=rows, as_of=as_of)
    for name, bound in IMPORTS.items():
        path = _activity_file(made_up, home / f"interactions.{name}")
        homes = [home / f"{name}_{number}" for number in range(3)]
        measured = min((_inner(["import", str(path)], place) for place in homes), key=_seconds)
        what = f"import of .{name} (pipeline run, modules loaded)"
        yield Figure(what, rows / measured["seconds"], "rows/s", bound, is_at_least=True)
        yield Figure(f"import of .{name}, peak resident", measured["resident_gb"], "GB", 3)


def _activity_file(rows: pl.DataFrame, path: Path) -> Path:
    """The rows in the format that the name says, times as texts where it has no others."""
    texts = rows.with_columns(pl.col("occurred_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    if path.suffix == ".parquet":
        rows.write_parquet(path)
    elif path.suffix == ".csv":
        texts.write_csv(path)
    else:
        texts.write_ndjson(path)
    return path


def x_archive(path: Path, *, tweets: int) -> None:
    """A made-up archive of X: about 1,300 bytes a tweet before packing, a third of them replies."""
    account = {"accountId": "7", "username": "ann", "createdAt": "2009-01-01T00:00:00.000Z"}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packed.writestr("data/account.js", f"window.YTD.account.part0 = {json.dumps([{'account': account}])}")
        with packed.open("data/tweets.js", "w", force_zip64=True) as member:
            member.write(b"window.YTD.tweets.part0 = [")
            for number in range(tweets):
                member.write((b", " if number else b"") + orjson.dumps(_tweet(number), option=orjson.OPT_INDENT_2))
            member.write(b"]")


def _unpacked_gb(path: Path) -> float:
    with zipfile.ZipFile(path) as packed:
        return sum(member.file_size for member in packed.infolist()) / 1e9


def _tweet(number: int) -> dict[str, object]:
    link = {"url": "https://t.co/a", "expanded_url": f"https://blog.example/{number}", "display_url": "blog.example"}
    reply = {"in_reply_to_status_id_str": str(number), "in_reply_to_user_id_str": str(100 + number % 5_000)}
    said = {
        "edit_info": {"initial": {"editTweetIds": [str(10**18 + number)], "editsRemaining": "5"}},
        "retweeted": False, "source": '<a href="https://app.example" rel="nofollow">App</a>',
        "entities": {"hashtags": [{"text": "tea", "indices": ["1", "5"]}], "user_mentions": [], "urls": [link, link]},
        "display_text_range": ["0", "100"], "favorite_count": str(number % 9), "id_str": str(10**18 + number),
        "id": str(10**18 + number), "truncated": False, "retweet_count": "0", "favorited": False, "lang": "en",
        "created_at": f"Wed Oct {number % 28 + 1:02} 20:{number % 60:02}:24 +0000 {2010 + number % 14}",
        "full_text": f"Note {number} about tea and what comes with it, at some length https://t.co/a",
    }  # fmt: skip
    return {"tweet": {**said, **(reply if number % 3 == 1 else {})}}


def _best(measure: Callable[[], float], times: int = 3) -> float:
    return min(measure() for _ in range(times))


def _timed(measure: Callable[[], float]) -> float:
    return measure()


def _process(command: list[str], home: Path) -> float:
    started = time.perf_counter()
    environment = {**_environment(), "RAPPORT_HOME": str(home)}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise LookupError(f"{' '.join(command[1:])} failed: {done.stderr.strip().splitlines()[-1:]}")
    return time.perf_counter() - started


def _inner(arguments: list[str], home: Path) -> dict[str, float]:
    """Run one measured step in a process of its own, so that its peak memory is its own."""
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "orchestration.bench", *arguments]
    environment = {**_environment(), "RAPPORT_HOME": str(home)}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise LookupError(f"bench {arguments[0]} failed: {done.stderr.strip()[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _seconds(measured: dict[str, float]) -> float:
    return measured["seconds"]


def _environment() -> dict[str, str]:
    return dict(os.environ)  # noqa: TID251 - handed on to the measured process unchanged


def _step(arguments: list[str]) -> dict[str, float]:
    from orchestration import settings as settings_module

    home = settings_module.home()
    settings_module.prepare_environment(home)
    settings = settings_module.load(home)
    if arguments[0] == "import":
        from orchestration import importing

        # Once over a few rows in another home: the first import of a process also imports modules.
        with tempfile.TemporaryDirectory() as other:
            few = _activity_file(
                interactions(rows=10, as_of=date(2024, 1, 1)), Path(other) / f"few{Path(arguments[1]).suffix}"
            )
            importing.load(replace(settings, home=Path(other)), importing.Request(interactions=few))
        started = time.perf_counter()
        importing.load(settings, importing.Request(interactions=Path(arguments[1])))
        seconds, derive, marts = time.perf_counter() - started, 0.0, 0.0
    elif arguments[0] == "archive":
        from orchestration import import_archive

        few = home / "few.zip"
        x_archive(few, tweets=10)
        for place, path in ((replace(settings, home=home / "few"), few), (settings, Path(arguments[1]))):
            started, derive, marts = time.perf_counter(), 0.0, 0.0
            archives = import_archive.Archives(files=((path, "x"),), account="ann")
            now = datetime.now(UTC)  # noqa: TID251 - an import happens now
            import_archive.load(place, archives, read_at=now, warn=str)
            seconds = time.perf_counter() - started
    else:
        from orchestration import night

        done = night.run(date.fromisoformat(arguments[1]))
        if not done.is_published:
            raise LookupError("; ".join(done.progress.failed))
        seconds = done.seconds
        derive = sum(
            s for layer, s in done.progress.derived_seconds.items() if layer in ("staging", "core", "folds", "marts")
        )
        marts = done.progress.derived_seconds["marts"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"seconds": seconds, "derive_seconds": derive, "marts_seconds": marts, "resident_gb": peak}


if __name__ == "__main__":
    print(json.dumps(_step(sys.argv[1:])))
