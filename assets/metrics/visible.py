"""What a metric may see on an `as_of`: no row after its end, no observation after its cutoff."""

from datetime import UTC, date, datetime, time, timedelta

import narwhals as nw
from narwhals.typing import IntoLazyFrameT


def end_of(as_of: date) -> datetime:
    """The first moment after `as_of`, UTC: rows count before it.

    >>> end_of(date(2020, 9, 18))
    datetime.datetime(2020, 9, 19, 0, 0, tzinfo=datetime.timezone.utc)
    """
    return datetime.combine(as_of + timedelta(days=1), time(), UTC)


def cutoff(as_of: date) -> datetime:
    """Observations count before this: a day after the end, so that the night's own collection does.

    >>> cutoff(date(2020, 9, 18))
    datetime.datetime(2020, 9, 20, 0, 0, tzinfo=datetime.timezone.utc)
    """
    return end_of(as_of + timedelta(days=1))


def visible_posts(dim_post: IntoLazyFrameT, *, as_of: date) -> IntoLazyFrameT:
    """Posts published by the end of `as_of` and seen before its cutoff; deleted ones stay (they were posted)."""
    frame = nw.from_native(dim_post)
    return frame.filter(
        nw.col("published_at") < nw.lit(end_of(as_of)), nw.col("observed_at") < nw.lit(cutoff(as_of))
    ).to_native()


def visible_interactions(fct_interaction: IntoLazyFrameT, *, as_of: date) -> IntoLazyFrameT:
    """Audience interactions of the time up to `as_of`, seen before its cutoff and not taken back before it.

    Own and site-wide rows are out. Rows of unknown time stay: whoever uses days asks `is_time_known`.
    """
    frame = nw.from_native(fct_interaction)
    return frame.filter(
        nw.col("is_audience"),
        nw.col("active_at") < nw.lit(end_of(as_of)),
        nw.col("observed_at") < nw.lit(cutoff(as_of)),
        nw.col("retracted_at").is_null() | (nw.col("retracted_at") >= nw.lit(cutoff(as_of))),
    ).to_native()
