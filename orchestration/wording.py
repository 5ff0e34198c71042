"""The words of the report: how a number is written, how a metric is called, how a note is said plainly.

Sentences describe what was counted; none says why it happened. A number that is missing brings
the mart's own reason instead. No table is read here.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

NBSP, MINUS = "\N{NO-BREAK SPACE}", "\N{MINUS SIGN}"

QUESTIONS = {
    "consistency": "Are we consistent?",
    "value": "What do people value?",
    "relationships": "Who keeps coming back?",
}


def number(value: float) -> str:
    """Three significant digits, no digit before the decimal point dropped, whole numbers as they are.

    >>> [number(v) for v in (3, 0, 0.012345, 4.5678, 12345.6)]
    ['3', '0', '0.0123', '4.57', '12,346']
    """
    sign = MINUS if value < 0 else ""
    size = abs(value)
    if size == int(size):
        return f"{sign}{size:,.0f}"
    decimals = max(0, 2 - math.floor(math.log10(size)))
    if float(f"{size:.{decimals}f}") >= 10 ** (3 - decimals):  # 9.999 -> 10.0, not 10.00
        decimals = max(0, decimals - 1)
    return f"{sign}{size:,.{decimals}f}"


def percent(value: float) -> str:
    """A share as a percentage; only what is whole is written as 0 or 100.

    >>> [percent(v).replace(NBSP, " ") for v in (0, 1, 0.8312, 0.05, 0.99999, 0.00001)]
    ['0 %', '100 %', '83.1 %', '5 %', 'over 99.9 %', 'under 0.01 %']
    """
    if 0.9995 <= value < 1:
        return f"over 99.9{NBSP}%"
    if 0 < value < 0.0001:
        return f"under 0.01{NBSP}%"
    return f"{number(round(value * 100, 6))}{NBSP}%"


def counted(value: float, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "post"), counted(43, "post"), counted(2, "person"), counted(0.5, "day")
    ('1 post', '43 posts', '2 people', '0.500 days')
    """
    plural = {"person": "people"}.get(noun, f"{noun}s")
    return f"{number(value)} {noun if value == 1 else plural}"


def days(value: float) -> str:
    """A length of time in days.

    >>> days(7.0), days(1)
    ('7 days', '1 day')
    """
    return counted(value, "day")


def duration(seconds: float) -> str:
    """A length of time in the unit that reads best.

    >>> [duration(s) for s in (45, 5400, 90_000, 400_000)]
    ['45 seconds', '1.50 hours', '25 hours', '4.63 days']
    """
    for unit, size, least in (("day", 86_400, 2), ("hour", 3_600, 1), ("minute", 60, 1)):
        if seconds >= least * size:
            return counted(seconds / size, unit)
    return counted(seconds, "second")


def listed(parts: list[str]) -> str:
    """Parts in one phrase.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How one metric is spoken of: its name, its sentence (with `{value}`), its format, what n counts."""

    label: str
    sentence: str = ""
    write: Callable[[float], str] = number
    basis: str = ""
    is_share: bool = False
    is_count: bool = False


def _share(label: str, basis: str, sentence: str = "") -> Measure:
    return Measure(label=label, sentence=sentence, write=percent, basis=basis, is_share=True)


MEASURES: dict[str, Measure] = {
    "steadiness": _share(
        "Steadiness: time in which the promise was kept", "post", "The posting promise was kept {value} of the time"
    ),
    "kept_weeks_share": _share("Weeks with at least one post", "week", "{value} of the weeks had at least one post"),
    "posts": Measure(label="Posts", sentence="There were {value} posts", is_count=True),
    "active_days": Measure(label="Days with a post", is_count=True),
    "streak_weeks": Measure(label="Weeks in a row with a post, up to now", is_count=True),
    "burstiness": Measure(label=f"Burstiness ({MINUS}1 periodic, 0 random, 1 bursts)", basis="day"),
    "memory": Measure(label="Memory: correlation of each gap with the next", basis="day"),
    "longest_silence_days": Measure(label="Longest silence", write=days, is_count=True),
    "open_silence_days": Measure(label="Silence up to now", write=days, is_count=True),
    "silences_over_promise": Measure(label="Silences longer than twice the promise", is_count=True),
    "response_rate_24h": _share("Messages answered within 24 hours", "message"),
    "response_time_median_seconds": Measure(
        label="Time to an answer, median (messages without an answer counted as still waiting)",
        write=duration,
        basis="message",
    ),
    "availability_days_share": _share("Days with somebody waiting on which one was answered", "day"),
    "value_per_post": Measure(
        label="Value of a post",
        basis="post",
        sentence="A post earned {value} points of value in its first seven days, on average",
    ),
    "people_per_post": Measure(
        label="People who responded to a post",
        basis="post",
        sentence="{value} people responded to a post in its first seven days, on average",
    ),
    "rate_shrunken": Measure(label="Interactions a post, shrunken mean", basis="post"),
    "promotional_share_28d": _share("Promotional posts, last 28 days", "post"),
    "promotion_penalty": Measure(label="Value of promotional posts relative to the others", basis="post"),
    "dilution_elasticity": Measure(label="Dilution: elasticity of interactions to posting more", basis="post"),
    "active": Measure(
        label="People active in the last complete month",
        sentence="{value} people were active in the last complete month",
        is_count=True,
    ),
    "new": Measure(label="New people in the last complete month", is_count=True),
    "returning": Measure(label="People returning in the last complete month", is_count=True),
    "resurrecting": Measure(label="People resurrecting in the last complete month", is_count=True),
    "dormant": Measure(label="People gone dormant in the last complete month", is_count=True),
    "quick_ratio": Measure(label="Quick ratio: new and resurrecting for each dormant", basis="person", is_count=True),
    "stickiness": Measure(
        label="Stickiness: weekly over monthly active people",
        write=percent,
        basis="person",
        is_count=True,
        is_share=True,
    ),
    "net_retention": Measure(
        label="Net retention of last year's strength", write=percent, basis="person", is_count=True
    ),
    "gross_retention": Measure(
        label="Gross retention of last year's strength", write=percent, basis="person", is_count=True, is_share=True
    ),
    "people_for_half_of_value": Measure(
        label="Fewest people who give half of a year's value", basis="person", is_count=True
    ),
    "multi_platform_share": _share("People met on several platforms", "person"),
    "retained_rate": _share(
        "Retained: a cohort's people active in the third month after",
        "person",
        "Of the people first met, {value} were active in the third month after",
    ),
    "retained_or_later_rate": _share(
        "Retained or later", "person", "{value} of the people of a cohort were active again then or later"
    ),
}

