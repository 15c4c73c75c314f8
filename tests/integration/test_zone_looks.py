"""Looking and claiming: settled over looks, each coming once, caps, markers, names that are hidden, decisions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, event, func, select
from sqlalchemy.exc import IntegrityError

from pipeline_xml.durations import settle_of
from publishing.claim import CLAIM_ATTEMPTS, claim, claim_settled, unclaimed
from publishing.landing_decisions import (
    FILE,
    IGNORE,
    PAUSE,
    SENDER,
    ZONE,
    NoSuchFile,
    NothingDecided,
    decide,
    resume,
    retry,
    standing,
)
from publishing.ledger import Ledger, Look
from publishing.look import Feed, look, saw
from publishing.zone_files import ZoneFile, ZoneState
from resources.zone import Sighting, ZoneUnreachable
from resources.zone_s3 import S3Zone
from tests.landing_place import Desk
from tests.landing_servers import moto_server


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    made = Desk(tmp_path, url=server.database() if server is not None else None)
    yield made
    made.ledger.close()


def test_a_file_is_claimed_once_however_often_it_is_looked_at(desk: Desk) -> None:
    desk.memory.put("a.csv", b"1")
    assert [desk.look() for _ in range(3)] == [[["a.csv"]], [], []]
    assert desk.files() == {"a.csv": ("taken", 0)}


def test_new_content_under_the_name_is_claimed_as_well(desk: Desk) -> None:
    desk.memory.put("a.csv", b"1")
    desk.look()
    desk.memory.put("a.csv", b"2")
    assert desk.look() == [["a.csv"]]


@pytest.mark.parametrize(("written", "looks", "seconds"), [("PT0S", 1, 0.0), ("PT30S", 2, 30.0), ("3", 3, 0.0)])
def test_settling_is_written_as_looks_or_as_a_duration(written: str, looks: int, seconds: float) -> None:
    assert settle_of(written) == (looks, seconds)


@pytest.mark.parametrize("written", ["0", "-1", "soon", "PT", "1.5"])
def test_settling_that_is_neither_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"examples: 3, PT30S"):
        settle_of(written)


def test_a_file_settles_over_looks_that_find_it_unchanged(desk: Desk) -> None:
    desk.zone = replace(desk.zone, settle="3")
    desk.memory.put("a.csv", b"1")
    assert [desk.look(), desk.look()] == [[], []]
    desk.memory.put("a.csv", b"12")
    assert [desk.look(), desk.look()] == [[], []], "it grew: the looks begin anew"
    assert desk.look() == [["a.csv"]]


def test_a_settle_time_is_measured_by_our_clock_over_two_looks_at_least(desk: Desk) -> None:
    desk.zone = replace(desk.zone, settle="PT10S")
    desk.memory.put("a.csv", b"1")
    assert desk.look(seconds=3600) == [], "what the sender's clock says does not count"
    assert [desk.look(seconds=6), desk.look(seconds=6)] == [[], [["a.csv"]]]


def test_a_name_that_a_listing_leaves_out_once_is_not_taken_again(desk: Desk) -> None:
    desk.memory.put("a.csv", b"1")
    desk.look()
    content = desk.memory.files.pop("a.csv")
    desk.look()
    desk.memory.files["a.csv"] = content
    assert desk.look() == []
    assert desk.files() == {"a.csv": ("taken", 0)}


def test_what_was_gone_and_came_back_is_another_occurrence_even_unchanged(desk: Desk) -> None:
    desk.memory.put("a.csv", b"1")
    desk.look()
    content = desk.memory.files.pop("a.csv")
    desk.look(), desk.look()
    assert desk.files() == {}
    desk.memory.files["a.csv"] = content
    assert desk.look() == [["a.csv"]]
    assert desk.files() == {"a.csv": ("taken", 1)}


def test_content_that_comes_back_after_other_content_is_another_occurrence(desk: Desk) -> None:
    desk.memory.put("a.csv", b"1")
    first = desk.memory.files["a.csv"]
    desk.look()
    desk.memory.put("a.csv", b"2")
    desk.look()
    desk.memory.files["a.csv"] = first
    assert desk.look() == [["a.csv"]]
    assert desk.files() == {"a.csv": ("taken", 1)}


def test_a_ledger_without_memory_of_a_zone_takes_nothing_twice(desk: Desk) -> None:
    """After `lake ledger rebuild` there are looks and no memory: what stands there as it was taken is not new."""
    desk.memory.put("a.csv", b"1")
    desk.look()
    desk.memory.put("b.csv", b"1")
    desk.look()
    with desk.ledger.write() as session:
        session.execute(delete(ZoneFile))
        session.execute(delete(ZoneState))
    desk.memory.put("b.csv", b"2")
    assert desk.look() == [["b.csv"]]


def test_a_zone_that_is_down_says_so_and_nothing_counts_as_gone(desk: Desk) -> None:
    desk.memory.put("a.csv", b"1")
    desk.look()
    desk.memory.down = "away"
    for _ in range(3):
        with pytest.raises(ZoneUnreachable):
            desk.look()
    desk.memory.down = None
    assert desk.look() == []
    assert desk.files() == {"a.csv": ("taken", 0)}


def test_hidden_and_temporary_names_are_not_seen_until_they_have_their_own(desk: Desk) -> None:
    for name in (".a.csv.swp", "a.csv.part", "a.csv.filepart", "a.csv.tmp", "a.csv.4f2e.partial"):
        desk.memory.put(name, b"1")
    assert desk.look() == []
    assert desk.files() == {}
    desk.memory.files["a.csv"] = desk.memory.files.pop("a.csv.part")
    assert desk.look() == [["a.csv"]]
    desk.zone = replace(desk.zone, ignore="*.bak")
    assert desk.look() == [[".a.csv.swp", "a.csv.4f2e.partial", "a.csv.filepart", "a.csv.tmp"]]


def test_a_file_waits_for_its_done_marker_whichever_comes_first(desk: Desk) -> None:
    desk.zone = replace(desk.zone, done_marker=".done")
    desk.memory.put("b.csv.done", b"")
    desk.memory.put("a.csv", b"1")
    assert [desk.look(), desk.look()] == [[], []]
    desk.memory.put("a.csv.done", b"")
    desk.memory.put("b.csv", b"1")
    assert desk.look() == [["a.csv", "b.csv"]]
    assert desk.files()["a.csv.done"] == ("beside", 0)


def test_a_file_waits_for_a_manifest_that_names_it_whichever_comes_first(desk: Desk) -> None:
    desk.zone = replace(desk.zone, manifest="*.lst", settle="2")
    desk.memory.put("one.lst", b"# of monday\na.csv\n./sub/b c.csv\r\n\n")
    for name in ("a.csv", "z.csv"):
        desk.memory.put(name, b"1")
    assert [desk.look(), desk.look()] == [[], [["a.csv"]]]
    desk.memory.put("b c.csv", b"1")
    assert [desk.look(), desk.look(), desk.look()] == [[], [["b c.csv"]], []]
    desk.memory.put("two.lst", b"z.csv\n")
    assert [desk.look(), desk.look(), desk.look()] == [[], [["z.csv"]], []]
    assert {name: state for name, (state, _) in desk.files().items()} == {
        "a.csv": "taken", "b c.csv": "taken", "z.csv": "taken", "one.lst": "beside", "two.lst": "beside",
    }  # fmt: skip


def test_what_comes_again_waits_for_a_manifest_that_comes_again(desk: Desk) -> None:
    desk.zone = replace(desk.zone, manifest="SUMS")
    desk.memory.put("SUMS", f"{'0' * 64}  a.csv\n".encode())
    desk.memory.put("a.csv", b"1")
    assert desk.look() == [["a.csv"]]
    desk.memory.put("a.csv", b"22")
    assert [desk.look(), desk.look()] == [[], []]
    desk.memory.put("SUMS", f"{'1' * 64} *a.csv\nMD5 (a.csv) = {'2' * 32}\n".encode())
    assert desk.look() == [["a.csv"]]
    with desk.ledger.read() as session:
        said = session.scalars(select(Look.beside).order_by(Look.id)).all()
    assert said == [
        {"sha256": f"{'0' * 64}  a.csv"},
        {"sha256": f"{'1' * 64} *a.csv", "md5": f"MD5 (a.csv) = {'2' * 32}"},
    ]


def test_every_pipeline_takes_what_a_manifest_names(desk: Desk) -> None:
    desk.zone = replace(desk.zone, manifest="SUMS")
    desk.feeds = (Feed("app/one", None), Feed("app/two", r"a.*"))
    desk.memory.put("a.csv", b"1")
    desk.memory.put("SUMS", b"a.csv\n")
    assert desk.look(most=1) == [["a.csv"]]
    assert desk.look() == [["a.csv"]]
    assert desk.look() == []


def test_checksums_are_no_deliveries_and_what_nobody_asks_for_is_unmatched(desk: Desk) -> None:
    desk.feeds = (Feed("app/feed", r".*\.csv"),)
    for name in ("a.csv", "a.csv.sha256", "a.csv.md5", "readme.txt", "line\nbreak.csv"):
        desk.memory.put(name, b"1")
    assert desk.look() == [["a.csv", "line\nbreak.csv"]]
    states = {name: state for name, (state, _) in desk.files().items()}
    assert states == {
        "a.csv": "taken", "a.csv.sha256": "beside", "a.csv.md5": "beside", "readme.txt": "unmatched",
        "line\nbreak.csv": "taken",
    }  # fmt: skip


def test_a_new_pattern_is_held_against_what_lies_there(desk: Desk) -> None:
    desk.feeds = (Feed("app/feed", r"a.*"),)
    desk.memory.put("a.csv", b"1")
    desk.memory.put("b.csv", b"1")
    assert desk.look() == [["a.csv"]]
    desk.feeds = (Feed("app/feed", r"a.*"), Feed("app/other", r".*"))
    assert desk.look() == [["a.csv", "b.csv"]]


def test_a_file_of_two_pipelines_is_claimed_for_each(desk: Desk) -> None:
    desk.feeds = (Feed("app/feed", None), Feed("app/other", None))
    desk.memory.put("a.csv", b"1")
    assert desk.look() == [["a.csv"], ["a.csv"]]
    assert desk.look() == []


def test_claims_are_capped_in_files_and_bytes_and_a_tick_in_claims(desk: Desk) -> None:
    desk.zone = replace(desk.zone, max_files=2, max_bytes=10)
    for number, size in enumerate((1, 1, 1, 25, 6, 6)):
        desk.memory.put(f"f{number}", b"x" * size)
    assert desk.look(most=3) == [["f0", "f1"], ["f2"], ["f3"]]
    assert desk.look() == [["f4"], ["f5"]]


def test_a_tick_that_died_after_claiming_takes_nothing_twice(desk: Desk) -> None:
    desk.memory.put("a.csv", b"1")
    look(desk.ledger, desk.at, desk.memory, desk.now)
    assert claim(desk.ledger, "app/feed", "zone", [*desk.memory.entries()]) is not None
    assert desk.look() == []
    assert desk.files() == {"a.csv": ("taken", 0)}


def test_an_object_of_the_longest_name_there_is_keeps_no_other_from_being_claimed(desk: Desk) -> None:
    names = sorted(["é" * 500, "a.csv"])
    with moto_server() as server:
        server.bucket("longest")
        for name in names:
            server.client.put_object(Bucket="longest", Key=name, Body=b"x")
        look(desk.ledger, desk.at, S3Zone("s3://longest", lambda: server.client), desk.now)
    assert [claim_settled(desk.ledger, desk.at, desk.now, 50) != [], sorted(desk.files())] == [True, names]


def test_who_loses_every_race_for_a_claim_leaves_no_file_behind(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process claims one more of the files each time that we have just found out which are new."""
    other = Ledger(desk.url) if desk.url else Ledger.at(desk.root)

    def overtaken(ledger: Ledger, pipeline: str, zone: str, files: Sequence[Sighting]) -> list[Sighting]:
        found = unclaimed(ledger, pipeline, zone, files)
        if ledger is desk.ledger and found:
            claim(other, pipeline, zone, found[:1])
        return found

    for number in range(CLAIM_ATTEMPTS + 3):
        desk.memory.put(f"f{number}.csv", b"x")
    with monkeypatch.context() as racing:
        racing.setattr("publishing.claim.unclaimed", overtaken)
        with pytest.raises(IntegrityError):
            desk.look()
    other.close()
    desk.look()
    with desk.ledger.read() as session:
        assert sorted(session.scalars(select(Look.name))) == sorted(desk.memory.files)


