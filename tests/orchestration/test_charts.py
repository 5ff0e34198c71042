"""The charts' geometry, computed by hand."""

from datetime import date
from xml.etree import ElementTree as ET

import pytest

from orchestration import charts


def shapes(svg: str, tag: str, name: str) -> list[dict[str, str]]:
    return [e.attrib for e in ET.fromstring(svg).iter(tag) if e.get("class") == name]


def week(monday: date, posts: int, coverage: float | None = 1.0) -> charts.Week:
    return charts.Week(monday=monday, posts=posts, active_days=min(posts, 7), coverage=coverage)


def calendar(*weeks: charts.Week) -> str:
    return charts.calendar(weeks, ident="c", title="Calendar", description="Weeks")


def month(first: date, *counts: int | None) -> charts.Month:
    new, returning, resurrecting, dormant = counts
    return charts.Month(first=first, new=new, returning=returning, resurrecting=resurrecting, dormant=dormant)


def growth(*months: charts.Month) -> str:
    return charts.growth(months, ident="g", title="Growth", description="Months")


def test_a_week_stands_in_its_iso_column_and_the_newest_year_on_top() -> None:
    svg = calendar(week(date(2019, 12, 23), 0), week(date(2019, 12, 30), 3))  # the second is week 1 of 2020
    (silent,), (posted,) = shapes(svg, "rect", "q0"), shapes(svg, "rect", "q3")
    assert (silent["x"], silent["y"]) == (str(44 + 51 * 16), str(20 + 16))  # week 52, second row
    assert (posted["x"], posted["y"]) == ("44", "20")
    assert ET.fromstring(svg).get("viewBox") == f"0 0 {44 + 53 * 16 + 56} {20 + 2 * 16}"


def test_an_uncovered_week_is_hatched_and_never_silent() -> None:
    svg = calendar(week(date(2020, 1, 6), 0, None), week(date(2020, 1, 13), 0, 0.5), week(date(2020, 1, 20), 0, 0.9))
    assert [cell["x"] for cell in shapes(svg, "rect", "qx")] == ["60", "76"]
    assert [cell["x"] for cell in shapes(svg, "rect", "q0")] == ["92"]
    assert "Week of 2020-01-06: not covered, unknown" in svg
    assert "Week of 2020-01-20: silent" in svg


def test_posts_of_an_uncovered_week_keep_their_shade_under_the_hatch() -> None:
    svg = calendar(week(date(2020, 1, 6), 2, 0.5))
    assert len(shapes(svg, "rect", "q3")) == len(shapes(svg, "rect", "qx")) == 1
    assert "2 posts on 2 days seen, not wholly covered" in svg


def test_the_calendar_sums_each_year() -> None:
    svg = calendar(week(date(2019, 1, 7), 1000), week(date(2019, 1, 14), 500), week(date(2020, 1, 6), 2))
    texts = [e.text for e in ET.fromstring(svg).iter("text")]
    assert "1,500" in texts
    assert "2" in texts


def test_growth_stacks_above_zero_and_puts_dormant_below() -> None:
    # up 10, down 5: tick nice_ceiling(10 / 5) = 2, five ticks above, three below, 16 people in 200 units: 12.5 each
    svg = growth(month(date(2020, 1, 1), 2, 5, 3, 5))
    zero = 10 + 5 * 2 * 12.5
    (returning,), (back,) = shapes(svg, "rect", "returning"), shapes(svg, "rect", "resurrecting")
    (new,), (gone,) = shapes(svg, "rect", "new"), shapes(svg, "rect", "dormant")
    assert (float(returning["y"]), float(returning["height"])) == (zero - 62.5, 62.5)
    assert (float(back["y"]), float(back["height"])) == (zero - 100, 37.5)
    assert (float(new["y"]), float(new["height"])) == (zero - 125, 25)
    assert (float(gone["y"]), float(gone["height"])) == (zero, 62.5)
    assert float(new["x"]) == pytest.approx(44 + 48 * 0.14)  # the widest bar, centred in its column
    assert float(new["width"]) == pytest.approx(48 * 0.72)


def test_a_month_without_counts_is_hatched_with_its_reason() -> None:
    known = month(date(2020, 1, 1), 1, 0, 0, 0)
    unknown = charts.Month(
        first=date(2020, 2, 1), new=None, returning=None, resurrecting=None, dormant=None, note="<b>half</b> covered"
    )
    svg = growth(known, unknown)
    (hatch,) = shapes(svg, "rect", "qx")
    assert (hatch["y"], hatch["height"]) == ("10", "200")
    assert "2020-02: &lt;b&gt;half&lt;/b&gt; covered" in svg


@pytest.mark.parametrize("months", [[], [month(date(2020, 1, 1), 0, 0, 0, 0)]])
def test_growth_of_nobody_draws_no_bar(months: list[charts.Month]) -> None:
    svg = growth(*months)
    assert not list(ET.fromstring(svg).iter("rect"))


def test_the_strip_puts_value_interval_and_previous_on_one_scale() -> None:
    svg = charts.strip(
        0.5, low=0.25, high=0.75, previous=1.0, ends=(0.0, 1.0), labels=("0 %", "100 %"), ident="s", title="Half"
    )  # 264 units between margins of 8
    assert shapes(svg, "circle", "value")[0]["cx"] == "140"
    assert shapes(svg, "circle", "previous")[0]["cx"] == "272"
    (bar,) = shapes(svg, "rect", "interval")
    assert (bar["x"], bar["width"]) == ("74", "132")


def test_a_strip_without_interval_and_previous_is_a_dot() -> None:
    svg = charts.strip(3, low=None, high=None, previous=None, ends=(0, 5), labels=("0", "5"), ident="s", title="t")
    assert not shapes(svg, "rect", "interval")
    assert not shapes(svg, "circle", "previous")


def test_every_chart_names_itself_and_escapes() -> None:
    svg = charts.calendar(
        [week(date(2020, 1, 6), 1)], ident="c", title="<script>alert(1)</script>", description="a & b"
    )
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "c-t c-d"
    assert "<script>" not in svg
    assert root.findtext("title") == "<script>alert(1)</script>"
    assert root.findtext("desc") == "a & b"
