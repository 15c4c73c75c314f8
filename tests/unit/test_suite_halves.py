"""`make test` says what it tested: two halves with pytest's own output, and a last line that hides nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
GOOD = "def test_one(): pass\ndef test_two(): pass\n"
BAD = "def test_one(): pass\ndef test_two(): assert False\n"
SPARK = "import pytest\n@pytest.mark.spark\ndef test_three(): pass\n"
CONFIG = "[pytest]\naddopts = -q --strict-markers\nmarkers = spark\n"


def run(folder: Path, embedded: str, java: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script over a project of a few tests, with a java of that version or with none."""
    (folder / "scripts").mkdir()
    shutil.copy(PROJECT / "scripts" / "run_tests.py", folder / "scripts")
    (folder / "pytest.ini").write_text(CONFIG)
    (folder / "test_embedded.py").write_text(embedded)
    (folder / "test_spark.py").write_text(SPARK)
    if java is not None:
        (folder / "bin").mkdir()
        (folder / "bin" / "java").write_text(f"#!/bin/sh\necho 'openjdk version \"{java}.0.1\"' >&2\n")
        (folder / "bin" / "java").chmod(0o755)
    env = {**os.environ, "JAVA_HOME": str(folder), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, str(folder / "scripts" / "run_tests.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=folder, timeout=120)


def last(ran: subprocess.CompletedProcess[str]) -> str:
    return ran.stdout.rstrip().splitlines()[-1]


@pytest.mark.parametrize("java", [None, "11"])
def test_without_java_17_the_last_line_says_so_and_it_is_no_success(tmp_path: Path, java: str | None) -> None:
    ran = run(tmp_path, GOOD, java)
    assert last(ran) == "embedded: 2 passed · spark: not run, Java 17 missing"
    assert ran.returncode == 1
    assert "2 passed in" in ran.stdout


def test_with_java_both_halves_run_and_are_counted_apart(tmp_path: Path) -> None:
    ran = run(tmp_path, GOOD, "17")
    assert last(ran) == "embedded: 2 passed · spark: 1 passed"
    assert ran.returncode == 0
    assert "1 passed, 2 deselected in" in ran.stdout


def test_a_failure_in_one_half_lets_the_other_run_and_fails_the_whole(tmp_path: Path) -> None:
    ran = run(tmp_path, BAD, "21")
    assert last(ran) == "embedded: 1 passed, 1 failed · spark: 1 passed"
    assert ran.returncode == 1


def test_a_half_that_could_not_even_be_collected_is_no_success(tmp_path: Path) -> None:
    ran = run(tmp_path, "import nothing_of_that_name\n", None, "--embedded")
    assert last(ran).startswith("embedded: 0 passed")
    assert ran.returncode == 1
