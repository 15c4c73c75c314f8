"""What a sender puts beside a file: its checksum (`orders.csv.sha256`, `.md5`) and its control file (`orders.ctl`).

Both are read before the file is copied and kept with its record: a later attempt is judged by the same words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipeline_xml.contract import Contract
from pipeline_xml.model import CsvSource, FileSource
from processing.scan_head import cells
from processing.scan_result import Finding, Scan
from processing.totals import check_totals
from resources.zone import CHUNK, ChangedWhileRead, Zone

CHECKSUMS: Mapping[str, int] = {"sha256": 64, "md5": 32}  # algorithm -> hex digits
CONTROL = "control"
CHECKSUM = "checksum"
MOST_BYTES = 64 * 1024
MANY = 20  # files of one claim from which on one listing is cheaper than a question each
_BSD = re.compile(r"\\?(SHA256|MD5) \((?P<name>.*)\) = (?P<sum>[0-9a-fA-F]+)")
_GNU = re.compile(r"\\?(?P<sum>[0-9a-fA-F]+)(?: [ *](?P<name>.*))?")


class Waits(ChangedWhileRead):
    """The control file that a source asks for is not there any more: the file is looked at again."""


class Neighbours:
    """What lies beside the files of one claim, of which there are `files`."""

    def __init__(self, zone: Zone, files: int) -> None:
        self._names = {entry.name for entry in zone.entries()} if files > MANY else None

    def of(self, zone: Zone, source: FileSource, name: str) -> dict[str, str]:
        """{algorithm, or `control`: the text}; Waits. What the zone raises is raised."""
        found = {kind: text for kind in CHECKSUMS if (text := self._text(zone, f"{name}.{kind}")) is not None}
        ending = source.control.file if source.control is not None else None
        if ending is not None:
            names = control_names(name, ending)
            text = next((t for each in names if (t := self._text(zone, each)) is not None), None)
            if text is None:
                raise Waits(f"{name} waits for its control file {names[0]}")
            found[CONTROL] = text
        return found

    def _text(self, zone: Zone, name: str) -> str | None:
        if self._names is not None and name not in self._names:
            return None
        seen = zone.find(name)
        if seen is None or not seen.regular:
            return None
        content = b""
        for piece in zone.read(seen):
            content += piece
            if len(content) > MOST_BYTES:
                break
        return content[:MOST_BYTES].decode("utf-8-sig", "replace")


def control_names(name: str, ending: str) -> tuple[str, str]:
    """What the control file of a file may be called: with the ending behind, or in the place of its own."""
    return name + ending, name.rpartition(".")[0] + ending if "." in name else name + ending


def judged(
    source: FileSource, contract: Contract, scan: Scan, sent: Path, path: Path, name: str, beside: Mapping[str, str]
) -> Scan:
    """The scan of `path` with what lies beside the file held against it; `sent` is the raw file as it was sent."""
    found = list(checksum_faults(sent, name, beside))
    if isinstance(source, CsvSource) and source.control is not None:  # no other kind of file has a control record
        if CONTROL in beside and source.control.file is not None:
            scan = replace(scan, control=_record(source, beside[CONTROL]))
        wanted = {total.hash for total in source.control.totals if total.hash is not None}
        found += check_totals(source, contract, scan, path, {each: _hash(sent, each) for each in wanted})
    return replace(scan, beside=dict(beside), findings=(*scan.findings, *found))


def checksum_faults(sent: Path, name: str, beside: Mapping[str, str]) -> list[Finding]:
    """What the checksums beside a file say against it."""
    faults = []
    for kind in CHECKSUMS:
        if kind not in beside:
            continue
        declared = _declared(beside[kind], kind)
        if not declared:
            faults.append(f"the {kind} file beside it holds no {kind}")
        elif name not in declared and "" not in declared:
            faults.append(f"the {kind} file beside it is of another file")
        elif _hash(sent, kind) not in declared.get(name, declared.get("", ())):
            faults.append(f"its {kind} is not the one that the file beside it says; have it sent again")
    return [Finding(CHECKSUM, ", ".join(faults))] if faults else []


def agreed(scan: Scan) -> tuple[str, ...]:
    """What is worth a note: the checksums that a file was held against, where it agrees with them."""
    kinds = [kind for kind in CHECKSUMS if kind in scan.beside]
    if not kinds or any(finding.code == CHECKSUM for finding in scan.findings):
        return ()
    return (f"agrees with its {' and '.join(kinds)}",)


def declared_line(line: str) -> tuple[str, str, str] | None:
    """(name of the file, algorithm, digits) of a line as checksum tools write it, the name without its folders and
    empty where there is none; None where it is no such line.
    """
    match = _BSD.fullmatch(line) or _GNU.fullmatch(line)
    kind = next((kind for kind, digits in CHECKSUMS.items() if match and len(match["sum"]) == digits), None)
    return (last_name(match["name"] or ""), kind, match["sum"].lower()) if match and kind else None


def last_name(path: str) -> str:
    """A file's name without its folders, however its sender parts them."""
    return re.split(r"[/\\]", path)[-1]


def both(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """What is said of a file in two places."""
    return {kind: "\n".join(s[kind] for s in (one, other) if kind in s) for kind in {**one, **other}}


def _declared(text: str, algorithm: str) -> dict[str, set[str]]:
    """Checksums by the names of their files, as checksum tools write them; one without a name by an empty one."""
    found: dict[str, set[str]] = {}
    for name, kind, digits in filter(None, map(declared_line, map(str.strip, text.splitlines()))):
        if kind == algorithm:
            found.setdefault(name, set()).add(digits)
    return found


def _hash(path: Path, kind: str) -> str:
    if kind == "sha256":
        return path.name  # raw is called by its content id
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as inp:
        while piece := inp.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _record(source: CsvSource, text: str) -> tuple[str, ...]:
    """The cells of the first or last line of a control file that is not blank; none where there is no such line."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or source.control is None:
        return ()
    line = lines[0] if source.control.record == "first" else lines[-1]
    return cells(line.encode(), source, "utf-8")
