"""Targets: which dataset each writes, to which asset, by which keys, and whether its contract agrees."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline_xml.check_nested import flat, written_flat
from pipeline_xml.check_outside import check_target
from pipeline_xml.checked import CheckedTarget, Dataset, FilesTarget
from pipeline_xml.contract import Contract
from pipeline_xml.lake_tables import Table, report_bad_table, table_name
from pipeline_xml.model import LAYERS, CsvTarget, HiveTarget, OtherTarget, Target
from pipeline_xml.rulebook import UNKNOWN_COLUMN, code
from pipeline_xml.step_names import result_name
from pipeline_xml.system_columns import PARTITION_COLUMNS

if TYPE_CHECKING:
    from pipeline_xml.check_pipeline import PipelineCheck

UNKNOWN_DATASET = code("LK120", "A target's source is no dataset of this pipeline.")
WHICH_DATASET = code("LK121", "Several sources and no transformation: a target has to name the source it writes.")
FOREIGN_TABLE = code("LK122", "A table of another application can be read, never written.")
UNLIKE_CONTRACT = code("LK411", "The dataset a target writes does not have the columns of the target's contract.")
ENCRYPTED_KEY = code(
    "LK315", "What a table finds, orders or parts its rows by is not encrypted for each record by itself."
)
PLAIN_FILES = code(
    "LK124",
    "A table of parquet or orc files has a folder a business date, no other partitions, and no versions to read.",
)
DATE_FOLDER = "_business_date"
BAD_PATH = code(
    "LK123", "An export's path leaves the application's data folder, or has a directive other than %Y %m %d."
)


def check_targets(check: PipelineCheck) -> tuple[CheckedTarget, ...]:
    """The targets that could be resolved."""
    found: list[CheckedTarget] = []
    for target in check.pipeline.targets:
        dataset = _dataset(check, target)
        if dataset is not None:
            written_flat(check.problems, dataset, target.place("source"))
        if isinstance(target, OtherTarget):
            contract = check_target(check, target)
            if contract is not None and dataset is not None:
                _agrees(check, target, dataset, contract)
            if dataset is not None:
                named: Table = (check.pipeline.app, check.pipeline.layer, f"{target.id}_{target.kind}")
                found.append(CheckedTarget(target, dataset, named, contract))
        elif isinstance(target, HiveTarget):
            resolved = _hive(check, target, dataset)
            found += [resolved] if resolved else []
        else:
            if target.compression == "snappy":
                what = "text packed by snappy, which readers do not agree on"
                check.cannot_run(what, target.place("compression"), "pack it by gzip or bzip2, or write parquet files")
            asset = _csv_asset(check, target, {t.asset for t in found})
            found += [CheckedTarget(target, dataset, asset)] if dataset and asset else []
    return tuple(found)


def _dataset(check: PipelineCheck, target: Target) -> Dataset | None:
    """What the target writes: its source, else the last step's dataset, else the only source."""
    name = target.source
    where = target.place("source")
    if name is None and check.pipeline.steps:
        last = check.pipeline.steps[-1]
        name = next((p.output.name for p in check.plans if p.step is last), result_name(last))
    if name is None and len(check.pipeline.sources) > 1:
        valid = [s.id for s in check.pipeline.sources]
        message = "several sources and no transformation: which one is written?"
        WHICH_DATASET.report(check.problems, message, where, valid, 'name it: source="…"')
        return None
    name = check.pipeline.sources[0].id if name is None else name
    check.used.add(name)
    if name in check.datasets or name in check.broken:
        return check.datasets.get(name)
    if target.source is not None:
        UNKNOWN_DATASET.report(check.problems, f"unknown dataset '{name}' in <targets>", where, list(check.datasets))
    return None


def _hive(check: PipelineCheck, target: HiveTarget, dataset: Dataset | None) -> CheckedTarget | None:
    table = table_name(target.table, check.pipeline.app)
    if table is None:
        report_bad_table(target.table, target.place("table"), check.problems)
        return None
    if table[0] != check.pipeline.app:
        FOREIGN_TABLE.report(check.problems, f"'{target.table}' belongs to '{table[0]}'", target.place("table"))
    contract = None
    if target.schema_ref:
        where = target.place("schemaRef")
        contract = check.around.schemas.contract(check.pipeline.app, check.pipeline.layer, target.schema_ref, where)
    if dataset is None or (target.schema_ref and contract is None):
        return None
    if contract and flat(check.problems, contract, "a table", target.place("schemaRef")):
        _agrees(check, target, dataset, contract)
    known = check.contracts.get(dataset.driving) if dataset.per_record else None
    keys = (
        target.keys or _from_contract(dataset, contract, "primary_key") or _from_contract(dataset, known, "primary_key")
    )
    order = (
        target.order_by or _from_contract(dataset, contract, "order_by") or _from_contract(dataset, known, "order_by")
    )
    for attribute, names in (("keys", keys), ("orderBy", order), ("partitionBy", target.partition_by)):
        for name in (c.name for c in dataset.columns if c.by_record and c.name in names):
            message = f"'{name}' is encrypted for each record by itself: nothing is found, ordered or parted by it"
            where, hint = target.item_place(attribute, name), 'leave algorithm="aes-gcm" out of its <mask>'
            ENCRYPTED_KEY.report(check.problems, message, where, (), hint)
    if target.format != "delta" and target.mode != "merge":
        return CheckedTarget(_files(check, target, table), dataset, table, contract)
    _columns_exist(check, target, dataset, "keys", target.keys)
    _columns_exist(check, target, dataset, "orderBy", target.order_by)
    _columns_exist(check, target, dataset, "partitionBy", target.partition_by, PARTITION_COLUMNS)
    return CheckedTarget(target, dataset, table, contract, keys, order)


