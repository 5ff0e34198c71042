"""When what can still change is read again: often while it is young, then ever more rarely."""

from datetime import datetime, timedelta

AGES = tuple(timedelta(days=days) for days in (1, 2, 3, 5, 7, 8, 14, 28, 90))
"""Ages of a post at which its lists are read again. One at 7 days or more closes the 7-day window."""

SETTLING = timedelta(hours=20)
"""Counters run ahead of lists: what changed is read once more the next night."""

MANY = 5_000
"""Lists of up to so many items are read whole every night."""
RECENT = timedelta(days=92)
"""Longer ones are read back so far,"""
WHOLE_EVERY = timedelta(days=28)
"""and whole when the last time is this long ago."""


def is_due(published_at: datetime, *, last_complete: datetime | None, read_at: datetime) -> bool:
    """Whether a post has reached an age of the schedule since its lists were last read to their end.

    A missed night is made up for on the next: any age passed since the last reading counts.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> is_due(noon, last_complete=None, read_at=noon)
    True
    >>> is_due(noon, last_complete=noon, read_at=noon + timedelta(hours=23))
    False
    >>> is_due(noon, last_complete=noon + timedelta(days=3), read_at=noon + timedelta(days=9))
    True
    """
    if last_complete is None:
        return True
    return any(last_complete < published_at + age <= read_at for age in AGES)
