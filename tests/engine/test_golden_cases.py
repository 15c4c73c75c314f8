"""Golden cases: folders with definitions, input, expected tables; each runs on both engines, values and types equal."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.engine import Engine
from tests.golden_cases import CASES, as_json, expected, run_case


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda c: c.name)
def test_case(case: Path, engine: Engine, tmp_path: Path) -> None:
    assert as_json(run_case(case, tmp_path, engine)) == expected(case)
