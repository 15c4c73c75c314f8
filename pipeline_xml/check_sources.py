"""Sources: each gets its contract and becomes the first dataset of its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pipeline_xml.check_nested import flat
from pipeline_xml.check_outside import check_source
from pipeline_xml.check_targets import PLAIN_FILES
from pipeline_xml.checked import CheckedSource, Column, Dataset
from pipeline_xml.contract import Contract, Field
from pipeline_xml.lake_tables import report_bad_table, table_name
from pipeline_xml.model import (
    CsvSource,
    FileSource,
    HiveSource,
    HiveTarget,
    JsonSource,
    LandingZone,
    OtherSource,
    ParquetSource,
)
from pipeline_xml.rulebook import NO_CONTRACT, UNKNOWN_COLUMN, code
from pipeline_xml.types import STRING

if TYPE_CHECKING:
    from pipeline_xml.check_pipeline import PipelineCheck

UNKNOWN_ZONE = code("LK601", "A source's landing names no landingZone of the application.")
UNKNOWN_TABLE = code("LK112", "A lake table that no pipeline writes, read without a schemaRef of its own.")
CONTROL_FIELD = code("LK113", "A field number of the control record beyond the fields that its schemaRef has.")
TOTAL_COLUMN = code("LK160", "A control total sums a column that is none of int, bigint or decimal.")
_EXACT = ("int", "bigint", "decimal")
FORMAT_OF_PARQUET = code("LK117", "The contract of a parquet source says how its dates are written; they are no texts.")
INFERRED = code("LK114", "inferSchema guesses types from data; a contract says what was agreed.", "warning")
INFERRED_IN_PROD = code("LK115", "inferSchema is refused in the prod environment.")


def check_sources(check: PipelineCheck) -> None:
    """Fills sources, contracts and datasets of the check; a source without a contract is broken."""
    for source in check.pipeline.sources:
        if source.id in check.datasets or source.id in check.broken:
            continue  # twice the same id: a rule of its own says so
        found = _CHECKS[type(source)](check, source)
        if found is None:
            check.broken.add(source.id)
            continue
        check.contracts[source.id] = found
        check.datasets[source.id] = first_dataset(source.id, found, _key(check, source.id))


def _key(check: PipelineCheck, source: str) -> tuple[str, ...]:
    """The key that a source keeps: of a merged table only. A file may hold a key twice, and so may what is appended."""
    upstream = check.sources[source].upstream if source in check.sources else None
    written = check.around.tables.get(upstream) if upstream else None
    return written.contract.primary_key if written is not None and written.mode == "merge" else ()


def first_dataset(source: str, contract: Contract, key: tuple[str, ...] = ()) -> Dataset:
    """The rows of a source as its contract types them; every column is its own origin."""
    columns = tuple(
        Column(f.name, f.type, f.nullable, f.description, f.classification, origin, f.nested, f.by_record)
        for f in contract.columns
        for origin in (frozenset({(source, f.name)}),)
    )
    return Dataset(source, columns, source, key=key)


def _csv(check: PipelineCheck, source: CsvSource) -> Contract | None:
    pipeline = check.pipeline
    zone = _zone(check, source)
    control = _control(check, source)
    if source.infer_schema:
        finding = INFERRED_IN_PROD if check.around.environment == "prod" else INFERRED
        finding.report(
            check.problems, "inferSchema guesses types", source.place("inferSchema"), hint="write a schemaRef"
        )
    contract = None
    if source.schema_ref:
        where = source.place("schemaRef")
        contract = check.around.schemas.contract(pipeline.app, pipeline.layer, source.schema_ref, where)
        if contract is not None and not flat(check.problems, contract, "a csv source", where):
            return None
    elif source.columns:
        contract = Contract(source.id, tuple(Field(c, STRING) for c in source.columns), source.where)
    elif source.infer_schema:
        instead = "write a schemaRef; lake new makes a contract from a sample file"
        check.cannot_run(f"the columns of '{source.id}' are inferred", source.place("inferSchema"), instead)
    elif source.header:  # without a header, a rule of its own says the same
        hint = 'add <schemaRef>schemas/….json</schemaRef>, or columns="…" for texts only'
        NO_CONTRACT.report(check.problems, f"source '{source.id}' has no contract", source.where, hint=hint)
    if contract is None:
        return None
    names = tuple(f.name for f in contract.fields)
    for column in source.columns:
        if column not in names:
            where = source.item_place("columns", column)
            UNKNOWN_COLUMN.report(check.problems, f"unknown column '{column}' in <csv columns>", where, names)
    _totals(check, source, contract)
    check.sources[source.id] = CheckedSource(source, contract, zone, control_contract=control)
    return contract


def _typed(check: PipelineCheck, source: JsonSource | ParquetSource) -> Contract | None:
    """Files whose values have types of their own, which are held against the contract's all the same."""
    zone = _zone(check, source)
    if source.schema_ref is None:
        hint = "add <schemaRef>schemas/….json</schemaRef>"
        NO_CONTRACT.report(check.problems, f"source '{source.id}' has no contract", source.where, hint=hint)
        return None
    pipeline, where = check.pipeline, source.place("schemaRef")
    contract = check.around.schemas.contract(pipeline.app, pipeline.layer, source.schema_ref, where)
    if contract is None:
        return None
    written = [f.name for f in contract.fields if f.format] if isinstance(source, ParquetSource) else []
    if written:
        message = f"x-format of {', '.join(written)} in the contract of the parquet source '{source.id}'"
        hint = "a parquet file holds dates as dates; leave x-format out"
        FORMAT_OF_PARQUET.report(check.problems, message, where, hint=hint)
    check.sources[source.id] = CheckedSource(source, contract, zone)
    return contract


