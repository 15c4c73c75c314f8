"""Senders that run out of room or write twice a second, servers that trickle, copies that are killed on their way.

The docstring of each test is a line of docs/reliability.md: what happens, an empty line, what comes of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from publishing import raw
from publishing.lake import open_lake
from publishing.landing_decisions import retry
from publishing.ledger import LandedFile, Look
from publishing.look import watched
from publishing.run import run_pipeline
from publishing.zone_files import ZoneFile
from resources import zone as zone_rules
from resources.engine import Engine, open_engine
from resources.zone import CHUNK, Sighting, TooSlow
from resources.zone_s3 import S3Zone
from resources.zone_sftp import SftpZone
from tests.faults.children import feed_at, start
from tests.faults.test_scenarios_disk import small_disk
from tests.faults.test_scenarios_landing import agrees, counted, ticked, zone_of
from tests.landing_servers import (
    SSHD,
    SftpServer,
    Throttle,
    light_sftp_server,
    moto_server,
    openssh_server,
    put_by_sftp,
    slow_way,
)
from tests.promised_feed import APPEND, Feed

needs_sshd = pytest.mark.skipif(SSHD is None, reason="needs Debian's openssh-server")
OPENSSH = pytest.param("sftp", marks=needs_sshd)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with open_engine("sail", None) as opened:
        yield opened


@dataclass(frozen=True)
class Place:
    """A zone's server behind a way that may be slow."""

    way: Throttle
    attributes: str
    secret: str
    server: Any

    def put(self, name: str, content: bytes) -> None:
        if isinstance(self.server, SftpServer):
            (self.server.root / name).write_bytes(content)
        else:
            self.server.client.put_object(Bucket="feeds", Key=f"in/{name}", Body=content)


@contextmanager
def served(kind: str, folder: Path) -> Iterator[Place]:
    """OpenSSH, or S3."""
    if kind == "sftp":
        with openssh_server(folder) as server, slow_way(server.port) as way:
            yield Place(way, zone_of(replace(server, port=way.port)), server.private_key.decode(), server)
        return
    with moto_server() as s3, slow_way(int(str(s3.access.endpoint).rpartition(":")[2])) as way:
        s3.bucket("feeds")
        where = f'type="s3" uri="s3://feeds/in" secretRef="BANK_KEY" endpoint="http://127.0.0.1:{way.port}"'
        access = {"access_key_id": "key", "secret_access_key": "secret-of-a-test"}
        yield Place(way, where, json.dumps(access), s3)


