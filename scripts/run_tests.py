"""The whole suite in two halves, each with pytest's own output and summary; the last line says how both ended.

run_tests.py               the embedded half, then Spark's; without Java 17 that is said, and it is no success
run_tests.py --embedded    the embedded half only
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from resources.engine import EngineUnavailable, find_java

PROJECT = Path(__file__).resolve().parent.parent
# A process for each core, and each test file in one of them: its fixtures start once.
WORKERS = ("-n", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile")
WITHOUT_JAVA = "not run, Java 17 missing"


@dataclass(frozen=True)
class Half:
    """What pytest counted, and its exit code: 5 (nothing collected) and a crash are no success either."""

    code: int
    passed: int
    failed: int
    skipped: int

    def __str__(self) -> str:
        if self.code and not self.failed:
            return f"{self.passed} passed, ended with exit code {self.code}"
        said = [f"{self.passed} passed", f"{self.failed} failed", f"{self.skipped} skipped"]
        return ", ".join(text for text in said if text == said[0] or not text.startswith("0 "))


def run_half(name: str, marks: str, *options: str) -> Half:
    """Runs the tests with these marks; what pytest prints goes straight through."""
    print(f"\n=== {name} ===", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-m", marks, f"--junitxml={report}", *options]
        code = subprocess.run(command, cwd=PROJECT, check=False).returncode  # noqa: S603 - fixed words, no shell
        return counted(code, report)


def counted(code: int, report: Path) -> Half:
    """The numbers of a JUnit report; zeros where pytest ended before it could write one."""
    if not report.exists():
        return Half(code, 0, 0, 0)
    suite = next(ElementTree.parse(report).iter("testsuite"))  # noqa: S314 - pytest wrote it a moment ago
    total, failures, errors, skipped = (int(suite.get(k, "0")) for k in ("tests", "failures", "errors", "skipped"))
    return Half(code, total - failures - errors - skipped, failures + errors, skipped)


def main(arguments: list[str]) -> int:
    embedded = run_half("embedded", "not spark", *WORKERS)
    if arguments == ["--embedded"]:
        print(f"\nembedded: {embedded}")
        return int(embedded.code != 0)
    try:
        find_java()
    except EngineUnavailable as missing:
        print(f"\n{missing}", file=sys.stderr, flush=True)
        print(f"embedded: {embedded} · spark: {WITHOUT_JAVA}")
        return 1
    spark = run_half("spark", "spark")
    print(f"\nembedded: {embedded} · spark: {spark}")
    return int(embedded.code != 0 or spark.code != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
