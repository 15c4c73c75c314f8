"""The audit trail: what was done to quarantined records, by whom; no entry can be changed or taken out unseen.

An entry is added in the transaction of the action itself. Its hash is an HMAC over the hash before it and the entry,
under a key derived from the quarantine key, so that whoever can write to the database still cannot make one. After the
transaction it is written to the journal as well, `audit/<seq>.json`; what a crash left out the next action writes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from processing.keys import derived, hmac_sha256
from publishing.lake import Lake
from resources.quarantine_key import quarantine_key
from resources.settings import Settings
from stewardship.actors import Actor
from stewardship.stores import Audit

PURPOSE = "datalake audit chain"
FIRST = "0" * 64  # what stands before the first entry
FOLDER = "audit"
PATIENCE = 0.5  # seconds that an entry just committed may need to reach the journal


@dataclass(frozen=True, slots=True)
class Entry:
    """One action. `subject` is what it was done to, `details` say more; no value of a record stands in them."""

    seq: int
    at: str  # UTC, ISO
    actor: str
    role: str
    action: str
    subject: str
    details: Mapping[str, Any]
    previous: str
    hash: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


FIELDS = tuple(Entry.__dataclass_fields__)


def append(session: Session, lake: Lake, actor: Actor, action: str, subject: str, details: Mapping[str, Any]) -> Entry:
    """Adds an entry to the caller's transaction, which must be one of `lake.ledger.write()`."""
    last = session.scalar(select(Audit).order_by(Audit.seq.desc()).limit(1))
    previous = last.hash if last is not None else FIRST
    stated: dict[str, Any] = {
        "seq": last.seq + 1 if last is not None else 1,
        "at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "actor": actor.name,
        "role": actor.role,
        "action": action,
        "subject": subject,
        "details": {**details, "signed": True} if actor.signed else dict(details),
    }
    entry = Entry(**stated, previous=previous, hash=_chain(lake.settings)(previous, stated))
    session.add(Audit(**entry.as_dict()))
    session.flush()
    return entry


def journal_entries(lake: Lake) -> None:
    """Writes the entries that the journal lacks, the oldest first: what stands there is complete up to its newest."""
    with lake.ledger.read() as session:
        newest = session.scalar(select(func.max(Audit.seq))) or 0
        at = newest
        while at > 0 and not lake.journal.exists(_name(at)):
            at -= 1
        missing = session.scalars(select(Audit).where(Audit.seq > at).order_by(Audit.seq)).all()
    for row in missing:
        lake.journal.write(_name(row.seq), _entry(row).as_dict())


def entries(
    lake: Lake, *, actor: str | None = None, action: str | None = None, subject: str | None = None,
    before: int | None = None, limit: int = 50,
) -> list[Entry]:  # fmt: skip
    """The newest first. `subject` may be the beginning of one, `before` the sequence number of the last on a page."""
    chosen = select(Audit).order_by(Audit.seq.desc()).limit(limit)
    if actor is not None:
        chosen = chosen.where(func.lower(Audit.actor) == actor.strip().lower())
    if action is not None:
        chosen = chosen.where(Audit.action == action)
    if subject is not None:
        chosen = chosen.where(Audit.subject.startswith(subject, autoescape=True))
    if before is not None:
        chosen = chosen.where(Audit.seq < before)
    with lake.ledger.read() as session:
        return [_entry(row) for row in session.scalars(chosen)]


def head(lake: Lake) -> tuple[int, str]:
    """(sequence number, hash) of the newest entry: kept elsewhere, it proves later that nothing before it is gone."""
    with lake.ledger.read() as session:
        last = session.scalar(select(Audit).order_by(Audit.seq.desc()).limit(1))
        return (last.seq, last.hash) if last is not None else (0, FIRST)


def verify(lake: Lake, known: tuple[int, str] | None = None) -> list[str]:
    """What was tampered with: each entry that was changed, removed, inserted, moved, or cut from the end.

    `known` is a `head` of before. Empty where all is as it was written.
    """
    folder = lake.journal.root / FOLDER
    texts, strangers = _journal(folder)
    with lake.ledger.read() as session:
        rows = [_entry(row) for row in session.scalars(select(Audit).order_by(Audit.seq))]
    _await_tail(folder, rows, texts)
    found = [f"the journal holds {FOLDER}/{name}, which is no entry" for name in strangers]
    found += _rows(rows, texts, _chain(lake.settings))
    found += _texts(rows, texts)
    if known is not None and not any((row.seq, row.hash) == known for row in rows) and known != (0, FIRST):
        found.append(f"entry {known[0]} is not the one that was the newest once: the end was cut off and written anew")
    return found


