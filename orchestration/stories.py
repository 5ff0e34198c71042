"""The report's sentences on one account, beside the three answers: what lies behind each number.

They describe what was counted and what went together; none says why. Rows of marts in, sentences
out; no table is read here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestration.wording import NBSP, counted, days, duration, listed, lowered, number, percent, plain, range_text

Row = Mapping[str, Any]
"""One row of a mart, by column name."""


def cadence(row: Row | None) -> list[str]:
    """What lies behind steadiness: posts, silences, the run of weeks. `row` is of mart_cadence."""
    if row is None:
        return []
    told = []
    if row["window_days"] is not None:
        told.append(
            f"{counted(row['posts'], 'post').capitalize()} on {days(row['active_days'])}, "
            f"in a window of {days(round(row['window_days']))}."
        )
    if row["longest_silence_days"] is not None:
        told.append(f"The longest silence lasted {days(row['longest_silence_days'])}.")
    if row["silences_over_promise"] is not None:
        told.append(
            f"{counted(row['silences_over_promise'], 'silence').capitalize()} lasted longer than twice the promise "
            f"({days(2 * row['promise_days'])})."
        )
    if row["open_silence_days"] is not None:
        told.append(f"It is {days(row['open_silence_days'])} since the last post.")
    if row["streak_weeks"] is not None:
        told.append(f"Weeks in a row with a post, up to now: {number(row['streak_weeks'])}.")
    return told


def listening(row: Row | None) -> list[str]:
    """What lies behind the answers: who wrote, how many were answered and how soon. `row` is of mart_listening."""
    if row is None or not row["opportunities"]:
        return []
    told = [f"People opened {counted(row['opportunities'], 'conversation')} in the last 364 days."]
    if row["response_rate_24h"] is not None and row["response_rate_7d"] is not None:
        told.append(
            f"{percent(row['response_rate_24h'])} of them were answered within a day, "
            f"{percent(row['response_rate_7d'])} within a week."
        )
    if row["response_time_median_seconds"] is not None:
        told.append(f"Half of them were answered within {duration(row['response_time_median_seconds'])}.")
    elif row["response_time_median_seconds_note"] == "> 14 d":
        told.append("Fewer than half of them were answered within 14 days.")
    return told


def value(row: Row | None, dilution: Row | None) -> list[str]:
    """Promotion and busy times, as associations. Rows are of mart_value and mart_dilution."""
    told = []
    if row is not None:
        if row["promotional_share_28d"] is not None:
            told.append(
                f"{percent(row['promotional_share_28d']).capitalize()} of the "
                f"{counted(row['promotional_share_28d_n'] or 0, 'post')} of the last 28 days were promotional."
            )
        if row["promotion_penalty"] is not None:
            told.append(
                _promotion(row["promotion_penalty"], row["promotion_penalty_low"], row["promotion_penalty_high"])
            )
        elif row["promotion_penalty_note"]:
            why = lowered(plain(row["promotion_penalty_note"]))
            told.append(f"Promotional posts are not compared with the others: {why}")
    if dilution is not None:
        epsilon = dilution["dilution_elasticity"]
        if epsilon is not None:
            low, high = dilution["dilution_elasticity_low"], dilution["dilution_elasticity_high"]
            told.append(_busy_times(epsilon, low, high, posts=dilution["posts"]))
        elif dilution["dilution_elasticity_note"]:
            why = lowered(plain(dilution["dilution_elasticity_note"]))
            told.append(f"Whether posts of busy times get more or fewer interactions is not known: {why}")
    return told


def _promotion(ratio: float, low: float | None, high: float | None) -> str:
    """The value of promotional posts beside that of the others.

    >>> _promotion(0.42, 0.3, 0.55).replace(NBSP, " ")
    'Promotional posts had 58 % less value than the others (0.420 times as much, 95 % interval 0.300 to 0.550).'
    >>> _promotion(0.9, None, None)
    'Promotional posts had neither clearly more nor clearly less value than the others (0.900 times as much).'
    """
    found = "neither clearly more nor clearly less"
    if _is_clear(low, high, 1):
        found = f"{percent(abs(ratio - 1))} {'more' if ratio > 1 else 'less'}"
    return f"Promotional posts had {found} value than the others ({number(ratio)} times as much{_interval(low, high)})."


def _busy_times(elasticity: float, low: float | None, high: float | None, *, posts: int) -> str:
    """What went with twice as many own posts in the 28 days before a post: 2 to the power of the elasticity.

    >>> _busy_times(-1, -1.2, -0.8, posts=721).replace(NBSP, " ").replace("\N{MINUS SIGN}", "-")
    'Among 721 posts, those that came after twice as many of your posts in 28 days had about 50 % fewer interactions \
each (elasticity -1, 95 % interval -1.20 to -0.800).'
    """
    found = "neither clearly more nor clearly fewer"
    if _is_clear(low, high, 0):
        found = f"about {percent(round(abs(2**elasticity - 1), 2))} {'more' if elasticity > 0 else 'fewer'}"
    return (
        f"Among {counted(posts, 'post')}, those that came after twice as many of your posts in 28 days had {found} "
        f"interactions each (elasticity {number(elasticity)}{_interval(low, high)})."
    )


def _is_clear(low: float | None, high: float | None, neutral: float) -> bool:
    return low is not None and high is not None and not low <= neutral <= high


def _interval(low: float | None, high: float | None) -> str:
    interval = range_text(low, high, number)
    return f", 95{NBSP}% interval {interval}" if interval else ""


def growth(row: Row | None) -> list[str]:
    """The last complete month. `row` is of mart_growth_month."""
    if row is None:
        return []
    month = f"{row['month']:%Y-%m}"
    if row["active"] is None:
        return [f"The people active in {month} are not known: {lowered(row['active_note'] or 'no reason is given')}"]
    told = f"In {month}, {counted(row['active'], 'person')} {'was' if row['active'] == 1 else 'were'} active"
    if row["new"] is not None:
        told += f": {number(row['new'])} new, {number(row['returning'])} returning, {number(row['resurrecting'])} resurrecting"
    # Everybody of the month before is returning or dormant now: neither means that there was nobody to go.
    if row["dormant"] is not None and (row["dormant"] or row["returning"]):
        told += f"; {number(row['dormant'])} of the month before went dormant"
    return [f"{told}."]


def ties(states: Mapping[str | None, int], order: tuple[str, ...]) -> list[str]:
    """How many relationships are in which state, in a fixed order.

    >>> ties({"lost": 3, "active": 2, None: 1}, ("active", "cooling", "lost"))
    ['Of the 6 people who ever got in touch, 2 are active, 3 are lost and 1 not judged.']
    """
    everyone = sum(states.values())
    if not everyone:
        return []
    parts = [f"{number(states[s])} {'is' if states[s] == 1 else 'are'} {s}" for s in order if states.get(s)]
    if states.get(None):
        parts.append(f"{number(states[None])} not judged")
    return [f"Of the {counted(everyone, 'person')} who ever got in touch, {listed(parts)}."]


def staying(row: Row | None) -> list[str]:
    """Whether people won in a spike stay as long as the others. `row` is of mart_retention_test, spike vs steady.

    Where there are too few of either to compare, nothing is told.
    """
    if row is None or row["retained_8w_difference"] is None:
        return []
    difference = row["retained_8w_difference"]
    low, high = row["retained_8w_difference_low"], row["retained_8w_difference_high"]
    found = "neither clearly more nor clearly fewer"
    if _is_clear(low, high, 0):
        found = f"{number(abs(difference) * 100)} percentage points {'more' if difference > 0 else 'fewer'}"
    told = (
        f"Of the {counted(row['people_a'], 'person')} won in a spike, {found} are active in weeks 5 to 8 than of the "
        f"{counted(row['people_b'], 'person')} won at other times"
    )
    interval = range_text(low * 100, high * 100, number) if low is not None and high is not None else ""
    return [
        told + (f" (difference {number(difference * 100)} points, 95{NBSP}% interval {interval})." if interval else ".")
    ]


def spike(rows: Sequence[Row]) -> list[str]:
    """Spikes of new people, the latest one named. Rows are of mart_spike, in order of time."""
    if not rows:
        return []
    last = rows[-1]
    people = f"{number(last['new_people'])} new {'person' if last['new_people'] == 1 else 'people'}"
    spikes = counted(len(rows), "spike").capitalize()
    return [f"{spikes} of new people so far; the latest began on {last['started_on'].isoformat()} ({people})."]
