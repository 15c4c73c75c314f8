"""What becomes of a file that comes again, changes, goes or cannot be read: stated on its record, each record once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from publishing.lake import open_lake
from publishing.landing import tick
from publishing.landing_decisions import retry
from publishing.ledger import Batch, LandedFile, Look
from publishing.look import watched
from publishing.run import run_pipeline
from publishing.verify import verify
from resources.engine import Engine
from resources.zone import Zone
from resources.zone_local import LocalZone
from tests.promised_feed import APPEND, MERGE, Feed

NAMES = "(?P&lt;sender&gt;[a-z]+).*"


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> Feed:
    made = Feed(tmp_path, engine)
    made.define()
    return made


def files(feed: Feed) -> list[tuple[str, str, str | None]]:
    """(name, status, reason or note) in the order of arrival."""
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake, lake.ledger.read() as session:
        rows = session.scalars(select(LandedFile).order_by(LandedFile.arrival))
        return [(row.name, row.status, row.reason or row.note) for row in rows]


def looks(feed: Feed) -> list[tuple[str, str | None, str | None]]:
    """(name, outcome, note) of what was claimed and not copied."""
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake, lake.ledger.read() as session:
        rows = session.scalars(select(Look).where(Look.outcome.is_not(None)).order_by(Look.id))
        return [(row.name, row.outcome, row.note) for row in rows]


def agrees(feed: Feed) -> bool:
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        return verify(lake, feed.catalog()) == []


def test_the_same_content_under_another_name_is_a_duplicate_that_names_the_first(feed: Feed) -> None:
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    feed.land("b.csv", "id,v", "a,1")
    feed.run()
    assert files(feed)[1] == ("b.csv", "duplicate", "the same content was delivered before as a.csv (arrival 1)")
    assert feed.rows("staging.feed", "id") == ["a"]
    assert agrees(feed)


def test_two_of_the_same_content_in_one_claim_are_one_delivery(feed: Feed) -> None:
    feed.land("a.csv", "id,v", "a,1")
    feed.land("b.csv", "id,v", "a,1")
    feed.run()
    assert sorted(status for _, status, _ in files(feed)) == ["duplicate", "published"]
    assert feed.rows("staging.feed", "id") == ["a"]


def test_the_same_name_with_other_content_is_another_delivery_and_says_so(feed: Feed) -> None:
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    feed.land("a.csv", "id,v", "b,22")
    feed.run()
    assert files(feed) == [
        ("a.csv", "published", None), ("a.csv", "published", "arrival 1 of this name had other content"),
    ]  # fmt: skip
    assert feed.rows("staging.feed", "id") == ["a", "b"]
    assert agrees(feed)


@pytest.mark.parametrize("target", [APPEND, MERGE])
def test_by_policy_a_file_sent_again_takes_the_place_of_the_one_of_its_name(feed: Feed, target: str) -> None:
    feed.define(target, pattern=NAMES, source='supersedes="name"')
    feed.land("bank_1.csv", "id,v", "a,1", "b,1")
    feed.land("bank_2.csv", "id,v", "c,1")
    feed.run()
    feed.land("bank_1.csv", "id,v", "a,2", "d,2")
    feed.run()
    assert files(feed) == [
        ("bank_1.csv", "withdrawn", None), ("bank_2.csv", "published", None),
        ("bank_1.csv", "published", "supersedes arrival 1 of this name"),
    ]  # fmt: skip
    assert feed.rows("staging.feed", "id", "v") == [("a", 2), ("c", 1), ("d", 2)]
    assert agrees(feed)
    feed.land("bank_1.csv", "id,v", "a,1", "b,1")  # the first content again: a delivery like any other
    feed.run()
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 1), ("c", 1)]
    assert agrees(feed)


def test_a_broken_file_takes_nobodys_place(feed: Feed) -> None:
    feed.define(source='supersedes="name"')
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    feed.land("a.csv", "id,w", "a,2")
    assert [b.status for b in feed.run()] == ["held"]
    assert feed.rows("staging.feed", "id") == ["a"]
    feed.land("a.csv", "id,v", "a,3")
    feed.run()
    assert [status for _, status, _ in files(feed)] == ["published", "withdrawn", "published"]


def test_overwritten_between_claim_and_copy_the_new_content_is_taken(feed: Feed) -> None:
    feed.land("a.csv", "id,v", "a,1")
    _claimed(feed)
    feed.land("a.csv", "id,v", "b,22")
    feed.run()
    assert looks(feed) == [
        ("a.csv", "changed", "the file changed while it was copied; it is taken once it stays as it is")
    ]
    feed.run()
    assert feed.rows("staging.feed", "id") == ["b"]
    assert agrees(feed)


def test_overwritten_while_it_is_read_it_is_taken_as_it_is_then(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    feed.land("a.csv", "id,v", "a,1")
    read, path = LocalZone.read, feed.settings.data / "landing" / "a.csv"

    def overwritten(self: LocalZone, seen: Any, start: int = 0) -> Any:
        for piece in read(self, seen, start):
            path.write_text("id,v\nb,22\n")
            yield piece

    with monkeypatch.context() as patched:
        patched.setattr(LocalZone, "read", overwritten)
        assert feed.run() == []
    assert [outcome for _, outcome, _ in looks(feed)] == ["changed"]
    feed.run()
    assert feed.rows("staging.feed", "id") == ["b"]
    assert not list((feed.settings.data / "raw").rglob(".copy-*"))


def test_deleted_before_it_is_read_is_said_and_nothing_waits_for_it(feed: Feed) -> None:
    feed.land("a.csv", "id,v", "a,1")
    _claimed(feed)
    (feed.settings.data / "landing" / "a.csv").unlink()
    assert feed.run() == []
    assert looks(feed) == [("a.csv", "gone", "it was removed before it was copied")]
    assert agrees(feed)


def test_a_withdrawn_file_comes_again_by_itself_only_when_its_sender_sends_it(feed: Feed) -> None:
    feed.land("a.csv", "id,w", "a,1")
    (held,) = feed.run()
    feed.withdraw(held.key)
    assert feed.run() == [], "it lies there as before"
    os.utime(feed.settings.data / "landing" / "a.csv", (1, 1))
    assert [b.status for b in feed.run()] == ["held"]


def test_a_retry_takes_a_withdrawn_file_again(feed: Feed) -> None:
    feed.land("a.csv", "id,w", "a,1")
    (held,) = feed.run()
    feed.withdraw(held.key)
    feed.define(w={"type": "integer"})
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake, lake.ledger.write() as session:
        retry(session, watched(feed.pipeline()), "a.csv")
    assert [b.status for b in feed.run()] == ["published"]
    assert agrees(feed)


def test_an_unreadable_file_is_tried_again_by_every_run_and_more_and_more_rarely_by_ticks(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(self: LocalZone, seen: Any, start: int = 0) -> Any:
        raise PermissionError(13, "Permission denied", seen.uri)

    feed.land("a.csv", "id,v", "a,1")
    with monkeypatch.context() as patched:
        patched.setattr(LocalZone, "read", closed)
        assert [[b.reason for b in feed.run()] for _ in range(2)] == [["unreadable: Permission denied"]] * 2
        assert [len(_ticked(feed).claims) for _ in range(2)] == [0, 0], "tried a moment ago"
    assert looks(feed) == [("a.csv", "unreadable", "Permission denied")] * 2
    feed.run()
    assert feed.rows("staging.feed", "id") == ["a"]


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_checksum_beside_a_file_is_believed(feed: Feed, algorithm: str) -> None:
    feed.land("a.csv", "id,v", "a,1")
    content = (feed.settings.data / "landing" / "a.csv").read_bytes()
    right = hashlib.new(algorithm, content).hexdigest()
    feed.land(f"a.csv.{algorithm}", f"{right.upper()}  a.csv")
    feed.land("b.csv", "id,v", "b,1")
    feed.land(f"b.csv.{algorithm}", f"{right}  b.csv")
    feed.land("c.csv", "id,v", "c,1")
    feed.land(f"c.csv.{algorithm}", "nothing of the kind")
    feed.run()
    assert files(feed) == [
        ("a.csv", "published", f"agrees with its {algorithm}"),
        ("b.csv", "held", f"checksum: its {algorithm} is not the one that the file beside it says; have it sent again"),
        ("c.csv", "held", f"checksum: the {algorithm} file beside it holds no {algorithm}"),
    ]  # fmt: skip
    assert feed.rows("staging.feed", "id") == ["a"]
    assert agrees(feed)


def test_a_file_of_no_bytes_is_held_or_a_delivery_of_nothing_by_policy(feed: Feed) -> None:
    feed.land("a.csv")
    assert [b.status for b in feed.run()] == ["held"]
    feed.define(source='emptyFile="accept"')
    feed.land("b.csv")
    os.utime(feed.settings.data / "landing" / "b.csv", (1, 1))
    assert [s for _, s, _ in files(feed)] == ["held"]
    feed.run()
    assert files(feed)[1][1] == "duplicate", "an empty file is an empty file"
    feed.define(source='emptyFile="accept"', pattern="(?P&lt;business_date&gt;[0-9]{8}).csv")
    feed.land("20240101.csv")
    (batch,) = feed.run()
    assert (batch.status, batch.counts.in_) == ("published", 0)
    assert agrees(feed)


def test_a_headless_run_claims_and_batches_no_more_at_once_than_the_zone_says(feed: Feed) -> None:
    feed.define(zone='type="local" uri="landing" maxFiles="2"')
    for number in range(5):
        feed.land(f"f{number}.csv", "id,v", f"r{number},1")
    assert [len(b.files) for b in feed.run()] == [2, 2, 1]
    feed.define(zone='type="local" uri="landing" maxBytes="20"')
    for number in range(5, 8):
        feed.land(f"f{number}.csv", "id,v", f"r{number},1")
    assert [len(b.files) for b in feed.run()] == [2, 1]
    assert len(feed.rows("staging.feed", "id")) == 8


def _ticked(feed: Feed) -> Any:
    catalog = feed.catalog()
    application = catalog.application("app")
    assert application is not None

    def place() -> Zone:
        return LocalZone(feed.settings.data / "landing")

    return tick(feed.settings, application, application.zones[0], place)


def _claimed(feed: Feed) -> None:
    """A tick has claimed, its run has not begun."""
    assert len(_ticked(feed).claims) == 1


def test_a_run_of_a_claim_takes_those_before_it_and_none_after(feed: Feed) -> None:
    for number in range(3):
        feed.land(f"f{number}.csv", "id,v", f"r{number},1")
        claims = _ticked(feed).claims
    assert len(claims) == 3
    catalog = feed.catalog()
    pipeline = catalog.pipeline("app", "feed")
    assert pipeline is not None
    with open_lake(feed.settings, catalog, feed.engine) as lake:
        run_pipeline(lake, pipeline, run_id="test", claim_id=claims[1].id)
        with lake.ledger.read() as session:
            assert len(session.scalars(select(Batch)).all()) == 2
    assert feed.rows("staging.feed", "id") == ["r0", "r1"]
