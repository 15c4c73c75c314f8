"""Many pipelines: the definitions of `make bench` are right, and the work of checking grows with their number alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.definitions import write
from datalake_assets.catalog import narrowed
from pipeline_xml.load import check_path, load_catalog
from processing.transformations import registry


def calls(work: Callable[[], object]) -> int:
    """How many functions of ours are called: a measure that other work on the machine does not disturb."""
    made = 0

    def count(frame: object, event: str, _: object) -> None:
        nonlocal made
        made += event == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return made


def test_the_generated_definitions_are_right(tmp_path: Path) -> None:
    write(tmp_path, 2, 7)
    assert check_path(tmp_path, registry()) == ()
    catalog = load_catalog(tmp_path, registry())
    assert [len(a.pipelines) for a in catalog.applications] == [7, 7]
    assert [len(a.jobs) for a in catalog.applications] == [2, 2]


@pytest.mark.parametrize(("applications", "pipelines"), [(1, 12), (4, 3)], ids=["in_one_application", "in_more"])
def test_the_work_of_a_check_is_linear(tmp_path: Path, applications: int, pipelines: int) -> None:
    found = []
    for size in (1, 8):
        root = tmp_path / str(size)
        write(root, applications * (size if applications > 1 else 1), pipelines * (size if applications == 1 else 1))
        check_path(root, registry())  # what is remembered between checks is not counted
        found.append(calls(lambda root=root: check_path(root, registry())))  # type: ignore[misc]
    assert found[1] < found[0] * 8 * 1.05


def test_a_run_builds_only_what_it_executes(tmp_path: Path) -> None:
    write(tmp_path, 1, 7)
    catalog = load_catalog(tmp_path, registry())
    job = catalog.job("app000", "feed0000_daily")
    assert job is not None
    found = narrowed(catalog, {ref.id for ref in job.refs}, job).applications[0]
    assert [p.pipeline.id for p in found.pipelines] == ["feed0000", "feed0000_clean", "feed0000_totals"]
    assert [j.id for j in found.jobs] == ["feed0000_daily"]
