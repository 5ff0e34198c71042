"""The report's charts as inline SVG: values in, markup out.

Nothing here reads a table, knows a colour or runs a script: shapes carry class names, and
`reports/style.css` paints them for light, dark and paper. Every chart has a title and a
description for screen readers, and each mark says its own numbers when pointed at.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from markupsafe import Markup

COVERED = 0.9
"""Below this coverage a period is unknown: drawn hatched, never as silence."""

PITCH, CELL = 16, 13
LEFT, TOP, RIGHT = 44, 20, 56
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_STARTS = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
WIDTH = LEFT + 53 * PITCH + RIGHT
LEVELS = 4


@dataclass(frozen=True, kw_only=True)
class Week:
    """One week of the posting calendar; `coverage` null means that nothing is known of it."""

    monday: date
    posts: int
    active_days: int
    coverage: float | None

    @property
    def is_known(self) -> bool:
        """Whether a week without posts is silence."""
        return self.coverage is not None and self.coverage >= COVERED


@dataclass(frozen=True, kw_only=True)
class Month:
    """One month of lifecycle accounting; counts are null where the month was not covered."""

    first: date
    new: int | None
    returning: int | None
    resurrecting: int | None
    dormant: int | None
    note: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether the month has counts."""
        return self.new is not None


def breaks(values: Sequence[int]) -> tuple[int, ...]:
    """Smallest value of each shade, at most four: the quartiles of what is above zero.

    >>> breaks([0, 1, 1, 2, 3, 9])
    (1, 2, 3)
    >>> breaks([0, 0])
    ()
    """
    seen = sorted(value for value in values if value > 0)
    if not seen:
        return ()
    return tuple(sorted({seen[len(seen) * k // LEVELS] for k in range(LEVELS)}))


def level(value: float, limits: Sequence[float]) -> int:
    """How many limits the value reaches: 0 is below the first.

    >>> [level(v, (1, 2, 3)) for v in (0, 1, 2, 9)]
    [0, 1, 2, 3]
    """
    return sum(value >= limit for limit in limits)


def shades(limits: Sequence[int]) -> tuple[int, ...]:
    """The shade of each level, so that few levels still span from faint to strong.

    >>> shades((1, 2, 3, 8)), shades((1, 5)), shades((1,))
    ((1, 2, 3, 4), (1, 4), (3,))
    """
    count = len(limits)
    if count == 1:
        return (3,)
    return tuple(1 + round((LEVELS - 1) * k / (count - 1)) for k in range(count))


def ranges(limits: Sequence[int]) -> tuple[str, ...]:
    """What the shades stand for, in words for the legend.

    >>> ranges((1, 2, 5))
    ('1', '2 to 4', '5 or more')
    """
    texts = []
    for low, following in zip(limits, (*limits[1:], None), strict=True):
        if following is None:
            texts.append(f"{low} or more")
        elif following - 1 == low:
            texts.append(f"{low}")
        else:
            texts.append(f"{low} to {following - 1}")
    return tuple(texts)


def nice_ceiling(value: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below the value.

    >>> [nice_ceiling(v) for v in (0, 3, 18, 260, 0.7)]
    [1.0, 5.0, 20.0, 500.0, 1.0]
    """
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * (1 - 1e-9))


def _figure(name: str, ident: str, *, width: float, height: float, title: str, description: str) -> Markup:
    return Markup(
        '<svg class="{name}" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{ident}-t {ident}-d">'
        '<title id="{ident}-t">{title}</title><desc id="{ident}-d">{description}</desc>'
    ).format(name=name, ident=ident, width=_n(width), height=_n(height), title=title, description=description)


def _n(value: float) -> str:
    """A coordinate: two decimals at most, no trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _text(x: float, y: float, text: str, *, anchor: str = "start", name: str = "axis") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(name, _n(x), _n(y), anchor, text)


def _rect(name: str, x: float, y: float, width: float, height: float, *, radius: float = 0, title: str = "") -> str:
    body = Markup("<title>{}</title>").format(title) if title else ""
    rx = f' rx="{_n(radius)}"' if radius else ""
    return f'<rect class="{name}" x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"{rx}>{body}</rect>'


def calendar(weeks: Sequence[Week], *, ident: str, title: str, description: str) -> Markup:
    """The posting calendar: a row for each ISO year, newest on top, a column for each ISO week.

    A cell's class is `q0` (silent) to `q4` (many posts), `qx` where the week is unknown; a week
    with posts but incomplete coverage keeps its shade under a hatch. At the right, posts a year.
    """
    limits = breaks([week.posts for week in weeks])
    shade = (0, *shades(limits)) if limits else (0,)
    newest = max(week.monday.isocalendar().year for week in weeks)
    oldest = min(week.monday.isocalendar().year for week in weeks)
    totals: dict[int, int] = {}
    cells = []
    for week in sorted(weeks, key=lambda week: week.monday):
        year, number, _ = week.monday.isocalendar()
        totals[year] = totals.get(year, 0) + week.posts
        x, y = LEFT + (number - 1) * PITCH, TOP + (newest - year) * PITCH
        known = week.is_known
        said = f"Week of {week.monday.isoformat()}: " + _said_of_week(week)
        if known or week.posts:
            cells.append(_rect(f"q{shade[level(week.posts, limits)]}", x, y, CELL, CELL, radius=2, title=said))
        if not known:
            cells.append(_rect("qx", x, y, CELL, CELL, radius=2, title=said))
    labels = [
        _text(LEFT + (start // 7) * PITCH, TOP - 7, month) for month, start in zip(_MONTHS, _MONTH_STARTS, strict=True)
    ]
    for year in range(oldest, newest + 1):
        y = TOP + (newest - year) * PITCH + CELL - 2
        labels.append(_text(LEFT - 8, y, str(year), anchor="end"))
        if year in totals:
            labels.append(_text(WIDTH - 2, y, f"{totals[year]:,}", anchor="end"))
    labels.append(_text(WIDTH - 2, TOP - 7, "posts", anchor="end"))
    height = TOP + (newest - oldest + 1) * PITCH
    head = _figure("calendar", ident, width=WIDTH, height=height, title=title, description=description)
    return Markup("").join([head, *labels, *(Markup(cell) for cell in cells), Markup("</svg>")])  # noqa: S704 - cells escape their text


def _said_of_week(week: Week) -> str:
    posts = f"{week.posts} post{'' if week.posts == 1 else 's'}"
    if week.posts:
        posts += f" on {week.active_days} day{'' if week.active_days == 1 else 's'}"
    if week.is_known:
        return posts if week.posts else "silent"
    return f"{posts} seen, not wholly covered" if week.posts else "not covered, unknown"


PLOT_HEIGHT = 200
GROWTH_TOP, GROWTH_BOTTOM = 10, 22
GROWTH_WIDTH = WIDTH - LEFT - 8
WIDEST = 48
STACK = ("returning", "resurrecting", "new")


def growth(months: Sequence[Month], *, ident: str, title: str, description: str) -> Markup:
    """Lifecycle accounting: returning, resurrecting and new people stacked above zero, dormant below.

    Both directions share one scale. Months without counts are hatched over the whole height.
    """
    up = max((sum(getattr(m, part) for part in STACK) for m in months if m.is_known), default=0)
    down = max((m.dormant or 0 for m in months), default=0)
    tick = max(1.0, nice_ceiling(max(up, down) / 5))
    above, below = math.ceil(up / tick) or 1, math.ceil(down / tick)
    unit = PLOT_HEIGHT / ((above + below) * tick)
    zero = GROWTH_TOP + above * tick * unit
    pitch = min(WIDEST, GROWTH_WIDTH / max(len(months), 1))
    bar = pitch * 0.72
    parts: list[Markup] = [
        _figure(
            "growth",
            ident,
            width=WIDTH,
            height=GROWTH_TOP + PLOT_HEIGHT + GROWTH_BOTTOM,
            title=title,
            description=description,
        )
    ]
    for k in range(-below, above + 1):
        y = zero - k * tick * unit
        name = "zero" if k == 0 else "grid"
        parts.append(
            Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                name, LEFT, _n(LEFT + GROWTH_WIDTH), _n(y), _n(y)
            )
        )
        parts.append(_text(LEFT - 8, y + 3.5, f"{abs(k) * tick:,.0f}", anchor="end"))
    for i, month in enumerate(months):
        x = LEFT + i * pitch + (pitch - bar) / 2
        parts.append(_month_bar(month, x=x, bar=bar, zero=zero, unit=unit))
        if i == 0 or month.first.month == 1:
            label = month.first.strftime("%Y") if month.first.month == 1 else month.first.strftime("%Y-%m")
            # A label beside January's would run into it.
            if month.first.month == 1 or len(months) == 1 or (13 - month.first.month) * pitch > 52:
                parts.append(_text(x, GROWTH_TOP + PLOT_HEIGHT + 16, label))
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def _month_bar(month: Month, *, x: float, bar: float, zero: float, unit: float) -> Markup:
    name = month.first.strftime("%Y-%m")
    if not month.is_known:
        said = f"{name}: {month.note or 'not covered, unknown'}"
        return Markup(_rect("qx", x, GROWTH_TOP, bar, PLOT_HEIGHT, title=said))  # noqa: S704 - _rect escapes
    said = (
        f"{name}: {month.returning} returning, {month.resurrecting} resurrecting, {month.new} new; "
        f"{month.dormant or 0} gone dormant"
    )
    rects = []
    y = zero
    for part in STACK:
        height = getattr(month, part) * unit
        if height:
            y -= height
            rects.append(_rect(part, x, y, bar, height))
    if month.dormant:
        rects.append(_rect("dormant", x, zero, bar, month.dormant * unit))
    return Markup("<g><title>{}</title>{}</g>").format(said, Markup("".join(rects)))  # noqa: S704 - numbers only


STRIP_WIDTH, STRIP_HEIGHT, STRIP_MARGIN, STRIP_Y = 280, 34, 8, 11


def strip(
    value: float,
    *,
    low: float | None,
    high: float | None,
    previous: float | None,
    ends: tuple[float, float],
    labels: tuple[str, str],
    ident: str,
    title: str,
) -> Markup:
    """One number on its scale: a dot, its interval as a bar, the number of a quarter ago as a ring."""
    span = (ends[1] - ends[0]) or 1.0

    def x(number: float) -> float:
        place = min(1.0, max(0.0, (number - ends[0]) / span))
        return STRIP_MARGIN + place * (STRIP_WIDTH - 2 * STRIP_MARGIN)

    parts = [
        _figure("strip", ident, width=STRIP_WIDTH, height=STRIP_HEIGHT, title=title, description=title),
        Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            STRIP_MARGIN, STRIP_WIDTH - STRIP_MARGIN, STRIP_Y, STRIP_Y
        ),
    ]
    if low is not None and high is not None:
        parts.append(Markup(_rect("interval", x(low), STRIP_Y - 4, max(x(high) - x(low), 1), 8, radius=4)))  # noqa: S704 - _rect escapes
    if previous is not None:
        parts.append(Markup('<circle class="previous" cx="{}" cy="{}" r="5"/>').format(_n(x(previous)), STRIP_Y))
    parts.append(Markup('<circle class="value" cx="{}" cy="{}" r="4.5"/>').format(_n(x(value)), STRIP_Y))
    parts.append(_text(STRIP_MARGIN, STRIP_HEIGHT - 3, labels[0]))
    parts.append(_text(STRIP_WIDTH - STRIP_MARGIN, STRIP_HEIGHT - 3, labels[1], anchor="end"))
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)