def test_a_retry_is_another_occurrence(desk: Desk) -> None:
    desk.memory.put("a.csv", b"1")
    desk.look()
    with desk.ledger.write() as session:
        retry(session, desk.at, "a.csv")
    assert [desk.look(), desk.look()] == [[["a.csv"]], []]
    with desk.ledger.write() as session, pytest.raises(NoSuchFile, match=r"no file 'b.csv' lies in app/zone.*a\.csv"):
        retry(session, desk.at, "b.csv")


def test_a_file_a_sender_and_a_zone_are_paused_and_taken_up_again(desk: Desk) -> None:
    desk.feeds = (Feed("app/feed", r"(?P<sender>[a-z]+)_.*"),)
    for name in ("bank_1", "bank_2", "shop_1"):
        desk.memory.put(name, b"1")
    look(desk.ledger, desk.at, desk.memory, desk.now)
    with desk.ledger.write() as session:
        decide(session, desk.at, PAUSE, SENDER, "bank", "ann", "operator", "doubtful")
        decide(session, desk.at, IGNORE, FILE, "shop_1", "ann", "operator", "a test file")
    assert desk.look() == []
    with desk.ledger.write() as session:
        resume(session, desk.at, SENDER, "bank", "bob")
        with pytest.raises(NothingDecided, match=r"sender bank of app/zone is neither .* what is: file shop_1"):
            resume(session, desk.at, SENDER, "bank", "bob")
    assert desk.look() == [["bank_1", "bank_2"]]
    with desk.ledger.write() as session:
        decide(session, desk.at, PAUSE, ZONE, "", "ann", "operator", "the bank moves")
    assert standing(desk.ledger, desk.at).paused == "paused by ann: the bank moves"


