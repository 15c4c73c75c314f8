"""Rules about names: each once, each used, each table written by one."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.lake_tables import lookup_tables, table_name
from pipeline_xml.model import LAYERS, Application, HiveSource, HiveTarget, Node, Pipeline
from pipeline_xml.place import items
from pipeline_xml.rulebook import Report, catalog_rule, checked_rule, pipeline_rule


def _twice(found: Iterable[tuple[str, Node]], what: str, report: Report) -> None:
    seen: dict[str, Node] = {}
    for name, node in found:
        if name in seen:
            report(f"{what} '{name}' is there twice, first at {seen[name].where}", node.place("id"))
        else:
            seen[name] = node


@catalog_rule("LK102")
def unique_ids(applications: tuple[Application, ...], report: Report) -> None:
    """Within an application the ids of pipelines and jobs, of rule packs, landing zones, mask keys, calendars and
    workflows are unique.

    A pipeline and a job may not share an id either: `lake run app/id` could mean both.
    """
    for application in applications:
        runs: list[tuple[str, Node]] = [(p.id, p) for p in application.pipelines]
        _twice([*runs, *((j.id, j) for j in application.jobs)], "the pipeline or job", report)
        _twice(((p.id, p) for p in application.packs), "the rule pack", report)
        _twice(((z.id, z) for z in application.zones), "the landing zone", report)
        _twice(((k.id, k) for k in application.keys), "the mask key", report)
        _twice(((c.id, c) for c in application.calendars), "the calendar", report)
        _twice(((w.id, w) for w in application.workflows), "the workflow", report)


@pipeline_rule("LK103")
def unique_sources(pipeline: Pipeline, report: Report) -> None:
    """Within a pipeline the ids of sources are unique."""
    _twice(((s.id, s) for s in pipeline.sources), "the source", report)


@catalog_rule("LK116")
def names_of_replays(applications: tuple[Application, ...], report: Report) -> None:
    """A pipeline is not called `<other>_replay`: that is the name of the asset that replays the other one's records."""
    for application in applications:
        known = {pipeline.id for pipeline in application.pipelines}
        for pipeline in application.pipelines:
            other = pipeline.id.removesuffix("_replay")
            if other != pipeline.id and other in known:
                message = f"'{pipeline.id}' is what the replay of pipeline '{other}' is called"
                report(message, pipeline.place("id"), hint="choose another id")


@catalog_rule("LK104")
def one_writer(applications: tuple[Application, ...], report: Report) -> None:
    """A table is written by one target of one pipeline; two writers would undo each other."""
    seen: dict[tuple[str, str, str], Node] = {}
    for application in applications:
        for pipeline in application.pipelines:
            for target in pipeline.targets:
                table = table_name(target.table, pipeline.app) if isinstance(target, HiveTarget) else None
                if table and table in seen:
                    message = f"the table {'.'.join(table[1:])} is written twice, first at {seen[table].where}"
                    report(message, target.place("table"))
                elif table:
                    seen[table] = target


@catalog_rule("LK105")
def one_export(applications: tuple[Application, ...], report: Report) -> None:
    """A folder of exports is written by one target of one pipeline."""
    for application in applications:
        seen: dict[str, Node] = {}
        for pipeline in application.pipelines:
            for target in pipeline.targets:
                path = getattr(target, "path", None)
                if path in seen:
                    report(f"the path '{path}' is written twice, first at {seen[path].where}", target.place("path"))
                elif path:
                    seen[path] = target


@pipeline_rule("LK106")
def layers_forward(pipeline: Pipeline, report: Report) -> None:
    """Data goes from staging to standardization to service, never back."""
    here = LAYERS.index(pipeline.layer)
    for node in (*pipeline.sources, *pipeline.targets):
        if not isinstance(node, HiveSource | HiveTarget):
            continue
        table = table_name(node.table, pipeline.app)
        if table is None:
            continue
        there = next(i for i, layer in enumerate(LAYERS) if layer == table[1])
        if isinstance(node, HiveSource) and there > here:
            report(f"a {pipeline.layer} pipeline reads from {table[1]}", node.place("table"), LAYERS[: here + 1])
        if isinstance(node, HiveTarget) and there < here:
            report(f"a {pipeline.layer} pipeline writes to {table[1]}", node.place("table"), LAYERS[here:])
    for table, where in lookup_tables(pipeline):
        if next(i for i, layer in enumerate(LAYERS) if layer == table[1]) > here:
            report(f"a {pipeline.layer} pipeline looks up in {table[1]}", where, LAYERS[: here + 1])


@pipeline_rule("LK107", "warning")
def datasets_used(pipeline: Pipeline, report: Report) -> None:
    """A source or a step's dataset that no later step and no target reads is work for nothing."""
    if len(pipeline.sources) > 1 and not pipeline.steps and any(t.source is None for t in pipeline.targets):
        return  # an error of its own: nobody can tell which source is written
    made: dict[str, Node] = {s.id: s for s in pipeline.sources}
    used: set[str] = set()
    last = pipeline.sources[0].id
    for step in pipeline.steps:
        inputs = [step.attributes[n] for n in ("source", "left", "right") if n in step.attributes]
        inputs += items(step.attributes.get("sources"))
        used.update(inputs)
        last = step.attributes.get("as") or (inputs[0] if inputs else last)
        if last not in inputs:
            made[last] = step
    used.update(t.source or last for t in pipeline.targets)
    for name, node in made.items():
        if name not in used:
            report(f"the dataset '{name}' is never used", node.places.get("as") or node.place("id"))


@pipeline_rule("LK108", "warning")
def application_name(pipeline: Pipeline, report: Report) -> None:
    """<appName> tags lineage and billing; it should be the name of the application's folder."""
    if pipeline.metadata.app_name != pipeline.app:
        message = f"appName '{pipeline.metadata.app_name}' in the application '{pipeline.app}'"
        report(message, pipeline.metadata.place("appName"), (pipeline.app,))


@checked_rule("LK109")
def classified_in_service(checked: CheckedPipeline, report: Report) -> None:
    """A classified column (x-classification) does not reach the service layer unmasked."""
    for target in checked.targets:
        if target.asset[1] != "service":
            continue
        open_columns = [c.name for c in target.dataset.columns if c.classification]
        if open_columns:
            where = target.target.places.get("table") or target.target.place("path")
            names = ", ".join(open_columns)
            report(
                f"classified and not masked: {names}", where, hint='<mask columns="…" strategy="…"/>, or leave them out'
            )