def _zone(check: PipelineCheck, source: FileSource) -> LandingZone | None:
    if source.landing is None:
        if "://" in (source.path or ""):
            instead = 'declare a <landingZone type="s3 | sftp" uri="…"/>, and say landing and pattern instead of path'
            check.cannot_run(f"'{source.path}' is no path of this machine", source.place("path"), instead)
        return None
    zones = {z.id: z for z in check.application.zones}
    if source.landing not in zones:
        if "resources" in check.application.unread:
            return None
        message = f"unknown landing zone '{source.landing}'"
        UNKNOWN_ZONE.report(check.problems, message, source.place("landing"), sorted(zones))
        return None
    return zones[source.landing]


def _control(check: PipelineCheck, source: CsvSource) -> Contract | None:
    """The contract of the control record, if it has one; field numbers are held against it."""
    control = source.control
    if control is None or control.schema_ref is None:
        return None
    where = control.place("schemaRef")
    contract = check.around.schemas.contract(check.pipeline.app, check.pipeline.layer, control.schema_ref, where)
    if contract is not None and not flat(check.problems, contract, "a control record", where):
        return None
    fields = [("control field", control.field, control.place("field"))]
    fields += [("control businessDateField", control.business_date_field, control.place("businessDateField"))]
    fields += [("total field", total.field, total.place("field")) for total in control.totals]
    for name, number, place in fields:
        if contract is not None and number is not None and number > len(contract.fields):
            message = f"<{name}> is {number}, the control record has {len(contract.fields)} fields"
            CONTROL_FIELD.report(check.problems, message, place)
    return contract


def _totals(check: PipelineCheck, source: CsvSource, contract: Contract) -> None:
    """A sum is over a column of the file that is exact: a sum of doubles depends on its order."""
    summable = [f.name for f in contract.fields if f.type.kind in _EXACT]
    for total in source.control.totals if source.control is not None else ():
        if total.sum is not None and total.sum not in summable:
            message = f"no sum of '{total.sum}': it is no column, or none of whole or decimal numbers"
            TOTAL_COLUMN.report(check.problems, message, total.place("sum"), summable)


def _hive(check: PipelineCheck, source: HiveSource) -> Contract | None:
    pipeline, around = check.pipeline, check.around
    table = table_name(source.table, pipeline.app)
    if table is None:
        report_bad_table(source.table, source.place("table"), check.problems)
        return None
    written = around.tables.get(table)
    given = None
    if source.schema_ref:
        given = around.schemas.contract(pipeline.app, pipeline.layer, source.schema_ref, source.place("schemaRef"))
        if given is not None and not flat(check.problems, given, "a lake table", source.place("schemaRef")):
            return None
    if (plain := plain_files(check, table)) is not None:
        message = f"'{source.table}' is written as {plain} files, and a source is a table with versions"
        hint = 'write it as format="delta"'
        PLAIN_FILES.report(check.problems, message, source.place("table"), hint=hint)
        return None
    unread = any(a.name == table[0] and "pipeline" in a.unread for a in around.applications)
    if written is None and (table in around.writers or unread):
        return None  # its writer has errors of its own
    contract = written.contract if written else given
    if contract is None:
        if not source.schema_ref:
            hint = "a table that is written elsewhere needs a schemaRef on the source"
            message = f"unknown table '{source.table}': no pipeline writes it"
            UNKNOWN_TABLE.report(check.problems, message, source.place("table"), _tables(check), hint)
        return None
    check.sources[source.id] = CheckedSource(source, contract, upstream=table)
    return contract


def plain_files(check: PipelineCheck, table: tuple[str, str, str]) -> str | None:
    """The format of a table that is no delta table."""
    writer = check.around.writers.get(table)
    for target in writer.targets if writer else ():
        if isinstance(target, HiveTarget) and table_name(target.table, writer.app if writer else "") == table:
            return target.format if target.format != "delta" else None
    return None


def _tables(check: PipelineCheck) -> list[str]:
    own = [f"{layer}.{name}" for app, layer, name in check.around.writers if app == check.pipeline.app]
    return own + [".".join(t) for t in check.around.writers if t[0] != check.pipeline.app]


_CHECKS: Mapping[type, Callable[[PipelineCheck, Any], Contract | None]] = {
    CsvSource: _csv,
    JsonSource: _typed,
    ParquetSource: _typed,
    HiveSource: _hive,
    OtherSource: check_source,
}
