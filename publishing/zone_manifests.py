"""Manifests of a zone: files that list others, one a line, by name alone or as `sha256sum` and `md5sum` write them.

Where a zone has them, a file is taken once a manifest that has settled names it, and is held against the checksum that
stands there. A manifest is read once. Its line is used up with the file that it names: what comes again under that name
waits for a manifest that comes again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from publishing.beside import declared_line, last_name
from publishing.ledger import Ledger
from publishing.look import SOME, Watched, set_aside, settled, sightings
from publishing.zone_files import BESIDE, ManifestLine
from resources.zone import ChangedWhileRead, Sighting, Zone

MOST_BYTES = 16 * 1024 * 1024  # of one manifest: what lies beyond is not read
LONGEST_NAME = 1024

Sums = Mapping[str, str]  # algorithm -> the line of a manifest that has a checksum by it; none where it says the name


def read_manifests(ledger: Ledger, at: Watched, place: Zone, moment: float) -> None:
    """Remembers what the manifests say that have settled and were not read as they are; what the zone raises is raised.

    One that changes while it is read, or may not be read, is tried again with the next look.
    """
    if at.zone is None or at.zone.manifest is None:
        return
    with ledger.read() as session:
        due = [each for page in sightings(session, settled(at, moment)) for each in page if at.is_manifest(each.name)]
    for manifest in due:
        try:
            named = _named(_lines(place, manifest))
        except (ChangedWhileRead, OSError):
            continue
        of_it = ManifestLine.zone == at.key, ManifestLine.manifest == manifest.name
        with ledger.write() as session:
            session.execute(delete(ManifestLine).where(*of_it))
            rows = ({"zone": at.key, "manifest": manifest.name, "name": n, "sums": s} for n, s in named.items())
            while some := list(islice(rows, SOME)):
                session.execute(insert(ManifestLine), some)
            set_aside(session, at, {BESIDE: [manifest]})


def listed(session: Session, at: Watched, names: Sequence[str]) -> Mapping[str, Sums]:
    """Those of the names that a manifest names, with what it says; all, where the zone has no manifests."""
    if at.zone is None or at.zone.manifest is None:
        return {name: {} for name in names}
    chosen = select(ManifestLine.name, ManifestLine.sums).order_by(ManifestLine.manifest)
    found: dict[str, dict[str, str]] = {}
    for name, sums in session.execute(chosen.where(ManifestLine.zone == at.key, ManifestLine.name.in_(names))):
        known = found.setdefault(name, {})
        known.update({kind: "\n".join(filter(None, (known.get(kind), line))) for kind, line in sums.items()})
    return found


def use_up(session: Session, at: Watched, names: Iterable[str]) -> None:
    """The lines of files that every pipeline has taken."""
    of_zone = ManifestLine.zone == at.key
    if at.zone is not None and at.zone.manifest is not None:
        session.execute(delete(ManifestLine).where(of_zone, ManifestLine.name.in_(list(names))))


def _named(lines: Iterable[str]) -> dict[str, dict[str, str]]:
    """By the name of each file, without its folders, the lines with its checksums."""
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        declared = declared_line(line)
        name, kind = declared[:2] if declared is not None else (last_name(line), "")
        if name and len(name) <= LONGEST_NAME:
            sums = found.setdefault(name, {})
            if kind:
                sums[kind] = line
    return found


def _lines(place: Zone, manifest: Sighting) -> Iterator[str]:
    content = bytearray()
    for piece in place.read(manifest):
        content += piece
        if len(content) > MOST_BYTES:
            del content[content.rfind(b"\n", 0, MOST_BYTES) + 1 :]
            break
    lines = (line.strip() for line in content.decode("utf-8-sig", "replace").splitlines())
    return (line for line in lines if line and not line.startswith("#"))
