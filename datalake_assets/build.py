"""The builder: wraps execution around the translator's specs. Naming and metadata are decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import dagster as dg

from datalake_assets import names
from datalake_assets.assets import pipeline_assets
from datalake_assets.chains import chain_job, chain_resource
from datalake_assets.jobs import checks_job, layer_jobs, ready_job, scheduled_elsewhere
from datalake_assets.maintenance import leftovers_asset, leftovers_schedule
from datalake_assets.previews import previews_accepted
from datalake_assets.replay_specs import replays
from datalake_assets.replays import replay_assets
from datalake_assets.telling import telling_sensor
from datalake_assets.translate import grains, outside_specs, quarantine_spec
from datalake_assets.way_back import way_back_sensors
from datalake_assets.work import OpenWork
from pipeline_xml.checked import Catalog, CheckedApplication, CheckedPipeline
from publishing.landing import landing_pipelines
from resources.definitions import lake_description, opened_for_a_run, s3_client_of_dagster
from resources.secrets import SecretResolver
from resources.settings import Settings
from resources.zones import zone_opener
from sensors.landing import Launch, landing_sensor, look_into
from sensors.schedules import pipeline_schedule


@previews_accepted()
def build(
    settings: Settings,
    catalog: Catalog,
    open_work: OpenWork,
) -> dg.Definitions:
    known = grains(catalog)
    pipelines = [checked for application in catalog.applications for checked in application.pipelines]
    jobs = {names.ALL_CHECKS_JOB: checks_job(catalog)}
    by_partition = []
    for application in catalog.applications:
        jobs[names.ready_job(application.name)] = ready_job(application)
        jobs |= {names.chain_job(job): chain_job(job, catalog) for job in application.jobs}
        for name, selection in layer_jobs(application).items():
            by_partition.append(dg.define_asset_job(name, selection=selection, executor_def=dg.in_process_executor))
    return dg.Definitions(
        assets=[
            *(pipeline_assets(catalog.root, checked, known) for checked in pipelines),
            *(quarantine_spec(catalog.root, checked) for checked in pipelines),
            *_replays(catalog),
            *outside_specs(catalog),
            leftovers_asset(settings, catalog),
        ],
        jobs=[*jobs.values(), *by_partition],
        sensors=[
            *_sensors(settings, catalog, jobs),
            *way_back_sensors(settings, catalog, jobs),
            *filter(None, (telling_sensor(settings, application) for application in catalog.applications)),
        ],
        schedules=[*_schedules(catalog, jobs), leftovers_schedule()],
        resources={
            "lake": opened_for_a_run(open_work, lake_description(settings)),
            "chain": chain_resource(settings, catalog),
        },
        executor=dg.in_process_executor,
    )


def _replays(catalog: Catalog) -> Iterator[dg.AssetsDefinition]:
    for application in catalog.applications:
        workflows = application.workflow_by_pipeline
        for checked in application.pipelines:
            if replays(checked):
                yield replay_assets(catalog.root, checked, workflows.get(checked.key))


def _sensors(
    settings: Settings, catalog: Catalog, jobs: Mapping[str, dg.JobDefinition]
) -> Iterator[dg.SensorDefinition]:
    open_zone = zone_opener(settings.data, SecretResolver(settings.secrets), s3_client_of_dagster)
    for application in catalog.applications:
        for zone in application.zones:
            fed = landing_pipelines(application, zone)
            if fed:
                yield landing_sensor(
                    names.identifier(f"{application.name}__{zone.id}__landing"),
                    zone,
                    dg.AssetKey([zone.app, "landing", zone.id]),
                    look_into(settings, application, zone, open_zone),
                    {checked.pipeline.id: launch(application, checked, jobs) for checked in fed},
                )


def launch(application: CheckedApplication, checked: CheckedPipeline, jobs: Mapping[str, dg.JobDefinition]) -> Launch:
    """A landed file starts the job pipeline that begins with its pipeline, so that it flows on to the service layer;
    else it runs the pipeline alone."""
    for chain in application.jobs:
        if any(ref.id == checked.pipeline.id and not ref.depends_on for ref in chain.refs):
            return Launch(jobs[names.chain_job(chain)], _tags(names.chain_job(chain), checked), names.CLAIM_TAG)
    tags = {names.PIPELINES_TAG: checked.key} | _tags(names.pipeline_op(checked), checked)
    return Launch(jobs[names.ready_job(application.name)], tags, names.CLAIM_TAG)


def _schedules(catalog: Catalog, jobs: Mapping[str, dg.JobDefinition]) -> Iterator[dg.ScheduleDefinition]:
    for application in catalog.applications:
        for job in application.jobs:
            if job.schedule:
                name = names.chain_job(job)
                yield pipeline_schedule(f"{name}__schedule", job.schedule, job.time_zone, jobs[name], {})
        chained = scheduled_elsewhere(application.jobs)
        for checked in application.pipelines:
            metadata = checked.pipeline.metadata
            if metadata.schedule and checked.pipeline.id not in chained:
                name = names.pipeline_op(checked)
                yield pipeline_schedule(
                    f"{name}__schedule",
                    metadata.schedule,
                    metadata.time_zone,
                    jobs[names.ready_job(application.name)],
                    {names.LOCK_TAG: name, names.PIPELINES_TAG: checked.key},
                )


def _tags(lock: str, checked: CheckedPipeline) -> dict[str, str]:
    return {names.LOCK_TAG: lock, names.CLAIM_PIPELINE_TAG: checked.pipeline.id}
