"""What the phases of the fault harness do: the pipelines of the `loans` golden case run, each on what another made."""

from __future__ import annotations

from sqlalchemy import select

from pipeline_xml.checked import CheckedPipeline
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.rebuild_table import rebuild_table
from publishing.run import run_pipeline

PIPELINES = ("loans", "loan", "exposure")


def load(lake: Lake) -> None:
    """All pipelines run, each on what the one before it made."""
    for name in PIPELINES:
        run_pipeline(lake, pipeline_of(lake, name), run_id="faults load")


def reprocess(lake: Lake) -> None:
    """The first pipeline is reprocessed, unless a crash interrupted that: then a plain run brings it to its end."""
    for name in PIPELINES:
        pipeline = pipeline_of(lake, name)
        again = name == PIPELINES[0] and not _reopened(lake, pipeline)
        run_pipeline(lake, pipeline, run_id="faults reprocess", reprocess=again)


def make_again(lake: Lake) -> None:
    """The tables of the first two pipelines, one appended and one merged, are made again from raw and journal."""
    for name in PIPELINES[:2]:
        pipeline = pipeline_of(lake, name)
        with lake.alone(pipeline.key):
            rebuild_table(lake, pipeline, 0)


def pipeline_of(lake: Lake, name: str) -> CheckedPipeline:
    """A pipeline of the case."""
    found = lake.catalog.pipeline("lender", name)
    assert found is not None
    return found


def _reopened(lake: Lake, pipeline: CheckedPipeline) -> bool:
    with lake.ledger.read() as session:
        chosen = select(Batch.id).where(Batch.pipeline == pipeline.key, Batch.attempt > 1)
        return session.scalars(chosen).first() is not None
