"""The report on small frames: what it says, what it does not say, and that it stays private and offline."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from orchestration import report
from quality.catalog.model import empty, enforce
from quality.catalog.tables import MARTS

AS_OF = date(2020, 9, 18)
ALICE, BOB = "a" * 32, "b" * 32
Rows = dict[str, list[dict[str, Any]]]


def marts(rows: Rows) -> Callable[[str], pl.DataFrame]:
    def frame(name: str) -> pl.DataFrame:
        table = MARTS[name]
        if not rows.get(name):
            return empty(table)
        assert all(set(row) <= set(table.column_names) for row in rows[name])
        schema = {column.name: column.dtype.polars for column in table.columns}
        full = [{column: row.get(column) for column in table.column_names} for row in rows[name]]
        return enforce(table, pl.DataFrame(full, schema=schema))

    return frame


def metric(name: str, question: str, account: str = "blog", **values: Any) -> dict[str, Any]:
    return {"as_of": AS_OF, "account_id": account, "metric": name, "question": question, **values}


def tie(person: str, state: str | None, last: date, account: str = "blog", **values: Any) -> dict[str, Any]:
    return {
        "account_id": account, "person_id": person, "as_of": AS_OF, "tie_state": state, "inbound": 4,
        "first_at": datetime(2019, 1, 1, tzinfo=UTC), "last_at": datetime(last.year, last.month, last.day, 12, tzinfo=UTC),
        "inbound_composed": 2, "rhythm_days": 12.0, "value_365d": 3.5, "platforms": 1, **values,
    }  # fmt: skip


def community() -> Rows:
    everywhere = {"account_id": "blog", "platform": "all"}
    post = {
        "account_id": "blog", "platform": "feed", "kind": "article", "is_pending": False, "people_7d": 3,
        "interactions_7d": 4, "conversation_7d": 2, "amplification_7d": 1, "applause_7d": 1,
    }  # fmt: skip
    return {
        "mart_summary": [
            metric("steadiness", "consistency", value=0.8312, low=0.78, high=0.882, n=43, previous=0.6),
            metric("streak_weeks", "consistency", value=6.0),
            metric("value_per_post", "value", value=4.283, low=3.1, high=5.6, n=71, previous=4.0),
            metric("retained_rate", "relationships", value=0.25, low=0.1, high=0.4, n=20, note="3 months later"),
        ],
        "mart_cadence": [
            {
                "as_of": AS_OF, **everywhere, "posts": 43, "active_days": 40, "window_days": 364.0, "promise_days": 7.0,
                "longest_silence_days": 21.0, "open_silence_days": 1.0, "silences_over_promise": 1, "streak_weeks": 6,
                "coverage_share": 0.9832,
            }
        ],
        "mart_cadence_week": [
            {**everywhere, "week": date(2020, 9, 7), "posts": 0, "active_days": 0, "coverage_share": 1.0},
            {**everywhere, "week": date(2020, 9, 14), "posts": 2, "active_days": 2, "coverage_share": 1.0},
        ],
        "mart_post_value": [
            {**post, "post_id": "p1", "value_7d": 2.6, "published_at": datetime(2020, 8, 1, tzinfo=UTC),
             "url": "https://example.org/better"},
            {**post, "post_id": "p2", "value_7d": 1.1, "published_at": datetime(2020, 8, 2, tzinfo=UTC),
             "url": "javascript:alert(1)"},
            {**post, "post_id": "p3", "value_7d": 99.0, "published_at": datetime(2019, 8, 2, tzinfo=UTC),
             "url": "https://example.org/too-old"},
        ],
        "mart_relationship": [
            tie(ALICE, "active", date(2020, 9, 10)),
            tie(BOB, "cooling", date(2020, 7, 30)),
        ],
        "mart_losing_touch": [
            {
                "account_id": "blog", "person_id": BOB, "as_of": AS_OF, "rank": 1, "tie_state": "cooling", "silent_days": 50,
                "rhythm_days": 12.0, "value_365d": 3.5, "p_alive": 0.4, "reason": "Silent for 50 days.",
            }
        ],
        "mart_growth_month": [
            {**everywhere, "month": date(2020, 8, 1), "active": 3, "new": 1, "returning": 2, "resurrecting": 0, "dormant": 1}
        ],
        "mart_retention_cohort": [
            {
                "as_of": AS_OF, **everywhere, "cohort_month": date(2020, 7, 1), "period": period, "people": 8,
                "retained": kept, "retained_rate": kept / 8, "retained_or_later": kept, "retained_or_later_rate": kept / 8,
                "is_right_edge": True,
            }
            for period, kept in ((0, 8), (1, 2))
        ],
        "mart_collection": [
            {"account_id": "blog", "platform": "webmention", "stream": "inbound", "coverage_share": 0.95, "status": "ok",
             "covered_from": date(2019, 1, 1), "covered_to": AS_OF},
            {"account_id": "blog", "platform": "webmention", "stream": "outbound", "status": "not_offered",
             "reason": "webmentions are inbound only"},
        ],
    }  # fmt: skip


def page(rows: Rows, **options: Any) -> str:
    return report.build(marts(rows), **{"as_of": AS_OF, "accounts": ["blog"], "names": None, **options})


class _Reader(HTMLParser):
    """The visible text, the tags with their attributes, and whether they close."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in ("p", "td", "th", "li"):
            self.text.append(" ")

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def read(html: str) -> tuple[str, list[tuple[str, dict[str, str | None]]]]:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return re.sub(r"\s+", " ", "".join(reader.text)), reader.tags


