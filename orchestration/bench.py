"""`rapport bench`: how fast and how large, on this machine; whole processes where a user would wait for one.

Prints a table, and JSON on request. Each figure stands beside the bound it is held to; nothing is asserted,
a figure beyond its bound is marked. What is compared is measured in the same run. The parts, each of which may be chosen
alone: `start` (commands), `import` (files and archives, a night and the next one), `scale` (derivation at each size of `--scale`),
`engines` (the same steps on each engine) and `models` (statistics, beside lifetimes and lifelines).
"""

import importlib.util
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from orchestration import bench_models, bench_scale, bench_survival
from orchestration.bench_files import activity_file, interactions, unpacked_gb, x_archive
from orchestration.bench_process import Figure, measured, seconds_of

PARTS = ("start", "import", "scale", "engines", "models")
IMPORTS = {"parquet": 1_000_000, "csv": 300_000, "jsonl": 300_000}
"""Formats of activity files whose import is timed, and rows a second that are wanted."""
ARCHIVE_ITEMS = 200_000
"""Tweets of the archive whose reading is timed."""
LARGE_ARCHIVE_ITEMS = 1_700_000
"""Tweets of an archive of 2 GB, which must not need more memory than a small one."""
AS_OF = date(2024, 6, 16)
"""The last day of everything made up, so that two runs count the same; the nights after it are in the past, too."""
QUICK = 10
"""`--quick` makes everything smaller by so much; figures of so few rows are mostly what starting costs."""


