"""No value of a rejected record outside sealed payloads, raw, the staging class and the columns that may hold it.

Canaries stand in personal columns of good and bad records and in the cells that are wrong. Everything is done to them
that the product can do, with crashes and failures on the way; then every file that was written is searched, and all
that was printed: tables by their columns, all else by its bytes, packed or not.
"""

from __future__ import annotations

import bz2
import gzip
import json
import os
import pwd
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import jwt
import pyarrow.parquet as pq
import pytest

from tests.promised_feed import pipeline_xml

PROJECT = Path(__file__).resolve().parents[2]
CANARY = re.compile(rb"CANARY[0-9a-z]{6}")
FIELDS = ("id", "ssn", "email", "amount", "region")
KEY = '<maskKey id="default" secretRef="MASK"/>'
ZONE = f'<resources><landingZone id="zone" type="local" uri="landing"/>{KEY}</resources>'
# What may hold values: by folder of the lake, and by column of a table.
OPEN_FOLDERS = ("raw", "staged", "landing", "keys")
OPEN_COLUMNS = {"people": {"email", "region", "id"}, "copy": {"email", "region", "id"}}
RUN = "from command_line.main import run; run()"
ARMED = f"import sys; from publishing import failpoints; failpoints.arm(sys.argv.pop(1)); {RUN}"


@dataclass
class World:
    """A config root, a lake root, a temporary folder of its own, and everything that commands printed."""

    root: Path
    printed: list[bytes] = field(default_factory=list)
    made: int = 0

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    def canary(self) -> str:
        self.made += 1
        return f"CANARY{self.made:06d}"

    def write(self, place: str, text: str) -> None:
        path = self.root / "config" / "applications" / "app" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def define(self, policy: str = "", **amount: object) -> None:
        properties = {
            "id": {"type": "string"},
            "ssn": {"type": "string", "x-classification": "pii", "pattern": "^CANARY.*$"},
            "email": {"type": "string", "x-classification": "pii"},
            "amount": {"type": "integer", **amount},
            "region": {"type": "string"},
        }
        contract = {"type": "object", "required": ["id"], "properties": properties, "x-primaryKey": ["id"]}
        source = '<csv id="s" landing="zone" pattern=".*" header="true" schemaRef="schemas/s.json"/>'
        mask = '<mask source="s" columns="ssn" strategy="hash"/>'
        targets = '<hive table="staging.people" mode="append" partitionBy="region"/>'
        self.write("staging/resources/zone.xml", ZONE)
        self.write("staging/schemas/s.json", json.dumps(contract))
        self.write("staging/pipelines/people.xml", pipeline_xml("people", "staging", source, mask, targets, policy))
        reader = '<hive id="t" table="staging.people" read="changes"/>'
        few = '<filter source="t" condition="amount &lt; 100"/>'
        copy = '<hive table="standardization.copy" mode="append"/>'
        self.write("standardization/pipelines/copy.xml", pipeline_xml("copy", "standardization", reader, few, copy))

    def land(self, name: str, *rows: tuple[str, ...]) -> None:
        (self.lake / "landing").mkdir(parents=True, exist_ok=True)
        (self.lake / "landing" / name).write_text("".join(",".join(row) + "\n" for row in (FIELDS, *rows)))

    def ran(self, *arguments: str, crash_at: str | None = None, **more: str) -> subprocess.CompletedProcess[bytes]:
        first = [sys.executable, "-c", ARMED, crash_at] if crash_at else [sys.executable, "-c", RUN]
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DATALAKE_")}
        environment = {
            **kept, "DATALAKE_DATA": str(self.lake), "DATALAKE_CONFIG": str(self.root / "config"),
            "TMPDIR": str(self.root / "tmp"), "HOME": str(self.root / "home"), "MASK": "m" * 32,
            "DATALAKE_TOKEN_KEY": "t" * 32, "PYTHONPATH": str(PROJECT), **more,
        }  # fmt: skip
        (self.root / "tmp").mkdir(exist_ok=True)
        (self.root / "home").mkdir(exist_ok=True)
        done = subprocess.run([*first, *arguments], capture_output=True, env=environment, check=False, cwd=self.root)
        self.printed += [done.stdout, done.stderr]
        return done

    def json(self, *arguments: str, **more: str) -> dict[str, object]:
        done = self.ran(*arguments, "--json", **more)
        assert done.returncode in (0, 3), done.stderr.decode()[-2000:]
        found: dict[str, object] = json.loads(done.stdout)
        return found


def contents(path: Path) -> Iterator[bytes]:
    """A file's bytes, and what they unpack to."""
    data = path.read_bytes()
    yield data
    for unpack in (gzip.decompress, bz2.decompress, zlib.decompress):
        try:
            yield unpack(data)
        except (OSError, ValueError, zlib.error, EOFError):
            continue


