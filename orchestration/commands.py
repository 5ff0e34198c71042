"""What each verb does: say what happens, call the part that does it, turn mistakes into messages.

Only here and in `cli.py` is anything printed. A mistake of the user's is one line that says what,
where and what to do; no traceback.
"""

import argparse
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

from orchestration import settings as settings_module
from orchestration.cli import yesterday
from orchestration.settings import CHECKOUT, Settings, SettingsError
from sources.model import Recognised, SourceError

ADDED_AT_ONCE = 100
"""Addresses after which `rapport.toml` is written: what a stop can lose."""
SHOWN = 20
"""Accounts with trouble that a night names; `rapport status` has more."""
OK, MISTAKE, SOURCE_FAILED, NOT_PUBLISHED = 0, 1, 3, 4


class Mistake(Exception):  # noqa: N818 - it is the user's, and not an error of the program
    """Something was asked that cannot be done: the message says what, where and what to do."""


def run_verb(options: argparse.Namespace, *, today: date) -> int:
    """Run the verb that was parsed and return the exit code."""
    verbs: dict[str, Callable[[argparse.Namespace, date], int]] = {
        "demo": _demo, "add": _add, "import": _import, "run": _run, "up": _up, "query": _query, "status": _status,
        "check": _check, "report": _report, "backfill": _backfill, "docs": _docs, "doctor": _doctor, "bench": _bench,
    }  # fmt: skip
    try:
        return verbs[options.verb](options, today)
    except (Mistake, SettingsError, SourceError, LookupError) as mistake:
        _say(f"rapport {options.verb}: {mistake}")
        return MISTAKE
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _say(
            f"rapport {options.verb}: {place}{error.strerror or error}. Everything is kept in {settings_module.home()} "
            "(RAPPORT_HOME): it must be a folder that you can write to, with space left."
        )
        return MISTAKE
    except Exception as error:
        from orchestration.warehouse import WarehouseError

        if isinstance(error, WarehouseError):
            _say(f"rapport {options.verb}: {error}")
            return MISTAKE
        raise


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _open_home(folder: Path | None = None) -> Settings:
    """The settings of the home, with the environment set up for the libraries."""
    home = folder or settings_module.home()
    home.mkdir(parents=True, exist_ok=True)
    settings_module.prepare_environment(home)
    return settings_module.load(home)


def _demo(options: argparse.Namespace, today: date) -> int:
    from orchestration import demo_night

    return demo_night.run(settings_module.home() / "demo", seed=options.seed, as_of=_checked(options.as_of, today))


def _checked(as_of: date | None, today: date) -> date:
    """The night asked for, or yesterday; only days that have ended can be counted."""
    if as_of is None:
        return yesterday(today)
    if as_of >= today:
        raise Mistake(
            f"--as-of {as_of} has not ended yet (UTC): the last day that can be counted is {yesterday(today)}."
        )
    if as_of < date(2000, 1, 1):
        raise Mistake(f"--as-of {as_of}: nights start at 2000-01-01.")
    return as_of


def _add(options: argparse.Namespace, _today: date) -> int:
    from orchestration import config_file
    from sources.recognise import recognise

    if options.account is not None and not options.account.strip():
        raise Mistake("--account names no account: give a name, or leave it out to use the address's host.")
    settings = _open_home()
    failed = 0
    extra = _settings_of(options.set)

    def ask(url: str) -> Recognised | SourceError:
        try:
            return recognise(
                url,
                source=options.source,
                endpoint=options.endpoint,
                allow_private=options.allow_private,
                token=partial(_token, options.account or config_file.account_name(url)),
                options=extra,
            )
        except SourceError as mistake:
            return mistake

    file = config_file.ConfigFile(settings.config_path)
    with ThreadPoolExecutor(settings.hosts) as pool:
        try:
            for number, (url, found) in enumerate(zip(options.url, pool.map(ask, options.url), strict=True), 1):
                if isinstance(found, SourceError):
                    _say(f"rapport add: {found}")
                    failed += 1
                    continue
                account = options.account or found.account or config_file.account_name(url)
                changed = file.add(
                    account=account, source=found.source, url=found.url,
                    endpoint=options.endpoint, allow_private=options.allow_private, options=extra,
                )  # fmt: skip
                print(f"{'Added' if changed else 'Already there'}: {account} <- {found.summary}")
                if not number % ADDED_AT_ONCE:
                    file.save()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            file.save()
    settings_module.load(settings.home)
    if failed < len(options.url):
        print(f"Written to {settings.config_path}. Next: ./rapport run")
    return MISTAKE if failed else OK


def _token(account: str, source: str) -> str | None:
    return settings_module.token(source, account)


def _settings_of(given: list[str]) -> dict[str, str]:
    """`KEY=VALUE` pairs of the command line."""
    for pair in given:
        if not re.fullmatch(r"[a-z_]+=.+", pair):
            raise Mistake(f"--set {pair}: write it as KEY=VALUE, for example pds=https://pds.example.")
    return dict(pair.split("=", 1) for pair in given)


def _import(options: argparse.Namespace, _today: date) -> int:
    from orchestration import importing

    settings = _open_home()
    imported = importing.run(settings, importing.Request.from_options(options))
    print(imported)
    return OK if imported.is_useful else MISTAKE


