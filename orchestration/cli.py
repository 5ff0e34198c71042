"""The command line: what each verb takes. What a verb does is imported when it is called.

`rapport --help` must answer at once, so nothing heavy is imported at the top.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date: write it as 2026-01-31") from error


def _rows(text: str) -> int:
    """A number of rows, as it is spoken.

    >>> _rows("1000"), _rows("100k"), _rows("2.5M")
    (1000, 100000, 2500000)
    """
    factor = {"k": 1_000, "M": 1_000_000, "G": 1_000_000_000}.get(text[-1:], 1)
    try:
        rows = round(float(text.rstrip("kMG").replace(",", "_")) * factor)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of rows: write it as 500000, 500k or 10M"
        ) from error
    if rows < 1:
        raise argparse.ArgumentTypeError(f"{text!r} are too few rows: at least one")
    return rows


def _scales(text: str) -> tuple[int, ...]:
    return tuple(_rows(part) for part in text.split(","))


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="rapport",
        description="Measures lasting relationships around a social account: are we consistent, what do people value, "
        "who keeps coming back.",
        epilog="Everything you own is in RAPPORT_HOME (default .rapport/ in the checkout). Start with `rapport demo`.",
    )
    verbs = top.add_subparsers(dest="verb", metavar="verb", required=True)

    demo = verbs.add_parser(
        "demo", help="run a night on a simulated community with planted truth, in a home of its own"
    )
    demo.add_argument("--seed", type=int, default=1, help="another community (default 1)")
    demo.add_argument("--as-of", type=_date, help="last day of the simulation (default: yesterday, UTC)")

    add = verbs.add_parser("add", help="add a profile, site or feed to rapport.toml")
    add.add_argument(
        "url",
        nargs="+",
        help="a profile (@user@host, handle.bsky.social, its address), a blog's home page, a feed; or, with "
        "--source webmention, a site that receives webmentions",
    )
    add.add_argument("--account", help="the account it belongs to (default: the handle, or the address's host)")
    add.add_argument("--source", help="the connector, where the address does not tell (webmention, youtube, x, ...)")
    add.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a further setting of the source, such as pds=ADDRESS",
    )
    add.add_argument("--endpoint", help="read from this server instead (a mirror, a test server)")
    add.add_argument("--allow-private", action="store_true", help="allow addresses of this machine and its network")

    imports = verbs.add_parser(
        "import", help="import an export archive (X, Mastodon, Bluesky, webmention.io) or activity files"
    )
    imports.add_argument(
        "path",
        nargs="*",
        help="archives (zip, tar.gz, CAR, JSON) and activity files (CSV, JSON Lines, Parquet), recognised by content",
    )
    imports.add_argument(
        "--posts",
        metavar="FILE",
        help="posts: post, published_at, and optionally kind, language, words, links, url, text, deleted_at",
    )
    imports.add_argument(
        "--interactions",
        metavar="FILE",
        help="interactions: person, kind, occurred_at, and optionally direction, post, ...",
    )
    imports.add_argument(
        "--earnings",
        metavar="FILE",
        help="a ledger: person or email, earned_at, amount, currency, ...; or Stripe's export of payments",
    )
    imports.add_argument("--account", help="the account: archives need it, and files without an `account` column")
    imports.add_argument("--platform", help="the platform's name (default: activity)")
    imports.add_argument(
        "--covers", nargs=2, type=_date, metavar=("FROM", "TO"), help="the days the files are complete for"
    )

    run = verbs.add_parser("run", help="one night: collect, derive, check, publish, report")
    run.add_argument("--as-of", type=_date, help="the last day that counts (default: yesterday, UTC)")
    run.add_argument("--full", action="store_true", help="compute every table from all rows, not only what changed")
    run.add_argument(
        "--dry-run", action="store_true", help="say what would be read, and what it would cost, and read nothing"
    )

    up = verbs.add_parser("up", help="the Dagster UI and the nightly schedule, on 127.0.0.1, until stopped")
    up.add_argument("--port", type=int, default=3000, help="port of the UI (default 3000)")

    query = verbs.add_parser("query", help="ask the published marts in SQL")
    query.add_argument("sql", help="for example: from mart_summary")
    query.add_argument(
        "--format", choices=("table", "csv", "json"), default="table", help="how to print (default table)"
    )

    verbs.add_parser("status", help="what was collected and published, and what needs attention")
    verbs.add_parser("check", help="run every data check again on the warehouse")
    verbs.add_parser("report", help="write the report again and say where it is")
    backfill = verbs.add_parser("backfill", help="derive past nights again, without collecting")
    backfill.add_argument("first", type=_date, help="first day")
    backfill.add_argument("last", type=_date, help="last day")

    docs = verbs.add_parser("docs", help="write the generated documentation")
    docs.add_argument("--check", action="store_true", help="fail where the written documentation is out of date")

    verbs.add_parser("doctor", help="look for what could go wrong on this machine")
    bench = verbs.add_parser(
        "bench",
        help="measure speed and memory",
        description="Measure speed and memory on this machine, in homes of its own. With the defaults it takes about a quarter "
        "of an hour on 2 cores and 4 GB of disk; --quick takes some minutes. --scale 10M takes some 15 minutes and 5 GB more, "
        "100M some hours and 45 GB.",
    )
    bench.add_argument("--rows", type=_rows, default=1_000_000, help="interactions to import and derive (default 1M)")
    bench.add_argument(
        "--scale", type=_scales, default=(1_000_000,), metavar="ROWS,...",
        help="sizes at which folds and marts are derived from made-up facts, as 1M,10M,100M (default 1M)",
    )  # fmt: skip
    bench.add_argument("--quick", action="store_true", help="a tenth of everything, to see that it works")
    bench.add_argument(
        "--only", type=lambda text: text.split(","), metavar="PART,...",
        help="only these parts: start, import, scale, engines, models (default all)",
    )  # fmt: skip
    bench.add_argument(
        "--home", metavar="FOLDER", help="where the homes are made and removed again (default: temporary)"
    )
    bench.add_argument(
        "--file", metavar="PARQUET", help="derive the marts of these interactions too, as of their last day"
    )
    bench.add_argument("--json", metavar="FILE", help="write the figures to this file too")
    test = verbs.add_parser("test", help="run the tests")
    test.add_argument("arguments", nargs=argparse.REMAINDER, help="passed to pytest")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return its exit code: 0 done, 1 a mistake in what was asked or configured, 3 a source failed, 4 not published."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["test"]:
        from orchestration import development

        return development.test(given[1:])
    options = parser().parse_args(given)
    from orchestration import commands

    today = datetime.now(UTC).date()  # noqa: TID251 - the one place where the command line asks the clock
    try:
        return commands.run_verb(options, today=today)
    except KeyboardInterrupt:
        print("\nStopped. What was collected and published before is kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


def yesterday(today: date) -> date:
    """The last complete day."""
    return today - timedelta(days=1)


if __name__ == "__main__":
    sys.exit(main())
