"""What metrics of people share: days counted once, and completed."""

from random import Random

import narwhals as nw
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets.metrics.coverage import ALL
from assets.metrics.people import (
    DAYS_TO_1970,
    active_days,
    active_days_once,
    known_contacts,
    month_of,
    with_only_platform_as_all,
)


@pytest.mark.parametrize("seed", range(20))
def test_counting_once_what_is_the_same_on_the_only_platform_changes_nothing(seed: int) -> None:
    """Accounts on one platform and on two, and of which a platform began otherwise than all together, or never."""
    random = Random(seed)
    rows = [
        (account, platform, f"p{random.randrange(4)}", day, month_of(day), random.choice([0, 1, 1]))
        for account in "abc"
        for platform in random.sample(["feed", "toots"], random.randint(1, 2))
        for day in random.choices(range(19_700, 19_900), k=12)
    ]
    schema = ["account_id", "platform", "person_id", "day", "month", "inbound_active"]
    people = nw.from_native(pl.LazyFrame(rows, schema=schema, orient="row"))
    starts = [
        (account, platform, random.choice([-DAYS_TO_1970, 19_750, 19_800]))
        for account in "abc"
        for platform in ("feed", "toots", ALL)
        if random.random() < 0.7
    ]
    begun = pl.LazyFrame(starts, schema=["account_id", "platform", "known_from"], orient="row")

    def counted(days) -> nw.LazyFrame:
        contacts = known_contacts(days, nw.from_native(begun))
        return contacts.group_by("account_id", "platform", "first_day").agg(nw.len().alias("people"))

    once, several = active_days_once(people, begun)
    completed = with_only_platform_as_all(counted(once), several)
    assert_frame_equal(
        completed.to_native().collect(), counted(active_days(people)).to_native().collect(), check_row_order=False
    )
