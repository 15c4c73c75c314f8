"""Raw: every file is copied, immutable, before anything parses it; hashed and scanned for boundaries in one pass."""

from __future__ import annotations

import hashlib
import os
import stat
import time
import uuid
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from pipeline_xml.contract import Contract
from pipeline_xml.model import FileSource
from processing.formats import scanner
from processing.scan_result import Scan
from publishing.durable import write_whole
from resources.archive import kind_of
from resources.durable import make_folder
from resources.zone import CHUNK, Sighting, TooSlow, Zone, ZoneUnreachable

WORKING = ".utf8"  # beside the raw file: the text that offsets speak of, where the file itself is UTF-16
SYNCED = ".synced"  # beside a copy that is being made: how many bytes of it are known to be on the disk
SYNC_BYTES = 256 * 1024 * 1024  # a copy that a crash breaks off is taken up from the last multiple
TRIES = 3  # to take up a lost connection, each without a byte gained
PAUSE = 1.0
HEAD = 64  # bytes that tell an archive
PGP = "pgp"


@dataclass(frozen=True, slots=True)
class RawCopy:
    """A file in the raw zone: its content id (sha256, hex), size in bytes, path and what the scan found.

    `packed` is what it has to be unpacked from (publishing/unpack.py); such a one is not scanned itself.
    """

    content_id: str
    path: Path
    size: int
    scan: Scan
    packed: str | None = None


def copy_to_raw(zone: Zone, seen: Sighting, raw_root: Path, source: FileSource, contract: Contract) -> RawCopy:
    """Streams a file into `<raw_root>/<content id>`, or what is missing of it where a copy broke off before.

    The bytes are on the disk; that the folder's list of names is too, the caller sees to. OSError and ChangedWhileRead
    as the zone says them; ZoneUnreachable once the server stays lost.
    """
    make_folder(raw_root)
    part = _Part.of(seen, raw_root)
    start = part.length()
    pieces = _pieces(zone, seen, part.path, start)
    with closing(_ahead(pieces) if seen.size > CHUNK else pieces) as coming:
        return _taken(coming, part, start, source, contract)


def store(pieces: Iterator[bytes], raw_root: Path, source: FileSource, contract: Contract) -> RawCopy:
    """Streams the data of a member of an archive into `<raw_root>/<content id>`; what it is made of is never unpacked.

    What `pieces` raises is raised, and nothing is left.
    """
    return _taken(pieces, _Part(raw_root / f".copy-{uuid.uuid4().hex}"), 0, source, contract, plain=True)


def _taken(
    pieces: Iterator[bytes], part: _Part, start: int, source: FileSource, contract: Contract, plain: bool = False
) -> RawCopy:
    """The pieces, all of the file, in raw: hashed and scanned on the way; the first `start` bytes are there already."""
    working = part.path.with_name(part.path.name + WORKING)
    digest = hashlib.sha256()
    counter = scanner(source, contract)
    packed: str | None = None
    size = 0
    try:
        with ExitStack() as open_ones:
            out = open_ones.enter_context(part.path.open("r+b" if start else "wb"))
            text = open_ones.enter_context(working.open("wb")) if counter.transcodes else None
            out.seek(start)
            out.truncate()
            pool: ThreadPoolExecutor | None = None
            writing: Future[int] | None = None
            try:
                for chunk in pieces:
                    if writing is not None:
                        writing.result()
                        writing = None
                    if size >= start and len(chunk) == CHUNK:  # more will come
                        pool = pool or open_ones.enter_context(ThreadPoolExecutor(1))
                        writing = pool.submit(out.write, chunk)  # while it is hashed and scanned
                    elif size >= start:
                        out.write(chunk)
                    digest.update(chunk)
                    if not size and not plain:
                        packed = how_packed(source, chunk)
                    if packed is None:
                        decoded = counter.feed(chunk)
                        if text is not None:
                            text.write(decoded)
                    size += len(chunk)
                    if size // SYNC_BYTES > (size - len(chunk)) // SYNC_BYTES and size > start:
                        if writing is not None:
                            writing.result()
                        part.sync(out.fileno(), size)
            finally:
                if writing is not None:
                    writing.result()
                out.flush()
                part.sync(out.fileno(), out.tell())
            if text is not None:
                text.flush()
                os.fsync(text.fileno())
        final = part.path.with_name(digest.hexdigest())
        if text is not None and packed is None:
            _place(working, final.with_name(final.name + WORKING))
        _place(part.path, final)
    except ZoneUnreachable:
        raise  # the beginning stays, for the next run
    except BaseException:
        part.remove()
        raise
    finally:
        if counter.transcodes:
            working.unlink(missing_ok=True)
    part.remove()
    scan = counter.finish(final) if packed is None else Scan.of_archive(size)
    return RawCopy(digest.hexdigest(), final, size, scan, packed)