def _journal(folder: Path) -> tuple[dict[int, str], list[str]]:
    """({sequence number: text of its file}, names of files that are no entries)."""
    texts, strangers = {}, []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith("."):  # left by a process that was killed while it wrote
            continue
        stem = path.name.removesuffix(".json")
        if stem.isdecimal() and path.name == Path(_name(int(stem))).name:
            texts[int(stem)] = path.read_bytes().decode("utf-8", "replace")
        else:
            strangers.append(path.name)
    return texts, strangers


def _await_tail(folder: Path, rows: list[Entry], texts: dict[int, str]) -> None:
    """Entries committed a moment ago may still be on their way to the journal."""
    end = time.monotonic() + PATIENCE
    newest = max(texts, default=0)
    missing = [row.seq for row in rows if row.seq > newest]
    while missing and time.monotonic() < end:
        path = folder / Path(_name(missing[0])).name
        if path.exists():
            texts[missing.pop(0)] = path.read_bytes().decode("utf-8", "replace")
        else:
            time.sleep(0.05)


def _rows(rows: list[Entry], texts: Mapping[int, str], chain: Callable[[str, Mapping[str, Any]], str]) -> list[str]:
    """What is wrong with the chain in the database."""
    found = []
    written = {seq: _parsed(text) for seq, text in texts.items()}
    seq_of = {entry["hash"]: seq for seq, entry in written.items() if entry and isinstance(entry.get("hash"), str)}
    previous, expected = FIRST, 1
    for row in rows:
        if row.seq > expected:
            found.append(f"{_span(expected, row.seq - 1)} removed from the database")
        stated = {name: getattr(row, name) for name in FIELDS if name not in ("previous", "hash")}
        if chain(row.previous, stated) != row.hash:
            found.append(_unsound(row, written.get(row.seq), seq_of))
        elif row.previous != previous and row.seq == expected:
            found.append(f"entry {row.seq} does not follow the one before it: one of them was replaced")
        previous, expected = row.hash, row.seq + 1
    if cut := [seq for seq in texts if seq >= expected]:
        found.append(f"{_span(min(cut), max(cut))} cut from the end of the database")
    return found


def _span(first: int, last: int) -> str:
    return f"entry {first} was" if first == last else f"entries {first} to {last} were"


def _unsound(row: Entry, written: Mapping[str, Any] | None, seq_of: Mapping[str, int]) -> str:
    origin = seq_of.get(row.hash)
    if origin is not None and origin != row.seq:
        return f"entry {row.seq} in the database is entry {origin}, moved"
    if written is None:
        return f"entry {row.seq} in the database was inserted or changed: its hash is not of this chain"
    names = _differing(row, written)
    what = f" ({', '.join(names)})" if names else ""
    return f"entry {row.seq} in the database was changed{what}"


def _texts(rows: list[Entry], texts: Mapping[int, str]) -> list[str]:
    """What of the journal is not as it was written."""
    found = []
    for row in rows:
        text = texts.get(row.seq)
        if text is None:
            found.append(
                f"entry {row.seq} is not in the journal: its file was removed, or the command that made it was killed; "
                "the next action writes the last ones again"
            )
        elif text != _document(row):
            entry = _parsed(text)
            names = _differing(row, entry) if entry is not None else []
            what = f" ({', '.join(names)})" if names else ""
            found.append(f"entry {row.seq} differs between database and journal{what}")
    return found


def _differing(row: Entry, other: Mapping[str, Any]) -> list[str]:
    return [name for name in FIELDS if name not in other or _text(getattr(row, name)) != _text(other[name])]


def _parsed(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _document(entry: Entry) -> str:
    """The entry as the journal writes it."""
    return json.dumps(entry.as_dict(), indent=1, sort_keys=True)


def _entry(row: Audit) -> Entry:
    return Entry(**{name: getattr(row, name) for name in FIELDS})


def _name(seq: int) -> str:
    return f"{FOLDER}/{seq:08d}.json"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _chain(settings: Settings) -> Callable[[str, Mapping[str, Any]], str]:
    """The hash of an entry (its fields but `previous` and `hash`) after the hash before it."""
    digest = hmac_sha256(derived(quarantine_key(settings).value, PURPOSE, 32))

    def chained(previous: str, stated: Mapping[str, Any]) -> str:
        return digest(f"{previous}\n{_text(stated)}".encode())

    return chained