def test_each_question_is_answered_with_number_interval_quarter_and_basis() -> None:
    text, _ = read(page(community()))
    assert (
        "The promise of a post at least every 7 days was kept 83.1 % of the time (95 % interval 78 % to 88.2 %)."
        in text
    )
    assert "Up from 60 % a quarter ago. Rests on 43 posts. Posts were collected on 98.3 % of the days." in text
    assert (
        "A post earned 4.28 points of value in its first seven days, on average (95 % interval 3.10 to 5.60)." in text
    )
    assert "A quarter ago 4, which lies inside the interval: no clear change." in text
    assert "Of the people first met, 25 % were active in the third month after (95 % interval 10 % to 40 %)." in text
    assert "There is no number for a quarter ago. Rests on 20 people. Interactions were collected on 95 %" in text
    assert "3 months later." in text


def test_the_evidence_is_told() -> None:
    text, _ = read(page(community()))
    assert "43 posts on 40 days, in a window of 364 days. The longest silence lasted 21 days." in text
    assert "1 silence lasted longer than twice the promise (14 days). It is 1 day since the last post." in text
    assert (
        "In 2020-08, 3 people were active: 1 new, 2 returning, 0 resurrecting; 1 of the month before went dormant."
        in text
    )
    assert "Of the 2 people who ever got in touch, 1 is active and 1 is cooling." in text
    assert "webmentions are inbound only" in text


def test_a_null_measure_says_why() -> None:
    rows = community()
    rows["mart_summary"] = [
        metric("steadiness", "consistency", note="Fewer than 28 days of covered posts", previous=0.6),
        metric("value_per_post", "value"),
        metric("retained_rate", "relationships", note="no cohort has a third month"),
    ]
    rows["mart_growth_month"][0] |= {
        "active": None, "new": None, "returning": None, "resurrecting": None, "dormant": None,
        "active_note": "coverage below 0.9",
    }  # fmt: skip
    text, _ = read(page(rows))
    assert "Not known: fewer than 28 days of covered posts. A quarter ago it was 60 %." in text
    assert "Not known: no reason is given." in text
    assert "Not known: no cohort has a third month." in text
    assert "The people active in 2020-08 are not known: coverage below 0.9." in text


def test_an_account_with_nothing_at_all_says_so() -> None:
    text, _ = read(page({}))
    assert "Nothing is known of this account yet" in text
    nulls = {"mart_summary": [metric("steadiness", "consistency", note="too little data")]}
    assert "Nothing is known of this account yet" in read(page(nulls))[0]


def test_no_account_at_all_is_a_page_too() -> None:
    assert "There is no account yet." in read(page({}, accounts=None))[0]


def test_names_are_shown_only_where_given_and_are_escaped() -> None:
    rows = community()
    hidden, _ = read(page(rows))
    assert "aaaaaaaa" in hidden
    assert ALICE not in page(rows)
    html = page(rows, names={ALICE: "<script>alert(1)</script>", BOB: "محمد 🌻"})
    text, tags = read(html)
    assert "<script>alert(1)</script>" in text
    assert all(tag != "script" for tag, _ in tags)
    assert "<bdi>محمد 🌻</bdi>" in html
    assert "This page names people" in text


@pytest.mark.parametrize("hostile", ["<img src=x onerror=alert(1)>", '"><script>alert(1)</script>', "{{ 7 * 7 }}"])
def test_every_text_of_the_marts_is_escaped(hostile: str) -> None:
    rows = community()
    for name, table in rows.items():
        for row in table:
            row |= {
                column: hostile
                for column in ("account_id", "kind", "reason", "note", "active_note")
                if column in MARTS[name].column_names
            }
    _, tags = read(page(rows, accounts=[hostile], names={ALICE: hostile}))
    assert {tag for tag, _ in tags}.isdisjoint({"script", "img"})
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)


