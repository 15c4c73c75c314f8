"""The compose file: every reference leads somewhere, and no secret stands in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
COMPOSE = PROJECT / "docker" / "compose.yaml"
TEXT = COMPOSE.read_text()
VARIABLE = re.compile(r"\$\{([A-Z_]+)(:?[-?])?")
# What the compose specification allows in a service, as far as it can be meant here.
SERVICE_KEYS = {
    "image", "build", "restart", "init", "read_only", "cap_drop", "security_opt", "tmpfs", "networks", "command",
    "environment", "volumes", "healthcheck", "depends_on", "ports",
}  # fmt: skip


def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(TEXT)
    return found


def services() -> dict[str, Any]:
    found: dict[str, Any] = document()["services"]
    return found


def mounts(service: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(source, target) of each volume; a variable with a default or a message holds colons itself."""
    for line in service.get("volumes", ()):
        plain = re.sub(r"\$\{[^}]*\}", "./variable", line)
        source, target = plain.split(":")[:2]
        yield source, target


def test_the_services_are_the_four() -> None:
    assert set(services()) == {"postgres", "code", "ui", "daemon"}
    assert {key for key in document() if not key.startswith("x-")} == {"name", "services", "volumes", "networks"}


def test_every_key_of_a_service_is_one_of_the_specification() -> None:
    assert {name: set(s) - SERVICE_KEYS for name, s in services().items() if set(s) - SERVICE_KEYS} == {}


def test_volumes_networks_and_dependencies_exist() -> None:
    declared = document()
    used_volumes, used_networks = set(), set()
    for name, service in services().items():
        used_networks |= set(service["networks"])
        used_volumes |= {source for source, _ in mounts(service) if not source.startswith((".", "/"))}
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy", name
            has_own = "healthcheck" in services()[other]
            assert has_own or other == "ui", f"{name} waits for {other}, which has no healthcheck"
    assert used_volumes == set(declared["volumes"])
    assert used_networks == set(declared["networks"])


def test_the_build_leads_to_the_dockerfile() -> None:
    for name in ("code", "ui", "daemon"):
        build = services()[name]["build"]
        assert (COMPOSE.parent / build["context"] / build["dockerfile"]).resolve() == PROJECT / "docker" / "Dockerfile"
    assert len({services()[name]["image"] for name in ("code", "ui", "daemon")}) == 1


def test_every_secret_is_a_required_reference() -> None:
    for service in services().values():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|KEY|TOKEN|SECRET", variable) and not str(value).startswith("/"):
                found = VARIABLE.fullmatch(str(value).partition("}")[0].partition("?")[0] + "?")
                assert found and found[2] == ":?", f"{variable} must be required, not defaulted"


def test_everything_the_instance_reads_from_the_environment_is_given_to_all_three() -> None:
    wanted = set(re.findall(r"env: ([A-Z_]+)", (PROJECT / "docker" / "dagster.yaml").read_text()))
    assert wanted
    for name in ("code", "ui", "daemon"):
        assert wanted <= set(services()[name]["environment"]), name


def test_only_the_code_location_has_keys_and_definitions() -> None:
    for name in ("ui", "daemon"):
        assert [v for v in services()[name]["environment"] if "KEY" in v or "SECRETS" in v] == []
        assert [target for _, target in mounts(services()[name])] == ["/data"]
    assert {target for _, target in mounts(services()["code"])} == {"/data", "/config", "/run/secrets"}


def test_ports_are_published_on_this_machine_only() -> None:
    published = [port for service in services().values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_variable_is_explained() -> None:
    explained = (PROJECT / "docs" / "operations.md").read_text()
    assert [name for name, _ in VARIABLE.findall(TEXT) if f"`{name}`" not in explained] == []


def test_docker_itself_accepts_the_file_where_it_is_installed(tmp_path: Path) -> None:
    """The plugin is not on every machine, and a test must not be skipped: without it the checks above stand alone."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, timeout=30).returncode:
        return
    env = {**os.environ, "DATALAKE_POSTGRES_PASSWORD": "x", "DATALAKE_QUARANTINE_KEY": "x"}
    env["DATALAKE_SECRETS_FOLDER"] = str(tmp_path)
    command = [docker, "compose", "-f", str(COMPOSE), "config", "--quiet"]
    ran = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD", "QUARANTINE_KEY", "SECRETS_FOLDER"])
def test_what_must_be_set_says_so(name: str) -> None:
    assert re.search(rf"\$\{{DATALAKE_{name}:\?[^}}]{{10,}}\}}", TEXT)
