"""Promotion rules: what each must find, what it must leave alone, and near-duplicates against brute force."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.staging import promotion

START = datetime(2024, 5, 1, tzinfo=UTC)
SCHEMA = {
    "account_id": pl.String,
    "platform": pl.String,
    "post": pl.String,
    "published_at": pl.Datetime("us", "UTC"),
    "url": pl.String,
    "external_url": pl.String,
    "text": pl.String,
}


def judged(*texts: str | None, external: str | None = None, gap: timedelta = timedelta(days=1)) -> list[str | None]:
    rows = [("a", "feed", str(i), START + i * gap, None, external, text) for i, text in enumerate(texts)]
    return promotion.judge(pl.DataFrame(rows, schema=SCHEMA, orient="row"))["promotion_reason"].to_list()


def test_nothing_known_is_not_judged():
    rows = [("a", "feed", "1", START, "https://me.example/1", None, None), ("a", "feed", "2", START, None, None, "")]
    found = promotion.judge(pl.DataFrame(rows, schema=SCHEMA, orient="row"))
    assert found.columns == ["account_id", "platform", "post", "is_promotional", "promotion_reason"]
    assert found["is_promotional"].to_list() == [None, False]


def test_no_posts():
    assert promotion.judge(pl.DataFrame(schema=SCHEMA)).shape == (0, 5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Read this https://me.example/a?utm_source=mail&utm_medium=x now", "campaign_link"),
        ('<p>Read <a href="https://me.example/a?x=1&amp;utm_campaign=spring">this</a></p>', "campaign_link"),
        ("See https://me.example/a?mtm_campaign=x please", "campaign_link"),
        ("Our shirts: https://shop.me.example/shirts are here", "commerce_link"),
        ("Our shirts: https://me.myshopify.com/ are here", "commerce_link"),
        ("See https://me.example/en/products/shirt for it", "commerce_link"),
        ("I liked https://www.amazon.de/dp/123?tag=me-21 very much", "commerce_link"),
        ("I liked https://brand.example/x?affiliate_id=9 very much", "commerce_link"),
        ("https://me.example/a", "link_only"),
        ('<p><a href="https://me.example/a"><span>https://</span><span>me.example/a</span></a></p>', "link_only"),
        ("👉 https://me.example/a !", "link_only"),
        ("Now 30% off", "sales_language"),
        ("Save up to $40 this week", "sales_language"),
        ("The course is only $49!", "sales_language"),
        ("Buy now: our book", "sales_language"),
        ("Use code SPRING24 at the till", "sales_language"),
        ("Aujourd'hui 20 % de réduction sur tout", "sales_language"),
        ("Commandez dès maintenant votre calendrier", "sales_language"),
        ("Heute 15 % Rabatt auf alles", "sales_language"),
        ("Jetzt bestellen und lesen", "sales_language"),
        ("Hoy 15% de descuento en todo", "sales_language"),
        ("Oggi 15% di sconto su tutto", "sales_language"),
        ("Hoje 15% de desconto em tudo", "sales_language"),
        ("Vandaag 15% korting op alles", "sales_language"),
        ("Get your copy https://shop.me.example/?utm_source=x", "campaign_link,commerce_link,sales_language"),
    ],
)
def test_finds(text, reason):
    assert judged(text) == [reason]


@pytest.mark.parametrize(
    "text",
    [
        "We spent 20 % of the day reading.",
        "Sales fell by 20%. Offices are half empty.",
        "Why buy now, pay later is a bad idea",
        "It cost only $5 million to build",
        "The meal was $20 and good.",
        "How to order now-playing lists by date",
        "I wrote about checkout pages, shops and carts.",
        "The code: https://github.com/me/shop and https://github.com/me/cart/issues",
        "From the feed https://me.example/a?utm_source=rss&utm_medium=rss of mine",
        "Seen on https://me.example/a?fbclid=abc and good",
        "The bookshop https://www.amazon.de/dp/123 has it",
        "Le workshop commence à 8 h, c'est gratuit.",
        '<p><a href="https://me.example/a"><img src="x.jpg"></a></p>',
        "Me gusta comprar libros, compra ahora menos gente",
    ],
)
def test_leaves_alone(text):
    assert judged(text) == [None]


def test_external_address_is_judged_without_text():
    assert judged(None, external="https://x.example/?utm_campaign=a") == ["campaign_link"]
    assert judged(None, external="https://x.example/") == [None]
    assert judged("", external="https://x.example/") == ["link_only"]


WORDS = [f"w{i}" for i in range(60)]


def test_near_duplicate_is_the_later_one_within_sixty_days():
    one, other = " ".join(WORDS), " ".join([*WORDS[:-1], "changed"])
    assert judged(one, other) == [None, "near_duplicate"]
    assert judged(one, other, gap=timedelta(days=60)) == [None, "near_duplicate"]
    assert judged(one, other, gap=timedelta(days=60, seconds=1)) == [None, None]
    assert judged(one, f"{one} https://me.example/new") == [None, "near_duplicate"]
    assert judged(one, one.upper(), one) == [None, "near_duplicate", "near_duplicate"]


def test_near_duplicate_needs_enough_distinct_runs():
    assert judged("word " * 300, "word " * 300) == [None, None]
    assert judged(" ".join(WORDS[:23]), " ".join(WORDS[:23])) == [None, None]  # 19 runs
    assert judged(" ".join(WORDS[:24]), " ".join(WORDS[:24])) == [None, "near_duplicate"]  # 20 runs


def test_near_duplicate_is_per_account_and_platform():
    text = " ".join(WORDS)
    rows = [
        ("a", "feed", "1", START, None, None, text),
        ("b", "feed", "1", START, None, None, text),
        ("a", "other", "1", START, None, None, text),
    ]
    assert promotion.judge(pl.DataFrame(rows, schema=SCHEMA, orient="row"))["promotion_reason"].null_count() == 3


def brute_force(texts, days):
    """The definition, word for word."""
    sets = [{tuple(t[i : i + 5]) for i in range(len(t) - 4)} for t in texts]
    order = sorted(range(len(texts)), key=lambda i: (days[i], str(i)))
    found = set()
    for k, i in enumerate(order):
        for j in order[:k]:
            if days[i] - days[j] <= 60 and min(len(sets[i]), len(sets[j])) >= 20:
                common = len(sets[i] & sets[j])
                if common >= 0.8 * (len(sets[i]) + len(sets[j]) - common):
                    found.add(i)
    return found


edits = st.lists(st.tuples(st.integers(0, 59), st.integers(0, 4)), max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.tuples(edits, st.integers(24, 60), st.integers(0, 150)), min_size=1, max_size=14),
    shuffle=st.randoms(use_true_random=False),
)
def test_near_duplicates_equal_brute_force_in_any_order(texts, shuffle):
    written = []
    for changes, length, _ in texts:
        words = list(WORDS)
        for place, value in changes:
            words[place] = f"x{value}"
        written.append(words[:length])
    days = [day for _, _, day in texts]
    rows = [
        ("a", "feed", str(i), START + timedelta(days=days[i]), None, None, " ".join(w)) for i, w in enumerate(written)
    ]
    shuffle.shuffle(rows)
    found = promotion.judge(pl.DataFrame(rows, schema=SCHEMA, orient="row"))
    assert found["post"].to_list() == [row[2] for row in rows]
    assert set(found.filter("is_promotional")["post"]) == {str(i) for i in brute_force(written, days)}
