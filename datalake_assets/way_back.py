"""The sensors of an application beside its zones': replay on approval, remediation SLAs, missing files, reruns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import dagster as dg

from datalake_assets import names
from datalake_assets.replay_specs import replays
from pipeline_xml.checked import Catalog, CheckedApplication, CheckedPipeline
from publishing.expected import agreed_on
from resources.settings import Settings
from sensors.deliveries import deliveries_sensor, missing_in
from sensors.remediation import breaches_in, remediation_sensor
from sensors.replay import ReplayLaunch, replay_sensor, replayed_on_approval, waiting_in
from sensors.rerun import RerunLaunch, rerun_sensor, reruns_in
from stewardship.escalations import deadlines


def way_back_sensors(
    settings: Settings, catalog: Catalog, jobs: Mapping[str, dg.JobDefinition]
) -> Iterator[dg.SensorDefinition]:
    for application in catalog.applications:
        job = jobs[names.ready_job(application.name)]
        able = [checked for checked in application.pipelines if replays(checked)]
        if keys := replayed_on_approval(application):
            launch = ReplayLaunch(
                job=job,
                pipelines_tag=names.PIPELINES_TAG,
                replay_tag=names.REPLAY_TAG,
                every=names.EVERY_BATCH,
                set_tag=names.REPLAY_SET_TAG,
                actor_tag=names.ACTOR_TAG,
                lock_tag=names.LOCK_TAG,
                locks={checked.key: names.pipeline_op(checked) for checked in able},
                workflows=keys,
            )
            yield replay_sensor(_name(application, "replay"), keys, waiting_in(settings, keys), launch)
        if due := deadlines(application, able):
            quarantines = {checked.key: names.quarantine_key(checked) for checked in able}
            yield remediation_sensor(_name(application, "remediation"), quarantines, breaches_in(settings, due))
        if expecting := [checked for checked in application.pipelines if agreed_on(checked) is not None]:
            yield deliveries_sensor(_name(application, "deliveries"), missing_in(settings, catalog, expecting))
        if fed := downstream(application):
            rerun = RerunLaunch(
                job=job,
                pipelines=fed,
                locks={checked.key: names.pipeline_op(checked) for checked in application.pipelines},
                pipelines_tag=names.PIPELINES_TAG,
                lock_tag=names.LOCK_TAG,
                rerun_tag=names.RERUN_TAG,
                of_tag=names.RERUN_OF_TAG,
            )
            yield rerun_sensor(_name(application, "rerun"), reruns_in(settings, list(fed)), rerun)


def downstream(application: CheckedApplication) -> dict[str, tuple[str, ...]]:
    """{pipeline that reads lake tables: itself and all of the application that read, through others, what it writes}"""
    readers: dict[tuple[str, str, str], list[CheckedPipeline]] = {}
    for checked in application.pipelines:
        for table in {source.upstream for source in checked.sources if source.upstream}:
            readers.setdefault(table, []).append(checked)
    found = {}
    for reader in {checked.key: checked for group in readers.values() for checked in group}.values():
        reached, waiting = {reader.key: None}, [reader]
        while waiting:
            for target in waiting.pop().targets:
                fresh = [other for other in readers.get(target.asset, ()) if other.key not in reached]
                reached |= dict.fromkeys(other.key for other in fresh)
                waiting += fresh
        found[reader.key] = tuple(reached)
    return found


def _name(application: CheckedApplication, what: str) -> str:
    return names.identifier(f"{application.name}__{what}")
