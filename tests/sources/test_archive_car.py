"""A repository of an invented person, recorded from a server that we ran."""

import gzip
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sources import archive
from sources.archive_files import recognise
from sources.model import SourceError

RECORDED = Path(__file__).parent / "recorded" / "bluesky_repository.car.gz"
NOW = datetime(2027, 1, 1, tzinfo=UTC)


def rows_of(path):
    found = {}
    for batch in archive.batches([(recognise(path), path)], account="alice", read_at=NOW):
        found.setdefault(batch.table.name, []).extend(batch.rows)
    return found


@pytest.fixture
def repository(tmp_path):
    path = tmp_path / "repository"
    path.write_bytes(gzip.decompress(RECORDED.read_bytes()))
    return path


def test_a_repository(repository):
    assert recognise(repository) == "bluesky"
    rows = rows_of(repository)
    assert len(rows["posts"]) == 113
    assert Counter(row["kind"] for row in rows["interactions"]) == {"reply": 65, "follow": 4}
    assert [row["name"] for row in rows["profiles"]] == ["Alice"]
    covered = {row["stream"]: row["covers_from"] for row in rows["readings"] if row["status"] == "ok"}
    assert covered.keys() == {"posts", "outbound"}
    assert covered["posts"].isoformat() == min(row["published_at"] for row in rows["posts"]).replace("Z", "000+00:00")


@pytest.mark.parametrize("kept", [100, 5_000, -1])
def test_a_truncated_repository_is_refused(repository, kept):
    repository.write_bytes(repository.read_bytes()[:kept])
    with pytest.raises(SourceError, match="damaged"):
        rows_of(repository)


def test_a_changed_repository_is_refused(repository):
    data = bytearray(repository.read_bytes())
    at = data.find(b"app.bsky.feed.post", 20_000)
    data[at] ^= 1
    repository.write_bytes(data)
    with pytest.raises(SourceError, match="damaged"):
        rows_of(repository)
