"""The contract that scripts rely on: `lake` as a process, its documents and its exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.delta_rows import delta_dataset

PROJECT = Path(__file__).resolve().parents[2]
CASE = PROJECT / "tests" / "cases" / "valid" / "payments"
LAKE = Path(sys.executable).parent / "lake"
BATCH_KEYS = {"batch", "business_date", "attempt", "origin", "status", "reason", "counts", "files", "targets", "checks"}


class Lake:
    """`lake` over copies of a golden case's definitions and a lake root of its own."""

    def __init__(self, root: Path) -> None:
        self.config, self.data = root / "config", root / "data"
        shutil.copytree(CASE / "config", self.config)
        (self.data / "landing" / "core").mkdir(parents=True)
        self.environment = {
            **os.environ,
            "DATALAKE_CONFIG": str(self.config),
            "DATALAKE_DATA": str(self.data),
            "DATALAKE_ENGINE": "sail",
            "BANK_MASK_KEY": "a key for tests only, nothing else",
        }
        self.anywhere = root / "anywhere"
        self.anywhere.mkdir()

    def land(self, name: str, content: bytes | None = None) -> None:
        source = CASE / "input" / "payments_20240105.csv"
        (self.data / "landing" / "core" / name).write_bytes(source.read_bytes() if content is None else content)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(LAKE), *arguments],
            env=self.environment,
            cwd=self.anywhere,
            capture_output=True,
            text=True,
            check=False,
        )

    def json(self, code: int, *arguments: str) -> Any:
        done = self(*arguments)
        assert done.returncode == code, (done.returncode, done.stdout[-2000:], done.stderr[-2000:])
        return json.loads(done.stdout)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def test_run_publishes_once_and_reprocess_replaces(lake: Lake) -> None:
    lake.land("payments_20240105.csv")
    document = lake.json(0, "run", "bank/payments", "--json")
    assert (document["status"], document["error"]) == ("published", None)
    (pipeline,) = document["pipelines"]
    (batch,) = pipeline["batches"]
    assert set(batch) >= BATCH_KEYS
    assert batch["counts"] == {
        "in": 8, "accepted": 3, "quarantined": 3, "deduplicated": 1, "filtered": 1, "superseded": 0, "skipped": 0,
    }  # fmt: skip
    assert batch["files"][0]["counts"] == batch["counts"]
    assert batch["targets"][0]["rows_written"] == 3
    assert batch["quarantine"]["records"] == 3

    again = lake.json(0, "run", "bank/payments", "--json")
    assert (again["status"], again["pipelines"][0]["batches"]) == ("nothing_to_do", [])

    third = lake.json(0, "run", "bank/payments", "--reprocess", "--json")
    (batch,) = third["pipelines"][0]["batches"]
    assert (batch["attempt"], batch["targets"][0]["rows_written"]) == (2, 3)
    assert _rows(Path(batch["targets"][0]["path"])) == 3
    assert _rows(Path(batch["quarantine"]["path"])) == 3


def test_a_date_limits_the_run(lake: Lake) -> None:
    lake.land("payments_20240105.csv")
    lake.land("payments_20240106.csv", b"payment_id,account,amount,currency,fee,booked_on,status,updated_at\n")
    document = lake.json(0, "run", "bank/payments", "--date", "2024-01-06", "--json")
    assert [b["business_date"] for b in document["pipelines"][0]["batches"]] == ["2024-01-06"]
    document = lake.json(0, "run", "bank/payments", "--json")
    assert [b["business_date"] for b in document["pipelines"][0]["batches"]] == ["2024-01-05"]


def test_a_held_file_ends_with_three(lake: Lake) -> None:
    lake.land("payments_20240105.csv")
    lake.land("payments_20240106.csv", b"")
    document = lake.json(3, "run", "bank/payments", "--json")
    assert document["status"] == "held"
    assert {b["status"] for b in document["pipelines"][0]["batches"]} == {"published", "held"}


def test_a_failed_run_ends_with_one_and_is_taken_up_again(lake: Lake) -> None:
    lake.land("payments_20240105.csv")
    del lake.environment["BANK_MASK_KEY"]
    document = lake.json(1, "run", "bank/payments", "--json")
    assert document["status"] == "failed"
    said = "SecretMissing: secret 'BANK_MASK_KEY' is missing; looked at the environment variable BANK_MASK_KEY and "
    assert document["error"].startswith(said)
    assert "\n" not in document["error"]
    assert not list((lake.data / "staged").rglob("*")), "looked up before anything is computed"
    lake.environment["BANK_MASK_KEY"] = "too short"
    document = lake.json(1, "run", "bank/payments", "--json")
    assert document["error"] == "SecretMissing: secret 'BANK_MASK_KEY' has 9 bytes; a key needs at least 16"
    lake.environment["BANK_MASK_KEY"] = "a key for tests only, nothing else"
    document = lake.json(0, "run", "bank/payments", "--json")
    assert document["pipelines"][0]["batches"][0]["counts"]["accepted"] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "bank/paymnts"), "payments"),
        (("run", "bnk/payments"), "bank"),
        (("run", "bank/payments", "--date", "yesterday"), "2024-12-31"),
        (("check", "--format", "xml"), "github"),
    ],
)
def test_wrong_use_ends_with_two_and_says_what_is_valid(lake: Lake, arguments: tuple[str, ...], said: str) -> None:
    done = lake(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_definition_ends_with_two_and_check_lists_it(lake: Lake) -> None:
    path = lake.config / "applications" / "bank" / "staging" / "pipelines" / "payments.xml"
    path.write_text(path.read_text().replace('keys="payment_id"', 'keys="payment_di"'))
    assert lake("run", "bank/payments").returncode == 2
    (found,) = lake.json(1, "check", "--format", "json")
    assert set(found) == {"file", "line", "column", "code", "severity", "message"}
    assert (found["line"], found["severity"]) == (15, "error")
    assert "payment_di" in found["message"]
    assert lake("check", str(path.parent.parent / "resources")).returncode == 0


def test_checks_on_what_is_published(lake: Lake) -> None:
    lake.land("payments_20240105.csv")
    lake.json(0, "run", "bank/payments", "--json")
    found = {c["name"]: c for c in lake.json(0, "checks", "bank/payments", "--json")}
    assert found["fee_below_amount"]["passed"]
    assert not found["euro_only"]["passed"], "a warning that a published row breaks, and no reason to exit 1"
    assert found["reconciled"]["failed_rows"] == 0
    _delete_a_row(lake.data / "applications" / "bank" / "staging" / "payments")
    found = {c["name"]: c for c in lake.json(1, "checks", "bank", "--json")}
    assert (found["reconciled"]["passed"], found["reconciled"]["failed_rows"]) == (False, 1)


def _rows(table: Path) -> int:
    return int(delta_dataset(table).count_rows())


def _delete_a_row(table: Path) -> None:
    from deltalake import DeltaTable

    DeltaTable(str(table)).delete("payment_id = 'P0002'")
