"""Senders and servers that misbehave: many files at once, names of every kind, rights that go, ticks that are killed.

The docstring of each test is a line of docs/reliability.md: what happens, an empty line, what comes of it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from sqlalchemy import func, select

from publishing.lake import open_lake
from publishing.landing import tick
from publishing.ledger import Batch, Claim, LandedFile, Look
from publishing.run import run_pipeline
from publishing.verify import verify
from publishing.zone_files import ZoneFile
from resources.secrets import SecretResolver
from resources.zone import ZoneUnreachable
from resources.zones import zone_opener
from tests.faults.children import NO_ENGINE, feed_at, start
from tests.landing_servers import (
    SSHD,
    SftpServer,
    light_sftp_server,
    openssh_server,
)
from tests.promised_feed import APPEND, Feed

MANY = 20_000
ODD = (
    "with space.csv", "new\nline.csv", "tab\there.csv", "naïve ☂.csv", "'quoted' \"twice\".csv", "--force.csv",
    "$(reboot).csv", "a;b|c&d.csv", "%2e%2e%2fup.csv", "a..csv", "x" * 251 + ".csv", "COM1.csv", "😀.csv",
)  # fmt: skip
needs_sshd = pytest.mark.skipif(SSHD is None, reason="needs Debian's openssh-server")
TICK = """
import os, signal, sys
from pathlib import Path
from publishing import failpoints
from publishing.landing import tick
from resources.settings import Settings
from resources.zone_local import LocalZone
from pipeline_xml.load import load_catalog
from processing.transformations import registry

config, data, passing = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
app = load_catalog(config, registry()).application("app")
if passing:
    failpoints.arm("claim.persisted", passing)
found = tick(Settings(config, data), app, app.zones[0], lambda: LocalZone(data / "landing"))
print(sum(claim.files for claim in found.claims))
"""


def zone_of(server: SftpServer) -> str:
    return f'type="sftp" uri="{server.uri}" secretRef="BANK_KEY" hostKey="{server.host_key}"'


def run(feed: Feed, server: SftpServer) -> list[dict[str, Any]]:
    return start(feed, environment={"BANK_KEY": server.private_key.decode()}).ended()


def ticked(feed: Feed) -> Any:
    application = feed.catalog().application("app")
    assert application is not None
    zone = application.zones[0]
    opened = zone_opener(feed.settings.data, SecretResolver())
    return tick(feed.settings, application, zone, lambda: opened(zone))


def counted(feed: Feed, what: Any) -> int:
    with open_lake(feed.settings, feed.catalog(), NO_ENGINE) as lake, lake.ledger.read() as session:
        return int(session.scalar(select(func.count()).select_from(what)) or 0)


def agrees(feed: Feed) -> bool:
    with open_lake(feed.settings, feed.catalog(), NO_ENGINE) as lake:
        return verify(lake, feed.catalog()) == []


def a_tick(feed: Feed, killed_at_claim: int = 0) -> subprocess.CompletedProcess[str]:
    """A tick in a process of its own, killed right after it persisted so many claims."""
    project = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", TICK, str(feed.settings.config), str(feed.settings.data), str(killed_at_claim)]
    env = {**os.environ, "PYTHONPATH": project}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_many_files_at_once(tmp_path: Path) -> None:
    """20,000 files are dropped at once, and the tick that claims them is killed in the middle

    the ticks after it claim the rest: every file is in one claim, none in two, no claim larger than the zone allows
    """
    feed = feed_at(tmp_path)
    feed.define(zone='type="local" uri="landing" maxFiles="500"')
    landing = feed.settings.data / "landing"
    for number in range(MANY):
        (landing / f"f{number:05d}.csv").write_bytes(b"")
    assert a_tick(feed, killed_at_claim=7).returncode == -signal.SIGKILL
    assert counted(feed, Claim) == 7
    while counted(feed, Look) < MANY:
        before = counted(feed, Look)
        done = a_tick(feed)
        assert done.returncode == 0, done.stderr
        assert counted(feed, Look) > before
    with open_lake(feed.settings, feed.catalog(), NO_ENGINE) as lake, lake.ledger.read() as session:
        assert session.scalar(select(func.count(func.distinct(Look.name)))) == MANY
        largest = select(func.count()).select_from(Look).group_by(Look.claim_id).order_by(func.count().desc())
        assert session.scalars(largest.limit(1)).one() <= 500
        assert session.scalars(select(ZoneFile.state).distinct()).all() == ["taken"]
    assert counted(feed, Look) == MANY
    assert int(a_tick(feed).stdout) == MANY, "and each waits for the run of its claim"


@needs_sshd
def test_odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`scp` drops files whose names have spaces, line breaks, quotes, Unicode, options, path tricks, or 255 bytes

    each is published under its own name, nothing is read outside the zone, and the zone is as it was
    """
    feed = feed_at(tmp_path / "lake")
    with openssh_server(tmp_path / "server") as server:
        monkeypatch.setenv("BANK_KEY", server.private_key.decode())
        feed.define(APPEND, zone=zone_of(server))
        sent = tmp_path / "sent"
        sent.mkdir()
        for number, name in enumerate(ODD):
            (sent / name).write_text(f"id,v\nr{number:02d},1\n")
        key = server.root.parent / "login_key"
        command = ["scp", "-q", "-r", "-i", str(key), "-P", str(server.port), "-o", "StrictHostKeyChecking=no", "-o",
                   "UserKnownHostsFile=/dev/null", f"{sent}/.", f"{server.user}@127.0.0.1:{server.root}"]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        ended = run(feed, server)
        assert [(batch["status"], batch["reason"]) for batch in ended] == [("published", None)]
        assert {p.name for p in server.root.iterdir()} == set(ODD)
    names = dict(feed.rows("staging.feed", "id", "_source_file"))
    assert names == {f"r{number:02d}": name for number, name in enumerate(ODD)}
    assert agrees(feed)


