"""Unpacking in raw: every member of an archive, or what a PGP message holds, becomes a raw file of its own.

The archive stays as it was sent. Members are taken all or none: an archive that breaks in the middle, or passes a
limit, leaves at most raw files that nothing names.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline_xml.contract import Contract
from pipeline_xml.model import FileSource
from publishing.raw import HEAD, PGP, RawCopy, how_compressed, store
from resources.archive import PIECE, BadArchive, Limits, kind_of, members
from resources.pgp import PgpKey, decrypted


@dataclass(frozen=True, slots=True)
class Member:
    """`name` inside the archive, empty for the only one of gzip, bzip2, zstd and PGP; `copy` is None where the
    source's memberPattern does not want it."""

    name: str
    copy: RawCopy | None


def unpack(
    copied: RawCopy, source: FileSource, contract: Contract, key: Callable[[str], bytes]
) -> list[Member]:
    """All members of what stands in raw, in raw. BadArchive where it cannot or may not be unpacked; SecretMissing."""
    root, limits = copied.path.parent, Limits(source.max_unpacked_bytes)
    wanted = re.compile(source.member_pattern, re.DOTALL) if source.member_pattern else None
    found: list[Member] = []
    with _in_clear(copied, source, limits, key) as path:
        with path.open("rb") as inp:
            head = inp.read(HEAD)
        kind = how_compressed(source, head)
        if kind is None:
            return [Member("", store(_read(path), root, source, contract))]
        if kind_of(head) != kind:
            raise BadArchive("archive_kind", f"it is not {kind} as the source declares; send it so, or declare another")
        for name, pieces in members(path, kind, limits):
            if name and wanted is not None and wanted.fullmatch(name) is None:
                found.append(Member(name, None))
            else:
                found.append(Member(name, store(pieces, root, source, contract)))
    if not any(member.copy for member in found):
        what = "holds no member that memberPattern names" if found else "is empty"
        raise BadArchive("archive_empty", f"it {what}; send it again with its files")
    return found


@contextmanager
def _in_clear(copied: RawCopy, source: FileSource, limits: Limits, key: Callable[[str], bytes]) -> Iterator[Path]:
    """The archive itself, or what the PGP message holds, beside it for as long as it is needed."""
    if copied.packed != PGP or source.pgp_secret_ref is None:
        yield copied.path
        return
    clear = copied.path.with_name(f".copy-{uuid.uuid4().hex}")
    out = 0
    try:
        with clear.open("xb") as text:
            clear.chmod(0o600)
            for piece in decrypted(copied.path, _key_of(source, key)):
                out += len(piece)
                if out > limits.bytes:
                    raise BadArchive("archive_too_large", f"it holds more than maxUnpackedBytes ({limits.bytes:,})")
                text.write(piece)
        yield clear
    finally:
        clear.unlink(missing_ok=True)


def _key_of(source: FileSource, key: Callable[[str], bytes]) -> PgpKey:
    named, unlocked_by = source.pgp_secret_ref or "", source.pgp_passphrase_ref
    return PgpKey(key(named), named, key(unlocked_by) if unlocked_by is not None else None, unlocked_by)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as inp:
        while piece := inp.read(PIECE):
            yield piece
