"""`lake ledger …` as a process: exit codes, documents, and a ledger that was lost between two runs."""

from __future__ import annotations

import fcntl
import os
import time

import pytest

from tests.integration.test_command_line import Lake


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """One batch of the payments case, published; each test leaves it as it was."""
    lake = Lake(tmp_path_factory.mktemp("lake"))
    lake.land("payments_20240105.csv")
    lake.json(0, "run", "bank/payments", "--json")
    return lake


def test_a_lost_ledger_is_told_made_again_and_nothing_is_taken_twice(lake: Lake) -> None:
    assert lake.json(0, "ledger", "verify", "--json") == {"differences": []}
    for path in lake.data.glob("ledger.db*"):
        path.unlink()
    told = lake.json(1, "run", "bank/payments", "--json")
    assert "lake ledger rebuild" in told["error"]
    made = lake.json(0, "ledger", "rebuild", "--yes", "--json")
    assert (made["batches"], made["files"], made["open"]) == (1, 1, 0)
    assert lake.json(0, "ledger", "verify", "--json") == {"differences": []}
    assert lake.json(0, "run", "bank/payments", "--json")["status"] == "nothing_to_do"


def test_verify_exits_with_one_and_names_the_difference(lake: Lake) -> None:
    (raw,) = (lake.data / "raw" / "bank" / "payments").iterdir()
    raw.rename(lake.data / "elsewhere")
    (found,) = lake.json(1, "ledger", "verify", "bank", "--no-hash", "--json")["differences"]
    assert found["code"] == "raw_missing"
    said = lake("ledger", "verify")
    assert said.returncode == 1
    assert "raw_missing" in said.stdout
    assert lake("ledger", "verify", "nobody").returncode == 2
    (lake.data / "elsewhere").rename(raw)


def test_rebuild_asks_first_and_refuses_under_a_run(lake: Lake) -> None:
    assert lake("ledger", "rebuild", "--json").returncode == 2
    with (lake.data / "locks" / "bank" / "payments").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused = lake("ledger", "rebuild", "--yes")
    assert refused.returncode == 2
    assert "bank/payments runs now" in refused.stderr
    assert not list(lake.data.glob("ledger.db.rebuild*"))


def test_sweep_says_and_removes(lake: Lake) -> None:
    left = lake.data / "raw" / "bank" / "payments" / ".copy-0"
    left.write_bytes(b"four")
    assert lake.json(0, "ledger", "sweep", "--json") == {"found": [], "left": 0, "bytes": 0}
    os.utime(left, (time.time() - 7200,) * 2)
    dry = lake.json(0, "ledger", "sweep", "--dry-run", "--json")
    assert (len(dry["found"]), dry["left"]) == (1, 1)
    done = lake("ledger", "sweep")
    assert (done.returncode, done.stdout.strip()) == (0, "removed: 1 raw_copy, 4 bytes; 0 left")
    assert not left.exists()
    assert lake("ledger", "sweep", "--older-than", "an hour").returncode == 2
