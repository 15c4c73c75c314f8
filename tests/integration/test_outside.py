"""Databases, topics and APIs are checked and shown; to run one says what to do instead, and disturbs nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LAKE = [sys.executable, "-c", "from command_line.main import run; run()"]
SOURCES = {
    "database": '<database id="s" jdbcUrl="jdbc:postgresql://host/db" schemaRef="schemas/s.json"><sql>SELECT id FROM t '
    "WHERE day &gt;= :businessDate</sql></database>",
    "kafka": '<kafka id="s" topic="orders" schemaRef="schemas/s.json"/>',
    "api": '<api id="s" url="https://example.com/orders" schemaRef="schemas/s.json"/>',
}
FILES = '<csv id="s" path="landing/*.csv" schemaRef="schemas/s.json"/>'
TABLE = '<hive table="staging.{}" mode="append"/>'
OUT = '<database id="copy" jdbcUrl="jdbc:postgresql://host/db" mode="append"><table name="t"/></database>'


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    staging = tmp_path / "config" / "applications" / "app" / "staging"
    for folder in ("pipelines", "schemas"):
        (staging / folder).mkdir(parents=True)
    schema = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
    (staging / "schemas" / "s.json").write_text(json.dumps(schema))
    pipelines = {kind: (source, TABLE.format(kind)) for kind, source in SOURCES.items()}
    pipelines |= {"out": (FILES.replace("*", "none*"), OUT), "files": (FILES, TABLE.format("files"))}
    for name, (source, target) in pipelines.items():
        text = f'<pipeline id="{name}" version="1.0" layer="staging"><metadata><appName>app</appName></metadata>'
        text += f"<sources>{source}</sources><targets>{target}</targets></pipeline>"
        (staging / "pipelines" / f"{name}.xml").write_text(text)
    (tmp_path / "data" / "landing").mkdir(parents=True)
    (tmp_path / "data" / "landing" / "a.csv").write_text("id\n1\n")
    return tmp_path


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATALAKE_CONFIG": str(root / "config"), "DATALAKE_DATA": str(root / "data")}
    return subprocess.run(
        [*LAKE, *arguments], env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def test_what_does_not_run_yet_says_so_and_what_to_do(lake: Path) -> None:
    assert run(lake, "check").returncode == 0
    ended = run(lake, "run", "app/database", "--json")
    said = json.loads(ended.stdout)
    assert (ended.returncode, said["status"]) == (1, "failed")
    place = "applications/app/staging/pipelines/database.xml:1:"
    assert place in said["error"]
    assert said["error"].endswith(
        "LK190 not runnable in this version: <database> sources; have an extract sent as csv, json or parquet files, "
        "and read those"
    )
    instead = {"kafka": "files of JSON lines", "api": "JSON files", "out": "a lake table or an export"}
    for name, words in instead.items():
        shown = json.loads(run(lake, "explain", f"app/{name}", "--json").stdout)
        (why,) = shown["not_runnable"]
        assert "LK190" in why and words in why, name


def test_the_pipelines_beside_it_run(lake: Path) -> None:
    said = json.loads(run(lake, "run", "app/files", "--json").stdout)
    assert said["status"] == "published"
    assert run(lake, "ledger", "verify", "app").returncode == 0
