"""Both instances against Dagster's own schema, and what the workspaces point to."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster._core.instance.config import dagster_instance_config
from dagster._core.instance.ref import InstanceRef
from dagster._serdes.config_class import class_from_code_pointer

PROJECT = Path(__file__).resolve().parents[2]
OURS = PROJECT / "dagster.yaml"
POSTGRES = PROJECT / "docker" / "dagster.yaml"


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def test_the_embedded_instance_opens(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(OURS.read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 2
        assert not instance.run_retries_enabled
        assert instance.telemetry_enabled is False
        assert instance.get_runs_count() == 0


def test_an_unknown_setting_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(OURS.read_text() + "\nrun_retry:\n  enabled: false\n")
    with pytest.raises(dg.DagsterInvalidConfigError, match="run_retry"):
        dagster_instance_config(str(tmp_path))


def test_the_instance_on_postgresql_fits_the_schema_and_takes_the_driver_that_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dagster_postgres import DagsterPostgresStorage
    from dagster_postgres.utils import pg_url_from_config

    for name, value in (("HOST", "postgres"), ("DB", "lake"), ("USER", "dagster"), ("PASSWORD", "p@ss/word")):
        monkeypatch.setenv(f"DATALAKE_POSTGRES_{name}", value)
    dagster_instance_config(str(POSTGRES.parent))
    stored = InstanceRef.from_dir(str(POSTGRES.parent)).storage_data
    assert stored is not None
    storage = class_from_code_pointer(stored.module_name, stored.class_name)
    assert issubclass(storage, DagsterPostgresStorage)
    checked = process_config(resolve_to_config_type(storage.config_type()), yaml.safe_load(stored.config_yaml))
    assert checked.success, checked.errors
    assert checked.value is not None
    assert pg_url_from_config(checked.value) == "postgresql+psycopg2://dagster:p%40ss/word@postgres:5432/lake"


def test_the_two_instances_differ_in_storage_and_folders_only() -> None:
    ours, postgres = read(OURS), read(POSTGRES)
    assert set(postgres) - set(ours) == {"storage", "local_artifact_storage", "compute_logs"}
    assert {name: postgres[name] for name in ours} == ours


def test_the_workspace_of_the_project_names_a_module_that_exists() -> None:
    (location,) = read(PROJECT / "workspace.yaml")["load_from"]
    name = location["python_module"]["module_name"]
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin == str(PROJECT / "datalake_assets" / "definitions.py")


def test_the_workspace_of_the_containers_names_the_code_location_of_the_compose_file() -> None:
    (location,) = read(PROJECT / "docker" / "workspace.yaml")["load_from"]
    server = location["grpc_server"]
    command = read(PROJECT / "docker" / "compose.yaml")["services"][server["host"]]["command"]
    assert command[command.index("-p") + 1] == str(server["port"])
    assert importlib.util.find_spec(command[command.index("-m") + 1]) is not None


def test_both_workspaces_fit_the_schema() -> None:
    from dagster._core.workspace.config_schema import process_workspace_config

    for path in (PROJECT / "workspace.yaml", PROJECT / "docker" / "workspace.yaml"):
        checked = process_workspace_config(read(path))
        assert checked.success, checked.errors
