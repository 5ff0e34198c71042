"""Made-up files to import: activity files in every format, and archives of X of any size."""

import json
import zipfile
from datetime import UTC, date, datetime, timedelta
from datetime import time as midnight
from pathlib import Path

import numpy as np
import orjson
import polars as pl

ACCOUNTS = 200
PEOPLE_PER_ROW = 0.1
YEARS = 3


def interactions(
    *, rows: int, as_of: date, seed: int = 1, days: int = YEARS * 365, people_of: int | None = None
) -> pl.DataFrame:
    """A made-up activity file: 200 accounts, people with skewed activity; the same for the same seed.

    Of the last three years, or of so many days; the people are those of a file of `people_of` rows (default: of this one).
    """
    random = np.random.default_rng(seed)
    people = max(1, int((people_of or rows) * PEOPLE_PER_ROW))
    end = datetime.combine(as_of + timedelta(days=1), midnight(), UTC)
    seconds = random.integers(1, days * 86_400, rows)
    kinds = np.array(["like", "reply", "repost", "mention", "follow"])
    person = (people * random.random(rows) ** 2).astype(np.int64)
    return pl.DataFrame(
        {
            "account": pl.Series(person % ACCOUNTS).cast(pl.String).str.pad_start(3, "0"),
            "person": pl.Series(person).cast(pl.String),
            "kind": kinds[random.choice(5, rows, p=[0.6, 0.2, 0.1, 0.07, 0.03])],
            "occurred_at": pl.Series(np.datetime64(end.replace(tzinfo=None), "us") - seconds.astype("timedelta64[s]")),
            "direction": np.where(random.random(rows) < 0.9, "inbound", "outbound"),
        }
    ).with_columns(pl.col("occurred_at").dt.replace_time_zone("UTC"), account="account" + pl.col("account"))


def activity_file(rows: pl.DataFrame, path: Path) -> Path:
    """The rows in the format that the name says, times as texts where it has no others."""
    texts = rows.with_columns(pl.col("occurred_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    if path.suffix == ".parquet":
        rows.write_parquet(path)
    elif path.suffix == ".csv":
        texts.write_csv(path)
    else:
        texts.write_ndjson(path)
    return path


def x_archive(path: Path, *, tweets: int) -> None:
    """A made-up archive of X: about 1,300 bytes a tweet before packing, a third of them replies."""
    account = {"accountId": "7", "username": "ann", "createdAt": "2009-01-01T00:00:00.000Z"}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packed.writestr("data/account.js", f"window.YTD.account.part0 = {json.dumps([{'account': account}])}")
        with packed.open("data/tweets.js", "w", force_zip64=True) as member:
            member.write(b"window.YTD.tweets.part0 = [")
            for number in range(tweets):
                member.write((b", " if number else b"") + orjson.dumps(_tweet(number), option=orjson.OPT_INDENT_2))
            member.write(b"]")


def unpacked_gb(path: Path) -> float:
    """How large the archive is unpacked, in 10^9 bytes."""
    with zipfile.ZipFile(path) as packed:
        return sum(member.file_size for member in packed.infolist()) / 1e9


def _tweet(number: int) -> dict[str, object]:
    link = {"url": "https://t.co/a", "expanded_url": f"https://blog.example/{number}", "display_url": "blog.example"}
    reply = {"in_reply_to_status_id_str": str(number), "in_reply_to_user_id_str": str(100 + number % 5_000)}
    said = {
        "edit_info": {"initial": {"editTweetIds": [str(10**18 + number)], "editsRemaining": "5"}},
        "retweeted": False, "source": '<a href="https://app.example" rel="nofollow">App</a>',
        "entities": {"hashtags": [{"text": "tea", "indices": ["1", "5"]}], "user_mentions": [], "urls": [link, link]},
        "display_text_range": ["0", "100"], "favorite_count": str(number % 9), "id_str": str(10**18 + number),
        "id": str(10**18 + number), "truncated": False, "retweet_count": "0", "favorited": False, "lang": "en",
        "created_at": f"Wed Oct {number % 28 + 1:02} 20:{number % 60:02}:24 +0000 {2010 + number % 14}",
        "full_text": f"Note {number} about tea and what comes with it, at some length https://t.co/a",
    }  # fmt: skip
    return {"tweet": {**said, **(reply if number % 3 == 1 else {})}}
