"""A claim that is copied by parts: what a part noted is taken up after a crash, and the order is that of the claim."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from publishing import copying
from publishing.lake import open_lake
from publishing.ledger import LandedFile, Look
from tests.faults.children import feed_at, run, start

NAMES = [f"{letter}_20240101.csv" for letter in "abcde"]


def small_parts() -> None:
    copying.PART_FILES = 2  # type: ignore[misc]


def test_a_crash_in_the_second_part_leaves_the_first_one_noted_and_nothing_twice(tmp_path: Path) -> None:
    feed = feed_at(tmp_path)
    feed.define()
    for name in NAMES:
        feed.land(name, "id,v", f"{name[0]},1")
    assert start(feed, at="raw.copied", passing=4, before=small_parts).code() == -9
    assert noted(feed) == [True, True, False, False, False]
    (feed.settings.data / "landing" / NAMES[0]).unlink()
    (ended,) = run(feed)
    assert ended["counts"]["accepted"] == len(NAMES), "the copy is read: its sender may have removed it"
    assert feed.rows("staging.feed", "id") == list("abcde")
    with open_lake(feed.settings, feed.catalog()) as lake, lake.ledger.read() as session:
        landed = session.scalars(select(LandedFile.name).order_by(LandedFile.arrival)).all()
    assert landed == NAMES


def noted(feed) -> list[bool]:  # type: ignore[no-untyped-def]
    with open_lake(feed.settings, feed.catalog()) as lake, lake.ledger.read() as session:
        return [content is not None for content in session.scalars(select(Look.content_id).order_by(Look.name))]