def test_the_page_loads_nothing_and_links_only_to_posts() -> None:
    html = page(community())
    _, tags = read(html)
    assert {tag for tag, _ in tags}.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base", "form"})
    assert not any("src" in attributes or "style" in attributes for _, attributes in tags)
    links = [attributes["href"] for tag, attributes in tags if tag == "a"]
    assert links == ["https://example.org/better"]
    assert "@import" not in html
    assert re.findall(r"url\(([^)]*)\)", html) == ["#hatch"]


def test_posts_are_those_of_the_last_year_best_first() -> None:
    text, _ = read(page(community()))
    assert text.index("better") < text.index("article of 2020-08-02")
    assert "too-old" not in text


def test_top_relationships_and_those_being_lost_are_apart() -> None:
    text, _ = read(page(community()))
    top, losing = text.index("Relationships with the most value"), text.index("Whom you are losing")
    assert top < text.index("aaaaaaaa") < losing < text.index("bbbbbbbb")
    assert "bbbbbbbb cooling 50 days 12 days 3.50 40 %" in text
    nobody = community() | {"mart_losing_touch": []}
    assert "none was lost in the last 28 days" in read(page(nobody))[0]


def test_whether_people_won_in_a_spike_stay_is_told_where_it_can_be_compared() -> None:
    rows = community()
    row = {
        "as_of": AS_OF, "account_id": "blog", "comparison": "spike vs steady", "people_a": 40, "people_b": 90,
        "coverage_share": 1.0,
    }  # fmt: skip
    rows["mart_retention_test"] = [row]
    assert "won in a spike" not in read(page(rows))[0]
    known = {"retained_8w_difference": -0.25, "retained_8w_difference_low": -0.4, "retained_8w_difference_high": -0.1}
    rows["mart_retention_test"] = [row | known]
    text = read(page(rows))[0].replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")
    assert (
        "Of the 40 people won in a spike, 25 percentage points fewer are active in weeks 5 to 8 than of the 90 people"
        in text
    )
    assert "(difference -25 points, 95 % interval -40 to -10)" in text
    rows["mart_retention_test"] = [row | known | {"retained_8w_difference_high": 0.1}]
    assert "won in a spike, neither clearly more nor clearly fewer are active in weeks 5 to 8" in read(page(rows))[0]


def test_the_cohort_triangle_has_people_rates_and_a_marked_right_edge() -> None:
    html = page(community())
    assert (
        '<td class="h4 edge" title="2020-07, month 1: 2 of 8 people active in that month (25\N{NO-BREAK SPACE}%)">25</td>'
        in html
    )


def test_a_post_whose_address_says_nothing_is_called_by_kind_and_date() -> None:
    rows = community()
    rows["mart_post_value"][0]["url"] = url = "https://example.org/1858015384829952163"
    html = page(rows)
    assert f'<a href="{url}" title="{url}" rel="noopener noreferrer">article of 2020-08-01</a>' in html
    assert '<span title="p2">article of 2020-08-02</span>' in html  # an address not to follow


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("2020/08/a-good-day/", "2020/08/a-good-day"),
        ("good/index.html", "good/index.html"),
        ("%E6%97%A5%E8%A8%98", "日記"),
        ("blog?utm_source=feed", "note of 2020-08-01"),
        ("watch?v=abc", "note of 2020-08-01"),
        ("?p=12", "note of 2020-08-01"),
        ("", "note of 2020-08-01"),
        ("@me/109876543210", "note of 2020-08-01"),
        ("12345.html", "note of 2020-08-01"),
        ("feed/update/urn:li:activity:71234", "note of 2020-08-01"),
        ("post/3lbxyz7abc2k", "note of 2020-08-01"),
        ("deadbeef-dead-beef-dead-beefdeadbeef", "note of 2020-08-01"),
    ],
)
def test_words_of_an_address_name_a_post(path: str, text: str) -> None:
    rows = community()
    rows["mart_post_value"] = [rows["mart_post_value"][0] | {"url": f"https://example.org/{path}", "kind": "note"}]
    assert f">{text}</a>" in page(rows)


def test_an_interval_without_width_is_left_out_and_a_whole_share_said_in_words() -> None:
    rows = community()
    rows["mart_summary"] = [
        metric("steadiness", "consistency", value=1.0, low=1.0, high=1.0, n=43, previous=1.0),
        metric("value_per_post", "value", value=4.0, low=4.0, high=4.0, n=71),
        metric("retained_rate", "relationships", value=0.0, low=0.0, high=0.4, n=20),
    ]
    text, _ = read(page(rows))
    assert "was kept all of the time (100 %). " in text
    assert "in its first seven days, on average. " in text
    assert (
        "Of the people first met, none were active in the third month after (0 %, 95 % interval 0 % to 40 %)." in text
    )
    assert "100 % to 100 %" not in text
    assert "No interval is given" not in text


