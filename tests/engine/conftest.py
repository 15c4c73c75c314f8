"""Both engines, each started once for the whole run. A Spark session costs 15 to 50 seconds: batch what you ask it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from resources.engine import Engine, open_engine
from tests.delta_jars import CannotFetch, delta_jars_folder
from tests.ops_rows import IDLE
from tests.promised_feed import Feed
from tests.steward_desk import Desk, steward_desk


@pytest.fixture(scope="session", params=["sail", pytest.param("spark", marks=pytest.mark.spark)])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """`.name` is sail or spark, `.session` a Spark Connect session. DATALAKE_SPARK_REMOTE spares the start of Spark.

    Spark has the Delta jars, so that it reads tables as tables. Where they cannot be had, only those tests fail that
    ask for them.
    """
    name: str = request.param
    remote = os.environ.get("DATALAKE_SPARK_REMOTE") if name == "spark" else None
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            if name == "spark" and remote is None:
                with suppress(CannotFetch):
                    patch.setenv("DATALAKE_DELTA_JARS", str(delta_jars_folder()))
            opened = stack.enter_context(open_engine(name, remote))
        yield opened


@pytest.fixture
def desk(tmp_path: Path, engine: Engine) -> Iterator[Desk]:
    with steward_desk(tmp_path, engine) as made:
        yield made


@pytest.fixture
def idle(tmp_path: Path) -> Feed:
    """A feed whose runs find nothing to do: no engine is started for it."""
    feed = Feed(tmp_path, IDLE)
    feed.define()
    return feed
