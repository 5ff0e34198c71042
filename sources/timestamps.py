"""Reading the times that platforms write: ISO 8601 and the e-mail format of RSS."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""No web page is older: an earlier time is a clock at zero."""

_FRACTION = re.compile(r"(\.\d{6})\d+")
_COMPACT = re.compile(r"^-?\d+$")


def parse_time(text: str) -> datetime:
    """The moment that the text names, in UTC; one without a zone is meant in UTC.

    Raises `ValueError` where the text is no complete date. A date alone is its midnight; digits
    alone are refused, since nobody can tell 20200102 from a number of seconds.

    >>> parse_time("2020-01-02T03:04:05+02:00").isoformat()
    '2020-01-02T01:04:05+00:00'
    >>> parse_time("Thu, 02 Jan 2020 03:04:05 GMT").isoformat()
    '2020-01-02T03:04:05+00:00'
    """
    stripped = text.strip()
    if not stripped or _COMPACT.match(stripped):
        raise ValueError(f"{text!r} is no date")
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", stripped))
    except ValueError:
        try:
            moment = parsedate_to_datetime(stripped)
        except (TypeError, IndexError, OverflowError) as error:
            raise ValueError(f"{text!r} is no date") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is no date") from error
