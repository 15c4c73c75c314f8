"""The operations tables of a feed as rows, and runs of it that compute nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline_xml.checked import CheckedPipeline
from publishing.lake import Lake, open_lake
from publishing.ops import recorded_run
from resources.engine import Engine
from tests.delta_rows import delta_dataset
from tests.promised_feed import Feed

RUNS, EVENTS = "ops.pipeline_runs", "ops.quarantine_events"
IDLE = Engine("sail", None)  # type: ignore[arg-type]  # of feeds whose runs compute nothing


@contextmanager
def opened(feed: Feed) -> Iterator[tuple[Lake, CheckedPipeline]]:
    catalog = feed.catalog()
    pipeline = catalog.pipeline("app", "feed")
    assert pipeline is not None
    with open_lake(feed.settings, catalog, feed.engine) as lake:
        yield lake, pipeline


def rows(feed: Feed, table: str) -> list[dict[str, Any]]:
    if not (feed.folder(table) / "_delta_log").is_dir():
        return []
    found: list[dict[str, Any]] = delta_dataset(feed.folder(table)).to_table().to_pylist()
    return sorted(found, key=lambda row: json.dumps(row, default=str, sort_keys=True))


def numbers(feed: Feed) -> list[int]:
    return sorted(row["run_number"] for row in rows(feed, RUNS))


def run_nothing(feed: Feed, fails: Exception | None = None) -> None:
    with (
        opened(feed) as (lake, pipeline),
        lake.alone(pipeline.key),
        recorded_run(lake, pipeline, "idle", "load", []),
    ):
        if fails is not None:
            raise fails
