"""A transformation that an installed distribution offers: checked, run on both engines, held to what it said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from processing.transformations.custom import BrokenPromise, WrongEngine, offered
from resources.engine import Engine
from tests.custom_distribution import installed
from tests.step_frames import INT, TEXT, run
from tests.step_plans import checked, contract, problems

SOURCE = {"t": TEXT, "n": INT}
ROWS = [{"t": "a", "n": 1}, {"t": None, "n": 2}]


@pytest.fixture(autouse=True)
def distribution(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "site").mkdir()
    with installed(tmp_path / "site"):
        yield


def test_it_runs_record_by_record(engine: Engine, tmp_path: Path) -> None:
    step = '<custom source="s" transformation="shout" column="t" mark="?"/><filter source="s" condition="n &lt; 2"/>'
    out = run(engine, tmp_path, step, SOURCE, ROWS)
    assert out.rows == {1: {"t": "A?", "n": 1}, 2: {"t": None, "n": 2}}
    assert out.status == {1: None, 2: "quarantined"}


def test_one_that_changes_what_a_row_is(engine: Engine, tmp_path: Path) -> None:
    out = run(engine, tmp_path, '<custom source="s" transformation="count" as="c"/>', SOURCE, ROWS)
    assert list(out.rows.values()) == [{"rows": 2}]
    assert out.types == {"rows": "int64"}


def test_it_is_held_to_its_word(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(BrokenPromise, match="'liar': rows is missing"):
        run(engine, tmp_path, '<custom source="s" transformation="liar"/>', SOURCE, ROWS)
    with pytest.raises(WrongEngine, match=f"'elsewhere' runs on nowhere, and this is {engine.name}"):
        run(engine, tmp_path, '<custom source="s" transformation="elsewhere"/>', SOURCE, ROWS)


def test_its_version_is_part_of_the_definition(tmp_path: Path) -> None:
    source = contract(SOURCE)
    step = '<custom source="s" transformation="shout" column="t"/>'
    found = checked(tmp_path, step, source)
    assert (found.steps[0].version, found.steps[0].rewrites) == ("shout 2.1", {"t", "n"})
    info = next((tmp_path / "site").glob("*.dist-info"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud-steps\nVersion: 2.2\n")
    offered.cache_clear()
    assert checked(tmp_path, step, source).definition_hash != found.definition_hash


SHOUT = 'transformation="shout"'


@pytest.mark.parametrize(
    ("attributes", "code", "message"),
    [
        ('transformation="shuot" column="t"', "LK313", "no installed distribution offers the transformation 'shuot'"),
        (SHOUT, "LK314", "<custom transformation='shout'>: it needs the attribute column"),
        (f'{SHOUT} column="t" size="3"', "LK314", "<custom transformation='shout'>: it has no attribute size"),
        (f'{SHOUT} column="x"', "LK314", "<custom transformation='shout'>: there is no column x"),
        ('transformation="raises"', "LK314", "<custom transformation='raises'>: it raised KeyError"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, attributes: str, code: str, message: str) -> None:
    (problem,) = problems(tmp_path, f'<custom source="s" {attributes}/>', contract(SOURCE))
    assert (problem.code, problem.message) == (code, message)
