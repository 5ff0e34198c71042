"""What collecting many accounts takes: seconds and memory, from a web of feeds on loopback.

`figures()` measures each number of accounts in a process of its own, through the assets that a night runs: so
the peak of memory is that of collecting so many and of nothing before. The second night finds nothing new.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestration import settings as settings_module
from orchestration.bench_feeds import ITEMS, Web
from orchestration.settings import CHECKOUT, Account, Settings
from sources.model import AccountSource


@dataclass(frozen=True, kw_only=True)
class Collected:
    """Two nights of `accounts` feeds on `hosts` hosts: wall-clock seconds, CPU seconds, peak memory of the process in MiB."""

    accounts: int
    hosts: int
    rows: int
    seconds: float
    seconds_cpu: float
    seconds_again: float
    seconds_again_cpu: float
    rss_before_mib: int
    rss_mib: int
    at_once_per_host: int


def figures(*, accounts: Sequence[int] = (1_000, 4_000), hosts: int = 500) -> list[Collected]:
    """Collect so many accounts, each number in a home and a process of its own.

    Raises `RuntimeError` where a collection fails, or gives other rows than the web has.
    """
    found = []
    for number in accounts:
        with tempfile.TemporaryDirectory() as home:
            done = subprocess.run(  # noqa: S603 - ourselves
                [sys.executable, "-m", "orchestration.bench_collection", home, str(number), str(hosts)],
                capture_output=True, text=True, check=False, cwd=CHECKOUT,
            )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"collecting {number:,} accounts failed: {done.stderr.strip()[-2000:]}")
        one = Collected(**json.loads(done.stdout.splitlines()[-1]))
        if one.rows != number * ITEMS:
            raise RuntimeError(f"collecting {number:,} accounts gave {one.rows:,} items, not {number * ITEMS:,}")
        found.append(one)
    return found


def growth_per_account_kib(found: Sequence[Collected]) -> float:
    """By how much the peak of memory grows with an account, between the smallest and the largest number of them.

    >>> shared = dict(hosts=1, rows=0, seconds=1.0, seconds_cpu=1.0, seconds_again=1.0, seconds_again_cpu=1.0)
    >>> few = Collected(accounts=100, rss_before_mib=100, rss_mib=200, at_once_per_host=1, **shared)
    >>> many = Collected(accounts=1124, rss_before_mib=100, rss_mib=210, at_once_per_host=1, **shared)
    >>> growth_per_account_kib([few, many])
    10.0
    """
    few, *_, many = sorted(found, key=lambda one: one.accounts)
    return 1024 * (many.rss_mib - few.rss_mib) / (many.accounts - few.accounts)


def _measure(home: Path, number: int, hosts: int) -> Collected:
    """Two nights of collecting in this process."""
    import dagster as dg
    from dagster_dlt import DagsterDltResource

    from assets import ingest
    from orchestration.warehouse import Warehouse

    def night() -> tuple[float, float]:
        started, cpu = time.perf_counter(), time.process_time()
        resources: dict[str, Any] = {
            "settings": settings, "warehouse": warehouse, "dlt_runner": DagsterDltResource(),
        }  # fmt: skip
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        dg.materialize([collector], resources=resources, run_config=quiet)
        return time.perf_counter() - started, time.process_time() - cpu

    with Web(hosts=min(hosts, number), feeds=number) as web:
        settings = Settings(home=home, accounts=tuple(_account(n, web.url(n)) for n in range(number)))
        collector = next(
            made
            for made in ingest.collectors(warehouse_path=str(settings.warehouse_path), dlt_home=settings.dlt_home)
            if isinstance(made, dg.AssetsDefinition) and made.op.name == "collect_feed"
        )
        warehouse = Warehouse(settings.warehouse_path)
        before = _peak_mib()
        first, again = night(), night()
        rows = warehouse.rows(ingest.asset_name("feed", "items"))
        warehouse.close()
        return Collected(
            accounts=number, hosts=web.hosts, rows=rows, seconds=first[0], seconds_cpu=first[1], seconds_again=again[0],
            seconds_again_cpu=again[1], rss_before_mib=before, rss_mib=_peak_mib(),
            at_once_per_host=web.seen()["at_once"],
        )  # fmt: skip


def _account(number: int, url: str) -> Account:
    name = f"account-{number:05}"
    return Account(name=name, sources=(AccountSource(account_id=name, source="feed", url=url, allow_private=True),))


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "linux" else 1024**2)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    settings_module.prepare_environment(folder)
    print(json.dumps(asdict(_measure(folder, int(sys.argv[2]), int(sys.argv[3])))))
