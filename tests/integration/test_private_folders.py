"""Cells in clear of a steward's expressions do not outlive their process by more than the next command."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from publishing.private_folder import private_folder
from tests.integration.test_quarantine_commands import Inside

DIES = """
import os, signal, sys
import {module}
{module}.{name} = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = ["lake", *sys.argv[1:]]
from command_line.main import run
run()
"""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Inside:
    made = Inside(tmp_path_factory.mktemp("lake"))
    made.environment["DATALAKE_TOKEN"] = ""
    made.land("payments_20240105.csv")
    assert made.as_process("run", "bank/payments").returncode == 0
    return made


def clear(lake: Inside) -> list[Path]:
    staged = Path(lake.environment["DATALAKE_DATA"]) / "staged"
    return [path for path in staged.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("module", "name"), [("stewardship.bulk", "_evaluated"), ("publishing.replay_trial", "_told")]
)
@pytest.mark.parametrize("after", [("quarantine", "list", "--json"), ("run", "bank/payments", "--json")])
def test_what_a_killed_command_left_goes_with_the_next(
    lake: Inside, module: str, name: str, after: tuple[str, ...]
) -> None:
    (line,) = lake.json(0, "quarantine", "list", "--json")["batches"]
    code = DIES.format(module=module, name=name)
    command = ["quarantine", "correct", line["key"], "--set", "currency='USD'", "--reason", "r", "--dry-run"]
    died = subprocess.run([sys.executable, "-c", code, *command], env=lake.environment, cwd=Path(__file__).parents[2])
    assert died.returncode == -signal.SIGKILL
    assert [path for path in clear(lake) if path.suffix == ".parquet"]
    staged = Path(lake.environment["DATALAKE_DATA"]) / "staged"
    with private_folder(staged, staged / "corrections" / "of-another") as other:
        (other / "cells").write_text("x")
        lake.json(0, *after)
        assert [path.name for path in clear(lake) if path.parent.name != ".private"] == ["cells"]
    assert clear(lake) == []
