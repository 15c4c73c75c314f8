"""The way back from quarantine.

In one warm process, printing `<seconds> <seconds compared with>`:

    python -m benchmarks.way_back page LAKE_ROOT             a page of 50 records, and of the 50 after it
    python -m benchmarks.way_back replay LAKE_ROOT ROWS      corrected, approved and replayed; loaded right at first

As processes of their own, which benchmarks/promises.py times whole:

    python -m benchmarks.way_back reject LAKE_ROOT ROWS      a lake with so many records in quarantine
    python -m benchmarks.way_back correct LAKE_ROOT          corrects, approves and replays them all
    python -m benchmarks.way_back load LAKE_ROOT FILE        loads the same records, right at first
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from benchmarks.compare import same_rows
from benchmarks.generate import payments
from benchmarks.product import definitions
from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.load import load_catalog
from processing.transformations import registry
from publishing.lake import Lake, open_lake
from publishing.ledger import Batch
from publishing.quarantine import schema
from publishing.quarantined import refresh
from publishing.run import run_pipeline
from resources.engine import Engine, open_engine
from resources.lake_table import describe_parquet
from resources.settings import Settings

BATCHES, RECORDS = 1_000, 1_000
ROUNDS = 9


@contextmanager
def opened(root: Path, engine: Engine | None = None, *, new: bool = True) -> Iterator[tuple[Lake, CheckedPipeline]]:
    """A lake with the benchmark's definitions, a new one or that which stands there."""
    if new:
        shutil.rmtree(root, ignore_errors=True)
        (root / "landing").mkdir(parents=True)
    settings = Settings(definitions(root.with_name(root.name + "-config")), root)
    catalog = load_catalog(settings.config, registry())
    pipeline = catalog.pipeline("bench", "payments")
    assert pipeline is not None  # noqa: S101 - it stands in this folder
    with open_lake(settings, catalog, engine) as lake:
        yield lake, pipeline


