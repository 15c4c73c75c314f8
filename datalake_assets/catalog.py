"""Loads the definitions that a code location, or a run from the command line, serves."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from pipeline_xml.checked import Catalog
from pipeline_xml.model import JobPipeline
from resources.settings import Settings, SettingsError


def load(settings: Settings) -> Catalog:
    """All applications are checked together, since tables cross them; only the chosen ones are kept.

    DefinitionError with every problem where any is an error.
    """
    from pipeline_xml.load import load_catalog  # parser and rules: only where documents are read
    from processing.transformations import registry

    catalog = load_catalog(settings.config, registry(), settings.environment, settings.applications)
    return only(catalog, settings.applications)


def only(catalog: Catalog, applications: tuple[str, ...]) -> Catalog:
    """SettingsError where an application is not there; no names means all."""
    valid = [application.name for application in catalog.applications]
    unknown = [name for name in applications if name not in valid]
    if unknown:
        raise SettingsError(f"no application '{unknown[0]}' in {catalog.root}; valid: {', '.join(valid) or 'none'}")
    if not applications:
        return catalog
    kept = tuple(a for a in catalog.applications if a.name in applications)
    return replace(catalog, applications=kept)


def narrowed(catalog: Catalog, pipelines: Collection[str], job: JobPipeline | None = None) -> Catalog:
    """The catalog of a run: these pipelines (by id) of its one application, and the job that runs them.

    What is built of it is all that the run executes; building the other pipelines of a large application would take
    longer than starting the run.
    """
    (application,) = catalog.applications
    kept = tuple(checked for checked in application.pipelines if checked.pipeline.id in pipelines)
    jobs = (job,) if job is not None else ()
    return replace(catalog, applications=(replace(application, pipelines=kept, jobs=jobs, zones=()),))