def _run(options: argparse.Namespace, today: date) -> int:
    as_of = _checked(options.as_of, today)
    settings = _open_home()
    if not settings.accounts and not settings.warehouse_path.exists():
        raise Mistake(
            f"there is nothing to collect: {settings.config_path} names no account and nothing was imported. "
            "`rapport add URL` or `rapport import FILE` first, or `rapport demo` to look around."
        )
    if options.dry_run:
        from orchestration import dry_run

        print(dry_run.plan(settings, read_at=datetime.now(UTC)))  # noqa: TID251 - budgets are of this day
        return OK
    return night_of(settings, as_of, full=options.full)


def night_of(settings: Settings, as_of: date, *, full: bool = False) -> int:
    """Run a night (`full`: compute everything anew), say how it went, and return the exit code."""
    from orchestration import night
    from orchestration.warehouse import Warehouse

    _say(f"Night of {as_of} ({settings.home})")
    done = night.run(as_of, full=full)
    print(done.progress.table())
    for warning in done.progress.warned:
        _say(f"  warning: {warning}")
    for failure in done.progress.failed:
        _say(f"  failed:  {failure}")
    if not done.is_published:
        kept = (
            "Last night's tables are still published."
            if (settings.published / "rapport.duckdb").exists()
            else "Nothing is published."
        )
        _say(f"Not published, after {done.seconds:.1f} s. {kept} `rapport up` shows run {done.run_id[:8]}.")
        return NOT_PUBLISHED
    with closing(Warehouse(settings.warehouse_path)) as warehouse:
        problems = night.collection_problems(warehouse, settings)
    for problem in problems[:SHOWN]:
        _say(f"  not collected: {problem}")
    if len(problems) > SHOWN:
        _say(f"  not collected: {len(problems) - SHOWN:,} more; `./rapport status` has the reasons.")
    print(f"Published in {done.seconds:.1f} s: {settings.published}")
    print(f"  report   {settings.published / 'report' / 'index.html'}")
    print("  tables   ./rapport query 'from mart_summary'")
    print("  lineage  ./rapport up")
    return SOURCE_FAILED if problems else OK


def _up(options: argparse.Namespace, _today: date) -> int:
    from orchestration import up

    settings = _open_home()
    return up.run(settings.home, port=options.port)


def _query(options: argparse.Namespace, _today: date) -> int:
    from orchestration import reading

    settings = _open_home()
    reading.query(settings, options.sql, how=options.format)
    return OK


def _status(_options: argparse.Namespace, _today: date) -> int:
    from orchestration import reading

    print(reading.status(_open_home(), now=datetime.now(UTC)))  # noqa: TID251 - a lag is counted from now
    return OK


def _check(_options: argparse.Namespace, _today: date) -> int:
    from orchestration import checking
    from orchestration.sole_use import sole_use

    settings = _open_home()
    with sole_use(settings.home):  # Great Expectations opens the file itself
        passed, text = checking.run(settings)
    print(text)
    return OK if passed else NOT_PUBLISHED


def _report(_options: argparse.Namespace, _today: date) -> int:
    from orchestration.nightly_report import build_report
    from orchestration.warehouse import Warehouse

    settings = _open_home()
    with closing(Warehouse(settings.warehouse_path)) as warehouse:
        print(build_report(warehouse, settings))
    return OK


def _backfill(options: argparse.Namespace, today: date) -> int:
    first, last = _checked(options.first, today), _checked(options.last, today)
    if first > last:
        raise Mistake(f"the first day {first} is after the last day {last}.")
    settings = _open_home()
    from orchestration import night
    from orchestration.warehouse import Warehouse

    with closing(Warehouse(settings.warehouse_path)) as warehouse:
        oldest = warehouse.oldest() if warehouse.newest() else None
    if oldest is None:
        raise Mistake("there is no night to derive again: `rapport run` makes the first one.")
    if first < oldest:
        raise Mistake(f"there is nothing to count on {first}: the oldest post or interaction is of {oldest}.")
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    for as_of in days:
        done = night.run(as_of, collects=False)
        for failure in done.progress.failed:
            _say(f"  failed: {failure}")
        if not done.is_published:
            _say(f"{as_of}: not published, so the backfill stops here.")
            return NOT_PUBLISHED
        print(f"{as_of}  {done.seconds:5.1f} s")
    print(f"Published: {settings.published}")
    return OK


def _docs(options: argparse.Namespace, _today: date) -> int:
    from quality.render import dictionary

    path = CHECKOUT / "docs" / "dictionary.md"
    if options.check:
        if not path.exists() or path.read_text(encoding="utf-8") != dictionary():
            raise Mistake(f"{path} is out of date: run `rapport docs` and commit it.")
        print("The generated documentation is up to date.")
    else:
        path.write_text(dictionary(), encoding="utf-8")
        print(path)
    return OK


def _doctor(_options: argparse.Namespace, _today: date) -> int:
    from orchestration import doctor

    settings = _open_home()
    healthy, text = doctor.examine(settings)
    print(text)
    return OK if healthy else MISTAKE


def _bench(options: argparse.Namespace, _today: date) -> int:
    from orchestration import bench

    parts = options.only or bench.PARTS
    if unknown := sorted(set(parts) - set(bench.PARTS)):
        raise LookupError(f"--only {unknown[0]}: there is no such part. Parts are {', '.join(bench.PARTS)}.")
    return bench.run(
        rows=options.rows,
        json_path=options.json,
        scales=options.scale,
        parts=parts,
        is_quick=options.quick,
        folder=Path(options.home) if options.home else None,
        file=Path(options.file) if options.file else None,
    )
