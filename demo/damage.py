"""Puts registers into a landing folder, damages copies of them, and writes down what must become of every record.

    python demo/damage.py OUT_DIR [--seed 20201231]

OUT_DIR is a lake root: the files go to OUT_DIR/landing/hmda, the list to OUT_DIR/damage.json. The list is worked out
here, by plain Python, from the registers and the acts: it is what the product's counts are held against, so nothing of
the product is imported. The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import plain_contract
import plain_edits
from acts import ACTS, CELLS, EDITS, Act
from expected import Landed, expectation

HERE = Path(__file__).resolve().parent
REGISTERS = HERE / "registers"
CONTRACT = plain_contract.load()
NAMES = tuple(CONTRACT["properties"])
COUNT_FIELD = 12  # field 13 of the control record


@dataclass
class Register:
    """A register in memory: the control record, and the data records as lists of cells."""

    control: list[str]
    rows: list[list[str]]
    notes: dict[int, dict[str, Any]] = field(default_factory=dict)  # by record number, from 1

    @staticmethod
    def of(name: str) -> Register:
        control, *rows = plain_contract.records(REGISTERS / name)
        return Register(control, rows)

    def data(self, encoding: str = "utf-8") -> bytes:
        return "".join("|".join(cells) + "\n" for cells in [self.control, *self.rows]).encode(encoding)


def index(name: str) -> int:
    return NAMES.index(name)


def takes(row: dict[str, Any], acts: list[Act]) -> bool:
    """Whether a clean typed record, with the acts done to it, breaks exactly what they say and nothing beside."""
    row = dict(row)
    found: list[tuple[str, str]] = []
    for act in acts:
        for name, text in act.cells.items():
            spec = CONTRACT["properties"][name]
            row[name], code, kinds = plain_contract.cell(spec, name in CONTRACT["required"], text)
            if "x-codes" in spec:
                row[f"{name}_code"] = code
            found += [(name, kind) for kind in kinds]
    # A value that its own column refuses may or may not reach the edits: only records where that is all the same.
    without = {**row, **{column: None for column, _ in found}}
    edits = {e for act in acts for e in act.edits}
    return sorted(found) == sorted(v for act in acts for v in act.violations) and all(
        set(plain_edits.broken(plain_edits.ERRORS, each, 2020)) == edits for each in (row, without)
    )


def done_to(cells: list[str], acts: list[Act]) -> list[str]:
    out = list(cells)
    for act in acts:
        for name, text in act.cells.items():
            out[index(name)] = text
    return out


def doubles(rng: random.Random) -> Register:
    """Twenty records are sent twice, and counted twice in the control record."""
    register = Register.of("lar_2018_bank0_1000.txt")
    for position in sorted(rng.sample(range(len(register.rows)), 20), reverse=True):
        register.rows.insert(position + 1, list(register.rows[position]))
    for number, (one, two) in enumerate(zip(register.rows, register.rows[1:], strict=False), start=2):
        if one == two:
            register.notes[number] = {"done": "the record before it, sent a second time"}
    register.control[COUNT_FIELD] = str(len(register.rows))
    return register


def violations(rng: random.Random) -> Register:
    """Forty acts on 34 records, three of which get three acts at once, and one record that lost its last fields."""
    register = Register.of("lar_2020_bank1_1000.txt")
    typed = [plain_contract.typed_row(CONTRACT, cells)[0] for cells in register.rows]
    free = rng.sample(range(len(typed)), len(typed))
    alone = rng.sample(CELLS, len(CELLS)) + rng.sample(EDITS, ACTS - len(CELLS))

    def place(group: list[Act]) -> bool:
        position = next((p for p in free if takes(typed[p], group)), None)
        if position is not None:
            free.remove(position)
            register.rows[position] = done_to(register.rows[position], group)
            register.notes[position + 1] = {"done": "; ".join(act.done for act in group)}
        return position is not None

    for wanted in ((2, 1), (0, 3), (1, 2)):  # cells and edits that are broken at once
        for _ in range(200):
            cells, edits = [a for a in alone if a.violations], [a for a in alone if a.edits]
            group = rng.sample(cells, wanted[0]) + rng.sample(edits, wanted[1])
            if len({name for act in group for name in act.cells}) == sum(len(a.cells) for a in group) and place(group):
                alone = [act for act in alone if act not in group]
                break
        else:
            raise SystemExit("no record takes three acts at once")
    for act in alone:
        if not place([act]):
            raise SystemExit(f"no record takes '{act.done}' without side effects")
    register.rows[free[0]] = register.rows[free[0]][:-5]
    register.notes[free[0] + 1] = {"done": "the last five fields are lost"}
    return register


def refiled(rng: random.Random) -> Register:
    """The whole register once more; twelve actions are corrected: six 2 to 1, six 5 to 4, each on a later date."""
    register = Register.of("lar_2020_bank0_1000.txt")
    done = {"2": 0, "5": 0}
    for position in rng.sample(range(len(register.rows)), len(register.rows)):
        cells = list(register.rows[position])
        before, day = cells[index("action_taken")], datetime.strptime(cells[index("action_taken_date")], "%Y%m%d")
        later = day + timedelta(days=rng.randint(14, 60))
        if done.get(before, 6) == 6 or later.year != 2020:
            continue
        cells[index("action_taken")] = {"2": "1", "5": "4"}[before]
        cells[index("action_taken_date")] = f"{later:%Y%m%d}"
        if plain_edits.broken(plain_edits.ERRORS, plain_contract.typed_row(CONTRACT, cells)[0], 2020):
            continue
        done[before] += 1
        register.rows[position] = cells
        register.notes[position + 1] = {"done": f"action {before} corrected", "corrects": cells[index("uli")]}
    if set(done.values()) != {6}:
        raise SystemExit(f"twelve actions to correct were not found: {done}")
    return register


def latin1(rng: random.Random) -> tuple[bytes, int]:
    """A feed that is UTF-8 but for one name written in Latin-1, and the record's number."""
    register = Register.of("lar_2018_bank0_100.txt")
    number = rng.randint(20, 80)
    while register.rows[number - 1][index("city")] == "Exempt":
        number += 1
    register.rows[number - 1][index("city")] = "Cañón City"
    return register.data("latin-1"), number


