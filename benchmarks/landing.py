"""Landing zones on real servers, part of `make bench`; needs Debian's openssh-server, and versitygw for S3.

    tick    a tick over 100,000 listed files of which 10 are new, a million looks of other days in the ledger
    copy    1 GB copied to raw with its sha256 and boundary scan, over `sftp` fetching the same file

python -m benchmarks.landing tick|copy sftp|s3 FOLDER [NUMBER]     prints seconds and, of a tick, its peak memory in MB
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import insert, update

from benchmarks.promises import told
from pipeline_xml.contract import Contract, Field
from pipeline_xml.location import Location
from pipeline_xml.model import CsvSource, LandingZone
from pipeline_xml.types import STRING
from publishing.claim import claim_settled
from publishing.ledger import Claim, Ledger, Look, now
from publishing.look import Feed, Watched, look
from publishing.raw import copy_to_raw
from resources.zone import Zone
from resources.zone_s3 import S3Zone
from resources.zone_sftp import SftpAccess, SftpZone
from tests.landing_servers import SSHD, VERSITYGW, openssh_server, versity_server

FILES, NEW, LOOKS, BYTES = 100_000, 10, 1_000_000, 1_000_000_000
HERE = Location("benchmark")
Printed = Callable[[list[str]], list[str]]


def tick(work: Path, printed: Printed) -> None:
    for kind in _kinds():
        seconds, memory = (float(word) for word in printed(["benchmarks.landing", "tick", kind, str(work / kind)]))
        what = f"a tick over {FILES:,} files by {kind}, {NEW} of them new, {LOOKS:,} looks known"
        told(what, seconds, 5, "s", f"peak {memory:.0f} MB")


def copy(work: Path, printed: Printed) -> None:
    if SSHD is not None:
        ours, theirs = (float(w) for w in printed(["benchmarks.landing", "copy", "sftp", str(work / "copied")]))
        told("1 GB copied, hashed and scanned", ours / theirs, 2, "x", f"{ours:.1f} s, sftp {theirs:.1f} s")


def _kinds() -> list[str]:
    return [kind for kind, there in (("sftp", SSHD), ("s3", VERSITYGW)) if there is not None]


def _served(stack: ExitStack, kind: str, folder: Path) -> tuple[Path, Callable[[], Zone], Any]:
    """(folder that the server serves, how to open it as a zone, the server)."""
    if kind == "sftp":
        sftp = stack.enter_context(openssh_server(folder / "server"))
        access = SftpAccess(sftp.private_key, "", sftp.host_key)
        return sftp.root, lambda: SftpZone(sftp.uri, access), sftp
    s3 = stack.enter_context(versity_server(folder / "server"))
    s3.bucket("feeds")
    root = folder / "server" / "objects" / "feeds" / "in"
    root.mkdir()
    return root, lambda: S3Zone("s3://feeds/in", lambda: s3.client), s3


def _tick(kind: str, folder: Path, files: int, looks: int) -> None:
    folder.mkdir(parents=True)
    zone = LandingZone(where=HERE, app="app", id="zone", type="local", uri="in")
    at = Watched("app/zone", "zone", zone, (Feed("app/feed", None),))
    with ExitStack() as stack:
        root, opened, _ = _served(stack, kind, folder)
        for number in range(files):
            (root / f"feed_{number:07d}_20260101.csv").write_bytes(b"id,v\n1,2\n")
        ledger = Ledger.at(folder / "lake")
        stack.callback(ledger.close)
        _known(ledger, looks)
        place = opened()
        stack.callback(place.close)
        for _ in range(2):  # what lies there is claimed before anything is measured
            look(ledger, at, place, time.time())
            while claim_settled(ledger, at, time.time(), 50):
                pass
        with ledger.write() as session:
            session.execute(update(Claim).values(settled=True))
        for _ in range(NEW):
            (root / f"new_{uuid.uuid4().hex}.csv").write_bytes(b"id,v\n1,2\n")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        fresh = opened()
        look(ledger, at, fresh, time.time())
        made = claim_settled(ledger, at, time.time(), 50)
        seconds = time.perf_counter() - began
        fresh.close()
        if len(made) != 1:
            raise SystemExit(f"{len(made)} claims instead of one")
    print(f"{seconds:.3f} {max(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024:.0f}")


def _known(ledger: Ledger, looks: int) -> None:
    """Files of other days: claimed, settled and gone."""
    with ledger.write() as session:
        session.add(Claim(id="0" * 32, pipeline="app/feed", zone="zone", claimed_at=now(), settled=True))
        session.flush()
        for start in range(0, looks, 50_000):
            rows = [
                {"claim_id": "0" * 32, "pipeline": "app/feed", "zone": "zone", "name": f"old_{n:08d}.csv", "uri": "x",
                 "size": 9, "version": str(n), "occurrence": 0}
                for n in range(start, min(looks, start + 50_000))
            ]  # fmt: skip
            session.execute(insert(Look), rows)


def _copy(kind: str, folder: Path, size: int) -> None:
    folder.mkdir(parents=True)
    source = CsvSource(where=HERE, id="feed", header=False)
    contract = Contract("feed", (Field("a", STRING), Field("b", STRING)), HERE)
    with ExitStack() as stack:
        root, opened, server = _served(stack, kind, folder)
        with (root / "big.csv").open("wb") as out:
            piece = b"".join(b"%08d,a value of some length\n" % n for n in range(30_000))
            for _ in range(max(1, size // len(piece))):
                out.write(piece)
        place = opened()
        stack.callback(place.close)
        seen = place.find("big.csv")
        assert seen is not None  # noqa: S101 - it was just written
        ours = theirs = float("inf")
        for number in range(2):
            began = time.perf_counter()
            copy_to_raw(place, seen, folder / f"raw{number}", source, contract)
            ours = min(ours, time.perf_counter() - began)
            key, host = str(server.root.parent / "login_key"), f"{server.user}@127.0.0.1"
            options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
            command = ["sftp", "-q", "-b", "-", "-i", key, "-P", str(server.port), *options, host]
            began = time.perf_counter()
            fetch = f"get {root}/big.csv {folder}/fetched{number}\n".encode()
            subprocess.run(command, input=fetch, check=True, capture_output=True)
            theirs = min(theirs, time.perf_counter() - began)
    print(f"{ours:.3f} {theirs:.3f}")


if __name__ == "__main__":
    what, by, where, *rest = sys.argv[1:]
    if what == "tick":
        _tick(by, Path(where), int(rest[0]) if rest else FILES, int(rest[1]) if rest[1:] else LOOKS)
    else:
        _copy(by, Path(where), int(rest[0]) if rest else BYTES)
