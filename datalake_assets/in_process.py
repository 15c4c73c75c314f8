"""One run of a job in this process, on the instance that the UI shows, as part of the code location's history."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.repository_definition.valid_definitions import SINGLETON_REPOSITORY_NAME
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from datalake_assets.build import build
from datalake_assets.instance import PROJECT, open_instance
from datalake_assets.previews import previews_accepted, quiet_inside_dagster
from datalake_assets.work import OpenWork
from pipeline_xml.checked import Catalog
from resources.settings import Settings

LOCATION = "datalake"  # as in workspace.yaml
_SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}  # of the terminal; the history has all events


@dataclass(frozen=True, slots=True)
class Ended:
    """How Dagster ended the run; `error` is the first failure's message."""

    run_id: str
    success: bool
    error: str | None


def run_here(
    settings: Settings,
    catalog: Catalog,
    open_work: OpenWork,
    job_name: str,
    tags: Mapping[str, str],
) -> Ended:
    """Runs the job; says nothing on standard output."""
    quiet_inside_dagster()
    with previews_accepted(), _stdout_to_stderr(), open_instance(settings) as instance:
        job = build(settings, catalog, open_work).resolve_job_def(job_name)
        run = instance.create_run_for_job(
            job,
            run_config=_SILENT,
            tags=tags,
            remote_job_origin=_origin(job_name),
        )
        result = execute_run(InMemoryJob(job), run, instance, raise_on_error=False)
        return Ended(run.run_id, result.success, None if result.success else _first_error(result))


def _first_error(result: dg.JobExecutionResult) -> str:
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return data.user_failure_data.description
            error = data.error
            while error is not None and error.cause is not None:
                error = error.cause
            if error is not None:
                return error.message.strip()
    return "the run failed before a step did; its log in the UI says why"


def _origin(job_name: str) -> RemoteJobOrigin:
    """The origin that the UI's own runs of the job have; without it the run stands apart from the job's history."""
    target = LoadableTargetOrigin(
        executable_path=sys.executable, module_name="datalake_assets.definitions", working_directory=str(PROJECT)
    )
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=LOCATION)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME), job_name)


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Engines print to the descriptor itself; scripts read our standard output, so theirs goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
