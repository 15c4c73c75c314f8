"""Raw: every file is copied, immutable, before anything parses it; hashed and scanned for boundaries in one pass."""

from __future__ import annotations

import hashlib
import os
import stat
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline_xml.contract import Contract
from pipeline_xml.model import CsvSource
from processing.scan import Scanner
from processing.scan_result import Scan
from resources.failures import Transient

WORKING = ".utf8"  # beside the raw file: the text that offsets speak of, where the file itself is UTF-16
CHUNK = 4 * 1024 * 1024


class ChangedWhileRead(Transient):
    """The file in the zone is not the one that was claimed any more (transient: it is looked at again)."""


@dataclass(frozen=True, slots=True)
class RawCopy:
    """A file in the raw zone: its content id (sha256, hex), size in bytes, path and what the scan found."""

    content_id: str
    path: Path
    size: int
    scan: Scan


def copy_to_raw(source_path: Path, version: str, raw_root: Path, source: CsvSource, contract: Contract) -> RawCopy:
    """Streams a file into `<raw_root>/<content id>`; OSError where it cannot be read."""
    raw_root.mkdir(parents=True, exist_ok=True)
    aside = raw_root / f".copy-{uuid.uuid4().hex}"
    working = aside.with_name(aside.name + WORKING)
    digest = hashlib.sha256()
    scanner = Scanner(source, contract)
    size = 0
    try:
        with (
            source_path.open("rb") as inp,
            aside.open("xb") as out,
            working.open("xb") as text,
            ThreadPoolExecutor(1) as writer,
        ):
            _same(os.fstat(inp.fileno()), version)
            writing = None
            while chunk := inp.read(CHUNK):
                if writing is not None:
                    writing.result()
                writing = writer.submit(out.write, chunk)  # while it is hashed and scanned
                digest.update(chunk)
                decoded = scanner.feed(chunk)
                if scanner.transcodes:
                    text.write(decoded)
                size += len(chunk)
            if writing is not None:
                writing.result()
            _same(os.fstat(inp.fileno()), version)
            for written in (out, text):
                written.flush()
                os.fsync(written.fileno())
        final = raw_root / digest.hexdigest()
        if scanner.transcodes:
            _place(working, final.with_name(final.name + WORKING))
        _place(aside, final)
    finally:
        aside.unlink(missing_ok=True)
        working.unlink(missing_ok=True)
    return RawCopy(digest.hexdigest(), final, size, scanner.finish())


def scan_raw(path: Path, source: CsvSource, contract: Contract) -> Scan:
    """Scans a raw file again, under the definition of today."""
    scanner = Scanner(source, contract)
    with path.open("rb") as inp:
        while chunk := inp.read(CHUNK):
            scanner.feed(chunk)
    return scanner.finish()


def working_path(path: Path, scan: Scan) -> Path:
    """The file that the scan's offsets speak of."""
    return path.with_name(path.name + WORKING) if scan.transcoded else path


def _place(aside: Path, final: Path) -> None:
    if not final.exists():
        aside.chmod(stat.S_IRUSR)
        aside.replace(final)


def _same(found: os.stat_result, version: str) -> None:
    if f"{found.st_mtime_ns}:{found.st_ino}" != version:
        raise ChangedWhileRead("the file changed while it was copied; it is taken once it stays as it is")