def test_a_look_reads_and_writes_no_more_than_what_lies_there(desk: Desk) -> None:
    """With 50,000 looks of other days in the ledger, and 3,000 files in the zone of which 3 are new."""
    for number in range(3000):
        desk.memory.put(f"f{number:05d}", b"")
    desk.zone = replace(desk.zone, max_files=5000)
    assert [len(names) for names in desk.look()] == [1000, 1000, 1000]
    with desk.ledger.write() as session:
        (one,) = session.scalars(select(Look).limit(1))
        rows = [
            {"claim_id": one.claim_id, "pipeline": "app/feed", "zone": "zone", "name": f"old{n}", "uri": "x",
             "size": 1, "version": "1", "occurrence": 0}
            for n in range(50_000)
        ]  # fmt: skip
        session.execute(Look.__table__.insert(), rows)  # type: ignore[attr-defined]
    desk.look()
    for number in range(3):
        desk.memory.put(f"new{number}", b"")
    fetched = 0

    def count(_c: object, cursor: object, statement: str, *_: object) -> None:
        nonlocal fetched
        fetched += "FROM look" in statement

    event.listen(desk.ledger.engine, "after_cursor_execute", count)
    assert desk.look() == [["new0", "new1", "new2"]]
    event.remove(desk.ledger.engine, "after_cursor_execute", count)
    assert fetched <= 8, "some questions about what is new, whatever the ledger knows"
    with desk.ledger.read() as session:
        assert session.scalar(select(func.count()).select_from(ZoneFile)) == 3003
        if desk.url is not None:
            return
        plan = session.connection().exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT name FROM look WHERE pipeline='app/feed' AND zone='zone' AND name IN ('a','b')"
        )
        assert "SEARCH look USING" in str(plan.all())


