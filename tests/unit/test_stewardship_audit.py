"""The audit trail finds every change: of any field of any row, of any file, and of which entries there are."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_xml.checked import Catalog
from publishing.lake import Lake, open_lake
from resources.settings import Settings
from stewardship import audit
from stewardship.actors import STEWARD, Actor

ANA = Actor("ana", STEWARD)
BEN = Actor("ben", "approver", signed=True)
ENTRIES = 5
TEXTS = ("at", "actor", "role", "action", "subject", "previous", "hash")


@dataclass(frozen=True)
class Trail:
    """A lake root with five entries, and what may be done to it behind its back."""

    root: Path

    def lake(self) -> Any:
        return open_lake(Settings(self.root / "config", self.root / "data"), Catalog(self.root / "config", ()))

    def verify(self) -> list[str]:
        with self.lake() as lake:
            return audit.verify(lake)

    def sql(self, statement: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.root / "data" / "ledger.db")) as connection, connection:
            connection.execute(statement, values)

    def copied(self, to: Path) -> Trail:
        shutil.copytree(self.root, to, dirs_exist_ok=True)
        return Trail(to)

    def file(self, seq: int) -> Path:
        return self.root / "data" / "journal" / "audit" / f"{seq:08d}.json"


def act(lake: Lake, actor: Actor, action: str, subject: str, details: dict[str, Any]) -> audit.Entry:
    with lake.ledger.write() as session:
        entry = audit.append(session, lake, actor, action, subject, details)
    audit.journal_entries(lake)
    return entry


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Trail:
    trail = Trail(tmp_path_factory.mktemp("trail"))
    with trail.lake() as lake:
        for number in range(1, ENTRIES + 1):
            actor = BEN if number % 2 else ANA
            act(lake, actor, "correct", f"app/feed:batch{number}", {"records": number, "columns": ["v", "ä"]})
        lake.ledger.engine.dispose()
        with closing(sqlite3.connect(trail.root / "data" / "ledger.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return trail


@pytest.fixture
def trail(written: Trail, tmp_path: Path) -> Iterator[Trail]:
    yield written.copied(tmp_path / "copy")


def test_what_was_written_stands(trail: Trail) -> None:
    assert trail.verify() == []
    with trail.lake() as lake:
        newest = audit.entries(lake, limit=2)
        assert [entry.seq for entry in newest] == [5, 4]
        assert [entry.seq for entry in audit.entries(lake, before=4, limit=2)] == [3, 2]
        assert [e.seq for e in audit.entries(lake, actor="ANA", subject="app/feed")] == [4, 2]
        assert newest[0].details == {"records": 5, "columns": ["v", "ä"], "signed": True}
        assert audit.head(lake) == (5, newest[0].hash)
        assert audit.verify(lake, audit.head(lake)) == []
        act(lake, ANA, "discard", "app/feed:batch9", {})
        assert audit.verify(lake, (5, newest[0].hash)) == []


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


@given(seq=st.integers(1, ENTRIES), field=st.sampled_from(TEXTS), text=TEXT)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_of_any_field_of_a_row_is_found(
    written: Trail, tmp_path_factory: pytest.TempPathFactory, seq: int, field: str, text: str
) -> None:
    trail = written.copied(tmp_path_factory.mktemp("changed"))
    before = json.loads(trail.file(seq).read_text())[field]
    if text == before:
        return
    trail.sql(f"UPDATE audit SET {field} = ? WHERE seq = ?", text, seq)  # noqa: S608 - a fixed list of names
    found = trail.verify()
    assert any(f"entry {seq} " in line and field in line for line in found), found


@pytest.mark.parametrize(
    "details", ['{"records": 2, "columns": ["v", "a"]}', "{}", '{"records": 2.0, "columns": ["v", "\\u00e4"]}', '"x"']
)
def test_any_change_of_the_details_is_found(trail: Trail, details: str) -> None:
    trail.sql("UPDATE audit SET details = ? WHERE seq = 2", details)
    assert "entry 2 in the database was changed (details)" in trail.verify()


@pytest.mark.parametrize("number", [-1, 0, 6, 99_999_999_999])
def test_a_changed_number_is_found(trail: Trail, number: int) -> None:
    trail.sql("UPDATE audit SET seq = ? WHERE seq = 3", number)
    found = trail.verify()
    assert any("entry 3 was removed" in line for line in found), found
    assert f"entry {number} in the database is entry 3, moved" in found


@given(seq=st.integers(1, ENTRIES), at=st.integers(0, 2000), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_of_a_file_of_the_journal_is_found(
    written: Trail, tmp_path_factory: pytest.TempPathFactory, seq: int, at: int, bit: int
) -> None:
    trail = written.copied(tmp_path_factory.mktemp("changed"))
    content = bytearray(trail.file(seq).read_bytes())
    content[at % len(content)] ^= 1 << bit
    trail.file(seq).write_bytes(content)
    found = trail.verify()
    assert any(f"entry {seq} differs between database and journal" in line for line in found), found


def test_a_removed_row_is_found_wherever_it_stood(written: Trail, tmp_path: Path) -> None:
    for seq in range(1, ENTRIES + 1):
        trail = written.copied(tmp_path / str(seq))
        trail.sql("DELETE FROM audit WHERE seq = ?", seq)
        where = "cut from the end of" if seq == ENTRIES else "removed from"
        assert trail.verify() == [f"entry {seq} was {where} the database"]
    trail = written.copied(tmp_path / "tail")
    trail.sql("DELETE FROM audit WHERE seq > 2")
    assert trail.verify() == ["entries 3 to 5 were cut from the end of the database"]


def test_a_removed_file_is_found_wherever_it_stood(written: Trail, tmp_path: Path) -> None:
    for seq in range(1, ENTRIES + 1):
        trail = written.copied(tmp_path / str(seq))
        trail.file(seq).unlink()
        (line,) = trail.verify()
        assert line.startswith(f"entry {seq} is not in the journal"), line


def test_rows_that_change_places_are_found(trail: Trail) -> None:
    for old, new in ((2, 90), (3, 2), (90, 3)):
        trail.sql("UPDATE audit SET seq = ? WHERE seq = ?", new, old)
    found = trail.verify()
    assert "entry 2 in the database is entry 3, moved" in found
    assert "entry 3 in the database is entry 2, moved" in found


def test_an_inserted_row_is_found_even_with_a_file_beside_it(trail: Trail) -> None:
    trail.sql(
        "INSERT INTO audit SELECT 6, at, actor, role, action, subject, details, hash, hash FROM audit WHERE seq = 5"
    )
    assert "entry 6 in the database is entry 5, moved" in trail.verify()
    trail.sql("UPDATE audit SET hash = ? WHERE seq = 6", "f" * 64)
    assert any("entry 6 in the database was inserted" in line for line in trail.verify())
    row = json.loads(trail.file(5).read_text()) | {"seq": 6, "hash": "f" * 64}
    row["previous"] = json.loads(trail.file(5).read_text())["hash"]
    trail.file(6).write_text(json.dumps(row, indent=1, sort_keys=True))
    assert any("entry 6 in the database was changed" in line for line in trail.verify())
    (trail.file(6).with_name("7.json")).write_text("{}")
    assert any("audit/7.json, which is no entry" in line for line in trail.verify())


def test_an_end_written_anew_is_found_by_who_kept_the_newest(trail: Trail) -> None:
    with trail.lake() as lake:
        known = audit.head(lake)
        trail.sql("DELETE FROM audit WHERE seq > 3")
        for seq in (4, 5):
            trail.file(seq).unlink()
        assert audit.verify(lake) == [], "whoever rules both places leaves no trace in them"
        act(lake, ANA, "correct", "app/feed:other", {})
        act(lake, ANA, "correct", "app/feed:other", {})
        (line,) = audit.verify(lake, known)
        assert line.startswith("entry 5 is not the one that was the newest once")


def test_another_key_finds_every_entry(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATALAKE_QUARANTINE_KEY", "ab" * 32)
    assert len(trail.verify()) == ENTRIES


def test_what_a_crash_left_out_of_the_journal_the_next_action_writes(trail: Trail) -> None:
    with trail.lake() as lake:
        for number in (6, 7):
            with lake.ledger.write() as session:
                audit.append(session, lake, ANA, "correct", f"app/feed:batch{number}", {})
        assert not trail.file(6).exists()
        assert [line[:28] for line in audit.verify(lake)] == [
            "entry 6 is not in the journa", "entry 7 is not in the journa"
        ]  # fmt: skip
        act(lake, ANA, "correct", "app/feed:batch8", {})
        assert audit.verify(lake) == []
        assert trail.file(6).exists()


def test_an_action_that_fails_leaves_no_entry(trail: Trail) -> None:
    with trail.lake() as lake:
        with pytest.raises(RuntimeError), lake.ledger.write() as session:
            audit.append(session, lake, ANA, "correct", "app/feed:batch6", {})
            raise RuntimeError
        assert audit.head(lake)[0] == ENTRIES
        assert audit.verify(lake) == []
