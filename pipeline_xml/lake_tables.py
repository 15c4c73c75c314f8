"""Names of lake tables, who writes which, and the order in which pipelines have to be checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline_xml.location import Location
from pipeline_xml.model import LAYERS, Application, HiveSource, HiveTarget, Pipeline
from pipeline_xml.problems import Problems
from pipeline_xml.rulebook import code

Table = tuple[str, str, str]  # app, layer, name
PipelineKey = tuple[str, str]  # app, id

BAD_TABLE = code("LK110", "A lake table is written layer.table, or app.layer.table for another application's.")
CYCLE = code("LK111", "Pipelines that read each other's tables in a circle, or a pipeline that reads what it writes.")


def table_name(written: str, app: str) -> Table | None:
    """(app, layer, name) of `layer.table` or `app.layer.table`; None where it is neither."""
    parts = written.split(".")
    if len(parts) == 2:
        parts = [app, *parts]
    good = (
        len(parts) == 3
        and parts[1] in LAYERS
        and all(p and p.replace("_", "a").replace("-", "a").isalnum() for p in parts)
    )
    return (parts[0], parts[1], parts[2]) if good else None


def lookup_tables(pipeline: Pipeline) -> Iterable[tuple[Table, Location]]:
    """The lake tables that the pipeline's lookups read, and where each is named."""
    for step in pipeline.steps:
        written = step.attributes.get("reference", "").strip() if step.kind == "lookup" else ""
        if "." in written and (table := table_name(written, pipeline.app)):
            yield table, step.place("reference")


def looked_up_tables(pipeline: Pipeline, application: Application) -> Iterable[tuple[Table, Location]]:
    """Those, the tables that the pipeline's rules compare with, and where each is named."""
    yield from lookup_tables(pipeline)
    named = (application.packs_by_id[name] for name in pipeline.rule_packs if name in application.packs_by_id)
    for rule in (rule for pack in named for rule in pack.rules):
        attribute = {"foreignKey": "reference", "reconcile": "against"}.get(rule.kind, "")
        written = rule.attributes.get(attribute, "")
        if "." in written and (table := table_name(written, pipeline.app)):
            yield table, rule.place(attribute)


def report_bad_table(written: str, where: Location, problems: Problems) -> None:
    valid = (*(f"{layer}.<table>" for layer in LAYERS), "<app>.<layer>.<table>")
    BAD_TABLE.report(problems, f"'{written}' is no table name", where, valid)


def producers(applications: Iterable[Application]) -> Mapping[Table, Pipeline]:
    """Which pipeline writes a table; the first where two do (that is a finding of its own)."""
    found: dict[Table, Pipeline] = {}
    for application in applications:
        for pipeline in application.pipelines:
            for target in pipeline.targets:
                if isinstance(target, HiveTarget) and (table := table_name(target.table, pipeline.app)):
                    found.setdefault(table, pipeline)
    return found


def in_order(
    applications: Iterable[Application], writers: Mapping[Table, Pipeline], problems: Problems
) -> tuple[Pipeline, ...]:
    """Pipelines with the writers of their source tables first; those in a circle are reported and left out."""
    done: dict[PipelineKey, bool] = {}  # False while it is being visited
    order: list[Pipeline] = []
    applications = tuple(applications)
    by_name = {application.name: application for application in applications}

    def visit(pipeline: Pipeline, path: tuple[str, ...]) -> bool:
        key = (pipeline.app, pipeline.id)
        if key in done:
            return done[key]
        done[key] = False
        good = True
        for table, where in _read(pipeline, by_name[pipeline.app]):
            writer = writers.get(table)
            if writer is None:
                continue
            name = f"{writer.app}/{writer.id}"
            if name in path:
                circle = " reads from ".join([*path[path.index(name) :], name])
                CYCLE.report(problems, f"a circle: {circle}", where)
                good = False
            elif not visit(writer, (*path, name)):
                good = False
        done[key] = good
        if good:
            order.append(pipeline)
        return good

    for application in applications:
        for pipeline in application.pipelines:
            visit(pipeline, (f"{pipeline.app}/{pipeline.id}",))
    return tuple(order)


def _read(pipeline: Pipeline, application: Application) -> Iterable[tuple[Table, Location]]:
    for source in pipeline.sources:
        if isinstance(source, HiveSource) and (table := table_name(source.table, pipeline.app)):
            yield table, source.place("table")
    yield from looked_up_tables(pipeline, application)
