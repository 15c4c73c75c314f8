"""A file that the definition of a later attempt breaks leaves its batch, and the others of it go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from publishing import failpoints, leaving
from resources.engine import Engine
from tests.ledger_rows import made_again
from tests.promised_feed import APPEND
from tests.steward_feed import StewardFeed

UNQUOTED = ' header="true" quote=""'


class Crash(BaseException):
    """Ends a run where it stands."""


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    """Three files of one batch, of which the second has a quotation mark that a feed without quoting may have."""
    found = StewardFeed(tmp_path, engine)
    unquoted(found)
    found.land("a.csv", "id,v", "a,1", "x,bad")
    found.land("b.csv", "id,v", '"bc,2')
    found.land("d.csv", "id,v", "d,3")
    return found


def unquoted(feed: StewardFeed) -> None:
    feed.define(APPEND)
    path = feed.root / "config" / "applications" / "app" / "staging" / "pipelines" / "feed.xml"
    path.write_text(path.read_text().replace(' header="true"', UNQUOTED))


def killed(feed: StewardFeed, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def dies(name: str) -> None:
        if name == place:
            raise Crash(name)

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(failpoints, "reached", dies)
        feed.run()


def test_the_others_are_published_and_it_is_held_alone(feed: StewardFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(feed, monkeypatch, "manifest.written")
    feed.define(APPEND)
    whole, left = feed.run()
    assert (whole.status, whole.attempt, whole.counts.in_, [f.status for f in whole.files]) == (
        "published", 2, 3, ["published", "published"],
    )  # fmt: skip
    assert (left.status, left.attempt, left.counts.in_, left.key[:13]) == ("held", 1, 1, f"{left.business_date}_b_")
    assert "quote" in (left.reason or "")
    assert feed.rows("staging.feed", "id") == ["a", "d"]
    assert feed.statuses() == ["published", "held", "published"]
    made_again(feed)
    feed.land("copy.csv", "id,v", '"bc,2')
    (copy,) = feed.run()
    assert copy.files[0].status == "duplicate", "its delivery is the held batch's"
    unquoted(feed)
    feed.run(reprocess=True)
    assert feed.rows("staging.feed", "id") == ['"bc', "a", "d"]
    assert set(feed.statuses()) == {"published", "duplicate"}
    made_again(feed)


def test_killed_while_it_leaves_it_leaves_once(feed: StewardFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal has it, the ledger does not."""
    killed(feed, monkeypatch, "stage.finished")
    feed.define(APPEND)
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(leaving, "datetime", _Dies)
        feed.run()
    outcomes = feed.run()
    assert sorted(o.status for o in outcomes) == ["held", "published"]
    assert feed.rows("staging.feed", "id") == ["a", "d"]
    assert len(list((feed.settings.data / "journal").rglob("left-*.json"))) == 1
    made_again(feed)


class _Dies:
    @staticmethod
    def fromisoformat(_: str) -> None:
        raise Crash


def test_of_a_batch_that_stands_nothing_leaves(feed: StewardFeed) -> None:
    feed.run()
    feed.define(APPEND)
    (held,) = feed.run(reprocess=True)
    assert (held.status, held.attempt) == ("held", 2)
    assert feed.rows("staging.feed", "id") == ['"bc', "a", "d"]


def test_where_all_are_broken_the_batch_is_held(feed: StewardFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(feed, monkeypatch, "manifest.written")
    feed.define(APPEND, w={"type": "string"})
    (held,) = feed.run()
    assert (held.status, len(held.files)) == ("held", 3)
    made_again(feed)
