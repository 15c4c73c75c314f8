"""Opening an engine: what a session is set to, what ends with it, and what is said when it cannot be had."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline_xml.checked import Catalog
from publishing.lake import open_lake
from resources.engine import Engine, EngineUnavailable, find_java, open_engine, session_settings
from resources.settings import Settings

_WITHOUT_FAREWELL = """
import os, sys
from resources.engine import open_engine
with open_engine("spark") as engine:
    print(engine.session.client._builder.endpoint, flush=True)
    os._exit(9)
"""


def test_sessions_read_and_write_alike(engine: Engine) -> None:
    assert {k: engine.session.conf.get(k) for k in session_settings(engine.name)} == dict(session_settings(engine.name))
    moment = engine.session.range(1).selectExpr("timestamp'2024-07-01 12:00:00' as t").toArrow()
    assert str(moment.schema.field("t").type) == "timestamp[us, tz=UTC]"
    assert moment.to_pylist()[0]["t"].isoformat() == "2024-07-01T12:00:00+00:00"


def test_functions_of_this_project_run_in_the_workers(engine: Engine) -> None:
    from processing.references import load_reference

    where = load_reference.__module__

    def named(batches):  # type: ignore[no-untyped-def]  # pyspark takes it by its columns
        import importlib

        importlib.import_module(where)
        yield from batches

    assert engine.session.range(3).mapInArrow(named, "id bigint").count() == 3


def test_sail_listens_here_only_and_is_silent(tmp_path: Path) -> None:
    script = (
        "from resources.engine import open_engine\n"
        "with open_engine('sail') as e:\n"
        "    e.session.range(3).count()\n"
        "    print(e.session.client._builder.endpoint)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"127\.0\.0\.1:\d+\n", done.stdout)
    assert done.stderr == ""


@pytest.mark.spark
def test_the_server_ends_even_when_its_owner_is_killed() -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT_FAREWELL], capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    host, _, port = done.stdout.strip().rpartition(":")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((host, int(port))) != 0:
                return
        time.sleep(0.1)
    pytest.fail("the Spark server still listens")


def test_an_unknown_engine_names_those_there_are() -> None:
    with pytest.raises(EngineUnavailable, match="unknown engine 'flink'; valid: sail, spark"), open_engine("flink"):
        pass
    with pytest.raises(EngineUnavailable, match="takes no remote"), open_engine("sail", "sc://127.0.0.1:1"):
        pass


def test_a_missing_or_old_java_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    told = r"needs Java 17 or later, and there is none in PATH .*DATALAKE_ENGINE=sail"
    with pytest.raises(EngineUnavailable, match=told):
        find_java()
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    with pytest.raises(EngineUnavailable, match=r'has openjdk version "11\.0\.2"'):
        find_java()
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.2\" 2024-01-16' >&2\n")
    assert find_java() == str(java)


def test_a_remote_that_does_not_answer_is_named_without_its_token() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused at once
        port = taken.getsockname()[1]
        remote = f"sc://127.0.0.1:{port}/;token=hidden-token"
        with pytest.raises(EngineUnavailable, match=f"127.0.0.1:{port}") as told, open_engine("spark", remote):
            pass
    assert "hidden-token" not in str(told.value)


def test_an_engine_begun_beside_other_work_serves_and_ends_with_the_lake(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "config", tmp_path / "data")
    with open_lake(settings, Catalog(tmp_path, ()), None) as lake:
        lake.begin_engine()
        lake.begin_engine()
        assert lake.engine.session.range(3).count() == 3
        assert lake.engine is lake.engine
        session = lake.engine.session
    assert session.is_stopped
    with open_lake(settings, Catalog(tmp_path, ()), None) as lake:
        lake.begin_engine()  # nobody asks for it: it is ended all the same
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


def test_an_engine_begun_that_cannot_start_says_so_where_it_is_used(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "config", tmp_path / "data", "spark", spark_remote="sc://127.0.0.1:1")
    with open_lake(settings, Catalog(tmp_path, ()), None) as lake:
        lake.begin_engine()
        with pytest.raises(EngineUnavailable, match="no Spark Connect server answers"):
            _ = lake.engine
