"""Checksum files that senders put beside theirs: `a.csv.sha256`, `a.csv.md5`, as sha256sum and md5sum write them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from publishing.look import CHECKSUMS
from resources.zone import CHUNK, ChangedWhileRead, Zone

LONGEST = 64 * 1024
CHECKSUM = "checksum"  # the name of the fault
_DIGEST = {".sha256": re.compile(r"\b[0-9a-fA-F]{64}\b"), ".md5": re.compile(r"\b[0-9a-fA-F]{32}\b")}


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a checksum file says of a file: a fault, or a note that they agree."""

    fault: str | None = None
    note: str | None = None


def sidecar_of(place: Zone, name: str, copy: Path) -> Sidecar | None:
    """The copy held against each checksum file that lies beside it now; None where there is none."""
    agreed = []
    for ending in CHECKSUMS:
        seen = place.find(name + ending)
        if seen is None or not seen.regular:
            continue
        if seen.size > LONGEST:
            return Sidecar(fault=f"the {ending[1:]} file beside it is no checksum: it is longer than 64 KiB")
        try:
            text = b"".join(place.read(seen)).decode("utf-8", "replace")
        except (ChangedWhileRead, FileNotFoundError):  # being replaced: what it will say nobody knows yet
            return Sidecar(fault=f"the {ending[1:]} file beside it changed while it was read")
        found = {each.lower() for each in _DIGEST[ending].findall(text)}
        if not found:
            return Sidecar(fault=f"the {ending[1:]} file beside it holds no {ending[1:]}")
        if _digest(copy, ending[1:]) not in found:
            told = f"its {ending[1:]} is not the one that the file beside it says; have it sent again"
            return Sidecar(fault=told)
        agreed.append(ending[1:])
    return Sidecar(note=f"agrees with its {' and '.join(agreed)}") if agreed else None


def _digest(copy: Path, algorithm: str) -> str:
    """Of sha256 the copy's own name tells it: raw files are called by it."""
    if algorithm == "sha256":
        return copy.name
    found = hashlib.new(algorithm, usedforsecurity=False)
    with copy.open("rb") as inp:
        while chunk := inp.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()