def page(root: Path) -> tuple[float, float]:
    """(median seconds of the first page of a batch, of the page after it), over batches of all ages."""
    from stewardship.quarantine import show_batch

    with opened(root) as (lake, pipeline):
        fill(lake, pipeline)
        first, second = [], []
        for number in range(BATCHES // 2, BATCHES // 2 + ROUNDS):
            began = time.perf_counter()
            view = show_batch(lake, lake.catalog, batch_id(number), limit=50)
            first.append(time.perf_counter() - began)
            began = time.perf_counter()
            after = show_batch(lake, lake.catalog, batch_id(number), limit=50, after=view.after)
            second.append(time.perf_counter() - began)
            if len(view.records) != 50 or len(after.records) != 50:
                raise SystemExit("a page lacks records")
    return sorted(first)[ROUNDS // 2], sorted(second)[ROUNDS // 2]


def batch_id(number: int) -> str:
    return f"{number:032x}"


def fill(lake: Lake, pipeline: CheckedPipeline) -> None:
    """Batches that left records in quarantine: a commit each, as attempts make them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = lake.quarantine(pipeline.key)
    table.open_or_create(schema(), (), "benchmark")
    now, day = datetime.now(UTC), date(2024, 1, 31)
    numbers = range(RECORDS)
    errors = [{"rule": "contract.amount.type", "column": "amount", "code": "type", "message": "", "severity": "error"}]
    for number in range(BATCHES):
        constant: dict[str, Any] = {
            "batch_id": batch_id(number), "attempt": 1, "state": "open", "pipeline": pipeline.key, "stage": "staging",
            "dataset": "payments", "source_file": f"f{number}.csv", "business_date": day, "arrival": number + 1,
            "errors": errors, "key_id": "k", "preview": '{"payment_id": "a9999999999", "amount": "a9999.99"}',
            "definition_hash": "d" * 64, "rule_hash": "r" * 64, "run_id": "benchmark", "quarantined_at": now,
        }  # fmt: skip
        own = {
            "record_id": pa.array([f"{number:024x}-{n + 1:010d}" for n in numbers]),
            "source_record": pa.array([n + 1 for n in numbers], pa.int64()),
            "raw": pa.array([os.urandom(150) for _ in numbers], pa.binary()),
        }
        columns = [
            own[x.name] if x.name in own else pa.array([constant.get(x.name)] * RECORDS, x.type) for x in schema()
        ]
        path = f"part-{number:06d}.parquet"
        pq.write_table(pa.Table.from_arrays(columns, schema=schema()), table.root / path, compression="zstd")
        described = describe_parquet(table.root, path)
        table.snapshot().commit([described], [], {f"q:{batch_id(number)}": 1}, {})
    with lake.ledger.write() as session:
        for number in range(BATCHES):
            session.add(
                Batch(
                    id=batch_id(number), key=f"{day}_f{number}", pipeline=pipeline.key, business_date=day,
                    origin="files", sender=None, arrival=number + 1, window=None, status="published", reason=None,
                    attempt=1, created_at=now.replace(tzinfo=None),
                )
            )  # fmt: skip
    for number in range(BATCHES // 2, BATCHES // 2 + ROUNDS):
        refresh(lake, pipeline.key, batch_id(number))


def replay(root: Path, rows: int) -> tuple[float, float]:
    """(seconds to correct, approve and replay, seconds to load the same records right at first), engine warm."""
    with open_engine("sail") as engine:
        with opened(root.with_name("warm"), engine) as (lake, pipeline):
            payments(1000, lake.settings.data / "landing" / "payments0.csv", bad_share=0.1)
            run_pipeline(lake, pipeline, run_id="warm")
        with opened(root, engine) as (lake, pipeline):
            payments(rows, lake.settings.data / "landing" / "payments0.csv", bad_share=2)
            run_pipeline(lake, pipeline, run_id="benchmark")
            marks = corrected(lake, pipeline)
        with opened(root.with_name("fresh"), engine) as (lake, pipeline):
            payments(rows, lake.settings.data / "landing" / "payments0.csv", bad_share=0)
            began = time.perf_counter()
            run_pipeline(lake, pipeline, run_id="benchmark")
            fresh = time.perf_counter() - began
    tables = [p / "applications" / "bench" / "staging" / "payments" for p in (root, root.with_name("fresh"))]
    same_rows(tables[0], tables[1], "payment_id")
    steps = " ".join(f"{after - before:.2f}" for before, after in itertools.pairwise(marks))
    print(f"correct, approve, replay: {steps} s", file=sys.stderr)
    return marks[-1] - marks[0], fresh


def corrected(lake: Lake, pipeline: CheckedPipeline) -> list[float]:
    """Corrects all open records by one expression, approves and replays; the clock before and after each."""
    from stewardship.actors import APPROVER, STEWARD, Actor
    from stewardship.approve import decide
    from stewardship.correct import correct_by_expression
    from stewardship.replay import replay as replay_approved
    from stewardship.selection import Scope

    ann, ben = Actor("ann", STEWARD), Actor("ben", APPROVER)
    marks = [time.perf_counter()]
    sets = {"amount": "substring(raw_amount, 2)"}
    correct_by_expression(lake, lake.catalog, pipeline, ann, "an x before it", Scope(), sets)
    marks.append(time.perf_counter())
    decide(lake, lake.catalog, pipeline, ben, "approve", "looked at some")
    marks.append(time.perf_counter())
    replay_approved(lake, pipeline, ann, run_id="benchmark")
    marks.append(time.perf_counter())
    return marks


def load(root: Path, file: Path) -> None:
    with opened(root) as (lake, pipeline):
        (root / "landing" / "payments0.csv").hardlink_to(file)
        run_pipeline(lake, pipeline, run_id="benchmark")


def correct(root: Path) -> None:
    with opened(root, new=False) as (lake, pipeline):
        corrected(lake, pipeline)


def reject(root: Path, rows: int) -> None:
    bad = root.with_name(root.name + "-bad.csv")
    payments(rows, bad, bad_share=2)
    load(root, bad)
    bad.unlink()


def main(what: str, root: Path, *more: str) -> None:
    if what == "page":
        print(*page(root))
    elif what == "replay":
        print(*replay(root, int(more[0])))
    elif what == "reject":
        reject(root, int(more[0]))
    elif what == "correct":
        correct(root)
    else:
        load(root, Path(more[0]))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
