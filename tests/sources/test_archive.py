"""Export archives of invented people: what they hold becomes rows, damage becomes a sentence, size costs no memory."""

import gzip
import io
import json
import tarfile
import tracemalloc
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from collected import Store

from assets.staging import archive as staging
from sources import archive, archive_webmention
from sources.archive_files import recognise
from sources.json_stream import arrays
from sources.model import SourceError

NOW = datetime(2026, 5, 1, tzinfo=UTC)
X_ACCOUNT = [{"account": {"accountId": "7", "username": "ann", "createdAt": "2015-01-01T00:00:00.000Z"}}]
X_MANIFEST = {"userInfo": {"accountId": "7"}, "archiveInfo": {"generationDate": "2025-01-02T03:04:05.000Z"}}


def tweet(number: int, **more: object) -> dict[str, object]:
    at = f"Wed Oct {number % 28 + 1:02} 20:19:24 +0000 2018"
    return {
        "tweet": {"id_str": str(number), "created_at": at, "full_text": f"Tea }}, {{ {number} é", "lang": "en", **more}
    }


def javascript(name: str, value: object) -> str:
    return f"window.YTD.{name}.part0 = {json.dumps(value, indent=1)}"


def x_archive(path: Path, **files: object) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, value in {"account": X_ACCOUNT, **files}.items():
            packed.writestr(f"data/{name}.js", javascript(name.replace("-", "_"), value))
        packed.writestr("data/manifest.js", f"window.__THAR_CONFIG = {json.dumps(X_MANIFEST)}")
    return path


def staged(*paths: Path, store: Store | None = None) -> dict[str, pl.DataFrame]:
    store = store or Store()
    for batch in archive.batches([(recognise(p), p) for p in paths], account="ann", read_at=NOW):  # type: ignore[misc]
        for row in batch.table.arrow(batch.rows, loaded_at=NOW).to_pylist():
            store.rows[batch.table.name].setdefault(row["row_hash"], row)
    return store.staged(staging)


def test_an_archive_of_x(tmp_path: Path) -> None:
    reply = {"in_reply_to_status_id_str": "900", "in_reply_to_user_id_str": "8", "in_reply_to_screen_name": "bob"}
    thread = {"in_reply_to_status_id_str": "1", "in_reply_to_user_id_str": "7"}
    repost = {"full_text": "RT @Cleo: hi", "entities": {"user_mentions": [{"screen_name": "cleo", "id_str": "9"}]}}
    path = x_archive(
        tmp_path / "any name",
        tweets=[tweet(1), tweet(30, **reply), tweet(29, **thread), tweet(4, **repost)],
        **{"deleted-tweets": [tweet(5, deleted_at="Thu Oct 25 20:19:24 +0000 2018")]},
        like=[
            {"like": {"tweetId": "50", "expandedUrl": "https://twitter.com/i/web/status/50"}},
            {"like": {"tweetId": "51", "expandedUrl": "https://twitter.com/Dora/status/51"}},
        ],
        follower=[{"follower": {"accountId": "11"}}],
        following=[{"following": {"accountId": "12"}}],
    )
    store = Store()
    tables = staged(path, store=store)
    assert tables["posts"]["post"].to_list() == ["1", "5"]  # 29 continues 1
    assert tables["posts"].filter(pl.col("post") == "5")["deleted_at"].item() == datetime(
        2018, 10, 25, 20, 19, 24, tzinfo=UTC
    )
    found = {row["interaction"]: row for row in tables["interactions"].to_dicts()}
    said = {key: (row["direction"], row["kind"], row["person"]) for key, row in found.items()}
    assert said == {
        "30": ("outbound", "reply", "8"),
        "out:repost:4": ("outbound", "repost", "9"),
        "out:like:51": ("outbound", "like", "@dora"),
        "follow:7:11": ("inbound", "follow", "11"),
        "out:follow:12": ("outbound", "follow", "12"),
    }
    assert found["follow:7:11"]["occurred_at"] is None
    assert found["follow:7:11"]["observed_at"] == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert tables["quarantine"].select("row_ref", "reason").rows() == [("out:like:50", "no person")]
    readings = {row["stream"]: row for row in tables["readings"].to_dicts()}
    assert {name: row["status"] for name, row in readings.items()} == {
        "posts": "ok", "outbound": "ok", "inbound": "not_offered", "counters": "not_offered",
    }  # fmt: skip
    assert readings["posts"]["covers_from"] == datetime(2015, 1, 1, tzinfo=UTC)
    assert readings["posts"]["read_at"] == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    count = {name: len(rows) for name, rows in store.rows.items()}
    staged(path, store=store)
    assert {name: len(rows) for name, rows in store.rows.items()} == count


