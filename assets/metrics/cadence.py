"""Cadence: is the account consistent, by its own promise? Not: does it post much.

Here are the functions to call: measures of a frame of posts (`steadiness`, `burstiness`, `memory`, fine in a notebook)
and the two marts. They choose posts, windows and time zones; the arithmetic is in `assets.metrics.rhythm`.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import TypeVar

import polars as pl

from assets.metrics import coverage, rhythm
from assets.metrics.coverage import ALL
from assets.metrics.rhythm import DAY_US, LEARNING_DAYS, Rhythm
from assets.metrics.visible import end_of, visible_posts

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

WINDOW_DAYS = 364
MIN_COVERAGE = 0.9
_KEYS = ("account_id", "platform")
_DAY = timedelta(days=1)


def steadiness(
    posts: Frame,
    *,
    as_of: date,
    promise_days: float = 7,
    window_days: int = WINDOW_DAYS,
    window_from: date | None = None,
    missing: pl.LazyFrame | None = None,
) -> Frame:
    """Steadiness: the share of the window's time in which followers found the posting promise kept.

    `posts` has `published_at` (without a zone: UTC) and optionally `account_id` and `platform`; each combination is judged
    apart, and without these columns all rows are one series. Comes back, eager or lazy as given: these columns and
    `posts, window_days, steadiness, steadiness_low, steadiness_high, steadiness_note`.

    With age(t) the time since the last post in units of the promise, and phi(u) = 1 up to 1, 2 - u up to 2, then 0:
    C = (1/T) * integral of phi(age(t)) dt. The window ends with the end of `as_of` and is `window_days` long, or starts
    at the first post where that is later; `window_from` sets its first day outright. A post before the window carries
    its age in, the open silence at the end counts, posts after `as_of` do not. On the days of `missing` (spans as from
    `coverage.missing`; of platform `all` where `posts` has none) the clock and the integral pause, and `window_days` is what
    remains. Under 28 days: null, with a note. The interval is that of a ratio over the segments between posts (null
    with fewer than two; `rhythm.promise_kept` has the formula). No post in a window that does not start with one: 0.

    Source: defined here (docs/metrics/cadence.md). Adding a post to a given window never lowers it.

    >>> weekly = pl.DataFrame({"published_at": [datetime(2024, 1, 1 + 7 * i) for i in range(4)]})
    >>> steadiness(weekly, as_of=date(2024, 1, 28), promise_days=7)["steadiness"].item()
    1.0
    >>> steadiness(weekly, as_of=date(2024, 2, 18), promise_days=7)["steadiness"].round(4).item()
    0.6429
    """
    keys, laid = _laid_out(
        posts, as_of=as_of, promise_days=promise_days, window_days=window_days, window_from=window_from, missing=missing
    )
    result = (
        laid.windows.join(rhythm.promise_kept(laid), on="series")
        .join(rhythm.posts_in_window(laid), on="series", how="left")
        .with_columns(
            pl.col("posts").fill_null(0),
            pl.when(pl.col("steadiness").is_null()).then(pl.lit(_TOO_SHORT)).alias("steadiness_note"),
        )
        .sort("series")
        .select(*keys, "posts", "window_days", "steadiness", "steadiness_low", "steadiness_high", "steadiness_note")
    )
    return _as_given(result, posts)


def burstiness(
    posts: Frame,
    *,
    as_of: date,
    window_days: int = WINDOW_DAYS,
    window_from: date | None = None,
    timezone: str = "UTC",
    missing: pl.LazyFrame | None = None,
) -> Frame:
    """Burstiness of the gaps between active days: -1 periodic, 0 like chance, towards 1 bursts and long silences.

    Arguments and window as in `steadiness`; days are those of `timezone` (IANA). `active_days, gaps, burstiness,
    burstiness_uncorrected`: with n gaps and r = their population standard deviation / their mean,
    A = (sqrt(n+1) r - sqrt(n-1)) / ((sqrt(n+1) - 2) r + sqrt(n-1)), and uncorrected B = (r - 1) / (r + 1). The open gap is
    one of them iff it exceeds the longest closed one, so that a burst followed by silence does not look periodic.
    Uncovered days inside a gap do not count. Null under 10 active days.

    Source: Kim & Jo (2016), Physical Review E 94, 032311; B: Goh & Barabasi (2008), EPL 81, 48002.
    """
    keys, laid = _laid_out(
        posts, as_of=as_of, window_days=window_days, window_from=window_from, timezone=timezone, missing=missing
    )
    columns = ("active_days", "gaps", "burstiness", "burstiness_uncorrected")
    return _as_given(
        laid.windows.join(rhythm.silences(laid), on="series").sort("series").select(*keys, *columns), posts
    )


def memory(
    posts: Frame,
    *,
    as_of: date,
    window_days: int = WINDOW_DAYS,
    window_from: date | None = None,
    timezone: str = "UTC",
    missing: pl.LazyFrame | None = None,
) -> Frame:
    """Memory: the correlation of each closed gap between active days with the next, -1 to 1.

    Arguments and window as in `burstiness`; `active_days, memory`. Positive: long silences follow long ones. Null under
    10 active days and where the gaps do not vary.

    Source: Goh & Barabasi (2008), EPL 81, 48002.
    """
    keys, laid = _laid_out(
        posts, as_of=as_of, window_days=window_days, window_from=window_from, timezone=timezone, missing=missing
    )
    return _as_given(
        laid.windows.join(rhythm.silences(laid), on="series").sort("series").select(*keys, "active_days", "memory"),
        posts,
    )


def cadence(
    dim_post: pl.LazyFrame, dim_account: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date
) -> pl.LazyFrame:
    """Posting rhythm over the year that ends with `as_of`: `mart_cadence`.

    One row for each account and platform that offers posts, and `all`. The window starts at the latest of 364 days
    before its end, the first collected day, and the first post ever. Deleted posts count: they were posted. Days and
    weeks are local to the account. Where less than 0.9 of the window was collected, or there never was a post, every
    measure is null; in a window under 28 days steadiness is; `steadiness_note` says why. `promise_days_learned` is null
    without two posts in the 180 days before the window, or less than 0.9 of those collected.
    """
    end = _micros(end_of(as_of))
    fct_collection_span = coverage.spans_read(fct_collection_span)
    holes = coverage.missing(fct_collection_span, stream="posts", as_of=as_of)
    accounts = dim_account.select("account_id", "timezone", "promise_days")
    zones = accounts.select(pl.col("timezone").unique().sort()).collect()["timezone"].to_list()
    born = coverage.births(fct_collection_span, stream="posts", as_of=as_of).join(accounts, on="account_id")
    born = _computed(born.sort(_KEYS).with_row_index("series"))
    events = _computed(_events(_posts(dim_post, born, as_of=as_of), born, zones))
    # A hole that begins with the birth puts off the start of coverage; later ones only stop the clock.
    put_off = holes.select(
        *_KEYS, pl.col("from_date").alias("birth_date"), (pl.col("to_date") + _DAY).alias("_covered")
    )
    covered_us = pl.coalesce("_covered", "birth_date").cast(pl.Int64) * DAY_US
    # Where nothing was ever collected no day is judged, but the posts that are known stay posts of the year.
    first_covered = pl.when(covered_us < end).then(covered_us)
    windows = (
        born.join(put_off, on=(*_KEYS, "birth_date"), how="left")
        .join(_extent(events), on="series", how="left")
        .with_columns(pl.max_horizontal(pl.lit(end - WINDOW_DAYS * DAY_US), first_covered, "first_us").alias("from_us"))
        .with_columns(pl.lit(end).alias("to_us"), pl.lit(end - 1).alias("_last_us"))
    )
    windows = _local_day(_local_day(windows, "from_us", "first_day", zones), "_last_us", "today", zones)
    laid = _laid(windows, events, holes)
    windows = laid.windows
    judged = _windows_covered(windows, fct_collection_span, as_of=as_of)
    result = (
        judged.join(_computed(rhythm.promise_kept(laid)), on="series")
        .join(_computed(rhythm.posts_in_window(laid)), on="series", how="left")
        .join(_computed(rhythm.silences(laid)), on="series")
        .join(_computed(rhythm.weeks_kept(laid)), on="series")
        .join(_computed(rhythm.learned(laid)), on="series", how="left")
    )
    is_known = (pl.col("coverage_share") >= MIN_COVERAGE) & pl.col("first_us").is_not_null()
    measures = (
        "steadiness", "steadiness_low", "steadiness_high", "burstiness", "memory", "longest_silence_days",
        "open_silence_days", "silences_over_promise", "kept_weeks_share", "kept_weeks_share_n", "streak_weeks",
    )  # fmt: skip
    note = (
        pl.when(pl.col("coverage_share") < MIN_COVERAGE)
        .then(pl.lit("less than 0.9 of the window was collected"))
        .when(pl.col("first_us").is_null())
        .then(pl.lit("no posts"))
        .when(pl.col("steadiness").is_null())
        .then(pl.lit(_TOO_SHORT))
    )
    return (
        result.with_columns(note.alias("steadiness_note"))
        .with_columns(
            pl.lit(as_of).alias("as_of"),
            pl.col("posts").fill_null(0),
            *(pl.when(is_known).then(measure).alias(measure) for measure in measures),
            pl.when(pl.col("_learning_share") >= MIN_COVERAGE)
            .then("promise_days_learned")
            .alias("promise_days_learned"),
        )
        .sort(_KEYS)
        .select(
            "as_of", *_KEYS, "posts", "active_days", "window_days", "steadiness", "steadiness_low", "steadiness_high",
            "steadiness_note", "burstiness", "memory", "longest_silence_days", "open_silence_days",
            "silences_over_promise", "kept_weeks_share", "kept_weeks_share_n", "streak_weeks", "promise_days",
            "promise_days_learned", "coverage_share",
        )
    )  # fmt: skip


def cadence_week(dim_post: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """Posts by UTC Monday week: `mart_cadence_week`, weeks without posts included.

    One row a week for each account and platform that offers posts, and `all`, from the week of the stream's birth (or of
    the first post, if earlier) to the week of `as_of`. That one may still be running: it is listed so that the weeks add
    up to all posts. `active_days` are UTC days, `coverage_share` is of the week's days since birth and up to `as_of`.
    """
    fct_collection_span = coverage.spans_read(fct_collection_span)
    born = coverage.births(fct_collection_span, stream="posts", as_of=as_of)
    posts = _with_all(
        _posts(dim_post, born, as_of=as_of).select(*_KEYS, pl.col("published_at").dt.date().alias("date"))
    )
    monday = pl.col("date").dt.truncate("1w")
    counted = posts.group_by(*_KEYS, monday.alias("week")).agg(
        pl.len().cast(pl.Int64).alias("posts"), pl.col("date").n_unique().cast(pl.Int64).alias("active_days")
    )
    first = pl.min_horizontal("birth_date", "_first").dt.truncate("1w")
    weeks = (
        born.join(posts.group_by(_KEYS).agg(pl.col("date").min().alias("_first")), on=_KEYS, how="left")
        .select(*_KEYS, pl.date_ranges(first, pl.lit(as_of), interval="1w").alias("week"))
        .explode("week", empty_as_null=False, keep_nulls=False)
        .with_columns(pl.col("week").alias("from_date"), (pl.col("week") + 6 * _DAY).alias("to_date"))
    )
    return (
        coverage.coverage_share(weeks, fct_collection_span, stream="posts", as_of=as_of)
        .join(counted, on=(*_KEYS, "week"), how="left")
        .with_columns(pl.col("posts", "active_days").fill_null(0))
        .sort(*_KEYS, "week")
        .select(*_KEYS, "week", "posts", "active_days", "coverage_share")
    )


_TOO_SHORT = f"window under {rhythm.MIN_WINDOW_DAYS} days"


def _posts(dim_post: pl.LazyFrame, born: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """Visible posts on the platforms whose posts are collected, with what `born` knows of them."""
    return (
        visible_posts(dim_post, as_of=as_of)
        .select(*_KEYS, "published_at")
        .join(born, on=_KEYS)
        .with_columns(pl.col("published_at").dt.epoch("us").alias("at_us"))
    )


def _with_all(posts: pl.LazyFrame) -> pl.LazyFrame:
    """The posts, and all of them once more as platform `all`."""
    return pl.concat([posts, posts.with_columns(pl.lit(ALL).alias("platform"))])


def _events(posts: pl.LazyFrame, born: pl.LazyFrame, zones: list[str]) -> pl.LazyFrame:
    """`series, at_us, day` of the posts, each once for its platform and once for `all`."""
    together = born.filter(pl.col("platform") == ALL).select("account_id", pl.col("series").alias("_all"))
    posts = posts.join(together, on="account_id").select("series", "_all", "timezone", "at_us")
    local = _local_day(posts, "at_us", "day", zones)
    return pl.concat([local.select(series, "at_us", "day") for series in ("series", pl.col("_all").alias("series"))])


def _extent(events: pl.LazyFrame) -> pl.LazyFrame:
    """First post and last active day of each series."""
    return events.group_by("series").agg(pl.col("at_us").min().alias("first_us"), pl.col("day").max().alias("last_day"))


def _windows_covered(windows: pl.LazyFrame, fct_collection_span: pl.LazyFrame, *, as_of: date) -> pl.LazyFrame:
    """`windows` with `coverage_share`, and `_learning_share` of the 180 days before them."""
    # A stream never collected has its window start after as_of: judged on as_of, it is uncovered, not unknown.
    first = pl.min_horizontal(pl.col("from_us").cast(pl.Datetime("us")).dt.date(), pl.lit(as_of))
    before = windows.select(
        *_KEYS, "series", (first - LEARNING_DAYS * _DAY).alias("from_date"), (first - _DAY).alias("to_date")
    )
    learning = coverage.coverage_share(before, fct_collection_span, stream="posts", as_of=as_of).select(
        "series", pl.col("coverage_share").alias("_learning_share")
    )
    return coverage.coverage_share(
        windows.with_columns(first.alias("from_date"), pl.lit(as_of).alias("to_date")),
        fct_collection_span,
        stream="posts",
        as_of=as_of,
    ).join(learning, on="series")


def _laid_out(
    posts: pl.DataFrame | pl.LazyFrame,
    *,
    as_of: date,
    promise_days: float = 7,
    window_days: int,
    window_from: date | None,
    timezone: str = "UTC",
    missing: pl.LazyFrame | None,
) -> tuple[list[str], Rhythm]:
    """A caller's frame of posts, ready to be measured: its keys and its rhythm."""
    if promise_days <= 0 or window_days <= 0:
        raise ValueError("promise_days and window_days must be positive")
    schema = posts.lazy().collect_schema()
    keys = tuple(key for key in _KEYS if key in schema)
    published = pl.col("published_at").cast(pl.Datetime("us", getattr(schema["published_at"], "time_zone", None)))
    utc = (
        published.dt.convert_time_zone("UTC")
        if getattr(schema["published_at"], "time_zone", None)
        else published.dt.replace_time_zone("UTC")
    )
    end = _micros(end_of(as_of))
    known = posts.lazy().select(*keys, utc.dt.epoch("us").alias("at_us")).filter(pl.col("at_us") < end)
    names = known.select(keys).unique().sort(keys) if keys else pl.LazyFrame({"platform": [ALL]})
    absent = [pl.lit(ALL).alias(key) for key in _KEYS if key not in keys]
    names = _computed(names.with_columns(absent).with_row_index("series"))
    known = known.with_columns(absent).join(names, on=_KEYS).with_columns(pl.lit(timezone).alias("timezone"))
    events = _computed(_local_day(known, "at_us", "day", [timezone]).select("series", "at_us", "day"))
    starts = pl.max_horizontal(pl.lit(end - window_days * DAY_US), "first_us")
    if window_from is not None:
        starts = pl.lit(_micros(datetime.combine(window_from, time(), UTC)))
    windows = names.join(_extent(events), on="series", how="left").with_columns(
        starts.alias("from_us"),
        pl.lit(end).alias("to_us"),
        pl.lit(end - 1).alias("_last_us"),
        pl.lit(timezone).alias("timezone"),
        pl.lit(promise_days, dtype=pl.Float64).alias("promise_days"),
    )
    windows = _local_day(_local_day(windows, "from_us", "first_day", [timezone]), "_last_us", "today", [timezone])
    spans = _NO_HOLES if missing is None else missing
    if "account_id" not in keys:
        spans = spans.with_columns(pl.lit(ALL).alias("account_id"))
    if "platform" not in spans.collect_schema():
        spans = spans.with_columns(pl.lit(ALL).alias("platform"))
    return list(keys), _laid(windows, events, spans)


