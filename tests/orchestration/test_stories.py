"""The sentences beside the answers: plain, with their numbers, and never a cause."""

import re
from datetime import date

import pytest

from orchestration import stories, wording


def test_missing_comparisons_are_told_in_plain_sentences() -> None:
    value = {
        "promotional_share_28d": None,
        "promotion_penalty": None,
        "promotion_penalty_note": "0 promotional and 120 other posts: needs 10 of each",
    }
    dilution = {"dilution_elasticity": None, "dilution_elasticity_note": "posting rate hardly varies: p90/p10 below 2"}
    promotion, busy = stories.value(value, dilution)
    assert promotion == (
        "Promotional posts are not compared with the others: "
        "there was no promotional post (0 promotional and 120 other posts; 10 of each are needed)."
    )
    assert busy == (
        "Whether posts of busy times get more or fewer interactions is not known: "
        "the pace of posting hardly changes (from quiet to busy times by less than a factor of 2)."
    )


@pytest.mark.parametrize(
    "note",
    [
        "4 promotional and 120 other posts: needs 10 of each",
        "12 promotional and 30 other posts: the others got nothing",
        "45 judged posts: needs 100",
        "posting rate does not vary within months",
        "posting rate varies within one month only",
        "the estimate did not converge",
    ],
)
def test_notes_of_the_marts_are_said_plainly_with_their_numbers(note: str) -> None:
    said = wording.plain(note)
    assert said != note
    assert re.findall(r"\d+", said) == re.findall(r"\d+", note)


def test_busy_times_are_told_as_an_association() -> None:
    found = {"dilution_elasticity": 0.2229, "dilution_elasticity_low": 0.0787, "dilution_elasticity_high": 0.367}
    (told,) = stories.value(None, found | {"posts": 264})  # 2 ** 0.2229 = 1.167
    assert told.replace("\N{NO-BREAK SPACE}", " ") == (
        "Among 264 posts, those that came after twice as many of your posts in 28 days had about 17 % more interactions "
        "each (elasticity 0.223, 95 % interval 0.0787 to 0.367)."
    )
    (unclear,) = stories.value(None, found | {"posts": 264, "dilution_elasticity_low": -0.1})
    assert "had neither clearly more nor clearly fewer interactions each" in unclear


def test_nobody_goes_dormant_from_a_month_without_anybody() -> None:
    month = {"month": date(2020, 8, 1), "active": 3, "new": 1, "returning": 0, "resurrecting": 2, "dormant": 0}
    assert stories.growth(month) == ["In 2020-08, 3 people were active: 1 new, 0 returning, 2 resurrecting."]
    (told,) = stories.growth(month | {"returning": 2, "resurrecting": 0})
    assert told.endswith("0 of the month before went dormant.")


def test_listening_is_told_from_the_share_to_the_median() -> None:
    row = {
        "opportunities": 47,
        "response_rate_24h": 0.25,
        "response_rate_7d": 0.5,
        "response_time_median_seconds": 153_410.0,
        "response_time_median_seconds_note": None,
    }
    assert stories.listening(row) == [
        "People opened 47 conversations in the last 364 days.",
        f"25{wording.NBSP}% of them were answered within a day, 50{wording.NBSP}% within a week.",
        "Half of them were answered within 42.6 hours.",
    ]
    late = {**row, "response_time_median_seconds": None, "response_time_median_seconds_note": "> 14 d"}
    assert stories.listening(late)[-1] == "Fewer than half of them were answered within 14 days."
    assert stories.listening({**row, "opportunities": None}) == []