def test_a_file_that_is_told_of_is_remembered_and_claimed_as_by_a_look(desk: Desk) -> None:
    """The place for notifications: one name, no listing."""
    desk.memory.put("a.csv", b"1")
    desk.memory.put("b.csv.part", b"1")
    desk.memory.put("c.csv", b"1")
    for name in ("a.csv", "b.csv.part", "a.csv"):
        told = desk.memory.find(name)
        assert told is not None
        saw(desk.ledger, desk.at, told, desk.now)
    assert desk.claim() == [["a.csv"]]
    assert desk.files() == {"a.csv": ("taken", 0)}, "a temporary name is none, and nothing else was looked at"
    assert desk.look() == [["c.csv"]], "a later look takes what nobody told of, and a.csv not again"
    desk.memory.put("a.csv", b"2")
    told = desk.memory.find("a.csv")
    assert told is not None
    saw(desk.ledger, desk.at, told, desk.now)
    assert [desk.claim(), desk.look()] == [[["a.csv"]], []]


def test_two_looks_of_one_moment_are_in_one_claim(tmp_path: Path) -> None:
    first, second = Ledger.at(tmp_path), Ledger.at(tmp_path)
    seen = [Sighting("a.csv", "x", 1, "1", 0.0)]
    made = [claim(each, "app/feed", "zone", seen) for each in (first, second)]
    assert made[0] is not None
    assert made[1] is None
    first.close(), second.close()
