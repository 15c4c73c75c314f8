"""Every commit is made against the version that was looked at: no call lets the library try it again by itself.

Seen with deltalake 1.6: a stale commit with removes landed after a compaction and kept old and new rows.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[2]
ROOMS = ("processing", "resources", "publishing", "stewardship", "sensors", "datalake_assets", "command_line")
PLACE = PROJECT / "resources" / "lake_table.py"  # where the library is told to commit
COMMITS = ("create_write_transaction", "write_deltalake", "compact", "merge", "set_table_properties")
NEVER = ("restore", "vacuum", "z_order", "repair")  # of a DeltaTable; what they leave behind is not ours to explain


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""), node


def test_every_commit_that_changes_files_is_tried_once() -> None:
    properties = [node for name, node in calls(PLACE) if name == "CommitProperties"]
    retries = [{k.arg: getattr(k.value, "value", None) for k in node.keywords} for node in properties]
    assert [found.get("max_commit_retries") for found in retries] == [0] * len(COMMITS)
    committing = [node for name, node in calls(PLACE) if name in COMMITS]
    assert len(committing) == len(COMMITS)
    assert all("commit_properties" in {k.arg for k in node.keywords} for node in committing)


def test_nothing_else_commits_to_a_table() -> None:
    found = []
    for room in ROOMS:
        for path in (PROJECT / room).rglob("*.py"):
            text = path.read_text()
            if path != PLACE and ("write_deltalake" in text or "create_write_transaction" in text):
                found.append(str(path))
            told = [name for name, node in calls(path) if name in NEVER and isinstance(node.func, ast.Attribute)]
            if "deltalake" in text and told:
                found.append(f"{path}: {told}")
    assert found == []