def test_one_file_of_an_archive_of_x(tmp_path: Path) -> None:
    path = tmp_path / "renamed.txt"
    path.write_text(javascript("tweets", [tweet(1), tweet(2)]), encoding="utf-8")
    assert recognise(path) == "x"
    assert staged(path)["posts"].height == 2


ACTOR = "https://social.example/users/ann"


def create(number: int, **more: object) -> dict[str, object]:
    note = {
        "id": f"{ACTOR}/statuses/{number}", "type": "Note", "published": f"2024-01-0{number}T10:00:00Z",
        "to": ["https://www.w3.org/ns/activitystreams#Public"], "content": "<p>Tea</p>", "tag": [], **more,
    }  # fmt: skip
    return {"id": f"{note['id']}/activity", "type": "Create", "actor": ACTOR, "object": note}


def mastodon_files() -> dict[str, object]:
    bob = {"type": "Mention", "href": "https://other.example/users/bob", "name": "@bob@other.example"}
    items = [
        create(1),
        create(2, inReplyTo="https://other.example/users/bob/statuses/5", tag=[bob]),
        create(3, to=["https://other.example/users/bob"], tag=[bob]),
        create(4, tag=[bob]),
        {
            "id": "a", "type": "Announce", "actor": ACTOR, "published": "2024-01-05T00:00:00Z",
            "object": "https://other.example/users/cleo/statuses/9",
        },
    ]  # fmt: skip
    return {
        "outbox.json": {"@context": [], "id": "outbox.json", "type": "OrderedCollection", "orderedItems": items},
        "likes.json": {"type": "OrderedCollection", "orderedItems": ["https://other.example/users/dora/statuses/3"]},
        "bookmarks.json": {"type": "OrderedCollection", "orderedItems": ["https://other.example/users/eve/statuses/3"]},
        "actor.json": {"id": ACTOR, "url": "https://social.example/@ann", "published": "2023-01-01T00:00:00Z"},
    }