def _files(check: PipelineCheck, target: HiveTarget, table: Table) -> FilesTarget:
    """A table of parquet or orc files: there is no log that could say which rows are whose, so a folder does."""
    for name in target.partition_by:
        if name != DATE_FOLDER:
            message = f"a table of {target.format} files cannot be partitioned by {name}"
            PLAIN_FILES.report(check.problems, message, target.item_place("partitionBy", name), (DATE_FOLDER,))
    return FilesTarget(
        path=f"{table[1]}/{table[2]}/{DATE_FOLDER}=%Y-%m-%d",
        mode="overwrite" if target.mode == "overwrite" else "append",
        source=target.source,
        format="orc" if target.format == "orc" else "parquet",
        where=target.where,
        places=target.places,
    )


def _from_contract(dataset: Dataset, contract: Contract | None, which: str) -> tuple[str, ...]:
    """The contract's columns where the dataset still has all of them; half a key is none."""
    names: tuple[str, ...] = getattr(contract, which) if contract else ()
    return names if set(names) <= set(dataset.names) else ()


def _columns_exist(
    check: PipelineCheck,
    target: HiveTarget,
    dataset: Dataset,
    attribute: str,
    names: tuple[str, ...],
    also: tuple[str, ...] = (),
) -> None:
    for name in names:
        if name not in dataset.names and name not in also:
            where = target.item_place(attribute, name)
            message = f"unknown column '{name}' in <hive {attribute}>"
            UNKNOWN_COLUMN.report(check.problems, message, where, (*dataset.names, *also))


def _agrees(check: PipelineCheck, target: HiveTarget | OtherTarget, dataset: Dataset, contract: Contract) -> None:
    where = target.place("schemaRef")
    declared = {f.name: f for f in contract.columns}
    missing = [name for name in declared if dataset.column(name) is None]
    if missing:
        message = f"dataset '{dataset.name}' lacks columns of the contract: {', '.join(missing)}"
        UNLIKE_CONTRACT.report(check.problems, message, where, hint=f"it has: {', '.join(dataset.names)}")
    undeclared = [name for name in dataset.names if name not in declared]
    if undeclared:
        message = f"dataset '{dataset.name}' has columns that the contract lacks: {', '.join(undeclared)}"
        UNLIKE_CONTRACT.report(check.problems, message, where, hint="declare them, or drop them with <select>")
    for column in dataset.columns:
        field = declared.get(column.name)
        if field and column.type != field.type:
            message = f"'{column.name}' is {column.type} in dataset '{dataset.name}', {field.type} in the contract"
            UNLIKE_CONTRACT.report(check.problems, message, where)


def _csv_asset(check: PipelineCheck, target: CsvTarget, taken: set[Table]) -> Table | None:
    """(app, layer, name) of an export: named by the parts of its path that do not change."""
    where = target.place("path")
    directives = set(re.findall(r"%.?", target.path))
    if "://" in target.path:
        check.cannot_run("exports to object stores", where, "write below the data folder, and copy from there")
    elif target.path.startswith(("/", "~")) or ".." in re.split(r"[/\\]", target.path) or "\\" in target.path:
        hint = "relative to the application's data folder, without '..'"
        BAD_PATH.report(check.problems, f"'{target.path}' leaves the application's data folder", where, hint=hint)
        return None
    if directives - {"%Y", "%m", "%d"}:
        wrong = ", ".join(sorted(directives - {"%Y", "%m", "%d"}))
        BAD_PATH.report(check.problems, f"'{wrong}' in an export's path", where, ("%Y", "%m", "%d"))
        return None
    parts = [p for p in target.path.split("://")[-1].split("/") if p and "%" not in p]
    layer = parts.pop(0) if parts and parts[0] in LAYERS else check.pipeline.layer
    name = re.sub(r"[^A-Za-z0-9_]+", "_", "_".join(parts)).strip("_") or check.pipeline.id
    while (check.pipeline.app, layer, name) in taken:
        name += "_csv"
    return (check.pipeline.app, layer, name)
