"""What the README names exists: make targets, lake commands with their options, files and test paths."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from command_line.main import app
from publishing.outcome import (
    BatchOutcome,
    CheckOutcome,
    Counts,
    FileOutcome,
    PipelineOutcome,
    QuarantineOutcome,
    RunOutcome,
    StepLine,
    TargetOutcome,
)

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text()
MAKEFILE = (PROJECT / "Makefile").read_text()
CODE = re.findall(r"```.*?```|`[^`\n]+`", README, re.DOTALL)
WITHOUT_DOCUMENT = {"schema"}  # it writes files
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))


def named(pattern: str) -> set[str]:
    return {found for text in CODE for found in re.findall(pattern, text)}


def lake_options() -> dict[str, set[str]]:
    """{command: its options}; a command of a group by both names."""
    found: dict[str, set[str]] = {}
    for name, command in getattr(typer.main.get_command(app), "commands", {}).items():
        inner = getattr(command, "commands", None)
        each = {name: command} if inner is None else {f"{name} {n}": c for n, c in inner.items()}
        found |= {n: {o for p in c.params for o in p.opts} for n, c in each.items()}
    return found


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
        words = text.split()
        command = words[1] if words[1] in known else " ".join(words[1:3])
        assert command in known, f"lake {command}: {text}"
        assert set(re.findall(r"--[a-z-]+", text)) <= known[command], text


def test_every_command_is_in_the_table_of_the_readme() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| `lake ")]
    assert [name for name in lake_options() if not any(f"`lake {name}" in row for row in rows)] == []


def test_every_command_has_a_document_for_scripts() -> None:
    forms = ("--json", "--format")
    without = {name for name, options in lake_options().items() if not options & set(forms)}
    assert without == WITHOUT_DOCUMENT


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


def keys_of(value: object) -> set[str]:
    """Every key at any depth."""
    if isinstance(value, dict):
        return set(value) | {key for inner in value.values() for key in keys_of(inner)}
    return {key for inner in value for key in keys_of(inner)} if isinstance(value, list) else set()


def test_the_document_of_lake_run_is_the_one_described() -> None:
    batch = BatchOutcome(
        batch="b", key="k", business_date="2024-12-31", attempt=1, origin="files", status="published", reason=None,
        counts=Counts(),
        files=(FileOutcome("u", "published", None, Counts()),),
        targets=(TargetOutcome("delta", "n", "p", 1, 2),),
        checks=(CheckOutcome("c", "error", True, 0),),
        quarantine=QuarantineOutcome("p", 1),
        steps=(StepLine("aggregate", 2, 1, "why"),),
    )  # fmt: skip
    document = RunOutcome("r", "published", (PipelineOutcome("a/p", "published", (batch,)),)).as_dict()
    described = next(text for text in CODE if text.startswith("```") and '"pipelines"' in text)
    assert keys_of(document) == set(re.findall(r'"(\w+)"', described))
