"""The repository of a seeded account, downloaded from its server, holds exactly what the seed wrote."""

import urllib.parse
import urllib.request
from datetime import UTC, datetime

import pytest

from sources import archive
from sources.archive_files import recognise

pytestmark = pytest.mark.servers("bluesky")
KINDS = {"like": "like", "repost": "repost", "follow": "follow", "answer": "reply", "reply": "reply"}


@pytest.mark.parametrize("person", ["alice", "bob"])
def test_a_repository_is_the_truth(server, person, tmp_path):
    did = server["people"][person]["did"]
    path = tmp_path / "repository"
    asked = urllib.parse.urlencode({"did": did})
    with urllib.request.urlopen(f"{server['pds']}/xrpc/com.atproto.sync.getRepo?{asked}", timeout=30) as answer:
        path.write_bytes(answer.read())
    now = datetime.now(UTC)  # noqa: TID251 - after whatever the seed wrote
    found = {"posts": set(), "interactions": set()}
    for batch in archive.batches([(recognise(path), path)], account=person, read_at=now):
        for row in batch.rows:
            if batch.table.name == "posts":
                found["posts"].add((row["post"], row["published_at"]))
            elif batch.table.name == "interactions" and row["kind"] in KINDS.values():
                found["interactions"].add((row["kind"], row["person"], row["occurred_at"]))
    own = [record for record in server["records"] if record["by"] == person and not record["deleted"]]
    answers = {"answer", "reply"}
    assert found["interactions"] == {
        (KINDS[r["kind"]], author(r["subject"]), r["created_at"])
        for r in own
        if r["kind"] in KINDS and (r["kind"] not in answers or author(r["subject"]) != did)
    }
    assert found["posts"] == {
        (r["uri"], r["created_at"])
        for r in own
        if r["kind"] not in KINDS or (r["kind"] in answers and author(r["subject"]) == did)
    }


def author(subject):
    return subject.removeprefix("at://").split("/", 1)[0]