def _laid(windows: pl.LazyFrame, events: pl.LazyFrame, holes: pl.LazyFrame) -> Rhythm:
    """Windows and events with the paused clock beside the real one."""
    spans = _computed(holes.join(windows.select(*_KEYS, "series"), on=_KEYS).select("series", "from_date", "to_date"))
    for real, paused in (("from_us", "start"), ("to_us", "stop")):
        windows = _paused(windows, spans, at=real, name=paused)
    return Rhythm(
        windows=_computed(windows),
        events=_computed(_paused(events, spans, at="at_us", name="at").sort("series", "at", "at_us")),
        holes=spans,
    )


def _computed(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame computed now: many measures start from it, and a lazy plan would compute it for each of them."""
    return frame.collect().lazy()


def _paused(frame: pl.LazyFrame, spans: pl.LazyFrame, *, at: str, name: str) -> pl.LazyFrame:
    """The clock that stands still on uncovered days: time `at` less the uncovered time before it."""
    return (
        coverage.uncovered_before(frame, spans, at=at, by=("series",), unit=DAY_US)
        .with_columns((pl.col(at) - pl.col("uncovered")).alias(name))
        .drop("uncovered", "is_uncovered")
    )


def _local_day(frame: pl.LazyFrame, at: str, name: str, zones: list[str]) -> pl.LazyFrame:
    """The local day (days since the epoch) of an instant, in the row's `timezone`."""
    instant = pl.col(at).cast(pl.Datetime("us", "UTC"))
    return pl.concat(
        frame.filter(pl.col("timezone") == zone).with_columns(
            instant.dt.convert_time_zone(zone).dt.date().cast(pl.Int32).cast(pl.Int64).alias(name)
        )
        for zone in zones or ["UTC"]
    )


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _as_given(result: pl.LazyFrame, given: Frame) -> Frame:
    """Lazy where a lazy frame was given, else collected."""
    return result if isinstance(given, pl.LazyFrame) else result.collect()


_NO_HOLES = pl.LazyFrame(schema={**dict.fromkeys(_KEYS, pl.String), "from_date": pl.Date, "to_date": pl.Date})