def run(
    *,
    rows: int,
    json_path: str | None,
    as_of: date = AS_OF,
    scales: Sequence[int] = (1_000_000,),
    parts: Sequence[str] = PARTS,
    is_quick: bool = False,
    folder: Path | None = None,
    file: Path | None = None,
) -> int:
    """Measure the parts, print the table, and return 0: a slow machine is no error.

    `rows` are imported, each of `scales` is derived from made-up facts. `folder` is where homes are made (default: a
    temporary one) and removed again. `file` is a Parquet file of interactions whose marts are derived too, as of its last day.
    """
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    if is_quick:
        rows, scales = rows // QUICK, [max(1, size // QUICK) for size in scales]
    machine = {
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "python": sys.version.split()[0],
        "load": os.getloadavg()[0],
        "pace_ms": _pace(),
    }
    print(
        f"{machine['cores']} cores, {machine['memory_gb']:.0f} GB, Python {machine['python']}, load {machine['load']:.1f}, "
        f"a million steps of Python in {machine['pace_ms']:.0f} ms; as_of {as_of}",
        flush=True,
    )
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rapport-bench-", dir=folder) as made:
        home = Path(made)
        for figure in _figures(rows, scales, parts, as_of, home, details, is_quick=is_quick, file=file):
            figures.append(figure)
            print(figure.line(), flush=True)
    machine["pace_ms_after"] = _pace()
    short = [figure for figure in figures if not figure.holds]
    print(
        f"{len(figures)} figures; {len(short)} beyond their bound; a million steps of Python in {machine['pace_ms_after']:.0f} ms"
        + "".join(f"\n  {figure.what}" for figure in short)
    )
    if json_path:
        content = {
            "machine": machine,
            "rows": rows,
            "scales": list(scales),
            "as_of": as_of.isoformat(),
            "figures": [{**asdict(f), "holds": f.holds} for f in figures],
            "details": details,
        }
        Path(json_path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


def _figures(
    rows: int,
    scales: Sequence[int],
    parts: Sequence[str],
    as_of: date,
    home: Path,
    details: dict[str, Any],
    *,
    is_quick: bool,
    file: Path | None,
) -> Iterator[Figure]:
    if "start" in parts:
        yield from _start(home)
    if "import" in parts:
        yield from _imports(rows, as_of, home, times=1 if is_quick else 3)
        yield from _archives(home, items=ARCHIVE_ITEMS // (QUICK if is_quick else 1), is_quick=is_quick)
        yield from _nights(rows, as_of, home / "parquet_0")
    if file is not None:
        yield _of_file(file, home / "file")
    if "scale" in parts:
        for size in scales:
            yield from bench_scale.measure(
                size, home / f"scale_{size}", as_of=as_of, details=details.setdefault(f"{size:,}", {})
            )
            shutil.rmtree(home / f"scale_{size}")
    if "engines" in parts:
        yield from _engines(max(1, min(rows, *scales) // 10), as_of, home / "engines")
    if "models" in parts:
        yield from _models(QUICK if is_quick else 1)


def _start(home: Path) -> Iterator[Figure]:
    """What a user waits for before anything is counted, and the demo."""
    launcher = [sys.executable, str(Path(sys.executable).with_name("rapport"))]
    yield Figure("rapport --help", _best(lambda: seconds_of([*launcher, "--help"], home)), "s", 0.5)
    loading = [
        sys.executable,
        "-c",
        "import orchestration.definitions as d, pathlib, sys; d.build(pathlib.Path(sys.argv[1])).get_repository_def()",
        str(home),
    ]
    yield Figure("definitions load", _best(lambda: seconds_of(loading, home)), "s", 6)
    yield Figure("demo, end to end", seconds_of([*launcher, "demo"], home / "demo"), "s", 60)


def _imports(rows: int, as_of: date, home: Path, *, times: int) -> Iterator[Figure]:
    """Imports by format, each the best of some into homes of their own; the night goes on from `parquet_0`."""
    made_up = interactions(rows=rows, as_of=as_of)
    for name, bound in IMPORTS.items():
        path = activity_file(made_up, home / f"interactions.{name}")
        homes = [home / f"{name}_{number}" for number in range(times)]
        best = min((_inner(["import", str(path)], place) for place in homes), key=_seconds)
        yield Figure(
            f"import of .{name}, {rows:,} rows (pipeline run, modules loaded)",
            rows / best["seconds"],
            "rows/s",
            bound,
            is_at_least=True,
            peer=f"{best['seconds']:.2f} s, {best['cpu']:.2f} s CPU",
        )
        yield Figure(f"import of .{name}, peak resident", best["resident_gb"], "GB", 3)


def _archives(home: Path, *, items: int, is_quick: bool) -> Iterator[Figure]:
    """An archive of X by time, and a large one by memory."""
    x_archive(home / "x.zip", tweets=items)
    read = _inner(["archive", str(home / "x.zip")], home / "archive")
    rate = items / read["seconds"]
    yield Figure("X archive import (pipeline run, modules loaded)", rate, "items/s", 50_000, is_at_least=True)
    yield Figure("X archive import, peak resident", read["resident_gb"], "GB", 1)
    if is_quick:
        return
    x_archive(home / "large.zip", tweets=LARGE_ARCHIVE_ITEMS)
    read = _inner(["archive", str(home / "large.zip")], home / "large_archive")
    what = f"X archive of {unpacked_gb(home / 'large.zip'):.1f} GB, peak resident"
    yield Figure(what, read["resident_gb"], "GB", 1)
    (home / "large.zip").unlink()


def _nights(rows: int, as_of: date, home: Path) -> Iterator[Figure]:
    """The night after an import, and the night after one of a thousandth as many rows, the day after."""
    first = _inner(["derive", as_of.isoformat()], home)
    yield Figure("derive: staging, core, folds and all marts", first["derive_seconds"], "s", 30)
    yield Figure("the whole night around it (checks, publish, report, Dagster)", first["seconds"], "s", 90)
    yield Figure("the night, peak resident", first["resident_gb"], "GB", 3)
    new, day = max(1, round(rows * bench_scale.NEW_SHARE)), as_of + timedelta(days=1)
    path = activity_file(interactions(rows=new, as_of=day, days=3, people_of=rows, seed=2), home / "new.parquet")
    _inner(["import", str(path)], home)
    after = _inner(["derive", day.isoformat()], home)
    share = 100 * after["derive_seconds"] / first["derive_seconds"]
    what = f"the night after {new:,} more rows were imported, of the first"
    yield Figure(what, share, "%", peer=f"staging to marts {after['derive_seconds']:.1f} s of {after['seconds']:.1f} s")


def _of_file(file: Path, home: Path) -> Figure:
    last = pl.scan_parquet(file).select(pl.col("occurred_at").max()).collect().item().date()
    accounts = pl.scan_parquet(file).select(pl.col("account").n_unique()).collect().item()
    _inner(["import", str(file)], home)
    derived = _inner(["derive", last.isoformat()], home)
    return Figure(f"all marts of {file.parent.name}, {accounts:,} accounts", derived["marts_seconds"], "s", 20)


def _engines(rows: int, as_of: date, home: Path) -> Iterator[Figure]:
    """The steps that run on several engines, all of them together, on each engine that is installed."""
    measured("orchestration.bench_scale", ["generate", str(rows), as_of.isoformat(), str(home / "facts.parquet")], home)
    engines = ["polars", "duckdb", *(["spark"] if importlib.util.find_spec("pyspark") else [])]
    for engine in engines:
        took = measured("orchestration.bench_engines", [str(home), as_of.isoformat(), engine, "--json"], home)[engine]
        slowest = sorted(took, key=lambda name: -took[name])[:3]
        said = ", ".join(f"{name} {took[name]:.2f} s" for name in slowest)
        yield Figure(f"steps over people in {engine}, {rows:,} rows", sum(took.values()), "s", peer=f"slowest: {said}")


def _models(smaller: int) -> Iterator[Figure]:
    """Survival curves and retention models, beside lifelines and lifetimes where they are installed."""
    lives = bench_survival.km_bench(accounts=bench_survival.ACCOUNTS // smaller)
    what = f"Kaplan-Meier of {lives.accounts:,} accounts x {lives.people} people"
    yield Figure(what, lives.seconds, "s", 2, peer=lives.peer_text)
    models = bench_models.bgbb(people=bench_models.PEOPLE // smaller)
    what = f"BG/BB of {models.people:,} people: fit, errors, probabilities"
    yield Figure(what, models.ours.total, "s", 1, peer=models.peer_text)


def _best(measure: Callable[[], float], times: int = 3) -> float:
    return min(measure() for _ in range(times))


def _inner(arguments: list[str], home: Path) -> dict[str, Any]:
    """Run one measured step of this module in a process of its own."""
    return measured("orchestration.bench", arguments, home)


def _seconds(found: dict[str, Any]) -> float:
    return float(found["seconds"])


def _pace() -> float:
    """How fast this machine is just now: milliseconds for a million steps of Python, the best of five times.

    A machine that is shared may be twice as slow an hour later, with nothing of ours running beside.
    """

    def steps() -> float:
        started, total = time.perf_counter(), 0
        for number in range(1_000_000):
            total += number
        return (time.perf_counter() - started) * 1000

    return _best(steps, times=5)


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _step(arguments: list[str]) -> dict[str, float]:
    """One measured step: an import, the reading of an archive, or a night."""
    from orchestration import settings as settings_module

    cpu = 0.0
    home = settings_module.home()
    settings_module.prepare_environment(home)
    settings = settings_module.load(home)
    if arguments[0] == "import":
        from orchestration import importing

        # Once over a few rows in another home: the first import of a process also imports modules.
        with tempfile.TemporaryDirectory() as other:
            few = activity_file(
                interactions(rows=10, as_of=date(2024, 1, 1)), Path(other) / f"few{Path(arguments[1]).suffix}"
            )
            importing.load(replace(settings, home=Path(other)), importing.Request(interactions=few))
        started, used, derive, marts = time.perf_counter(), time.process_time(), 0.0, 0.0
        importing.load(settings, importing.Request(interactions=Path(arguments[1])))
        seconds, cpu = time.perf_counter() - started, time.process_time() - used
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
    return {"seconds": seconds, "cpu": cpu, "derive_seconds": derive, "marts_seconds": marts, "resident_gb": peak}


if __name__ == "__main__":
    print(json.dumps(_step(sys.argv[1:])))