def build(seed: int) -> list[Landed]:
    """Every file of the landing zone, in order of name, with what is known of it beforehand."""
    rng = random.Random(seed)  # noqa: S311  # a repeatable choice is the point; nothing is secret
    plain = (REGISTERS / "lar_2020_bank0_1000.txt").read_bytes()
    twice, broken, again = doubles(rng), violations(rng), refiled(rng)
    latin_bytes, latin_record = latin1(rng)
    whole = (REGISTERS / "lar_2020_bank1_1000.txt").read_bytes()
    at = rng.randint(500_000, 600_000)
    while whole[at - 40 : at].count(b"\n") or whole[at : at + 40].count(b"\n"):  # well inside a record
        at += 1
    miscounted = Register.of("lar_2018_bank0_100.txt")
    miscounted.control[COUNT_FIELD] = "110"

    def source(name: str) -> bytes:
        return (REGISTERS / name).read_bytes()

    files = [
        Landed("lar_2018_bank0_100.txt", source("lar_2018_bank0_100.txt"), "as published"),
        Landed("lar_2018_bank0_1020_doubles.txt", twice.data(), "twenty duplicates", notes=twice.notes),
        Landed("lar_2018_bank0_3_rows.txt", source("clean_file_3_rows_bank0.txt"),
               "as published: the name says 3 rows, control record and content say 2"),
        Landed("lar_2018_bank0_extra_field.txt", source("bad_extra_field_row1.txt"),
               "as published: the first record has 111 fields"),
        Landed("lar_2018_bank0_latin1.txt", latin_bytes, "a Latin-1 name in a UTF-8 feed",
               held="encoding", record=latin_record),
        Landed("lar_2018_bank0_miscounted.txt", miscounted.data(), "declares 110 records and holds 100",
               held="control_total"),
        Landed("lar_2018_bank0_two_cells.txt", source("bad_two_cells.txt"),
               "as published: quarter 'a' in the control record, loan type 'na' in the first record"),
        Landed("lar_2020_bank0_1000.txt", plain, "as published"),
        Landed("lar_2020_bank0_1000_copy.txt", plain, "the one before under another name"),
        Landed("lar_2020_bank0_1000_refiled.txt", again.data(), "filed again with twelve corrected actions",
               notes=again.notes),
        Landed("lar_2020_bank1_1000_cut.txt", whole[:at], "the transmission ends inside a record",
               held="control_total", record=whole[:at].count(b"\n")),
        Landed("lar_2020_bank1_1000_violations.txt", broken.data(), "forty violations and a short record",
               notes=broken.notes),
    ]  # fmt: skip
    return sorted(files, key=lambda f: f.name)


def write(out: Path, seed: int) -> dict[str, Any]:
    """Writes the landing zone and the list; a file appears under its name only when it is whole."""
    landing = out / "landing" / "hmda"
    landing.mkdir(parents=True, exist_ok=True)
    files = build(seed)
    document = {"seed": seed, "landing": "landing/hmda", **expectation(files, CONTRACT)}
    (out / "damage.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for item in files:
        part = landing / f"{item.name}.tmp"
        part.write_bytes(item.data)
        part.replace(landing / item.name)
    return document


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Damage copies of registers and list what must become of them.")
    parser.add_argument("out", type=Path, help="a lake root: gets landing/hmda with the files, and damage.json")
    parser.add_argument("--seed", type=int, default=20201231)
    chosen = parser.parse_args(arguments)
    document = write(chosen.out, chosen.seed)
    for item in document["files"]:
        print(f"{item['name']:40} {item['records']:>5} records  {item['status']:10} {item['done']}")
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    print(f"{len(document['files'])} files, list {digest[:12]} in {chosen.out / 'damage.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
