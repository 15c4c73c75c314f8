"""Feeds of the simulated day with which more was agreed: numbers, dates, totals, archives; and how senders break it."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pysequoia import Tsk, encrypt

MOST_UNPACKED = 100_000
_DATED = r"_(?P&lt;business_date&gt;[0-9]*)"


@dataclass(frozen=True)
class Agreed:
    """`pattern` follows the feed's name and the file's number; `kinds` are what its senders do."""

    pattern: str
    attributes: str
    children: str
    kinds: Sequence[str]


AGREED: Mapping[int, Agreed] = {
    2: Agreed(
        r"\.pgp", 'pgpSecretRef="SOAK_PGP"', "", ("encrypted", "encrypted for another key", "not encrypted"),
    ),
    3: Agreed(
        r"_s(?P&lt;sequence&gt;[0-9]+)\.csv", "", '<delivery sequence="running"/>',
        ("numbers in any turn", "number sent twice"),
    ),
    5: Agreed(
        _DATED + r"\.(csv|zip|csv\.gz)", f'maxUnpackedBytes="{MOST_UNPACKED}"', "",
        ("several files in a zip", "archive bomb", "tricks in a member's name", "archive cut off", "late", "no date"),
    ),
    6: Agreed(
        _DATED + r"\.csv", "", '<control file=".ctl" field="1"><total field="2" sum="v"/></control>',
        ("control file", "control file later", "control file lies"),
    ),
}  # fmt: skip
EVERY = 8  # of so many feeds in a row, those of AGREED
# One feed of the day: with supersedes each of its files is a batch of its own, and half of them are taken back.
ONCE: Mapping[int, Agreed] = {
    7: Agreed(
        r"(_b)?\.csv", 'supersedes="name"', '<delivery sameRecords="hold"/>',
        ("sent again and supersedes", "same records in another order"),
    ),
}

Puts = Mapping[int, Sequence[tuple[str, bytes]]]  # by round: names and contents


def agreed_with(feed: int) -> Agreed | None:
    return ONCE.get(feed, AGREED.get(feed % EVERY))


@dataclass(frozen=True)
class Does:
    """What a sender does by round, the ids that are accepted, and how many files of which status it ends as."""

    puts: Puts
    accepted: Sequence[str]
    files: Mapping[str, int]


def does(kind: str, stem: str, turn: int, table: Callable[[Sequence[str]], bytes], ids: Sequence[str]) -> Does:
    """`turn` counts the files of the feed from 1; `table` makes the content of a file of some ids."""
    content = table(ids)
    puts: Puts
    day = f"202401{10 + turn % 5}"
    name = f"{stem}_{day}.csv"
    if kind == "numbers in any turn":
        return Does({0: [(f"{stem}_s{turn}.csv", content)]}, ids, {"published": 1})
    if kind == "number sent twice":
        again = table([f"{each}-again" for each in ids])
        puts = {0: [(f"{stem}_s{turn}.csv", content)], 3: [(f"{stem}_s{turn}.csv", again)]}
        return Does(puts, ids, {"published": 1, "held": 1})
    if kind == "sent again and supersedes":
        corrected = [f"{each}-corrected" for each in ids]
        puts = {0: [(f"{stem}.csv", content)], 3: [(f"{stem}.csv", table(corrected))]}
        return Does(puts, corrected, {"withdrawn": 1, "published": 1})
    if kind == "same records in another order":
        head, *lines = content.splitlines(keepends=True)
        puts = {0: [(f"{stem}.csv", content)], 3: [(f"{stem}_b.csv", head + b"".join(reversed(lines)))]}
        return Does(puts, ids, {"published": 1, "held": 1})
    if kind == "encrypted":
        return Does({0: [(f"{stem}.pgp", _encrypted(content, pgp_key()))]}, ids, {"unpacked": 1, "published": 1})
    if kind == "encrypted for another key":
        other = Tsk.generate("other <other@example.com>")
        return Does({0: [(f"{stem}.pgp", _encrypted(content, other))]}, (), {"held": 1})
    if kind == "not encrypted":
        return Does({0: [(f"{stem}.pgp", content)]}, (), {"held": 1})
    if kind == "late":
        return Does({0: [(f"{stem}_20231001.csv", content)]}, ids, {"published": 1})
    if kind == "no date":
        return Does({0: [(f"{stem}_20240230.csv", content)]}, (), {"held": 1})
    if kind.startswith("control file"):
        rows, total = len(ids), sum(range(len(ids)))
        said = f"{rows},{total + (kind == 'control file lies')}\n".encode()
        control = name.replace(".csv", ".ctl")
        puts = {0: [(name, content), (control, said)]}
        if kind == "control file later":
            puts = {0: [(name, content)], 2: [(control, said)]}
        lies = kind == "control file lies"
        return Does(puts, () if lies else ids, {"held": 1} if lies else {"published": 1})
    if kind == "several files in a zip":
        more = [f"{each}-more" for each in ids]
        packed = _zip({"a.csv": content, "b.csv": table(more)})
        return Does({0: [(f"{stem}_{day}.zip", packed)]}, [*ids, *more], {"unpacked": 1, "published": 2})
    if kind == "tricks in a member's name":
        return Does({0: [(f"{stem}_{day}.zip", _zip({"../../x.csv": content}))]}, (), {"held": 1})
    packed = gzip.compress(content, mtime=0)[:-5]
    if kind == "archive bomb":
        packed = gzip.compress(content + f"{stem},1\n".encode() * MOST_UNPACKED, mtime=0)
    return Does({0: [(f"{stem}_{day}.csv.gz", packed)]}, (), {"held": 1})


@cache
def pgp_key() -> Any:
    """The lake's own key of this day."""
    return Tsk.generate("lake <lake@example.com>")


def _encrypted(content: bytes, key: Any) -> bytes:
    return bytes(encrypt(content, recipients=[key.extract_certificate()]))


def _zip(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()
