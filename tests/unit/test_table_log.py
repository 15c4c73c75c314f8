"""All transaction ids at once are those that deltalake tells one by one, whatever the log went through."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.lake_table import FEW_NAMES, LakeTable
from resources.table_log import all_transactions

NAMES = [f"f:{n}" for n in range(FEW_NAMES + 1)]
COMMIT = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 9), max_size=4)
STEPS = st.lists(st.one_of(COMMIT, st.sampled_from(["checkpoint", "clean"])), min_size=1, max_size=14)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_all_ids_are_those_told_one_by_one(steps: list[dict[str, int] | str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = LakeTable(Path(folder))
        table.open_or_create(pa.schema([("a", pa.string())]), (), "ids")
        for step in steps:
            snapshot = table.snapshot()
            if isinstance(step, dict):
                snapshot.commit([], [], step, {})
            else:
                snapshot._table.create_checkpoint()
            if step == "clean":  # what a clean-up of the log leaves
                for version in range(snapshot.version):
                    (table.root / "_delta_log" / f"{version:020d}.json").unlink(missing_ok=True)
        snapshot = table.snapshot()
        one_by_one = {name: snapshot.transaction(name) for name in NAMES}
        assert len(NAMES) > FEW_NAMES
        found = all_transactions(table.root / "_delta_log", snapshot.version)
        assert found is not None
        assert {name: found.get(name, 0) for name in NAMES} == one_by_one
        assert snapshot.transactions(NAMES) == one_by_one


def test_an_older_version_has_the_ids_of_its_time(tmp_path: Path) -> None:
    table = LakeTable(tmp_path)
    table.open_or_create(pa.schema([("a", pa.string())]), (), "ids")
    table.snapshot().commit([], [], {"f:1": 1}, {})
    table.snapshot()._table.create_checkpoint()
    table.snapshot().commit([], [], {"f:1": 2, "f:2": 1}, {})
    log = tmp_path / "_delta_log"
    assert all_transactions(log, 1) == {"f:1": 1}
    assert all_transactions(log, 2) == {"f:1": 2, "f:2": 1}


def test_a_log_that_lacks_a_commit_is_left_to_deltalake(tmp_path: Path) -> None:
    table = LakeTable(tmp_path)
    table.open_or_create(pa.schema([("a", pa.string())]), (), "ids")
    names = {f"f:{n}": 1 for n in range(FEW_NAMES + 1)}
    table.snapshot().commit([], [], names, {})
    snapshot = table.snapshot()
    log = tmp_path / "_delta_log"
    (log / f"{1:020d}.json").rename(tmp_path / "aside")
    assert all_transactions(log, snapshot.version) is None
    (tmp_path / "aside").rename(log / f"{1:020d}.json")
    part = f"{1:020d}.checkpoint.0000000001.0000000002.parquet"  # one of two parts: no checkpoint yet
    (log / part).write_bytes(b"")
    assert all_transactions(log, snapshot.version) == names
