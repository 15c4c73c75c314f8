"""Files as they arrived: each look of a claim in raw, its archive unpacked, with what decides which batch it joins."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import FileSource, Source
from processing.scan_result import Finding, Scan, business_date
from publishing import failpoints
from publishing.beside import agreed, checksum_faults, judged
from publishing.faults import together
from publishing.ledger import Claim, Look
from publishing.raw import RawCopy, working_path
from publishing.records_id import records_id
from publishing.unpack import Member, unpack
from resources.archive import BadArchive

UNPACKED = "unpacked"
LONGEST_SENDER = 200  # characters, as the ledger has room for; a file's name may have more
MEMBER = "/"  # between the name of an archive and that of a member; no zone has it in a name


@dataclass(frozen=True, slots=True)
class Arrived:
    """A file in raw with everything that decides which batch it joins. `fault` breaks the file's contract.

    `archive` is the content id of what it was unpacked from. `aside` is the status of what joins no batch, which is
    an archive that was unpacked; `why` says of how many files. `notes` say what is worth knowing and breaks nothing,
    `late` why it is late.
    """

    look: Look
    name: str
    uri: str
    copy: RawCopy
    business_date: date
    sender: str | None
    delivery_key: str
    fault: str | None
    archive: str | None = None
    aside: str | None = None
    why: str | None = None
    notes: tuple[str, ...] = ()
    records_id: str | None = None
    late: str | None = None


def arrived(
    pipeline: CheckedPipeline,
    claim: Claim,
    look: Look,
    copied: RawCopy,
    key: Callable[[str], bytes],
) -> Iterator[Arrived]:
    """What a look became: one file, or an archive and its members. `key` resolves a secret; SecretMissing.

    What is not what its checksum says is not unpacked.
    """
    source, contract = pipeline.driving.source, pipeline.driving.contract
    assert isinstance(source, FileSource)  # noqa: S101 - only file sources have claims
    beside = look.beside or {}
    if copied.packed is None:
        scan = judged(source, contract, copied.scan, copied.path, _text(copied), look.name, beside)
        item = identify(pipeline, source, claim, look, look.name, replace(copied, scan=scan))
        yield replace(item, notes=agreed(scan), records_id=records_id(source, contract, item.copy, _text(copied)))
        return
    try:
        if faults := checksum_faults(copied.path, look.name, beside):
            raise BadArchive("archive_checksum", faults[0].message)
        members = unpack(copied, source, contract, key)
        if source.snapshot and sum(member.copy is not None for member in members) > 1:
            text = "it holds several files, and each would replace the other (snapshot); send one a business date"
            raise BadArchive("archive_snapshot", text)
    except BadArchive as bad:
        scan = Scan.of_archive(copied.size, (Finding(bad.code, str(bad)),))
        yield identify(pipeline, source, claim, look, look.name, replace(copied, scan=scan))
        return
    failpoints.reached("raw.unpacked")
    whole = identify(pipeline, source, claim, look, look.name, copied)
    notes = agreed(Scan.of_archive(copied.size, (), beside))
    yield replace(_aside(whole, UNPACKED, _said(copied, members)), notes=notes)
    for member in members:
        name = look.name + MEMBER + member.name if member.name else look.name
        if member.copy is not None:
            inside = member.copy
            scan = judged(source, contract, inside.scan, copied.path, _text(inside), look.name, beside)
            item = identify(pipeline, source, claim, look, name, replace(inside, scan=scan), copied.content_id)
            yield replace(item, records_id=records_id(source, contract, item.copy, _text(inside)))


def _text(copied: RawCopy) -> Path:
    return working_path(copied.path, copied.scan)


def _said(copied: RawCopy, members: Sequence[Member]) -> str:
    count = sum(member.copy is not None for member in members)
    unwanted = [member.name for member in members if member.copy is None]
    left = f"; memberPattern leaves out {', '.join(unwanted)}" if unwanted else ""
    return f"{copied.packed} of {count} {'file' if count == 1 else 'files'}{left}"[:500]


def _aside(item: Arrived, status: str, why: str) -> Arrived:
    """Of what joins no batch only name, content and day count: its date and its records are its members' matter."""
    return Arrived(
        item.look, item.name, item.uri, item.copy, item.business_date, item.sender, item.delivery_key, None,
        aside=status, why=why,
    )  # fmt: skip


def identify(
    pipeline: CheckedPipeline,
    source: FileSource,
    claim: Claim,
    look: Look,
    name: str,
    copied: RawCopy,
    archive: str | None = None,
) -> Arrived:
    grain = pipeline.pipeline.metadata.grain
    faults = [f"{f.code}: {f.message}" for f in copied.scan.errors]
    stated = stated_date(source, name, copied.scan)
    day = business_date(claim.claimed_at.date().isoformat(), grain)
    if stated is not None:
        try:
            day = business_date(stated, grain)
        except ValueError as error:
            faults.append(f"business_date: {error}")
    elif says_date(source, name):
        faults.append(f"business_date: {NO_DATE}")
    sender = groups(source, name).get("sender")
    key = digest(pipeline.key, day.isoformat(), sender or "", copied.content_id)
    if sender is not None and len(sender) > LONGEST_SENDER:
        faults.append(f"sender: its name holds one of {len(sender)} characters, and at most {LONGEST_SENDER} are kept")
        sender = sender[:LONGEST_SENDER]
    uri = look.uri + name[len(look.name) :]
    return Arrived(look, name, uri, copied, day, sender, key, together(faults), archive)


NO_DATE = "neither its name nor its control record holds the date that it should; have it sent again with it"


def says_date(source: FileSource, name: str) -> bool:
    """Whether the definition says where the business date of a file stands; else it is the day of the claim."""
    written = (source.member_pattern if MEMBER in name and source.member_pattern else source.pattern) or ""
    inside = source.control is not None and source.control.business_date_field is not None
    return inside or (source.landing is not None and "(?P<business_date>" in written)


def sequence_of(source: Source, name: str) -> int | None:
    """The number in a file's name, where the source agreed on numbers; None where there is none."""
    if not isinstance(source, FileSource) or source.delivery is None or source.delivery.sequence == "none":
        return None
    found = groups(source, name).get("sequence") or ""
    return int(found) if found.isascii() and found.isdigit() and len(found) <= 18 else None


def stated_date(source: FileSource, name: str, scan: Scan) -> str | None:
    """What the file's name or its control record says of its business date; None where neither has a say."""
    stated = groups(source, name).get("business_date")
    control = source.control
    if stated is None and control and control.business_date_field and scan.control:
        at = control.business_date_field
        stated = scan.control[at - 1] if at <= len(scan.control) else ""
    return stated


def groups(source: FileSource, name: str) -> dict[str, str | None]:
    """What the groups of pattern and memberPattern found in a name; the member's own come first."""
    if not source.landing:
        return {}
    archive, _, member = name.partition(MEMBER)
    found: dict[str, str | None] = {}
    for pattern, text in ((source.pattern, archive), (source.member_pattern, member)):
        match = re.fullmatch(pattern, text, re.DOTALL) if pattern and text else None
        found |= {group: value for group, value in match.groupdict().items() if value} if match else {}
    return found


def digest(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()
