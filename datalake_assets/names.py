"""What everything is called in Dagster: asset keys, ops, jobs, checks, partitions and tags. Pure functions."""

from __future__ import annotations

import re

import dagster as dg

from pipeline_xml.checked import CheckedPipeline, CheckedSource, CheckedTarget, Reference
from pipeline_xml.model import Grain, HiveSource, JobPipeline

CLAIM_TAG = "datalake/claim"
CLAIM_PIPELINE_TAG = "datalake/claim_pipeline"
BUSINESS_DATE_TAG = "datalake/business_date"
REPROCESS_TAG = "datalake/reprocess"
REPLAY_TAG = "datalake/replay"  # the key of the quarantined batch whose corrections the run replays, or `all`
REPLAY_SET_TAG = "datalake/replay_set"  # which corrections a sensor asked it for
RERUN_TAG = "datalake/rerun"  # the newest rerun that the run sees to, and its pipeline
RERUN_OF_TAG = "datalake/rerun_of"
EVERY_BATCH = "all"
ACTOR_TAG = "datalake/actor"  # who asked for a replay, and in which role
ROLE_TAG = "datalake/role"
PARAMETERS_TAG = "datalake/parameters"  # a JSON object: values of job parameters by name, as texts
PIPELINES_TAG = "datalake/pipelines"
LOCK_TAG = "datalake/lock"  # dagster.yaml lets one run at a time hold each value of it
ALL_CHECKS_JOB = "all_asset_checks"

_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_]")
_NOT_A_TAG = re.compile(r"[^A-Za-z0-9_.-]+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")


def identifier(text: str) -> str:
    """`text` as Dagster allows names of ops, jobs and checks: letters, digits and underscores."""
    return _NOT_A_NAME.sub("_", text)


def tag_text(text: str) -> str:
    """`text` as Dagster allows tags: at most 63 letters, digits, dots, dashes and underscores."""
    return _NOT_A_TAG.sub("_", text.strip()).strip("_.-")[:63].strip("_.-")


def target_key(target: CheckedTarget) -> dg.AssetKey:
    return dg.AssetKey(list(target.asset))


def source_key(app: str, source: CheckedSource) -> dg.AssetKey:
    """The lake table, the landing zone, or for a plain path and what is outside `[app, landing, source id]`."""
    if source.upstream:
        return dg.AssetKey(list(source.upstream))
    if source.zone:
        return dg.AssetKey([source.zone.app, "landing", source.zone.id])
    return dg.AssetKey([app, "landing", source.source.id])


def reference_key(reference: Reference) -> dg.AssetKey:
    return dg.AssetKey(["lookups", reference.id])


def quarantine_key(checked: CheckedPipeline) -> dg.AssetKey:
    return dg.AssetKey([checked.pipeline.app, "exceptions", checked.pipeline.id])


def replay_key(checked: CheckedPipeline) -> dg.AssetKey:
    return dg.AssetKey([checked.pipeline.app, "exceptions", f"{checked.pipeline.id}_replay"])


def quarantine_partitions(checked: CheckedPipeline) -> dg.DynamicPartitionsDefinition:
    """One partition a batch that left records in quarantine; its key is `BatchOutcome.key`."""
    return dg.DynamicPartitionsDefinition(name=f"{checked.pipeline.app}__{checked.pipeline.id}__quarantine")


def business_dates(grain: Grain) -> dg.DynamicPartitionsDefinition:
    """The partitions of a grain, shared by every asset of that grain; a key is the ISO date of the period's last day.

    Dynamic, because data decides which periods exist: a feed that begins in 2018 has a 2018 without the thousands of
    empty days that a window definition would have to invent, and assets of one grain still map one to one.
    """
    return dg.DynamicPartitionsDefinition(name=f"business_{grain}")


def pipeline_op(checked: CheckedPipeline) -> str:
    return identifier(f"{checked.pipeline.app}__{checked.pipeline.id}")


def layer_job(checked: CheckedPipeline) -> str:
    """One job for an application, layer and grain: a job cannot mix partitions, and a job a pipeline loads slowly."""
    pipeline = checked.pipeline
    return identifier(f"{pipeline.app}__{pipeline.layer}__{pipeline.metadata.grain}")


def ready_job(app: str) -> str:
    return identifier(f"{app}__ready")


def chain_job(job: JobPipeline) -> str:
    return identifier(f"{job.app}__{job.id}")


def owners(owner: str) -> list[str]:
    """Dagster knows e-mail addresses and teams; a name that is no address becomes a team."""
    if not owner.strip():
        return []
    return [owner.strip()] if _EMAIL.match(owner.strip()) else [f"team:{tag_text(owner)}"]


def source_kind(source: CheckedSource) -> str:
    return "delta" if isinstance(source.source, HiveSource) else source.source.kind