def leaks(world: World) -> Iterator[str]:
    """`where: canary` of each that stands where it must not."""
    for number, text in enumerate(world.printed):
        yield from (f"printed {number}: {found.decode()}" for found in CANARY.findall(text))
    for path in sorted(p for p in world.root.rglob("*") if p.is_file()):
        inside = path.relative_to(world.root)
        yield from (f"name of {inside}" for _ in CANARY.findall(str(inside).encode()))
        if inside.parts[0] == "lake" and inside.parts[1] in OPEN_FOLDERS:
            continue
        if path.suffix == ".parquet":
            yield from (f"{inside} {found}" for found in in_table(path, inside))
        else:
            yield from (f"{inside}: {found.decode()}" for data in contents(path) for found in CANARY.findall(data))


def in_table(path: Path, inside: Path) -> Iterator[str]:
    allowed = OPEN_COLUMNS.get(inside.parts[4], set()) if inside.parts[3] != "exceptions" else set()
    table = pq.ParquetFile(path).read()
    for name in table.column_names:
        if name not in allowed:
            for value in table[name].to_pylist():
                yield from (f"{name}: {found.decode()}" for found in CANARY.findall(repr(value).encode()))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("leaks"))
    world.define()
    c = world.canary
    good = [(f"g{n}", c(), c(), str(n), "north") for n in range(3)]
    bad = [
        ("b1", c(), c(), c(), "north"),  # the wrong cell itself
        ("b2", "short", c(), "2", c()),  # a partition value of a rejected record
        ("b3", c(), c()),  # ragged
        ("", c(), c(), "4", "north"),
        ("b5", c(), c(), "500", "north"),  # rejected further down, from a table
    ]
    world.land("a.csv", *good, *bad)
    assert world.ran("run", "app/people", crash_at="quarantine.committed").returncode == -9
    world.json("run", "app/people")
    world.ran("run", "app/copy", crash_at="stage.finished")
    world.json("run", "app/copy")
    batches = world.json("quarantine", "list", "--pipeline", "app/people")["batches"]
    assert isinstance(batches, list)
    batch = str(batches[0]["batch"])
    world.ran("quarantine", "show", batch)
    page = world.json("quarantine", "show", batch)
    records = [str(r["entry"]["record_id"]) for r in page["records"]]  # type: ignore[attr-defined]
    world.ran("quarantine", "correct", batch, "--record", records[0], "--value", "amount=CANARYnumber", "--reason", "r")
    correct = ("quarantine", "correct", batch, "--record", records[0], "--value", "amount=7", "--reason", "typo")
    world.ran(*correct, "--dry-run")
    assert world.ran(*correct).returncode == 0
    discarded = world.ran("quarantine", "discard", batch, "--record", records[1], "--reason", "not a person")
    assert discarded.returncode == 0, discarded.stderr
    claims = {"sub": "maria", "role": "approver", "exp": int(time.time()) + 600}
    token = jwt.encode(claims, "t" * 32, algorithm="HS256")
    assert world.ran("quarantine", "approve", "--batch", batch, "--reason", "r", DATALAKE_TOKEN=token).returncode == 0
    world.ran("replay", "app/people", crash_at="target.committed")
    world.json("replay", "app/people")
    world.define(maximum=1)  # fewer pass now
    world.ran("run", "app/people", "--reprocess")
    world.define(minimum="x")  # a definition that is wrong
    assert world.ran("run", "app/people").returncode == 2
    world.define()
    world.ran("run", "app/people", MASK="short")
    _more_of_the_way_back(world, batch, token)
    _what_is_held_and_taken_back(world)
    for command in (
        ("ledger", "verify"), ("ledger", "rebuild", "--yes"), ("ledger", "sweep", "--older-than", "PT0S"),
        ("landing", "list", "app/zone"), ("landing", "show", "app/zone", "a.csv"), ("explain", "app/people"),
        ("checks", "app"), ("batches", "list"), ("doctor",), ("audit", "verify"), ("audit", "list"),
        ("run", "app/people"),
    ):  # fmt: skip
        done = world.ran(*command)
        assert done.returncode in (0, 3) or command[0] in ("checks", "doctor"), (command, done.stderr.decode()[-2000:])
    return world


