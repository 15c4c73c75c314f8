"""The rooms import in one direction; what the code location loads stays light."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
ROOMS = (
    "pipeline_xml", "processing", "resources", "publishing", "stewardship", "sensors", "datalake_assets",
    "control_plane", "command_line",
)
BESIDE = ("tests", "scripts", "benchmarks", "demo")  # not part of the product
NEVER = {("control_plane", "sensors"), ("control_plane", "datalake_assets")}
HEAVY = ("pyspark", "pandas", "great_expectations", "deltalake", "boto3", "asyncssh")
NO_NAMES = {"utils", "common", "helpers", "core", "manager", "base"}


def wrong_imports(file: Path, room: str) -> Iterator[str]:
    """`file:line: a may not import b` for each import of a room that is not above this one."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
        for other in {name.partition(".")[0] for name in names} & set(ROOMS):
            if ROOMS.index(other) > ROOMS.index(room) or (room, other) in NEVER:
                yield f"{file}:{getattr(node, 'lineno', 0)}: {room} may not import {other}"


def room_files() -> Iterator[tuple[str, Path]]:
    for room in ROOMS:
        for file in sorted((PROJECT / room).rglob("*.py")):
            yield room, file.relative_to(PROJECT)


def test_rooms_import_only_from_those_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    found = [line for room, file in room_files() for line in wrong_imports(file, room)]
    assert not found, "\n".join(found)


def test_an_upward_import_is_found_even_inside_a_function(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("import os\ndef f():\n    from publishing.lake import Lake\n")
    assert list(wrong_imports(file, "resources")) == [f"{file}:3: resources may not import publishing"]
    assert list(wrong_imports(file, "sensors")) == []


def test_one_level_of_folders_and_no_nameless_modules() -> None:
    files = [file for _, file in room_files()]
    assert not [file for file in files if len(file.parts) > 3 and "migrations" not in file.parts]
    assert not [file for file in files if NO_NAMES & {file.stem, *file.parts[:-1]}]


def test_no_file_is_longer_than_400_lines() -> None:
    """Of the tests, the scripts and the benchmarks neither: they are read as often as what they are about."""
    files = [file for _, file in room_files()]
    files += [f.relative_to(PROJECT) for room in BESIDE for f in sorted((PROJECT / room).rglob("*.py"))]
    lengths = {str(file): len((PROJECT / file).read_text().splitlines()) for file in files}
    assert any(file.startswith("tests/engine/") for file in lengths)
    assert not {file: lines for file, lines in lengths.items() if lines > 400}


def test_the_code_location_loads_without_engines_and_reads_nothing_at_import() -> None:
    """In a process of its own, because the tests around this one import what they like."""
    assert _loaded(PROJECT / "config") == "[] []"


def test_remote_landing_zones_do_not_make_it_heavier(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "config", tmp_path / "config")
    zones = tmp_path / "config" / "applications" / "mortgage" / "staging" / "resources" / "landing.xml"
    remote = (
        '<landingZone id="hmda" type="sftp" uri="sftp://bank@files.example.com/in" secretRef="BANK_KEY"/>'
        '<landingZone id="cloud" type="s3" uri="s3://feeds/in"/>'
    )
    zones.write_text(re.sub(r"<landingZone[^>]*/>", remote, zones.read_text(), count=1))
    assert 'type="s3"' in zones.read_text()
    assert _loaded(tmp_path / "config") == "[] []"


def _loaded(config: Path) -> str:
    """What a fresh process that loads the code location has imported too early, and of what is heavy."""
    program = (
        "import sys; import datalake_assets.definitions as d; early = sorted(m for m in sys.modules if m == 'lxml');"
        "d.definitions().get_repository_def().get_all_jobs();"
        f"print(early, sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    env = {**os.environ, "DATALAKE_CONFIG": str(config), "PYTHONPATH": str(PROJECT)}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, timeout=120)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout.strip().splitlines()[-1]
