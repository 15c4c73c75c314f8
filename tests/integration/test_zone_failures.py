"""Servers that refuse, are gone, hang or fall silent in the middle: told by name, within a time limit, resumed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from pipeline_xml.contract import Contract, Field
from pipeline_xml.location import Location
from pipeline_xml.model import CsvSource, LandingZone
from pipeline_xml.types import STRING
from publishing import raw
from publishing.raw import copy_to_raw
from resources.secrets import SecretMissing, SecretResolver
from resources.zone import CHUNK, ChangedWhileRead, Sighting, ZoneRefused, ZoneUnreachable
from resources.zone_memory import MemoryZone
from resources.zone_s3 import S3Access, S3Zone, s3_client
from resources.zone_sftp import SftpAccess, SftpZone
from resources.zones import zone_opener
from tests.landing_servers import (
    PASSWORD,
    SSHD,
    VERSITYGW,
    children,
    free_port,
    light_sftp_server,
    moto_server,
    openssh_server,
    versity_server,
    with_suppressed_kill,
)

HERE = Location("t.xml")
SOURCE = CsvSource(where=HERE, id="t", header=False)
CONTRACT = Contract("t", (Field("a", STRING),), HERE)
needs_sshd = pytest.mark.skipif(SSHD is None, reason="needs Debian's openssh-server")
needs_versity = pytest.mark.skipif(VERSITYGW is None, reason="needs versitygw")


def seen_in(zone: Any, name: str) -> Sighting:
    found = zone.find(name)
    assert found is not None
    return found


def opened(tmp_path: Path, **attributes: Any) -> Any:
    zone = LandingZone(where=HERE, app="app", id="z", **attributes)
    return zone_opener(tmp_path, SecretResolver(tmp_path))(zone)


def test_a_password_by_reference_lets_in_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    with light_sftp_server(tmp_path / "server") as server:
        (server.root / "a.csv").write_bytes(b"1")
        for secret, lets_in in ((PASSWORD, True), ("wrong", False)):
            (tmp_path / "PASSWORD").write_text(secret + "\n")
            zone = opened(tmp_path, type="sftp", uri=server.uri, secret_ref="PASSWORD", host_key=server.host_key)
            if lets_in:
                assert [s.name for s in zone.entries()] == ["a.csv"]
            else:
                with pytest.raises(ZoneRefused, match="does not let sender in; check secretRef") as refused:
                    list(zone.entries())
                assert secret not in str(refused.value)
            zone.close()


def test_a_secret_that_is_missing_or_no_key_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(SecretMissing, match="FILES_KEY"):
        opened(tmp_path, type="sftp", uri="sftp://a@127.0.0.1/in", secret_ref="FILES_KEY")
    (tmp_path / "FILES_KEY").write_text("-----BEGIN NONSENSE-----\n")
    with light_sftp_server(tmp_path / "server") as server:
        zone = opened(tmp_path, type="sftp", uri=server.uri, secret_ref="FILES_KEY", host_key=server.host_key)
        with pytest.raises(SecretMissing, match="no private key that can be used"):
            list(zone.entries())
        zone.close()
    (tmp_path / "S3_KEY").write_text("letmein")
    with pytest.raises(SecretMissing, match="access_key_id, secret_access_key") as told:
        opened(tmp_path, type="s3", uri="s3://feeds/in", secret_ref="S3_KEY")
    assert "letmein" not in str(told.value)


@needs_sshd
def test_the_servers_key_is_checked_by_line_and_by_fingerprint(tmp_path: Path) -> None:
    with openssh_server(tmp_path) as server:
        fingerprint = asyncssh.import_public_key(server.host_key).get_fingerprint("sha256")
        other = asyncssh.generate_private_key("ssh-ed25519")
        for pinned in (server.host_key, fingerprint):
            zone = SftpZone(server.uri, SftpAccess(server.private_key, "", pinned))
            assert list(zone.entries()) == []
            zone.close()
        for pinned in (other.export_public_key().decode().strip(), other.get_fingerprint("sha256"), None):
            zone = SftpZone(server.uri, SftpAccess(server.private_key, "", pinned))
            with pytest.raises(ZoneRefused, match="key is not the one we know"):
                list(zone.entries())
            zone.close()


@needs_sshd
def test_known_hosts_of_the_user_are_trusted_where_no_key_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with openssh_server(tmp_path) as server:
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / ".ssh").mkdir()
        (tmp_path / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
        zone = SftpZone(server.uri, SftpAccess(server.private_key))
        assert list(zone.entries()) == []
        zone.close()


def test_a_link_that_took_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    """The sender may not read what it leads to, and knows how large and how old that is."""
    with light_sftp_server(tmp_path / "server") as server:
        other, file = server.root.parent / "other.csv", server.root / "a.csv"
        for path in (other, file):
            path.write_text("id,v\n1,2\n")
            os.utime(path, (1_700_000_000, 1_700_000_000))
        zone = SftpZone(server.uri, SftpAccess(PASSWORD.encode(), "", server.host_key))
        (seen,) = zone.entries()
        assert b"".join(zone.read(seen)) == b"id,v\n1,2\n"
        file.unlink()
        file.symlink_to("../other.csv")
        with pytest.raises(ChangedWhileRead, match="gave way to what is none"):
            list(zone.read(seen))
        zone.close()


def test_a_server_that_is_gone_is_unreachable_not_an_empty_zone(tmp_path: Path) -> None:
    port = free_port()
    for zone in (
        SftpZone(f"sftp://a@127.0.0.1:{port}/in", SftpAccess(b"x", "", "SHA256:x"), patience=2),
        S3Zone("s3://feeds/in", lambda: s3_client(S3Access(f"http://127.0.0.1:{port}", "a", "b"), 2)),
    ):
        with pytest.raises(ZoneUnreachable, match="does not answer"):
            list(zone.entries())
        zone.close()


def test_a_folder_and_a_bucket_that_do_not_exist_are_named(tmp_path: Path) -> None:
    with light_sftp_server(tmp_path) as server:
        zone = SftpZone(server.uri + "/nowhere", SftpAccess(server.private_key, "", server.host_key))
        with pytest.raises(ZoneRefused, match="no such folder"):
            list(zone.entries())
        zone.close()
    with moto_server() as s3:
        nowhere = S3Zone("s3://nowhere-at-all/in", lambda: s3.client)
        with pytest.raises(ZoneRefused, match="no bucket nowhere-at-all"):
            list(nowhere.entries())
        nowhere.close()


@needs_versity
def test_a_wrong_s3_key_is_refused_without_saying_it(tmp_path: Path) -> None:
    with versity_server(tmp_path) as s3:
        s3.bucket("feeds")
        wrong = S3Access(s3.access.endpoint, "key", "a-wrong-secret", None, "us-east-1")
        zone = S3Zone("s3://feeds/in", lambda: s3_client(wrong))
        with pytest.raises(ZoneRefused, match="check the key and its rights") as refused:
            list(zone.entries())
        assert "a-wrong-secret" not in str(refused.value)
        zone.close()


class Stalls(asyncssh.SFTPServer):
    """Answers the first blocks of a file, then never again."""

    async def read(self, file_obj: Any, offset: int, size: int) -> bytes:  # type: ignore[override]
        if offset >= 2 * CHUNK:
            await asyncio.sleep(3600)
        return bytes(super().read(file_obj, offset, size))  # type: ignore[arg-type]


def test_a_server_that_stalls_in_a_file_is_left_and_what_came_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "PAUSE", 0.0)
    content = os.urandom(2 * CHUNK) + os.urandom(1000)
    with light_sftp_server(tmp_path / "server", Stalls) as server:
        (server.root / "a.csv").write_bytes(content)
        zone = SftpZone(server.uri, SftpAccess(server.private_key, "", server.host_key), patience=0.7)
        seen = seen_in(zone, "a.csv")
        began = time.monotonic()
        with pytest.raises(ZoneUnreachable, match="TimeoutError"):
            copy_to_raw(zone, seen, tmp_path / "raw", SOURCE, CONTRACT)
        assert time.monotonic() - began < 30
        zone.close()
    (begun,) = (p for p in (tmp_path / "raw").iterdir() if p.suffix != raw.SYNCED)
    assert begun.stat().st_size == 2 * CHUNK
    with light_sftp_server(tmp_path / "server", port=server.port) as again:
        zone = SftpZone(again.uri, SftpAccess(again.private_key, "", again.host_key))
        starts = _starts(zone)
        copied = copy_to_raw(zone, seen, tmp_path / "raw", SOURCE, CONTRACT)
        zone.close()
    assert starts == [2 * CHUNK], "only the rest is fetched"
    assert copied.content_id == hashlib.sha256(content).hexdigest()
    assert [p.name for p in (tmp_path / "raw").iterdir()] == [copied.content_id]


def _starts(zone: Any) -> list[int]:
    """Where reading begins, each time it does."""
    starts: list[int] = []
    read = zone.read

    def noted(seen: Sighting, start: int = 0) -> Any:
        starts.append(start)
        return read(seen, start)

    zone.read = noted
    return starts


@needs_sshd
def test_an_sshd_killed_in_the_middle_is_taken_up_where_it_broke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "PAUSE", 0.0)
    content = os.urandom(5 * CHUNK)
    with openssh_server(tmp_path / "server") as server:
        assert server.process is not None
        (server.root / "a.csv").write_bytes(content)
        zone = SftpZone(server.uri, SftpAccess(server.private_key, "", server.host_key), patience=5)
        seen = seen_in(zone, "a.csv")
        starts = _starts(zone)
        read, pieces = zone.read, []

        def killing(seen: Sighting, start: int = 0) -> Any:
            for piece in read(seen, start):
                pieces.append(len(piece))
                if len(pieces) == 2:
                    for child in children(server.process.pid):  # type: ignore[union-attr]
                        with_suppressed_kill(child)
                yield piece

        zone.read = killing  # type: ignore[method-assign]
        copied = copy_to_raw(zone, seen, tmp_path / "raw", SOURCE, CONTRACT)
        zone.close()
    assert copied.content_id == hashlib.sha256(content).hexdigest()
    assert starts[0] == 0
    assert len(starts) > 1
    assert all(start >= 2 * CHUNK for start in starts[1:])


@needs_sshd
def test_a_stopped_sshd_costs_the_patience_of_one_call(tmp_path: Path) -> None:
    with openssh_server(tmp_path) as server:
        assert server.process is not None
        zone = SftpZone(server.uri, SftpAccess(server.private_key, "", server.host_key), patience=1)
        assert list(zone.entries()) == []
        stopped = [*children(server.process.pid), server.process.pid]
        for each in stopped:
            with_suppressed_kill(each, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(ZoneUnreachable):
            list(zone.entries())
        assert time.monotonic() - began < 10
        for each in stopped:
            with_suppressed_kill(each, signal.SIGCONT)
        assert list(zone.entries()) == [], "it is reached again, by a new connection"
        zone.close()


@needs_versity
def test_a_stopped_s3_server_is_unreachable_and_comes_back(tmp_path: Path) -> None:
    with versity_server(tmp_path) as s3:
        s3.bucket("feeds")
        assert s3.process is not None
        zone = S3Zone("s3://feeds/in", lambda: s3_client(s3.access, 1))
        assert list(zone.entries()) == []
        s3.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(ZoneUnreachable):
            list(zone.entries())
        assert time.monotonic() - began < 15
        s3.process.send_signal(signal.SIGCONT)
        assert list(zone.entries()) == []
        zone.close()


def test_a_file_that_may_not_be_read_is_told_of_itself_and_the_zone_stays_usable(tmp_path: Path) -> None:
    class Closed(asyncssh.SFTPServer):
        def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
            if path.endswith(b"closed.csv"):
                raise asyncssh.SFTPPermissionDenied("no")
            return super().open(path, pflags, attrs)

    with light_sftp_server(tmp_path, Closed) as server:
        for name in ("closed.csv", "open.csv"):
            (server.root / name).write_bytes(b"1")
        zone = SftpZone(server.uri, SftpAccess(server.private_key, "", server.host_key))
        with pytest.raises(PermissionError, match="Permission denied"):
            list(zone.read(seen_in(zone, "closed.csv")))
        assert b"".join(zone.read(seen_in(zone, "open.csv"))) == b"1"
        zone.close()


def test_a_file_that_grows_while_it_is_read_has_changed(tmp_path: Path) -> None:
    with light_sftp_server(tmp_path) as server:
        path = server.root / "a.csv"
        path.write_bytes(bytes(2 * CHUNK))
        zone = SftpZone(server.uri, SftpAccess(server.private_key, "", server.host_key))
        reading = zone.read(seen_in(zone, "a.csv"))
        next(reading)
        with path.open("ab") as out:
            out.write(b"more")
        with pytest.raises(Exception, match="changed while it was copied"):
            list(reading)
        zone.close()


def test_a_copy_that_a_crash_broke_off_goes_on_from_what_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends leaves what was synced; the bytes after it may be anything and are not believed."""
    monkeypatch.setattr(raw, "SYNC_BYTES", CHUNK)
    content = os.urandom(3 * CHUNK + 5)
    zone = MemoryZone()
    zone.put("a.csv", content)
    seen = seen_in(zone, "a.csv")
    part = raw._Part.of(seen, tmp_path)
    part.path.write_bytes(content[: 2 * CHUNK] + b"\0" * 77)
    part._mark.write_text(str(2 * CHUNK))
    copied = copy_to_raw(zone, seen, tmp_path, SOURCE, CONTRACT)
    assert copied.content_id == hashlib.sha256(content).hexdigest()
    assert copied.path.read_bytes() == content
    assert copied.size == copied.scan.size == len(content)
    assert [p.name for p in tmp_path.iterdir()] == [copied.content_id]


