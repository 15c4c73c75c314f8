"""The image: linted, and made of everything that the product needs and nothing more."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
DOCKERFILE = PROJECT / "docker" / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")


def lint(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HADOLINT), "--no-color", str(file)], capture_output=True, text=True, timeout=60)


def instructions(name: str) -> list[str]:
    """The arguments of every such instruction, continued lines joined."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    return re.findall(rf"^{name}\s+(.+)$", text, re.MULTILINE)


def packages() -> set[str]:
    """The product's own packages, as pyproject.toml lists them, that exist."""
    listed = re.search(r"include = \[(.+?)\]", (PROJECT / "pyproject.toml").read_text())
    assert listed is not None
    names = re.findall(r'"([a-z_]+)\*"', listed[1])
    return {name for name in names if (PROJECT / name / "__init__.py").exists()}


def test_hadolint_finds_nothing() -> None:
    ran = lint(DOCKERFILE)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python\nRUN cd /srv && pip install dagster\n")
    assert {"DL3006", "DL3013"} <= set(re.findall(r"DL\d+", lint(bad).stdout))


def test_every_package_and_file_is_copied_and_passes_the_ignore_file() -> None:
    copied = {word.rstrip("/") for line in instructions("COPY") for word in line.split()[:-1] if "--from" not in line}
    ignore = (PROJECT / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    assert packages() <= copied
    assert copied == allowed
    assert [name for name in copied if not (PROJECT / name).exists()] == []


def test_base_images_are_pinned_and_the_image_does_not_run_as_root() -> None:
    assert {line.split()[0] for line in instructions("FROM")} == {"python:3.11-slim-bookworm"}
    user, _, group = instructions("USER")[-1].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert instructions("HEALTHCHECK")


@pytest.mark.parametrize("name", ["ENV", "ARG"])
def test_nothing_secret_is_baked_in(name: str) -> None:
    assert not re.search(r"PASSWORD|SECRET|TOKEN|KEY", " ".join(instructions(name)))


def test_one_uv_everywhere() -> None:
    pinned = re.search(r"^UV_VERSION=(\S+)$", (PROJECT / "scripts" / "bootstrap.sh").read_text(), re.MULTILINE)
    assert pinned is not None
    assert f"UV_VERSION={pinned[1]}" in instructions("ARG")
