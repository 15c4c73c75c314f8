"""`lake explain`: what a pipeline builds and runs, from the very objects that the builder and the runner consume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from command_line.explain_way_back import explain_way_back, print_way_back
from pipeline_xml.checked import (
    CheckedPipeline,
    CheckedSource,
    CheckedTarget,
    Column,
    Dataset,
    KeyRule,
    RowRule,
    StepPlan,
)
from pipeline_xml.contract import Constraints, Contract, Field
from pipeline_xml.expressions.tree import Binding, ColumnRef, Expression, Literal, Tree
from pipeline_xml.location import Location
from pipeline_xml.model import CsvTarget, FileSource, HiveSource, HiveTarget, JobPipeline, Node, OtherSource, Workflow
from pipeline_xml.types import DataType
from processing.lines import is_beside


def explain_pipeline(checked: CheckedPipeline, workflow: Workflow | None = None) -> dict[str, Any]:
    """Plain data: sources, rules, steps, targets with lineage, the way back, asset keys, hashes."""
    pipeline = checked.pipeline
    meta, policy = pipeline.metadata, pipeline.error_policy
    return {
        "pipeline": checked.key,
        "where": str(pipeline.where),
        "layer": pipeline.layer,
        "version": pipeline.version,
        "description": meta.description,
        "owner": meta.owner,
        "schedule": meta.schedule,
        "sla": meta.sla,
        "partitions": f"business dates by {meta.grain}",
        "definition_hash": checked.definition_hash,
        "rule_hash": checked.rule_hash,
        "not_runnable": list(checked.not_runnable),
        "sources": [_source(s) for s in checked.sources],
        "row_rules": [_row_rule(r) for r in checked.row_rules],
        "key_rules": [_key_rule(r) for r in checked.key_rules],
        "dataset_rules": [
            {"id": r.rule.id, "kind": r.rule.kind, "severity": r.rule.severity, "columns": list(r.columns)}
            for r in checked.dataset_rules
        ],
        "bound": [{"name": v.name, "type": str(v.type), "default": v.default} for v in checked.bound],
        "steps": [_step(checked, s) for s in checked.steps],
        "targets": [_target(t) for t in checked.targets],
        "errors": {
            "on_record_error": policy.on_record_error,
            "on_step_error": policy.on_step_error,
            "max_errors": policy.max_errors,
            "max_error_rate": policy.max_error_rate,
        },
        "way_back": explain_way_back(checked, workflow),
        "assets": ["/".join(t.asset) for t in checked.targets] + _exceptions(checked),
    }


def explain_job(job: JobPipeline) -> dict[str, Any]:
    """Plain data: the chain of a job pipeline."""
    return {
        "job": f"{job.app}/{job.id}",
        "where": str(job.where),
        "version": job.version,
        "description": job.description,
        "owner": job.owner,
        "schedule": job.schedule,
        "time_zone": job.time_zone,
        "parameters": [{"name": p.name, "type": p.type, "default": p.default} for p in job.parameters],
        "pipelines": [
            {
                "pipeline": f"{job.app}/{ref.id}",
                "after": list(ref.depends_on),
                "on_failure": ref.on_failure,
                "max_retries": ref.max_retries,
                "fallback": ref.fallback,
            }
            for ref in job.refs
        ],
        "notifications": [{"kind": n.kind, "on": n.on} for n in job.notifications],
    }


def _exceptions(checked: CheckedPipeline) -> list[str]:
    """The assets that hold what was rejected; a pipeline that skips has none."""
    from datalake_assets.names import quarantine_key

    if checked.pipeline.error_policy.on_record_error != "quarantine":
        return []
    return ["/".join(quarantine_key(checked).path)]


def _source(source: CheckedSource) -> dict[str, Any]:
    written = source.source
    if isinstance(written, FileSource):
        said = plain(written)
        place = f"{source.zone.uri} (landing zone {source.zone.id})" if source.zone else written.path
    elif isinstance(written, OtherSource):
        said, place = plain(written.attributes), written.attributes.get("jdbcUrl", "")
    else:
        said, place = {"read": written.read}, "/".join(source.upstream or ())
    return {
        "id": written.id,
        "kind": "hive" if isinstance(written, HiveSource) else written.kind,
        "from": place,
        "attributes": said,
        "contract": _contract(source.contract),
        "control": _contract(source.control_contract) if source.control_contract else None,
    }


def _contract(contract: Contract) -> dict[str, Any]:
    return {
        "name": contract.name,
        "version": contract.version,
        "where": str(contract.where),
        "primary_key": list(contract.primary_key),
        "order_by": list(contract.order_by),
        "columns": [_field(f) for f in contract.fields],
    }


def _field(field: Field) -> dict[str, Any]:
    limits = {f.name: getattr(field.constraints, f.name) for f in fields(Constraints)}
    return {
        "name": field.name,
        "type": str(field.nested or field.type),
        "nullable": field.nullable,
        "format": field.format,
        "codes": list(field.codes),
        "classification": field.classification,
        "constraints": {k: plain(v) for k, v in limits.items() if v not in (None, ())},
    }


def _row_rule(rule: RowRule) -> dict[str, Any]:
    return {
        "id": rule.rule.id,
        "pack": rule.pack,
        "kind": rule.rule.kind,
        "severity": rule.rule.severity,
        "threshold": rule.rule.threshold,
        "columns": list(rule.columns),
        "written": rule.expression.text,
        "compiled": tree_text(rule.expression.tree),
        "where": str(rule.rule.where),
    }


def _key_rule(rule: KeyRule) -> dict[str, Any]:
    compared = rule.reference.id if rule.reference else ".".join(rule.table or ())
    return {
        "id": rule.rule.id,
        "pack": rule.pack,
        "kind": rule.rule.kind,
        "severity": rule.rule.severity,
        "threshold": rule.rule.threshold,
        "columns": list(rule.columns),
        "compared_with": [f"{compared}.{column.name}" for column in rule.theirs] or ["the other records of the batch"],
        "where": str(rule.rule.where),
    }


def _step(checked: CheckedPipeline, plan: StepPlan) -> dict[str, Any]:
    return {
        "kind": plan.kind,
        "where": str(plan.step.where),
        "inputs": list(plan.inputs),
        "output": plan.output.name,
        "per_record": plan.output.per_record,
        "beside": is_beside(checked, plan),
        "written": {k: v for k, v in plan.step.attributes.items() if k not in _NAMES},
        "expressions": [{"written": e.text, "compiled": tree_text(e.tree)} for e in _expressions(plan.config)],
        "config": plain(plan.config),
        "references": [{"id": r.id, "path": r.path.name, "content_hash": r.content_hash} for r in plan.references]
        + [{"id": r.id, "table": r.name, "keys": list(r.keys)} for r in plan.tables],
        "columns": [_column(c) for c in plan.output.columns],
    }


_NAMES = ("source", "sources", "left", "right", "as")  # of datasets: told as inputs and output


def _expressions(value: object) -> Iterator[Expression]:
    """Every expression in the configuration of a step."""
    if isinstance(value, Expression):
        yield value
    elif is_dataclass(value):
        yield from (found for f in fields(value) for found in _expressions(getattr(value, f.name)))
    elif isinstance(value, tuple):
        yield from (found for each in value for found in _expressions(each))


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": str(column.type),
        "nullable": column.nullable,
        "classification": column.classification,
        "from": sorted(f"{source}.{name}" for source, name in column.origins),
    }


def _target(target: CheckedTarget) -> dict[str, Any]:
    written = target.target
    hive = isinstance(written, HiveTarget)
    return {
        "kind": written.format if isinstance(written, HiveTarget) else written.kind,
        "asset": "/".join(target.asset),
        "mode": written.mode,
        "path": written.path if isinstance(written, CsvTarget) else None,
        "dataset": target.dataset.name,
        "driving": target.dataset.driving,
        "keys": list(target.keys) if hive and written.mode == "merge" else [],
        "order_by": list(target.order_by) if hive and written.mode == "merge" else [],
        "partition_by": list(written.partition_by) if isinstance(written, HiveTarget) else [],
        "columns": [_column(c) for c in target.dataset.columns],
    }


def tree_text(tree: Tree) -> str:
    """The typed tree as one line: every cast that the compiler put in is there to be seen."""
    if isinstance(tree, Literal):
        return f"'{tree.value}'" if tree.type.kind == "string" else f"{tree.value}:{tree.type}"
    if isinstance(tree, ColumnRef):
        return f"{tree.dataset}.{tree.name}" if tree.dataset else tree.name
    if isinstance(tree, Binding):
        return f":{tree.name}"
    inside = ", ".join(tree_text(a) for a in tree.arguments)
    return f"{tree.function}({inside}):{tree.type}"


def plain(value: Any) -> Any:
    """Any part of the checked model as plain data; places and whole datasets are left to their own lines."""
    if isinstance(value, Expression):
        return {"written": value.text, "compiled": tree_text(value.tree)}
    if isinstance(value, DataType):
        return str(value)
    if isinstance(value, Dataset):
        return value.name
    if isinstance(value, Contract):
        return value.name
    if isinstance(value, Path):
        return value.name
    if is_dataclass(value):
        hidden = {"where", "places"} if isinstance(value, Node) else set()
        pairs = ((f.name, getattr(value, f.name)) for f in fields(value) if f.name not in hidden)
        return {name: plain(item) for name, item in pairs if not isinstance(item, Location)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | frozenset | set):
        items = [plain(v) for v in value]
        return sorted(items, key=str) if isinstance(value, frozenset | set) else items
    if isinstance(value, Enum):
        return value.value
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def print_pipeline(console: Console, said: dict[str, Any]) -> None:
    """The document of `explain_pipeline` for a person."""
    _heading(console, f"{said['pipeline']} · {said['layer']} · version {said['version']} · {said['where']}")
    _line(console, said["description"])
    for name in ("owner", "schedule", "sla", "partitions", "definition_hash", "rule_hash"):
        if said[name]:
            _line(console, f"  {name.replace('_', ' '):16} {said[name]}")
    for why in said["not_runnable"]:
        _line(console, f"  does not run in this version: {why}", "yellow")
    for source in said["sources"]:
        _print_source(console, source)
    if said["row_rules"] or said["key_rules"] or said["dataset_rules"]:
        records = len(said["row_rules"]) + len(said["key_rules"])
        _heading(console, f"rules: {records} of records, {len(said['dataset_rules'])} of the batch")
    for rule in said["row_rules"]:
        _line(console, f"  {rule['id']} ({rule['severity']}) on {', '.join(rule['columns'])}")
        _line(console, f"      written   {' '.join(rule['written'].split())}")
        _line(console, f"      compiled  {rule['compiled']}")
    for rule in said["key_rules"]:
        _line(console, f"  {rule['id']} {rule['kind']} ({rule['severity']}) on {', '.join(rule['columns'])}")
        _line(console, f"      compared with {', '.join(rule['compared_with'])}")
    for rule in said["dataset_rules"]:
        _line(console, f"  {rule['id']} {rule['kind']} ({rule['severity']}) {', '.join(rule['columns'])}")
    if said["steps"]:
        _heading(console, "steps")
    for number, step in enumerate(said["steps"], 1):
        _print_step(console, number, step)
    for target in said["targets"]:
        _print_target(console, target)
    print_way_back(console, said["way_back"])
    _heading(console, "assets")
    for asset in said["assets"]:
        _line(console, f"  {asset}")


def _print_source(console: Console, source: dict[str, Any]) -> None:
    _heading(console, f"source {source['id']} · {source['kind']} · {source['from']}")
    usual: tuple[Any, ...] = (None, [], [""], False, "", 0, "eager")
    chosen = {k: v for k, v in source["attributes"].items() if v not in usual and k != "id"}
    _line(console, "  " + ", ".join(f"{k} {v}" for k, v in chosen.items() if not isinstance(v, dict)))
    contract = source["contract"]
    key = f", key {', '.join(contract['primary_key'])}" if contract["primary_key"] else ""
    _line(console, f"  contract {contract['name']} version {contract['version']}{key} · {contract['where']}")
    for column in contract["columns"]:
        parts = [column["type"], "may be null" if column["nullable"] else "never null"]
        parts += [f"format {column['format']}"] if column["format"] else []
        parts += [f"codes {', '.join(column['codes'])}"] if column["codes"] else []
        parts += [column["classification"]] if column["classification"] else []
        parts += [f"{k} {', '.join(v) if isinstance(v, list) else v}" for k, v in column["constraints"].items()]
        _line(console, f"    {column['name']:32} {' · '.join(parts)}")


def _print_step(console: Console, number: int, step: dict[str, Any]) -> None:
    ends = "" if step["per_record"] else " · accounting of single records ends here"
    ends = " · beside the records" if step["beside"] else ends
    _line(console, f"  {number}. {step['kind']} {', '.join(step['inputs'])} → {step['output']}{ends} · {step['where']}")
    for reference in step["references"]:
        _line(console, f"      looks up {reference['path']} ({reference['content_hash'][:12]})")
    if step["written"]:
        _line(console, "      " + ", ".join(f"{name} {value}" for name, value in step["written"].items()))
    for expression in step["expressions"]:
        _line(console, f"      compiled: {expression['compiled']}")
    columns = ", ".join(f"{c['name']} {c['type']}" for c in step["columns"])
    _line(console, f"      columns: {columns}")


def _print_target(console: Console, target: dict[str, Any]) -> None:
    _heading(console, f"target {target['asset']} · {target['kind']} · {target['mode']} of {target['dataset']}")
    for name in ("path", "keys", "order_by", "partition_by"):
        if target[name]:
            value = target[name] if isinstance(target[name], str) else ", ".join(target[name])
            _line(console, f"  {name.replace('_', ' ')}: {value}")
    for column in target["columns"]:
        origins = ", ".join(column["from"]) or "nothing (a constant)"
        secret = f" · {column['classification']}" if column["classification"] else ""
        _line(console, f"    {column['name']:32} {column['type']}{secret} ← {origins}")


def print_job(console: Console, said: dict[str, Any]) -> None:
    """The document of `explain_job` for a person."""
    _heading(console, f"{said['job']} · job · version {said['version']} · {said['where']}")
    _line(console, said["description"])
    _line(console, f"  schedule {said['schedule'] or 'none'} ({said['time_zone']})")
    for parameter in said["parameters"]:
        default = "no default" if parameter["default"] is None else f"default {parameter['default']}"
        _line(console, f"  parameter :{parameter['name']} {parameter['type']}, {default}")
    for number, ref in enumerate(said["pipelines"], 1):
        after = f" after {', '.join(ref['after'])}" if ref["after"] else ""
        failure = f"on failure {ref['on_failure']}" + (f", {ref['max_retries']} retries" if ref["max_retries"] else "")
        fallback = f", fallback {ref['fallback']}" if ref["fallback"] else ""
        _line(console, f"  {number}. {ref['pipeline']}{after} · {failure}{fallback}")
    for told in said["notifications"]:
        _line(console, f"  tells by {told['kind']} of {told['on']}")


def _heading(console: Console, text: str) -> None:
    console.print(Text(text, style="bold"), soft_wrap=True)


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True)