@pytest.mark.parametrize("packing", ["zip", "tar.gz"])
def test_an_archive_of_mastodon(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "archive"
    if packing == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, value in mastodon_files().items():
                packed.writestr(zipfile.ZipInfo(name, (2025, 1, 1, 0, 0, 0)), json.dumps(value))
    else:
        with tarfile.open(path, "w:gz") as packed:
            for name, value in mastodon_files().items():
                data = json.dumps(value).encode()
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(data), datetime(2025, 1, 1, tzinfo=UTC).timestamp()
                packed.addfile(info, io.BytesIO(data))
    tables = staged(path)
    assert tables["posts"]["post"].to_list() == [f"{ACTOR}/statuses/1", f"{ACTOR}/statuses/4"]
    said = {(row["interaction"], row["kind"], row["person"]) for row in tables["interactions"].to_dicts()}
    assert said == {
        (f"{ACTOR}/statuses/2", "reply", "bob@other.example"),
        (f"{ACTOR}/statuses/3", "message", "bob@other.example"),
        (f"out:mention:{ACTOR}/statuses/4:bob@other.example", "mention", "bob@other.example"),
        ("out:repost:https://other.example/users/cleo/statuses/9", "repost", "cleo@other.example"),
        ("out:like:https://other.example/users/dora/statuses/3", "like", "dora@other.example"),
    }
    assert tables["profiles"]["handle"].to_list() == ["ann@social.example"]
    assert set(tables["readings"].filter(status="ok")["read_at"]) == {datetime(2025, 1, 1, tzinfo=UTC)}


def test_an_export_of_webmentions(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    mention = {
        "type": "entry", "wm-id": 5, "wm-received": "2024-01-01T00:00:00Z", "wm-property": "like-of",
        "wm-source": "https://a.example/1", "wm-target": "https://blog.example/p", "author": {"url": "https://a.example/"},
    }  # fmt: skip
    path.write_text(json.dumps({"type": "feed", "children": [mention]}), encoding="utf-8")
    assert recognise(path) == "webmention"
    rows = {b.table.name: b.rows for b in archive_webmention.batches(path, account="ann", read_at=NOW)}
    assert [row["wm_id"] for row in rows["mentions"]] == [5]
    assert [row["domain"] for row in rows["profiles"]] == ["blog.example"]


def test_activity_files_are_no_archives(tmp_path: Path) -> None:
    for name, text in {"a.csv": "post,published_at\n1,2024-01-01\n", "b.jsonl": '{"post": "1"}\n'}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert recognise(tmp_path / name) is None


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_truncated_archive_is_refused(tmp_path: Path, kept: float) -> None:
    whole = x_archive(tmp_path / "whole.zip", tweets=[tweet(number) for number in range(500)]).read_bytes()
    path = tmp_path / "cut.zip"
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(SourceError, match="truncated"):
        recognise(path)


def test_a_damaged_member_is_refused(tmp_path: Path) -> None:
    path = x_archive(tmp_path / "x.zip", tweets=[tweet(number) for number in range(500)])
    data = bytearray(path.read_bytes())
    middle = data.find(b"tweets.js") + 400
    data[middle : middle + 20] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(SourceError, match="damaged"):
        staged(path)


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_file_that_ends_too_early_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "tweets.js"
    path.write_text(javascript("tweets", [tweet(1), tweet(2)])[:-cut], encoding="utf-8")
    with pytest.raises(SourceError, match="ends too early"):
        staged(path)


def test_an_encrypted_zip_and_a_bomb_are_refused(tmp_path: Path) -> None:
    path = x_archive(tmp_path / "x.zip", tweets=[tweet(1)])
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match="encrypted"):
        recognise(path)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed, packed.open("data/tweets.js", "w") as member:
        for _ in range(70):
            member.write(b" " * (1 << 20))
    with pytest.raises(SourceError, match="zip bomb"):
        recognise(bomb)


def test_a_strange_zip_and_a_gzip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as packed:
        packed.writestr("photo.txt", "hello")
    with pytest.raises(SourceError, match="none that rapport knows"):
        recognise(tmp_path / "z.zip")
    (tmp_path / "g.gz").write_bytes(gzip.compress(b"hello"))
    with pytest.raises(SourceError, match="damaged"):
        recognise(tmp_path / "g.gz")


@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_in_pieces_is_the_array(indent: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [{"id": n, "tag": [{"id": 1}, {"id": 2}], "text": 'a "}, {"id": 3 \\'} for n in range(200)]
    for size in (7, 64, 1000, 1 << 20):
        monkeypatch.setattr("sources.json_stream.CHUNK", size)
        document = json.dumps({"first": [1], "orderedItems": items, "last": {"a": [1]}}, indent=indent).encode()
        parts = arrays(io.BytesIO(document), where="here", key="orderedItems")
        assert [item for part in parts for item in part] == items
        texts = [f'a", "{n}' for n in range(50)]
        parts = arrays(io.BytesIO(json.dumps(texts, indent=indent).encode()), where="here")
        assert [item for part in parts for item in part] == texts


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    peaks = []
    for times in (10, 100):
        path = tmp_path / f"{times}.zip"
        text = json.dumps([tweet(number, full_text="tea " * 60) for number in range(2_500)])[1:-1]
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
            packed.open("data/tweets.js", "w") as member,
        ):
            member.write(b"window.YTD.tweets.part0 = [")
            for time in range(times):
                member.write((", " if time else "").encode() + text.encode())
            member.write(b"]")
        tracemalloc.start()
        rows = sum(len(batch.rows) for batch in archive.batches([("x", path)], account="ann", read_at=NOW))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert rows == times * 2_500 + 4  # and four readings
    assert peaks[1] < 1.3 * peaks[0]