def test_memory_is_bounded_by_pieces_not_by_files(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "server" / "in" / "big.csv"
    with light_sftp_server(tmp_path / "server") as server:
        with path.open("wb") as out:
            for _ in range(150):
                out.write((b"x" * 1023 + b"\n") * 1024)
        zone = SftpZone(server.uri, SftpAccess(server.private_key, "", server.host_key))
        seen = seen_in(zone, "big.csv")
        tracemalloc.start()
        copied = copy_to_raw(zone, seen, tmp_path / "raw", SOURCE, CONTRACT)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        zone.close()
    assert copied.scan.records == 150 * 1024
    assert peak < 16 * CHUNK, "of the server in this process too"


@needs_versity
def test_an_object_without_an_etag_is_an_object(tmp_path: Path) -> None:
    """Put behind the back of a server that keeps its objects as files."""
    with versity_server(tmp_path) as s3:
        s3.bucket("feeds")
        (tmp_path / "objects" / "feeds" / "a.csv").write_bytes(b"1234")
        place = S3Zone("s3://feeds", lambda: s3_client(s3.access))
        (seen,) = place.entries()
        assert (seen.name, seen.size, place.find("a.csv")) == ("a.csv", 4, seen)
        assert b"".join(place.read(seen)) == b"1234"
        assert b"".join(place.read(seen, 2)) == b"34"
