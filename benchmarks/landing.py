"""Landing zones on real servers, part of `make bench`; needs Debian's openssh-server, and versitygw for S3.

    tick    the whole tick of a zone's sensor over 100,000 listed files of which 10 are new, a million looks of other
            days in the ledger, in a process that has imported what it needs; its memory against a tick over 1,000
    copy    1 GB copied to raw, with its sha256 and boundary scan and on the disk at the end, over `sftp` and
            `aws s3 cp` fetching the same file at their defaults; and 1,000 small files from a claim to persisted
            batches over `sftp`

python -m benchmarks.landing tick|ticked|copy|copies sftp|s3 FOLDER [NUMBER …]
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import func, insert, select, update

from benchmarks.promises import console, told
from benchmarks.zones import MISSING, SECRET, Served, define, fetched, served, there
from pipeline_xml.checked import CheckedApplication
from pipeline_xml.load import load_catalog
from pipeline_xml.model import LandingZone
from processing.transformations import registry
from publishing.intake import settle_claim
from publishing.lake import open_lake
from publishing.landing import Tick
from publishing.landing import tick as look_once
from publishing.ledger import Claim, LandedFile, Ledger, Look, now
from publishing.raw import copy_to_raw
from resources.durable import fsync
from resources.secrets import SecretResolver
from resources.settings import Settings
from resources.zones import OpenZone, zone_opener

FILES, FEW, NEW, LOOKS, BYTES = 100_000, 1_000, 10, 1_000_000, 1_000_000_000
SMALL, ROUNDS = 1_000, 3
KINDS = ("sftp", "s3")
Printed = Callable[[list[str]], list[str]]


def tick(work: Path, printed: Printed) -> None:
    for kind in filter(_served_here, KINDS):
        found = printed(["benchmarks.landing", "tick", kind, str(work / kind), str(FILES), str(LOOKS)])
        seconds, memory = float(found[0]), float(found[1])
        few = float(printed(["benchmarks.landing", "tick", kind, str(work / f"few-{kind}"), str(FEW), str(LOOKS)])[1])
        what = f"a tick over {FILES:,} files by {kind}, {NEW} of them new, {LOOKS:,} looks known"
        told(what, seconds, 5, "s", f"processor {found[2]} s; peak {memory:.0f} MB, over {FEW:,} files {few:.0f} MB")


def copy(work: Path, printed: Printed) -> None:
    for kind in filter(_served_here, KINDS):
        ours, theirs, tool = printed(["benchmarks.landing", "copy", kind, str(work / f"copied-{kind}"), str(BYTES)])
        what = f"1 GB from {kind}, copied, hashed and scanned"
        if tool == "none":
            console.print(f"{what}: {float(ours):.2f} s; no ratio, the AWS CLI is missing", highlight=False)
        else:
            told(what, float(ours) / float(theirs), 2, "x", f"{float(ours):.1f} s, {tool} {float(theirs):.1f} s")
    if there("sftp"):
        ours, theirs, _ = printed(["benchmarks.landing", "copies", "sftp", str(work / "copies"), str(SMALL)])
        detail = f"{float(ours):.1f} s, sftp {float(theirs):.1f} s; no limit is set"
        what = f"{SMALL:,} files of 1,000 rows from sftp, from the claim to its batches"
        console.print(f"{what}: {float(ours) / float(theirs):.2f} x ({detail})", highlight=False)


def _served_here(kind: str) -> bool:
    if not there(kind):
        console.print(f"{kind}: not measured, {MISSING[kind]} is missing", style="yellow", highlight=False)
    return there(kind)


def _prepared(folder: Path, server: Served) -> tuple[Settings, CheckedApplication, LandingZone]:
    os.environ[SECRET] = server.secret
    catalog = define(folder / "config", {**server.attributes, "settle": "1"})
    return Settings(folder / "config", folder / "lake"), catalog.applications[0], catalog.applications[0].zones[0]


def _tick(kind: str, folder: Path, files: int, looks: int) -> None:
    with served(kind, folder) as server:
        for number in range(files):
            (server.root / f"feed_{number:07d}.csv").write_bytes(b"id,v\n1,2\n")
        settings, application, zone = _prepared(folder, server)
        ledger = Ledger.of(settings)
        _known(ledger, looks)
        while _look(settings, application, zone).seen.waiting:  # what lies there is claimed before anything is measured
            pass
        with ledger.write() as session:
            if session.scalar(select(func.count()).select_from(Look)) != files + looks:
                raise SystemExit("not every file is claimed once")
            session.execute(update(Claim).values(settled=True))
        ledger.close()
        for _ in range(NEW):
            (server.root / f"new_{uuid.uuid4().hex}.csv").write_bytes(b"id,v\n1,2\n")
        command = [sys.executable, "-m", "benchmarks.landing", "ticked", kind, str(folder)]
        print(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout, end="")


def _ticked(folder: Path) -> None:
    """One tick in a process that did nothing but import: its seconds, peak memory in MB, and seconds of processor."""
    settings = Settings(folder / "config", folder / "lake")
    application = load_catalog(settings.config, registry()).applications[0]
    zone = application.zones[0]
    before = _opener(settings)(zone)
    before.find("nothing of this name")  # a daemon has looked before
    before.close()
    began, processor = time.perf_counter(), time.process_time()
    found = _look(settings, application, zone)
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    if found.skipped or [claim.files for claim in found.claims] != [NEW]:
        raise SystemExit(f"not one claim of {NEW} files: {found}")
    print(f"{seconds:.3f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} {processor:.2f}")


def _look(settings: Settings, application: CheckedApplication, zone: LandingZone) -> Tick:
    opened = _opener(settings)
    return look_once(settings, application, zone, lambda: opened(zone))


def _opener(settings: Settings) -> OpenZone:
    return zone_opener(settings.data, SecretResolver(settings.secrets))


def _known(ledger: Ledger, looks: int) -> None:
    """Files of other days: claimed, settled and gone."""
    with ledger.write() as session:
        session.add(Claim(id="0" * 32, pipeline="bench/feed", zone="in", claimed_at=now(), settled=True))
        session.flush()
        for start in range(0, looks, 50_000):
            rows = [
                {"claim_id": "0" * 32, "pipeline": "bench/feed", "zone": "in", "name": f"old_{n:08d}.csv", "uri": "x",
                 "size": 9, "version": str(n), "occurrence": 0}
                for n in range(start, min(looks, start + 50_000))
            ]  # fmt: skip
            session.execute(insert(Look), rows)


def _copy(kind: str, folder: Path, size: int) -> None:
    with served(kind, folder) as server:
        big = folder / "big.csv"
        with big.open("wb") as out:
            out.write(b"id,v\n")
            piece = b"".join(b"%08d,a value of some length\n" % n for n in range(30_000))
            for _ in range(max(1, size // len(piece))):
                out.write(piece)
        server.put(big)
        settings, application, zone = _prepared(folder, server)
        source = application.pipelines[0].driving.source
        contract = application.pipelines[0].driving.contract
        place = _opener(settings)(zone)
        seen = place.find("big.csv")
        assert seen is not None  # noqa: S101 - it was just written
        ours = theirs = float("inf")
        for number in range(ROUNDS):
            raw, other = folder / f"raw{number}", folder / f"fetched{number}"
            began = time.perf_counter()
            copied = copy_to_raw(place, seen, raw, source, contract)
            fsync(raw)
            ours = min(ours, time.perf_counter() - began)
            if server.fetch is not None:
                began = time.perf_counter()
                fetched(server, "big.csv", other)
                theirs = min(theirs, time.perf_counter() - began)
                with other.open("rb") as both:
                    if hashlib.file_digest(both, "sha256").hexdigest() != copied.content_id:
                        raise SystemExit("the copies differ")
                other.unlink()
            shutil.rmtree(raw)
        place.close()
    print(f"{ours:.3f} {theirs:.3f} {server.fetch[0] if server.fetch else 'none'}")


def _copies(kind: str, folder: Path, files: int) -> None:
    with served(kind, folder) as server:
        for number in range(files):
            lines = (f"{number:05d}-{n:05d},a value of some length\n" for n in range(1000))
            (server.root / f"small_{number:05d}.csv").write_text("id,v\n" + "".join(lines))
        settings, application, zone = _prepared(folder, server)
        ours = theirs = float("inf")
        for number in range(ROUNDS):
            shutil.rmtree(settings.data, ignore_errors=True)
            (claimed,) = _look(settings, application, zone).claims
            with open_lake(settings, load_catalog(settings.config, registry())) as lake:
                began = time.perf_counter()
                settle_claim(lake, application.pipelines[0], claimed.id)
                ours = min(ours, time.perf_counter() - began)
                with lake.ledger.read() as session:
                    copied = set(session.scalars(select(LandedFile.content_id)))
            other = folder / f"fetched{number}"
            other.mkdir()
            began = time.perf_counter()
            fetched(server, "*.csv", other)
            theirs = min(theirs, time.perf_counter() - began)
            if copied != {hashlib.sha256(path.read_bytes()).hexdigest() for path in other.iterdir()}:
                raise SystemExit("the copies differ")
    print(f"{ours:.3f} {theirs:.3f} {kind}")


if __name__ == "__main__":
    what, by, where, *rest = sys.argv[1:]
    numbers = [int(each) for each in rest]
    if what == "tick":
        _tick(by, Path(where), *numbers)
    elif what == "ticked":
        _ticked(Path(where))
    elif what == "copy":
        _copy(by, Path(where), *numbers)
    else:
        _copies(by, Path(where), *numbers)