@pytest.mark.parametrize(("people", "is_faded"), [(4, True), (5, False)])
def test_a_cohort_of_few_people_is_faded_and_the_legend_says_so(people: int, is_faded: bool) -> None:
    rows = community()
    for row in rows["mart_retention_cohort"]:
        row["people"] = people
    html = page(rows)
    assert ('<tr class="few"><th scope="row">2020-07</th>' in html) is is_faded
    assert ("faded: fewer than 5 people, uncertain" in html) is is_faded
    assert ("so few people say little" in html) is is_faded


def test_with_several_accounts_each_leads_back_to_the_overview() -> None:
    rows = {"mart_relationship": [tie(ALICE, None, date(2020, 9, 1), account=name) for name in ("blog", "other")]}
    _, tags = read(page(rows, accounts=["blog", "other"]))
    assert [a["href"] for tag, a in tags if tag == "a"].count("#accounts") == 4  # below each name, and at each end
    assert [tag for tag, a in tags if a.get("id") == "accounts"] == ["section"]
    assert "#accounts" not in page(community())


def test_the_post_column_keeps_a_width_on_a_phone() -> None:
    style = (report.REPORTS / "style.css").read_text(encoding="utf-8")
    (rule,) = re.findall(r"th\.post \{([^}]*)\}", style)
    assert "min-width: 10rem" in rule


def test_details_are_for_the_own_accounts_with_the_most_interactions() -> None:
    rows: Rows = {
        "mart_relationship": [
            tie(ALICE, "active", date(2020, 9, 1), account=name, inbound=inbound)
            for name, inbound in (("small", 1), ("big", 9), ("middle", 5), ("stranger", 99))
        ]
    }
    html = page(rows, accounts=["small", "middle", "big"], limit=2)
    text, tags = read(html)
    assert [a["id"] for tag, a in tags if tag == "article"] == ["account-2", "account-3"]
    assert "Details follow for the 2 own accounts with the most interactions, of 3." in text
    assert (
        text.index("Own accounts")
        < text.index("small")
        < text.index("1 account merely analysed")
        < text.index("stranger")
    )


def test_without_an_own_account_in_the_marts_the_others_are_shown() -> None:
    text, tags = read(
        page({"mart_relationship": [tie(ALICE, None, date(2020, 9, 1), account="stranger")]}, accounts=[])
    )
    assert "Nothing is known of this account yet" not in text
    assert "stranger" in text
    assert [a["id"] for tag, a in tags if tag == "article"] == ["account-1"]


def test_another_as_of_is_not_mixed_in() -> None:
    rows = community()
    rows["mart_summary"].append(metric("steadiness", "consistency", value=0.111, n=1) | {"as_of": date(2020, 9, 17)})
    assert "11.1" not in read(page(rows))[0]


def test_the_same_marts_in_any_order_give_the_same_page() -> None:
    rows = community()
    turned = {name: table[::-1] for name, table in rows.items()}
    assert page(rows) == page(turned)


def test_tables_have_headers_and_charts_have_names() -> None:
    html = page(community())
    _, tags = read(html)
    named = {a["id"] for _, a in tags if "id" in a}
    assert len(named) == len([a for _, a in tags if "id" in a])
    for tag, attributes in tags:
        if tag == "svg" and attributes.get("aria-hidden") != "true":
            assert set((attributes["aria-labelledby"] or "").split()) <= named
        if tag == "th":
            assert attributes["scope"] in ("col", "row")


def test_the_page_is_private_and_replaced_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "published" / "report"
    folder.mkdir(parents=True, mode=0o755)
    first = report.write("<p>one</p>", folder)
    assert report.write("<p>zwei ü</p>", folder) == first == folder / "index.html"
    assert first.read_text(encoding="utf-8") == "<p>zwei ü</p>"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert first.stat().st_mode & 0o777 == 0o600
    assert list(folder.iterdir()) == [first]


def test_a_failed_write_leaves_the_old_page(tmp_path: Path) -> None:
    target = report.write("old", tmp_path)
    with pytest.raises(UnicodeEncodeError):
        report.write("\ud800", tmp_path)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_who_waits_for_an_answer_is_listed() -> None:
    rows = community()
    rows["mart_waiting"] = [
        {
            "account_id": "blog", "person_id": person, "as_of": AS_OF, "platform": "bluesky", "waited_days": waited,
            "opened_at": datetime(2020, 9, day, tzinfo=UTC), "inbound_composed": 2,
        }
        for person, day, waited in ((BOB, 15, 3.5), (ALICE, 10, 8.5))
    ]  # fmt: skip
    text, _ = read(page(rows, names={ALICE: "Alice"}))
    assert "People who wait for an answer" in text
    assert text.index("Alice bluesky 2020-09-10 8.50 days 2") < text.index("bbbbbbbb bluesky 2020-09-15 3.50 days 2")
    assert "wait for an answer" not in read(page(community()))[0]
