"""Style and types, as tests: whoever runs the suite has run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
ROOMS = (
    "pipeline_xml", "processing", "resources", "publishing", "stewardship", "sensors", "datalake_assets",
    "control_plane", "command_line",
)  # fmt: skip


def run(*command: str) -> str:
    """What the tool found; nothing where it is content."""
    ran = subprocess.run([sys.executable, "-m", *command], cwd=PROJECT, capture_output=True, text=True, timeout=600)
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


def test_ruff_finds_nothing() -> None:
    found = run("ruff", "check", "--output-format", "concise", ".")
    assert not found, found


def test_mypy_finds_nothing() -> None:
    rooms = [name for name in ROOMS if (PROJECT / name / "__init__.py").exists()]
    scripts = [str(path.relative_to(PROJECT)) for path in sorted((PROJECT / "scripts").glob("*.py"))]
    found = run("mypy", "--no-error-summary", *rooms, *scripts)
    assert not found, found
