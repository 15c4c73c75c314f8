"""A day of senders: what each does with its file, in which round, and what has to come of it. Seeded, no server here.

A file's story is a list of acts, by round: put bytes under a name, rename, remove; before a look, or between the claim
and the copy. What it has to end as is worked out here, without the product.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from tests.faults.soak_agreed import agreed_with, does

ROWS = 4
BEFORE, BETWEEN = "before the look", "between claim and copy"


@dataclass(frozen=True)
class Act:
    """kind: put, rename (to `name` from `old`), remove."""

    when: str
    kind: str
    name: str
    content: bytes = b""
    old: str = ""


@dataclass
class Story:
    """`acts` by round, counted from the file's own first. `accepted` are ids of records, `rejected` how many are not;
    `files` how many files of the ledger it ends as, by status; `looks` likewise of what was claimed and not copied."""

    misbehaviour: str
    feed: int
    acts: Mapping[int, Sequence[Act]]
    accepted: Sequence[str] = ()
    rejected: int = 0
    files: Mapping[str, int] = field(default_factory=dict)
    looks: Mapping[str, int] = field(default_factory=dict)
    unmatched: Sequence[str] = ()


def _table(ids: Sequence[str], bad: int = 0) -> bytes:
    lines = ["id,v", *(f"{each},{n}" for n, each in enumerate(ids)), *(f"bad{n}-{ids[0]},x" for n in range(bad))]
    return "".join(f"{line}\n" for line in lines).encode()


def _packed(content: bytes, ending: str) -> bytes:
    if ending == "bz2":
        return bz2.compress(content)
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as packing:
        packing.write(content)
    return bytes(out.getvalue())


def _ids(name: str, rows: int = ROWS) -> list[str]:
    return [f"{name}-{n}" for n in range(rows)]


def story(kind: str, feed: int, number: int, versions: bool) -> Story:
    """One file's. `versions`: the server keeps overwritten and deleted content."""
    stem = f"feed{feed:02d}_{number:05d}"
    name, ids = f"{stem}.csv", _ids(stem)
    content = _table(ids)

    def one(*acts: Act) -> Mapping[int, Sequence[Act]]:
        return {0: acts}

    def put(put_name: str, what: bytes, when: str = BEFORE) -> Act:
        return Act(when, "put", put_name, what)

    published = {"published": 1}
    other_ids = _ids(f"{stem}-again", ROWS + 1)
    other = _table(other_ids)
    if kind == "copy under another name":
        acts = {0: [put(name, content)], 3: [put(f"{stem}_copy.csv", content)]}
        return Story(kind, feed, acts, ids, files={"published": 1, "duplicate": 1})
    if kind == "sent again corrected":
        acts = {0: [put(name, content)], 3: [put(name, other)]}
        return Story(kind, feed, acts, [*ids, *other_ids], files={"published": 2})
    if kind == "half written at a look":
        acts = {0: [put(name, content[: len(content) // 2])], 1: [put(name, content)]}
        return Story(kind, feed, acts, ids, files=published)
    if kind == "temporary name":
        acts = {0: [put(f"{name}.part", content)], 2: [Act(BEFORE, "rename", name, content, f"{name}.part")]}
        return Story(kind, feed, acts, ids, files=published)
    if kind == "removed before the copy":
        acts = {0: [put(name, content)], 1: [Act(BETWEEN, "remove", name)]}
        if versions:
            return Story(kind, feed, acts, ids, files=published)
        return Story(kind, feed, acts, looks={"gone": 1})
    if kind == "overwritten before the copy":
        acts = {0: [put(name, content)], 1: [put(name, other, BETWEEN)]}
        if versions:
            return Story(kind, feed, acts, [*ids, *other_ids], files={"published": 2})
        return Story(kind, feed, acts, other_ids, files=published, looks={"changed": 1})
    if kind == "no bytes":  # each with its own date: of one date all empty files are one content
        return Story(kind, feed, one(put(name, b"")), files={"held": 1})
    if kind == "another header":
        return Story(kind, feed, one(put(name, content.replace(b"id,v", b"id,w"))), files={"held": 1})
    if kind == "ends in a quote":
        return Story(kind, feed, one(put(name, content + b'"' + stem.encode())), files={"held": 1})
    if kind == "checksum agrees":
        said = hashlib.sha256(content).hexdigest().encode()
        return Story(kind, feed, one(put(f"{name}.sha256", said), put(name, content)), ids, files=published)
    if kind == "checksum differs":
        said = hashlib.sha256(other).hexdigest().encode()
        return Story(kind, feed, one(put(f"{name}.sha256", said), put(name, content)), files={"held": 1})
    if kind == "odd name":
        odd = f"{stem} ü'&$(x).csv"
        return Story(kind, feed, one(put(odd, content)), ids, files=published)
    if kind == "packed by gzip":
        packed = gzip.compress(content, mtime=0)
        files = {"unpacked": 1, "published": 1}
        return Story(kind, feed, one(put(f"{stem}.csv.gz", packed)), ids, files=files)
    if kind in ("packed by bzip2", "packed by zstd"):
        ending = "bz2" if kind == "packed by bzip2" else "zst"
        files = {"unpacked": 1, "published": 1}
        return Story(kind, feed, one(put(f"{stem}.csv.{ending}", _packed(content, ending))), ids, files=files)
    if kind == "archive in an archive":
        packed = gzip.compress(gzip.compress(content, mtime=0), mtime=0)
        return Story(kind, feed, one(put(f"{stem}.csv.gz", packed)), files={"held": 1})
    if kind == "name of 255 bytes":
        return Story(kind, feed, one(put(f"{stem}_{'x' * (250 - len(stem))}.csv", content)), ids, files=published)
    if kind == "bad records":
        return Story(kind, feed, one(put(name, _table(ids, bad=2))), ids, rejected=2, files=published)
    if kind == "no pipeline's name":
        return Story(kind, feed, one(put(f"note_{stem}.txt", b"hello")), unmatched=[f"note_{stem}.txt"])
    return Story("none", feed, one(put(name, content)), ids, files=published)


def agreed_story(kind: str, feed: int, number: int, turn: int) -> Story:
    """One file's of a feed with which more was agreed; `turn` counts the feed's files."""
    stem = f"feed{feed:02d}_{number:05d}"
    done = does(kind, stem, turn, _table, _ids(stem))
    acts = {after: [Act(BEFORE, "put", name, what) for name, what in puts] for after, puts in done.puts.items()}
    return Story(kind, feed, acts, done.accepted, files=done.files)


KINDS = (
    "none", "none", "none", "copy under another name", "sent again corrected", "half written at a look",
    "temporary name", "removed before the copy", "overwritten before the copy", "no bytes", "another header",
    "ends in a quote", "checksum agrees", "checksum differs", "odd name", "packed by gzip", "packed by bzip2",
    "packed by zstd", "archive in an archive", "name of 255 bytes", "bad records", "no pipeline's name",
)  # fmt: skip


@dataclass(frozen=True)
class Day:
    """`rounds[n]` are the acts of round n, by feed."""

    stories: Sequence[Story]
    rounds: Sequence[Mapping[int, Sequence[Act]]]


def day(files: int, feeds: int, rounds: int, seed: int, versions: frozenset[int]) -> Day:
    """A seeded day; `versions` are the feeds whose server keeps versions."""
    rng = random.Random(seed)  # noqa: S311 - which file misbehaves how is no secret
    stories = []
    acts: list[dict[int, list[Act]]] = [{} for _ in range(rounds + 6)]
    empties: set[int] = set()
    for number in range(files):
        feed = number % feeds
        agreed = agreed_with(feed)
        kinds = KINDS if agreed is None else agreed.kinds
        kind = kinds[number // feeds % len(kinds)] if number < feeds * len(KINDS) else rng.choice(kinds)
        if kind == "no bytes" and feed in empties:  # a second one of a feed is the same content: a duplicate
            kind = "none"
        empties |= {feed} if kind == "no bytes" else set()
        if agreed is not None:
            made = agreed_story(kind, feed, number, number // feeds + 1)
        else:
            made = story(kind, feed, number, feed in versions)
        stories.append(made)
        first = rng.randrange(rounds)
        for after, own in made.acts.items():
            acts[first + after].setdefault(feed, []).extend(own)
    return Day(stories, acts)