def _more_of_the_way_back(world: World, batch: str, token: str) -> None:
    """Many at once, by a condition, a literal and a file, out and back; approved and replayed."""
    many = ("quarantine", "correct", batch, "--set", f"email='{world.canary()}'", "--where", "raw_amount is not null")
    assert world.ran(*many, "--dry-run").returncode == 0
    world.ran(*many, "--set", "amount=1/0", "--reason", "r")  # refused: it cannot be computed
    assert world.ran(*many, "--reason", "r").returncode == 0
    desk = world.root / "desk"
    desk.mkdir()
    assert world.ran("quarantine", "export", batch, "--out", str(desk / "work.csv")).returncode == 0
    refused = world.ran("quarantine", "import", batch, str(desk / "work.csv"), "--reason", "r")
    assert refused.returncode == 2, "nothing in it differs"
    cells = desk / "cells.csv"
    cells.write_text(f"record_id,column,value\nno-such-record,email,{world.canary()}\n")
    assert world.ran("quarantine", "correct", batch, "--csv", str(cells), "--reason", "r").returncode == 2
    cells.unlink()
    approved = world.ran("quarantine", "approve", "--batch", batch, "--reason", "r", DATALAKE_TOKEN=token)
    assert approved.returncode == 0, approved.stderr
    world.ran("replay", "app/people", crash_at="restate.written")
    world.json("replay", "app/people")


def _what_is_held_and_taken_back(world: World) -> None:
    """A broken file, one held for its rejects; released, withdrawn, un-published, restored."""
    c = world.canary
    (world.lake / "landing" / "broken.csv").write_text(f"id,ssn,email,amount,{c()}\nx,{c()},{c()},1,north\n")
    (world.lake / "landing" / "headless.csv").write_text(f"x,{c()},{c()},1,north\ny,{c()},{c()},2,south\n")
    world.define(policy='<errorPolicy maxErrors="0"/>')
    world.land("b.csv", ("h1", c(), c(), "1", "north"), ("h2", c(), c(), c(), c()))
    assert world.ran("run", "app/people").returncode == 3
    held = world.json("batches", "list", "--pipeline", "app/people", "--status", "held")
    by_name = {str(line["key"]): line for line in held}  # type: ignore[attr-defined]
    broken = next(key for key in by_name if "broken" in key)
    limited = next(key for key in by_name if "_b_" in key)
    assert world.ran("batches", "withdraw", "app/people", broken, "--reason", "r").returncode == 0
    released = world.ran("batches", "release", "app/people", limited, "--waive", "maxErrors=known", "--reason", "r")
    assert released.returncode == 0, released.stderr
    assert world.ran("run", "app/people", crash_at="target.linked").returncode == -9
    world.json("run", "app/people")
    gone = world.ran("batches", "unpublish", "app/people", limited, "--yes", "--reason", "r")
    assert gone.returncode == 0, gone.stderr
    world.define()
    restored = world.ran("restore", "app/staging.people", "--to", "0", "--yes", "--reason", "r")
    assert restored.returncode == 0, restored.stderr


def test_no_canary_stands_where_it_must_not(world: World) -> None:
    found = sorted(set(leaks(world)))
    assert not found, "\n".join(found[:40])


def test_the_search_finds_what_there_is(world: World) -> None:
    """Raw has all of them and the table those that may stand there; a planted one is found."""
    raw = b"".join(p.read_bytes() for p in (world.lake / "raw").rglob("*") if p.is_file())
    assert len(set(CANARY.findall(raw))) >= 14
    tables = [p for p in (world.lake / "applications" / "app" / "staging").rglob("*.parquet")]
    emails = {v for p in tables for v in pq.ParquetFile(p).read(columns=["email"])["email"].to_pylist()}
    assert any(CANARY.match(str(v).encode()) for v in emails)
    (world.root / "home" / "note.txt.gz").write_bytes(gzip.compress(b"CANARY999999"))
    try:
        assert any("CANARY999999" in text for text in leaks(world))
    finally:
        (world.root / "home" / "note.txt.gz").unlink()


def test_an_auditor_sees_what_is_sealed_and_it_is_kept_that_he_did(world: World) -> None:
    """The one way in clear; what it prints is not searched with the rest."""
    claims = {"sub": "otto", "role": "auditor", "exp": int(time.time()) + 600}
    token = jwt.encode(claims, "t" * 32, algorithm="HS256")
    batches = world.json("quarantine", "list", "--pipeline", "app/people")["batches"]
    batch = str(batches[0]["batch"])  # type: ignore[index]
    refused = world.ran("quarantine", "show", batch, "--reveal", "--reason", "complaint 7")
    assert refused.returncode == 2
    shown = world.ran("quarantine", "show", batch, "--reveal", "--reason", "complaint 7", DATALAKE_TOKEN=token)
    world.printed = world.printed[:-2]
    assert shown.returncode == 0, shown.stderr.decode()[-2000:]
    assert CANARY.search(shown.stdout)
    told = world.ran("audit", "list", "--json").stdout.decode()
    assert "otto" in told
    assert "complaint 7" in told
    assert pwd.getpwuid(os.getuid()).pw_name in told
    assert not sorted(set(leaks(world)))
