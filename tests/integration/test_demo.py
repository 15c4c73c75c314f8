"""The demo as a newcomer runs it: exit 0, every comparison ok; and it can fail, for each thing it compares."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
HELD = {"lar_2018_bank0_latin1.txt", "lar_2018_bank0_miscounted.txt", "lar_2020_bank1_1000_cut.txt"}


def demo(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DATALAKE_", "MORTGAGE_"))}
    return subprocess.run(
        [sys.executable, str(PROJECT / "demo" / "run_demo.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=root.parent,
        env={**kept, "DATALAKE_DATA": str(root)},
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    root = tmp_path_factory.mktemp("demo") / "lake"
    return root, demo(root)


def compared(output: str) -> dict[str, list[str]]:
    lines = output.splitlines()
    return {mark: [line for line in lines if line.startswith(mark)] for mark in ("ok ", "DIFFERENT ")}


def test_everything_reconciles(ran: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    root, done = ran
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    found = compared(done.stdout)
    assert found["DIFFERENT "] == []
    assert len(found["ok "]) >= 40
    for layer in ("report", "raw", "staging", "quarantine", "standardization", "service", "export"):
        assert any(line.split()[1] == f"{layer}:" for line in found["ok "]), layer
    held = next(line for line in found["ok "] if "held are exactly" in line)
    assert {word.strip(",") for word in held.split()} >= HELD
    assert "closes" in done.stdout
    assert done.stdout.count("preview") == 3
    assert str(root / "applications/mortgage/exceptions/lar") in done.stdout


def test_no_value_of_a_rejected_record_is_shown(ran: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    root, done = ran
    listed = json.loads((root / "damage.json").read_text())
    loans = [c["uli"] for c in listed["standardization"]["corrected"]]
    register = (root / "landing/hmda/lar_2020_bank1_1000_violations.txt").read_text().splitlines()
    for record in (r["record"] for r in listed["records"] if r["file"].endswith("violations.txt")):
        loans.append(register[record].split("|")[2])
    assert len(loans) > 40
    assert not [loan for loan in loans if loan in done.stdout + done.stderr]


def _fewer_held(listed: Any) -> None:
    file = next(f for f in listed["files"] if f["name"] == "lar_2018_bank0_miscounted.txt")
    file.update(status="published", reason=None)


def _more_held(listed: Any) -> None:
    listed["files"][0].update(status="held", reason="control_total", counts=None)


def _other_reason(listed: Any) -> None:
    next(f for f in listed["files"] if f["reason"] == "encoding")["reason"] = "control_total"


def _fewer_quarantined(listed: Any) -> None:
    listed["records"].remove(next(r for r in listed["records"] if r["end"] == "quarantined"))


def _other_rule(listed: Any) -> None:
    errors = [e for r in listed["records"] for e in r["errors"] if "rule" in e]
    errors[0]["rule"] = "V999"


def _other_action(listed: Any) -> None:
    listed["standardization"]["corrected"][0]["action_taken_date"] = "2020-01-01"


def _other_amount(listed: Any) -> None:
    listed["service"]["groups"][0]["loan_amount_total"] = "1.00"


def _other_bytes(listed: Any) -> None:
    listed["files"][0]["sha256"] = "0" * 64


def _other_count(listed: Any) -> None:
    listed["staging"][0]["records_breaking"]["V709"] += 1


@pytest.mark.parametrize(
    "tamper",
    [
        _fewer_held, _more_held, _other_reason, _fewer_quarantined, _other_rule, _other_action, _other_amount,
        _other_bytes, _other_count,
    ],
    ids=lambda f: f.__name__.strip("_"),
)  # fmt: skip
def test_a_list_that_expects_something_else_fails(
    ran: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path, tamper: Callable[[Any], None]
) -> None:
    root, _ = ran
    listed = copy.deepcopy(json.loads((root / "damage.json").read_text()))
    tamper(listed)
    (tmp_path / "list.json").write_text(json.dumps(listed))
    done = demo(root, "--compare", "--expect", str(tmp_path / "list.json"))
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr
    assert compared(done.stdout)["DIFFERENT "]


def test_a_list_with_one_file_fewer_held_fails_the_whole_demo(
    ran: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    listed = json.loads((ran[0] / "damage.json").read_text())
    _fewer_held(listed)
    (tmp_path / "list.json").write_text(json.dumps(listed))
    done = demo(tmp_path / "lake", "--expect", str(tmp_path / "list.json"))
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr
    assert any("miscounted" in line for line in compared(done.stdout)["DIFFERENT "])


def test_a_folder_that_is_not_the_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = demo(tmp_path)
    assert done.returncode == 2
    assert "not made by the demo" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    lines = [f"A{i:04};Person{i} Of Secrets;{i}.50;2024-02-{i % 28 + 1:02}" for i in range(200)]
    lines[17] = "A0017;Person17 Of Secrets;3.50"  # ragged
    lines[40] = "A0040;Person40 Of Secrets;much;2024-02-03"
    own = tmp_path / "my orders.csv"
    own.write_text("\n".join(["Order ID;Full Name;Amount;Day", *lines]) + "\n", encoding="utf-8")
    done = demo(tmp_path / "lake", f"FILE={own}")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "read 200 records (the whole file)" in done.stdout
    assert "200 records in my orders.csv: every record is accounted for" in done.stdout
    row = next(line for line in done.stdout.splitlines() if "my orders.csv" in line and "published" in line)
    assert [cell.strip() for cell in row.strip("│ ").split("│")][2:] == ["200", "198", "2", "yes"]
    assert "Secrets" not in done.stdout + done.stderr


def test_a_file_of_ones_own_that_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    done = demo(tmp_path / "lake", str(tmp_path / "empty.csv"))
    assert done.returncode == 2
    assert "the file is empty" in done.stderr
