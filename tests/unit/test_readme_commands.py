"""What the README names exists: make targets, lake commands with their options, files and test paths."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from command_line.main import app

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text()
MAKEFILE = (PROJECT / "Makefile").read_text()
CODE = re.findall(r"```.*?```|`[^`\n]+`", README, re.DOTALL)
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))


def named(pattern: str) -> set[str]:
    return {found for text in CODE for found in re.findall(pattern, text)}


def lake_options() -> dict[str, set[str]]:
    """{command: its options}"""
    group = typer.main.get_command(app)
    commands = getattr(group, "commands", {})
    return {name: {o for p in command.params for o in p.opts} for name, command in commands.items()}


def test_make_targets_and_the_readme_name_the_same() -> None:
    assert named(r"\bmake ([a-z][a-z-]*)") == TARGETS


def test_every_target_is_phony_and_has_one_line_of_help() -> None:
    assert set(re.findall(r"^\.PHONY: ([a-z-]+)$", MAKEFILE, re.MULTILINE)) == TARGETS
    assert "test" in TARGETS


def test_lake_commands_and_their_options_exist() -> None:
    used = [text.strip("`") for text in CODE if re.match(r"`(\.venv/bin/)?lake [a-z]", text)]
    assert {"run", "check", "checks"} <= {text.split()[1] for text in used}
    known = lake_options()
    for text in used:
        command = text.split()[1]
        assert command in known, f"lake {command}: {text}"
        assert set(re.findall(r"--[a-z-]+", text)) <= known[command], text


def test_files_and_folders_exist() -> None:
    links = set(re.findall(r"\]\(([^)#]+)\)", README))
    paths = named(r"(?:^`|\s)((?:tests|docs|config|demo|docker|benchmarks)/[\w./]*)")
    assert len(links) > 5
    assert len(paths) > 5
    assert sorted(name for name in links | paths if not (PROJECT / name).exists()) == []


@pytest.mark.parametrize("page", sorted((PROJECT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_links_of_the_documentation_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_document_of_lake_run_is_the_one_described() -> None:
    from publishing.outcome import BatchOutcome, Counts, FileOutcome, PipelineOutcome, RunOutcome

    batch = BatchOutcome("b", "k", "2024-12-31", 1, "files", "published", None, Counts(), (FileOutcome("", "", None, Counts()),))
    document = RunOutcome("r", "published", (PipelineOutcome("a/p", "published", (batch,)),)).as_dict()
    described = next(text for text in CODE if text.startswith("```") and '"pipelines"' in text)
    for keys in (document, document["pipelines"][0], batch.as_dict(), batch.as_dict()["counts"]):  # type: ignore[index]
        assert set(keys) <= set(re.findall(r'"(\w+)"', described))  # type: ignore[call-overload]
