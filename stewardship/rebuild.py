"""Making a table again from raw and journal: decided by an approver, audited, done in one commit."""

from __future__ import annotations

from pipeline_xml.checked import CheckedPipeline
from publishing.lake import Lake
from publishing.rebuild_merge import CannotRebuild
from publishing.rebuild_table import RebuildPlan, RebuiltTable, plan_rebuild, rebuild_table
from publishing.taking_back import finish_taking_back
from stewardship import audit
from stewardship.actors import Actor, reason_of, require
from stewardship.journaled import journal_all
from stewardship.refused import Refused

ACTION = "rebuild"


def plan(lake: Lake, pipeline: CheckedPipeline, position: int) -> RebuildPlan:
    """What a rebuild would do and cost; Refused where it cannot be done."""
    try:
        return plan_rebuild(lake, pipeline, position)
    except CannotRebuild as wrong:
        raise Refused(str(wrong)) from wrong


def rebuild(lake: Lake, pipeline: CheckedPipeline, position: int, actor: Actor, reason: str) -> RebuiltTable:
    """The decision is audited before anything is done; killed, what stood stands, and the same command does it."""
    require(lake.catalog, pipeline.key, actor, ACTION)
    why = reason_of(reason)
    with lake.alone(pipeline.key):
        finish_taking_back(lake, pipeline)  # what a crash left of an earlier decision comes first
        wanted = plan(lake, pipeline, position)
        with lake.ledger.write() as session:
            details = {**wanted.as_dict(), "published_otherwise": len(wanted.otherwise), "reason": why}
            audit.append(session, lake, actor, ACTION, wanted.table, details)
        journal_all(lake, pipeline.key)
        try:
            return rebuild_table(lake, pipeline, position)
        except CannotRebuild as wrong:
            raise Refused(f"{wrong}; nothing was changed") from wrong