@needs_sshd
def test_server_gone_between_claim_and_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SFTP server is gone when the run comes to copy what was claimed, and is back for the next

    the run ends with ZoneUnreachable and calls no file bad; the next one publishes each once
    """
    feed = feed_at(tmp_path / "lake")
    with openssh_server(tmp_path / "server") as server:
        assert server.process is not None
        monkeypatch.setenv("BANK_KEY", server.private_key.decode())
        feed.define(APPEND, zone=zone_of(server))
        (server.root / "a.csv").write_text("id,v\na,1\n")
        (claim,) = ticked(feed).claims
        server.process.kill()
        server.process.wait()
        pipeline = feed.pipeline()
        with (
            open_lake(feed.settings, feed.catalog(), NO_ENGINE) as lake,
            pytest.raises(ZoneUnreachable, match="the server does not answer"),
        ):
            run_pipeline(lake, pipeline, run_id="test", claim_id=claim.id)
        assert ticked(feed).skipped is not None
        assert counted(feed, LandedFile) == 0
        server.start_again()
        assert [batch["status"] for batch in run(feed, server)] == ["published"]
        assert run(feed, server) == []
    assert feed.rows("staging.feed", "id") == ["a"]
    assert agrees(feed)


@needs_sshd
def test_server_gone_while_a_batch_waits(tmp_path: Path) -> None:
    """A run is killed when its files are in raw, and the SFTP server is gone before the next

    the next run publishes what is in raw, then ends with ZoneUnreachable; so does a reprocess
    """
    feed = feed_at(tmp_path / "lake")
    with openssh_server(tmp_path / "server") as server:
        assert server.process is not None
        secret = {"BANK_KEY": server.private_key.decode()}
        feed.define(APPEND, zone=zone_of(server))
        (server.root / "a.csv").write_text("id,v\na,1\n")
        assert start(feed, at="claim.settled", environment=secret).code() == -signal.SIGKILL
        server.process.kill()
        server.process.wait()
        assert "ZoneUnreachable" in start(feed, environment=secret).error()
        assert feed.rows("staging.feed", "id") == ["a"]
        assert "ZoneUnreachable" in start(feed, reprocess=True, environment=secret).error()
    with open_lake(feed.settings, feed.catalog(), NO_ENGINE) as lake, lake.ledger.read() as session:
        (batch,) = session.scalars(select(Batch))
        assert (batch.status, batch.attempt) == ("published", 2)
    assert feed.rows("staging.feed", "id") == ["a"]
    assert agrees(feed)


def test_right_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right to read one file is taken away between the listing and the copy, and given back later

    that file is held as unreadable and the others are published; once it can be read it is published too
    """

    class Closed(asyncssh.SFTPServer):
        closed = True

        def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
            if path.endswith(b"b.csv") and Closed.closed:
                raise asyncssh.SFTPPermissionDenied("no")
            return super().open(path, pflags, attrs)

    feed = feed_at(tmp_path / "lake")
    with light_sftp_server(tmp_path / "server", Closed) as server:
        monkeypatch.setenv("BANK_KEY", server.private_key.decode())
        feed.define(APPEND, zone=zone_of(server))
        for name in ("a", "b", "c"):
            (server.root / f"{name}.csv").write_text(f"id,v\n{name},1\n")
        held, _ = sorted(run(feed, server), key=lambda batch: batch["status"])
        assert (held["status"], held["reason"]) == ("held", "unreadable: Permission denied")
        assert feed.rows("staging.feed", "id") == ["a", "c"]
        Closed.closed = False
        assert [batch["status"] for batch in run(feed, server)] == ["published"]
    assert feed.rows("staging.feed", "id") == ["a", "b", "c"]
    assert counted(feed, LandedFile) == 3
    assert agrees(feed)


def _holds_a_connection(port: int) -> socket.socket:
    """A client that says nothing, once the server has a place for it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        other = socket.create_connection(("127.0.0.1", port))
        if other.recv(4) == b"SSH-":
            return other
        other.close()
        time.sleep(0.2)
    raise AssertionError("the server has no place for anybody")


@needs_sshd
def test_no_more_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SFTP server refuses connections because others hold as many as it allows

    the tick is skipped with its reason and nothing counts as gone; when one is free the files are claimed
    """
    feed = feed_at(tmp_path / "lake")
    with openssh_server(tmp_path / "server", startups="1") as server:
        monkeypatch.setenv("BANK_KEY", server.private_key.decode())
        feed.define(APPEND, zone=zone_of(server))
        (server.root / "a.csv").write_text("id,v\na,1\n")
        with _holds_a_connection(server.port):
            skipped = ticked(feed).skipped
            assert skipped is not None
            assert "the server does not answer" in skipped
        assert [claim.files for claim in ticked(feed).claims] == [1]


@needs_sshd
def test_host_key_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SFTP server comes back with another host key

    nothing is sent to it, no secret either; the tick says that the key is not the one we know
    """
    feed = feed_at(tmp_path / "lake")
    with openssh_server(tmp_path / "first") as first, openssh_server(tmp_path / "second") as second:
        monkeypatch.setenv("BANK_KEY", second.private_key.decode())
        second.host_key = first.host_key
        feed.define(APPEND, zone=zone_of(second))
        (second.root / "a.csv").write_text("id,v\na,1\n")
        assert "the server's key is not the one we know" in (ticked(feed).skipped or "")
        assert counted(feed, Look) == 0
