"""The maintenance of a lake in Dagster: what crashes left behind is found and removed once a day."""

# Annotations stay objects here: Dagster reads that of `context` and understands no text.
from collections.abc import Iterator
from typing import Any

import dagster as dg

from datalake_assets.killed import tell_killed
from pipeline_xml.checked import Catalog
from resources.settings import Settings

KEY = dg.AssetKey(["ops", "leftovers"])
CHECK = "nothing_left"
JOB = "ops__leftovers"
CRON = "30 3 * * *"


def leftovers_asset(settings: Settings, catalog: Catalog) -> dg.AssetsDefinition:
    """`[ops, leftovers]`: sweeps what is older than an hour and says how much that was, by kind.

    Rows of quarantined batches that are not what their tables say are counted again, messages of the outbox that ended
    long ago forgotten, and ends of killed runs told.
    """

    @dg.multi_asset(
        name="leftovers",
        specs=[
            dg.AssetSpec(
                KEY,
                description="What crashes left behind: files no table refers to, copies and entries without a name, "
                "staged records of ended batches. Found and removed once it is older than an hour.",
                group_name="ops",
                skippable=True,
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(CHECK, asset=KEY, description="Nothing older than an hour lies there that nothing needs.")
        ],
        can_subset=True,
    )
    def body(context: dg.AssetExecutionContext) -> Iterator[Any]:
        from publishing.lake import open_lake
        from publishing.ledger import now
        from publishing.leftovers import sweep
        from publishing.outbox import KEPT, prune
        from publishing.quarantined import refresh_all

        sweeps = bool(context.op_execution_context.selected_asset_keys)
        with open_lake(settings, catalog) as lake:
            swept = sweep(lake, catalog, dry_run=not sweeps)
            pipelines = [p.key for a in catalog.applications for p in a.pipelines] if sweeps else []
            counted = sum(len(refresh_all(lake, pipeline)) for pipeline in pipelines)
            pruned = prune(lake.ledger, now() - KEPT) if sweeps else 0
        if sweeps:
            jobs = [job for application in catalog.applications for job in application.jobs if job.notifications]
            killed = tell_killed(settings, jobs, context.instance, context.log)
            removed = len(swept.found) - len(swept.left)
            kinds = {f"found_{kind}": number for kind, number in swept.by_kind().items()}
            numbers = {"found": len(swept.found), "removed": removed, "bytes": swept.size, **kinds}
            told = {"messages_forgotten": pruned, "killed_runs_told": killed}
            yield dg.MaterializeResult(KEY, metadata={**numbers, "counted_again": counted, **told})
        yield dg.AssetCheckResult(
            passed=not swept.left,
            check_name=CHECK,
            asset_key=KEY,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"left": len(swept.left), "first": [item.path for item in swept.left[:20]]},
        )

    return body


def leftovers_schedule() -> dg.ScheduleDefinition:
    """The job that sweeps, once a day."""
    job = dg.define_asset_job(JOB, selection=dg.AssetSelection.assets(KEY), executor_def=dg.in_process_executor)
    return dg.ScheduleDefinition(
        name=f"{JOB}__schedule",
        job=job,
        cron_schedule=CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
