"""The third stage: the model of all applications becomes checked pipelines, every name resolved.

Pipelines are checked after those whose tables they read, because a lake table's columns are what its writer makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_xml import (
    rules_accounting,
    rules_delivery,
    rules_jobs,
    rules_names,
    rules_parameters,
    rules_promises,
    rules_secrets,
    rules_settings,
    rules_workflows,
    rules_zones,
)
from pipeline_xml.check_pipeline import PipelineCheck, Surroundings
from pipeline_xml.check_workflows import check_workflow
from pipeline_xml.checked import CheckedApplication, CheckedPipeline, Transformation
from pipeline_xml.lake_tables import PipelineKey, Table, in_order, producers
from pipeline_xml.lookups import Lookups
from pipeline_xml.problems import Problems
from pipeline_xml.rulebook import apply_catalog_rules, apply_checked_rules, apply_pipeline_rules
from pipeline_xml.schema_ref import Schemas
from pipeline_xml.suite import Suites
from pipeline_xml.written_table import WrittenTable, written_tables

if TYPE_CHECKING:
    from pipeline_xml.load import Documents

# Their rules register themselves when they are imported.
RULE_MODULES = (
    rules_names, rules_settings, rules_accounting, rules_delivery, rules_jobs, rules_parameters, rules_promises,
    rules_secrets, rules_zones, rules_workflows,
)  # fmt: skip


def check_applications(
    root: Path,
    documents: Documents,
    transformations: Mapping[str, Transformation],
    environment: str,
    problems: Problems,
) -> tuple[CheckedApplication, ...]:
    """The applications with every pipeline that could be resolved; findings of all rules go to `problems`."""
    applications = documents.applications
    apply_catalog_rules(applications, problems)
    writers = producers(applications)
    tables: dict[Table, WrittenTable] = {}
    surroundings = Surroundings(
        applications=applications,
        texts=documents.texts,
        transformations=transformations,
        environment=environment,
        schemas=Schemas(root, problems),
        lookups=Lookups(root, problems),
        suites=Suites(root, problems),
        writers=writers,
        tables=tables,
        problems=problems,
    )
    checked: dict[PipelineKey, CheckedPipeline] = {}
    for pipeline in in_order(applications, writers, problems):
        apply_pipeline_rules(pipeline, problems)
        found = PipelineCheck(pipeline, surroundings).run()
        if found is not None:
            apply_checked_rules(found, problems)
            checked[(pipeline.app, pipeline.id)] = found
            for table, written in written_tables(found):
                tables.setdefault(table, written)
    for application in applications:
        resolved = [found for found in checked.values() if found.pipeline.app == application.name]
        for workflow in application.workflows:
            check_workflow(workflow, resolved, problems)
    return tuple(
        CheckedApplication(
            a.name,
            tuple(checked[(p.app, p.id)] for p in a.pipelines if (p.app, p.id) in checked),
            a.jobs,
            a.zones,
            a.keys,
            a.workflows,
            a.calendars,
        )
        for a in applications
    )