@dataclass(frozen=True, slots=True)
class _Part:
    """A copy that is being made, of one version of one file; the pipeline's lock keeps two from making it."""

    path: Path

    @staticmethod
    def of(seen: Sighting, raw_root: Path) -> _Part:
        identity = "\x00".join((seen.uri, seen.version, str(seen.size)))
        return _Part(raw_root / f".copy-{hashlib.sha256(identity.encode()).hexdigest()[:32]}")

    @property
    def _mark(self) -> Path:
        return self.path.with_name(self.path.name + SYNCED)

    def length(self) -> int:
        """The bytes that a copy before this one left and that are known to be on the disk."""
        try:
            synced = int(self._mark.read_text())
            return synced if self.path.stat().st_size >= synced else 0
        except (FileNotFoundError, ValueError):
            return 0

    def sync(self, descriptor: int, length: int) -> None:
        os.fsync(descriptor)
        if length >= CHUNK:  # less is copied again as fast as it is found
            write_whole(self._mark, str(length).encode())

    def remove(self) -> None:
        self._mark.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def _ahead(pieces: Generator[bytes]) -> Generator[bytes]:
    """The same pieces, each fetched while the one before it is hashed and scanned."""
    with ThreadPoolExecutor(1) as fetcher:
        coming = fetcher.submit(next, pieces, None)
        try:
            while (chunk := coming.result()) is not None:
                coming = fetcher.submit(next, pieces, None)
                yield chunk
        finally:
            coming.exception()  # who stops early waits for the piece that is on its way
            pieces.close()


def _pieces(zone: Zone, seen: Sighting, part: Path, start: int) -> Generator[bytes]:
    """What was copied before, then the rest of the file; a connection that is lost is taken up where it broke."""
    at, tries = 0, 0
    with part.open("rb") as have:
        while at < start:
            chunk = have.read(min(CHUNK, start - at))
            at += len(chunk)
            yield chunk
    while True:
        try:
            for chunk in zone.read(seen, at):
                at, tries = at + len(chunk), 0
                yield chunk
            return
        except TooSlow:  # another connection would be as slow
            raise
        except ZoneUnreachable:
            tries += 1
            if tries == TRIES:
                raise
            time.sleep(PAUSE * tries)


def copied_before(path: Path, source: FileSource, contract: Contract) -> RawCopy:
    """What `copy_to_raw` made of a file that stands in raw."""
    with path.open("rb") as inp:
        packed = how_packed(source, inp.read(HEAD))
    size = path.stat().st_size
    scan = Scan.of_archive(size) if packed is not None else scan_raw(path, source, contract)
    return RawCopy(path.name, path, size, scan, packed)


def how_packed(source: FileSource, head: bytes) -> str | None:
    """`pgp` where the source says that its files are encrypted, else the kind of archive; None for data."""
    if source.pgp_secret_ref is not None:
        return PGP
    return how_compressed(source, head)


def how_compressed(source: FileSource, head: bytes) -> str | None:
    """The kind of archive that the source declares, or that the first bytes of a file tell."""
    if source.compression == "none":
        return None
    return kind_of(head) if source.compression is None else source.compression


def scan_raw(path: Path, source: FileSource, contract: Contract) -> Scan:
    """Scans a raw file again, under the definition of today."""
    counter = scanner(source, contract)
    with path.open("rb") as inp:
        while chunk := inp.read(CHUNK):
            counter.feed(chunk)
    return counter.finish(path)


def working_path(path: Path, scan: Scan) -> Path:
    """The file that the scan's offsets speak of."""
    return path.with_name(path.name + WORKING) if scan.transcoded else path


def _place(aside: Path, final: Path) -> None:
    if not final.exists():
        aside.chmod(stat.S_IRUSR)
        aside.replace(final)