def records(size: int, first: str = "a") -> bytes:
    """A file of about that many bytes, in records of a kilobyte."""
    lines = (f"{first}{number:08d}{'x' * 1000},{number}\n" for number in range(size // 1010))
    return b"id,v\n" + "".join(lines).encode()


@pytest.mark.parametrize("kind", [OPENSSH, "s3"])
def test_server_trickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, engine: Engine) -> None:
    """From the middle of a large file on, a server gives fewer bytes than 4 KiB a second

    after a minute of that the run ends with TooSlow, calls no file bad and has held up no other zone; what came stays
    in raw, and once the server gives more, the next run fetches the rest only and publishes the file once
    """
    monkeypatch.setattr(zone_rules, "SLOW_SECONDS", 1.0)
    monkeypatch.setattr(zone_rules, "SLOWEST", 1_000_000)
    feed, well = Feed(tmp_path / "lake", engine), Feed(tmp_path / "well", engine)
    content = records(8 * CHUNK // 4 + CHUNK)
    with served(kind, tmp_path / "server") as place:
        monkeypatch.setenv("BANK_KEY", place.secret)
        feed.define(APPEND, zone=place.attributes)
        place.put("a.csv", content)
        (claim,) = ticked(feed).claims
        place.way.rate, place.way.free = 200_000, CHUNK + 1_000_000
        raised: list[BaseException] = []

        def copied() -> None:
            with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
                try:
                    run_pipeline(lake, feed.pipeline(), run_id="slow", claim_id=claim.id)
                except TooSlow as error:
                    raised.append(error)

        copying = threading.Thread(target=copied)
        copying.start()
        well.define()
        well.land("b.csv", "id,v", "b,1")
        assert [batch.status for batch in well.run()] == ["published"], "another zone goes on meanwhile"
        copying.join(60)
        assert "bytes a second; what came is kept, try it again" in str(raised[0])
        assert counted(feed, LandedFile) == 0
        place.way.rate, place.way.passed = None, 0
        assert [batch.status for batch in feed.run()] == ["published"]
        assert place.way.passed < len(content) - CHUNK + 500_000, "what came before was not fetched again"
        assert feed.run() == []
    assert len(feed.rows("staging.feed", "id")) == content.count(b"\n") - 1
    assert agrees(feed)


@pytest.mark.parametrize("kind", [OPENSSH, "s3"])
def test_server_slow_and_sure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, engine: Engine) -> None:
    """A server is slow, and gives more than the least all the time

    the copy goes on for as long as it takes, and the file is published
    """
    monkeypatch.setattr(zone_rules, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(zone_rules, "SLOWEST", 20_000)
    feed = Feed(tmp_path / "lake", engine)
    with served(kind, tmp_path / "server") as place:
        monkeypatch.setenv("BANK_KEY", place.secret)
        feed.define(APPEND, zone=place.attributes)
        place.put("a.csv", records(1_500_000))
        place.way.rate = 500_000
        assert [batch.status for batch in feed.run()] == ["published"]


@needs_sshd
@pytest.mark.parametrize("agreed", ["done-marker", "checksum", "supersedes"])
def test_senders_room_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine, agreed: str) -> None:
    """The disk of the SFTP server is full in the middle of a sender's `put`, and he sends again when there is room

    with a done-marker the part waits and is never taken; with a checksum it is held; with neither it is taken as it
    lies there, and `supersedes="name"` takes it back for the whole file: each record is published once
    """
    feed, content = Feed(tmp_path / "lake", engine), records(400_000)
    whole, said = tmp_path / "a.csv", tmp_path / f"a.csv.{'done' if agreed == 'done-marker' else 'sha256'}"
    whole.write_bytes(content)
    said.write_text(hashlib.sha256(content).hexdigest())
    sent = {"done-marker": [whole, said], "checksum": [said, whole], "supersedes": [whole]}[agreed]
    with small_disk(tmp_path / "server", "256k"), openssh_server(tmp_path / "server") as server:
        monkeypatch.setenv("BANK_KEY", server.private_key.decode())
        marker = ' doneMarker=".done"' if agreed == "done-marker" else ""
        policy = 'supersedes="name"' if agreed == "supersedes" else ""
        feed.define(APPEND, zone=zone_of(server) + marker, source=policy)
        with pytest.raises(subprocess.CalledProcessError):
            put_by_sftp(server, *sent)
        assert 0 < (server.root / "a.csv").stat().st_size < len(content)
        first = {"done-marker": [], "checksum": ["held"], "supersedes": ["published"]}[agreed]
        assert [batch.status for batch in feed.run()] == first
        subprocess.run(["mount", "-o", "remount,size=4m", str(tmp_path / "server")], check=True)
        put_by_sftp(server, *sent)
        assert [batch.status for batch in feed.run()] == ["published"]
        assert feed.run() == []
    assert feed.statuses() == {
        "done-marker": ["published"], "checksum": ["held", "published"], "supersedes": ["withdrawn", "published"],
    }[agreed]  # fmt: skip
    assert len(feed.rows("staging.feed", "id")) == content.count(b"\n") - 1
    assert agrees(feed)


def test_written_again_within_the_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    """A sender writes other content of the same size under the same name within one second; SFTP tells whole seconds

    before the copy, the newer content is delivered, and only that; after the copy nobody can tell the two apart: a
    settle time of two seconds or more lets the second pass before, and `lake landing retry` takes what lies there
    """
    feed = Feed(tmp_path / "lake", engine)
    with light_sftp_server(tmp_path / "server") as server:
        monkeypatch.setenv("BANK_KEY", server.private_key.decode())
        feed.define(APPEND, zone=zone_of(server))

        def write(record: str) -> None:
            path = server.root / "a.csv"
            path.write_text(f"id,v\n{record}\n")
            os.utime(path, (1_700_000_000, 1_700_000_000))

        write("a,1")
        assert len(ticked(feed).claims) == 1
        write("b,1")
        feed.run()
        assert feed.rows("staging.feed", "id") == ["b"]
        write("c,1")
        assert feed.run() == []
        with open_lake(feed.settings, feed.catalog(), feed.engine) as lake, lake.ledger.write() as session:
            retry(session, watched(feed.pipeline()), "a.csv")
        feed.run()
        assert feed.rows("staging.feed", "id") == ["b", "c"]
        feed.define(APPEND, zone=zone_of(server) + ' settle="PT2S"')
        (server.root / "a.csv").unlink()
        feed.run(), feed.run()
        write("d,1")
        assert ticked(feed).claims == ()
        write("e,1")
        feed.run()
    assert feed.rows("staging.feed", "id") == ["b", "c", "e"]


@needs_sshd
def test_no_session_for_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    """The SFTP server lets log in and opens no session, because its limit is reached (MaxSessions)

    the tick is skipped with its reason, and no file is called bad or gone
    """
    feed = Feed(tmp_path / "lake", engine)
    with openssh_server(tmp_path / "server", sessions=0) as server:
        monkeypatch.setenv("BANK_KEY", server.private_key.decode())
        feed.define(APPEND, zone=zone_of(server))
        assert "the server does not answer" in (ticked(feed).skipped or "")
        assert counted(feed, ZoneFile) == 0


def killed_after(pieces: int) -> None:
    """The process is killed once so many pieces of a file came; each is on the disk before the next."""
    raw.SYNC_BYTES = CHUNK
    for kind in (SftpZone, S3Zone):
        read = kind.read

        def killing(self: Any, seen: Sighting, begin: int = 0, read: Any = read) -> Iterator[bytes]:
            for number, piece in enumerate(read(self, seen, begin)):
                if number == pieces:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield piece

        kind.read = killing  # type: ignore[method-assign, assignment]


def noted_in(path: str) -> None:
    """Where each reading begins is written down."""
    for kind in (SftpZone, S3Zone):
        read = kind.read

        def noting(self: Any, seen: Sighting, begin: int = 0, read: Any = read) -> Iterator[bytes]:
            with Path(path).open("a") as out:
                out.write(f"{begin}\n")
            return iter(read(self, seen, begin))

        kind.read = noting  # type: ignore[method-assign, assignment]


def _killed(tmp_path: Path, kind: str, place: Place) -> tuple[Feed, dict[str, str]]:
    feed, secret = feed_at(tmp_path / "lake"), {"BANK_KEY": place.secret}
    feed.define(APPEND, zone=place.attributes)
    place.put("a.csv", records(5 * CHUNK))
    child = start(feed, before=killed_after, given={"pieces": 3}, environment=secret)
    assert child.code() == -signal.SIGKILL
    (mark,) = (feed.settings.data / "raw").rglob(f"*{raw.SYNCED}")
    assert int(mark.read_text()) >= 2 * CHUNK
    return feed, secret


def stored_in(feed: Feed) -> list[Path]:
    """What lies in raw, but for a mark that the kill left half written, which `lake ledger sweep` removes."""
    found = (feed.settings.data / "raw" / "app" / "feed").iterdir()
    return [each for each in found if not each.name.startswith("..copy-")]


@pytest.mark.parametrize("kind", [OPENSSH, "s3"])
def test_copy_killed_on_its_way(tmp_path: Path, kind: str) -> None:
    """A run is killed when it has copied 60 % of a large file from SFTP or S3

    the next one fetches only what was not on the disk, verifies the sha256 over the whole, and publishes it once
    """
    with served(kind, tmp_path / "server") as place:
        feed, secret = _killed(tmp_path, kind, place)
        noted = tmp_path / "noted"
        child = start(feed, before=noted_in, given={"path": str(noted)}, environment=secret)
        assert [batch["status"] for batch in child.ended()] == ["published"]
        assert [int(line) >= 2 * CHUNK for line in noted.read_text().split()] == [True]
    content = records(5 * CHUNK)
    (stored,) = stored_in(feed)
    assert stored.name == hashlib.sha256(stored.read_bytes()).hexdigest() == hashlib.sha256(content).hexdigest()
    assert len(feed.rows("staging.feed", "id")) == content.count(b"\n") - 1
    assert agrees(feed)


@pytest.mark.parametrize("kind", [OPENSSH, "s3"])
def test_copy_killed_and_sent_again(tmp_path: Path, kind: str) -> None:
    """A run is killed when it has copied 60 % of a large file, and the sender overwrites it before the next

    what was copied is thrown away: the look is `changed`, and the new content is copied from its beginning and
    published once
    """
    with served(kind, tmp_path / "server") as place:
        feed, secret = _killed(tmp_path, kind, place)
        content = records(5 * CHUNK, "b")
        place.put("a.csv", content)
        if isinstance(place.server, SftpServer):
            os.utime(place.server.root / "a.csv", (1_700_000_000, 1_700_000_000))
        statuses = [batch["status"] for _ in range(2) for batch in start(feed, environment=secret).ended()]
        assert statuses == ["published"]
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake, lake.ledger.read() as session:
        assert [look.outcome for look in session.query(Look).order_by(Look.id)] == ["changed", None]
    (stored,) = stored_in(feed)
    assert stored.name == hashlib.sha256(content).hexdigest()
    assert {name[0] for name in feed.rows("staging.feed", "id")} == {"b"}
    assert agrees(feed)