HEADLINES = {
    "consistency": ("steadiness", "kept_weeks_share", "posts"),
    "value": ("value_per_post", "people_per_post"),
    "relationships": ("retained_rate", "retained_or_later_rate", "active", "net_retention"),
}
"""Which metric answers each question: the first that the summary holds."""


def measure(metric: str) -> Measure:
    """How a metric is spoken of; one without an entry is read from its name.

    >>> measure("listening_share").label
    'Listening share'
    """
    if metric in MEASURES:
        return MEASURES[metric]
    words = metric.replace("_", " ").capitalize()
    if metric.endswith(("_share", "_rate")):
        return Measure(label=words, write=percent, is_share=True)
    return Measure(label=words, write=days if metric.endswith("_days") else number)


def range_text(low: float | None, high: float | None, write: Callable[[float], str]) -> str:
    """The interval, or nothing where there is none, or where both its ends are written alike.

    >>> range_text(0.78, 0.882, percent).replace(NBSP, " "), range_text(None, 1, percent), range_text(1, 1, percent)
    ('78 % to 88.2 %', '', '')
    """
    if low is None or high is None:
        return ""
    first, last = write(low), write(high)
    return "" if first == last else f"{first} to {last}"


def whole(value: float, kind: Measure) -> str:
    """What is said in a sentence in place of a share that leaves nothing out, or holds nothing.

    >>> whole(1, measure("steadiness")), whole(0, measure("steadiness")), whole(0.5, measure("steadiness"))
    ('all', 'none', '')
    >>> whole(1, measure("value_per_post"))
    ''
    """
    if not (kind.is_share and kind.sentence):
        return ""
    return "all" if value == 1 else "none" if value == 0 else ""


def compared(
    value: float | None, previous: float | None, low: float | None, high: float | None, write: Callable[[float], str]
) -> str:
    """The number beside that of a quarter ago; inside the interval no change is claimed.

    >>> compared(0.8, 0.79, 0.7, 0.9, percent).replace(NBSP, " ")
    'A quarter ago 79 %, which lies inside the interval: no clear change.'
    >>> compared(5, 4, None, None, number)
    'Up from 4 a quarter ago.'
    >>> compared(5, None, None, None, number)
    'There is no number for a quarter ago.'
    """
    if previous is None:
        return "There is no number for a quarter ago."
    before = write(previous)
    if value is None:
        return f"A quarter ago it was {before}."
    if write(value) == before:
        return f"The same as a quarter ago ({before})."
    if low is not None and high is not None and low <= previous <= high:
        return f"A quarter ago {before}, which lies inside the interval: no clear change."
    return f"{'Up' if value > previous else 'Down'} from {before} a quarter ago."


def sentence(text: str) -> str:
    """A note as a sentence: a capital first, a full stop last.

    >>> sentence("fewer than 28 days")
    'Fewer than 28 days.'
    """
    text = text.strip()
    if not text:
        return ""
    return f"{text[0].upper()}{text[1:]}{'' if text[-1] in '.!?' else '.'}"


_PLAINLY = (
    (
        r"(0 promotional and \d+ other posts): needs (\d+) of each",
        r"there was no promotional post (\1; \2 of each are needed)",
    ),
    (
        r"(\d+ promotional and \d+ other posts): needs (\d+) of each",
        r"there are too few of one kind (\1; \2 of each are needed)",
    ),
    (r"(\d+ promotional and \d+ other posts): the others got nothing", r"the others got no interactions at all (\1)"),
    (r"(\d+) judged posts: needs (\d+)", r"too few posts are seven days old or older (\1; \2 are needed)"),
    (
        r"posting rate hardly varies: p90/p10 below (\d+)",
        r"the pace of posting hardly changes (from quiet to busy times by less than a factor of \1)",
    ),
    (r"posting rate does not vary within months", "within a month the pace of posting does not change"),
    (r"posting rate varies within one month only", "the pace of posting changes within a single month only"),
    (r"the estimate did not converge", "the calculation settled on no number"),
)


def plain(note: str) -> str:
    """A mart's note in words for a reader who did not build it, its numbers kept; others stay as they are.

    >>> plain("4 promotional and 120 other posts: needs 10 of each")
    'there are too few of one kind (4 promotional and 120 other posts; 10 of each are needed)'
    >>> plain("no posts")
    'no posts'
    """
    for pattern, words in _PLAINLY:
        found = re.fullmatch(pattern, note.strip())
        if found:
            return found.expand(words)
    return note


def lowered(note: str) -> str:
    """A note as the end of a sentence: its first letter small, unless an abbreviation or a number begins it.

    >>> lowered("Fewer than 28 days"), lowered("CSV gives none")
    ('fewer than 28 days.', 'CSV gives none.')
    """
    note = sentence(note)
    return note[0].lower() + note[1:] if note[1:2].islower() else note
