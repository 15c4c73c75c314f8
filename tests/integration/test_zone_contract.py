"""What every landing zone keeps to, over all of them: a folder, memory, two SFTP servers, two S3 servers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from resources.zone import CHUNK, ChangedWhileRead, Sighting, Zone, ZoneUnreachable
from resources.zone_local import LocalZone, WildcardZone
from resources.zone_memory import MemoryZone
from resources.zone_s3 import S3Zone
from resources.zone_sftp import SftpAccess, SftpZone
from tests.landing_servers import (
    SSHD,
    VERSITYGW,
    S3Server,
    SftpServer,
    light_sftp_server,
    moto_server,
    openssh_server,
    versity_server,
)

ODD = ("with a space.csv", "naïve ☂.csv", "50%25 off+more.csv", "semi;colon'quote\".csv", "x" * 251 + ".csv")
OPENSSH = pytest.param("openssh", marks=pytest.mark.skipif(SSHD is None, reason="needs Debian's openssh-server"))
ON_A_FILE_SYSTEM = ("folder", "wildcards", "sftp", OPENSSH)
KINDS = (
    *ON_A_FILE_SYSTEM, "memory", "s3", "s3-versions",
    pytest.param("versity", marks=pytest.mark.skipif(VERSITYGW is None, reason="needs versitygw")),
)  # fmt: skip


class Sender(Protocol):
    def put(self, name: str, content: bytes) -> None: ...
    def remove(self, name: str) -> None: ...


@dataclass(frozen=True)
class Folder:
    root: Path

    def put(self, name: str, content: bytes) -> None:
        path = self.root / name
        before = path.stat().st_mtime if path.exists() else None
        path.write_bytes(content)
        if before is not None:  # a sender who writes twice within a second: SFTP tells whole seconds only
            os.utime(path, (before + 1, before + 1))

    def remove(self, name: str) -> None:
        (self.root / name).unlink()


@dataclass(frozen=True)
class Bucket:
    client: Any
    name: str
    prefix: str

    def put(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=self.prefix + name, Body=content)

    def remove(self, name: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=self.prefix + name)


@dataclass(frozen=True)
class Place:
    zone: Zone
    sender: Sender
    versions: bool = False

    def seen(self) -> dict[str, Sighting]:
        return {each.name: each for each in self.zone.entries()}

    def read(self, name: str, start: int = 0) -> bytes:
        return b"".join(self.zone.read(self.seen()[name], start))


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture(scope="module")
def servers(stack: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {}


def _server(servers: dict[str, Any], stack: ExitStack, kind: str, folder: Path) -> Any:
    """One server of a kind for all tests of the module."""
    make = {
        "sftp": lambda: light_sftp_server(folder),
        "openssh": lambda: openssh_server(folder),
        "s3": moto_server,
        "versity": lambda: versity_server(folder),
    }
    if kind not in servers:
        servers[kind] = stack.enter_context(make[kind]())
    return servers[kind]


@pytest.fixture(params=KINDS)
def place(
    request: pytest.FixtureRequest, servers: dict[str, Any], stack: ExitStack, tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:  # fmt: skip
    kind = request.param
    with ExitStack() as own:
        if kind == "folder":
            yield Place(LocalZone(tmp_path), Folder(tmp_path))
        elif kind == "wildcards":
            yield Place(WildcardZone(tmp_path / "*"), Folder(tmp_path))
        elif kind == "memory":
            zone = MemoryZone()
            yield Place(zone, zone)
        elif kind in ("sftp", "openssh"):
            server: SftpServer = _server(servers, stack, kind, tmp_path_factory.mktemp(kind))
            for left in server.root.iterdir():
                left.unlink()
            own.callback((zone_sftp := _sftp(server)).close)
            yield Place(zone_sftp, Folder(server.root))
        else:
            what = kind.partition("-")[0]
            s3: S3Server = _server(servers, stack, what, tmp_path_factory.mktemp(what))
            versioned = kind != "s3"
            name = s3.bucket("b" + hashlib.sha256(request.node.name.encode()).hexdigest()[:20], versioned)
            zone_s3 = S3Zone(f"s3://{name}/in/box", lambda: s3.client)
            own.callback(zone_s3.close)
            yield Place(zone_s3, Bucket(s3.client, name, "in/box/"), versioned)


def _sftp(server: SftpServer) -> SftpZone:
    return SftpZone(server.uri, SftpAccess(server.private_key, "", server.host_key), patience=10)


def test_what_was_put_is_seen_and_read(place: Place) -> None:
    assert place.seen() == {}
    place.sender.put("a.csv", b"id,v\n1,2\n")
    place.sender.put("empty.csv", b"")
    seen = place.seen()
    assert {name: (s.size, s.regular) for name, s in seen.items()} == {"a.csv": (9, True), "empty.csv": (0, True)}
    assert place.read("a.csv") == b"id,v\n1,2\n"
    assert place.read("empty.csv") == b""


def test_looking_again_sees_the_same(place: Place) -> None:
    place.sender.put("a.csv", b"1")
    assert place.seen() == place.seen()
    assert place.zone.find("a.csv") == place.seen()["a.csv"]
    assert place.zone.find("b.csv") is None


def test_new_content_under_the_name_is_another_version(place: Place) -> None:
    place.sender.put("a.csv", b"1")
    before = place.seen()["a.csv"]
    place.sender.put("a.csv", b"2")
    after = place.seen()["a.csv"]
    assert before.version != after.version
    assert b"".join(place.zone.read(after)) == b"2"


def test_what_was_overwritten_before_it_is_read_is_said_to_have_changed(place: Place) -> None:
    place.sender.put("a.csv", b"1")
    before = place.seen()["a.csv"]
    place.sender.put("a.csv", b"2")
    if place.versions:
        assert b"".join(place.zone.read(before)) == b"1", "the bucket still has it"
        return
    with pytest.raises(ChangedWhileRead):
        list(place.zone.read(before))


def test_what_is_removed_is_gone(place: Place) -> None:
    place.sender.put("a.csv", b"1")
    before = place.seen()["a.csv"]
    place.sender.remove("a.csv")
    assert place.seen() == {}
    if place.versions:
        assert b"".join(place.zone.read(before)) == b"1"
        return
    with pytest.raises(FileNotFoundError):
        list(place.zone.read(before))


def test_it_is_read_in_bounded_pieces_from_anywhere(place: Place) -> None:
    content = os.urandom(2 * CHUNK + 12_345)
    place.sender.put("big.csv", content)
    seen = place.seen()["big.csv"]
    pieces = list(place.zone.read(seen))
    assert max(len(each) for each in pieces) <= CHUNK
    assert b"".join(pieces) == content
    for start in (1, CHUNK, CHUNK + 7, len(content) - 1, len(content)):
        assert place.read("big.csv", start) == content[start:]


def test_odd_names_are_seen_and_read(place: Place) -> None:
    for number, name in enumerate(ODD):
        place.sender.put(name, str(number).encode())
    assert set(place.seen()) == set(ODD)
    assert [place.read(name) for name in ODD] == [b"0", b"1", b"2", b"3", b"4"]


def test_a_name_longer_than_any_is_not_found(place: Place) -> None:
    place.sender.put(ODD[-1], b"1")
    assert place.zone.find(ODD[-1]) is not None
    assert place.zone.find(ODD[-1] + ".sha256") is None
    assert place.zone.find("y" * 2000) is None


def test_many_files_are_all_seen(place: Place) -> None:
    names = {f"f{n:04d}.csv" for n in range(1100)}
    for name in names:
        place.sender.put(name, b"")
    assert set(place.seen()) == names


def test_a_reader_that_stops_in_the_middle_leaves_the_zone_usable(place: Place) -> None:
    place.sender.put("big.csv", bytes(CHUNK + 1))
    reading = place.zone.read(place.seen()["big.csv"])
    assert len(next(reading)) == CHUNK
    reading.close()  # type: ignore[attr-defined]
    assert place.read("big.csv", CHUNK) == b"\0"


@pytest.mark.parametrize("place", ON_A_FILE_SYSTEM, indirect=True)
def test_only_files_can_be_taken(place: Place, tmp_path: Path) -> None:
    """Folders and links: only a file system has them."""
    assert isinstance(place.sender, Folder)
    root = place.sender.root
    outside = tmp_path.parent / f"{tmp_path.name}-secret"
    outside.write_bytes(b"not for you")
    place.sender.put("a.csv", b"1")
    (root / "link.csv").symlink_to(outside)
    (root / "dangling.csv").symlink_to(root / "nothing")
    os.mkfifo(root / "pipe.csv")
    regular = {name: seen.regular for name, seen in place.seen().items()}
    for left in ("link.csv", "dangling.csv", "pipe.csv"):
        (root / left).unlink()
    if isinstance(place.zone, WildcardZone):  # whoever writes wildcards says himself where they lead
        assert (regular["a.csv"], regular["pipe.csv"]) == (True, False)
        return
    assert regular.pop("a.csv")
    assert regular["link.csv"] is False
    assert not any(regular.values())


@pytest.mark.parametrize("place", ON_A_FILE_SYSTEM, indirect=True)
def test_a_name_that_is_no_utf_8_is_seen_and_read(place: Place) -> None:
    assert isinstance(place.sender, Folder)
    path = place.sender.root / os.fsdecode(b"caf\xe9.csv")
    path.write_bytes(b"1")
    try:
        (seen,) = place.zone.entries()
        assert seen.name == "caf\\xe9.csv"
        assert (seen.name + seen.uri).encode()
        assert b"".join(place.zone.read(seen)) == b"1"
    finally:
        path.unlink()


def test_what_is_not_there_as_it_was_seen_is_not_read(place: Place) -> None:
    place.sender.put("a.csv", b"1")
    with pytest.raises((ChangedWhileRead, FileNotFoundError)):
        list(place.zone.read(replace(place.seen()["a.csv"], version='"0"@never')))


def test_a_zone_in_memory_can_be_down() -> None:
    zone = MemoryZone(down="away")
    with pytest.raises(ZoneUnreachable, match="away"):
        list(zone.entries())
