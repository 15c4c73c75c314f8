"""Both engines, each started once for the whole run. A Spark session costs 15 to 50 seconds: batch what you ask it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from resources.engine import Engine, open_engine


@pytest.fixture(scope="session", params=["sail", pytest.param("spark", marks=pytest.mark.spark)])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """`.name` is sail or spark, `.session` a Spark Connect session. DATALAKE_SPARK_REMOTE spares the start of Spark."""
    name: str = request.param
    with open_engine(name, os.environ.get("DATALAKE_SPARK_REMOTE") if name == "spark" else None) as opened:
        yield opened
