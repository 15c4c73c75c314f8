"""Rules that compare with something beside the batch: foreignKey with a lookup or lake table, reconcile a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline_xml.check_sources import UNKNOWN_TABLE, plain_files
from pipeline_xml.check_targets import PLAIN_FILES
from pipeline_xml.checked import DatasetRule, KeyRule, Reference
from pipeline_xml.contract import Contract
from pipeline_xml.fingerprint import rule_fingerprint
from pipeline_xml.lake_tables import Table, report_bad_table, table_name
from pipeline_xml.location import Location
from pipeline_xml.model import Rule
from pipeline_xml.place import items
from pipeline_xml.rulebook import UNKNOWN_COLUMN, code
from pipeline_xml.types import DataType

if TYPE_CHECKING:
    from pipeline_xml.check_pipeline import PipelineCheck

PAIRS = code(
    "LK132",
    """A rule says what it compares: foreignKey a `column` with the reference's key, where that is one column, else
    on="column=reference column, …"; reconcile a `column` with one of the other table, or the number of rows.""",
)
UNLIKE_TYPES = code(
    "LK133", "A rule compares columns of one type; doubles, which are never exact, are no keys."
)
_WHOLE = ("int", "bigint")


def foreign_key(check: PipelineCheck, pack: str, rule: Rule, scope: Mapping[str, DataType]) -> KeyRule | None:
    """The resolved rule, or None after its problems were reported."""
    written = rule.attributes["reference"]
    reference: Reference | None = None
    table: Table | None = None
    if "." in written:
        table, contract = lake_table(check, written, rule.place("reference"))
    else:
        reference = check.around.lookups.reference(check.pipeline.app, written, rule.place("reference"))
        contract = reference.contract if reference else None
    if contract is None:
        return None
    pairs = _pairs(check, rule, contract)
    fields = {f.name: f for f in contract.columns}
    good = bool(pairs)
    for mine, their, where in pairs:
        if mine not in scope:
            message = f"unknown column '{mine}' in rule '{rule.id}' for pipeline '{check.pipeline.id}'"
            UNKNOWN_COLUMN.report(check.problems, message, where, tuple(scope))
        elif their not in fields:
            message = f"unknown column '{their}' of reference '{written}' in rule '{rule.id}'"
            UNKNOWN_COLUMN.report(check.problems, message, where, tuple(fields))
        elif not comparable(scope[mine], fields[their].type):
            message = f"rule '{rule.id}' compares {mine} ({scope[mine]}) with {written}.{their} ({fields[their].type})"
            hint = "cast one of them, or compare other columns"
            UNLIKE_TYPES.report(check.problems, message, where, hint=hint)
        else:
            continue
        good = False
    if not good:
        return None
    columns = tuple(mine for mine, _, _ in pairs)
    theirs = tuple(fields[their] for _, their, _ in pairs)
    return KeyRule(rule, pack, columns, rule_fingerprint(pack, rule), theirs, reference, table)


def _pairs(check: PipelineCheck, rule: Rule, contract: Contract) -> list[tuple[str, str, Location]]:
    """(column, reference column, place) of what is compared; empty after a problem was reported."""
    column, on = rule.attributes.get("column"), rule.attributes.get("on")
    keys = contract.primary_key
    hint = 'write column="…", or on="column=reference column, …"'
    if (column is None) == (on is None):
        said = "says neither column nor on" if column is None else "says column and on"
        PAIRS.report(check.problems, f"rule '{rule.id}' {said}", rule.where, hint=hint)
        return []
    if column is not None:
        if len(keys) == 1:
            return [(column, keys[0], rule.place("column"))]
        said = f"a key of {len(keys)} columns ({', '.join(keys)})" if keys else "no x-primaryKey"
        message = f"rule '{rule.id}': '{rule.attributes['reference']}' has {said}"
        PAIRS.report(check.problems, message, rule.place("column"), tuple(f.name for f in contract.columns), hint)
        return []
    found = []
    for item in items(on):
        where = rule.item_place("on", item)
        mine, _, their = (part.strip() for part in item.partition("="))
        if not mine or not their:
            PAIRS.report(check.problems, f"'{item}' in rule '{rule.id}' is no pair", where, hint=hint)
            return []
        found.append((mine, their, where))
    return found


def comparable(mine: DataType, their: DataType) -> bool:
    if "double" in (mine.kind, their.kind):
        return False
    return mine == their or (mine.kind in _WHOLE and their.kind in _WHOLE)


def reconcile(check: PipelineCheck, pack: str, rule: Rule, scope: Mapping[str, DataType]) -> DatasetRule | None:
    """The resolved rule, or None after its problems were reported."""
    against, column = rule.attributes["against"], rule.attributes.get("column")
    table, contract = lake_table(check, against, rule.place("against"))
    if contract is None:
        return None
    their = rule.attributes.get("againstColumn", column)
    if column is None:
        if their is not None:
            message = f"rule '{rule.id}' says againstColumn and no column: rows are counted, or a column is summed"
            PAIRS.report(check.problems, message, rule.place("againstColumn"), hint='add column="…"')
            return None
        return DatasetRule(rule, pack, (), rule_fingerprint(pack, rule), (), table)
    fields = {f.name: f for f in contract.columns}
    field = fields.get(their or "")
    if field is None:
        where = rule.place("againstColumn" if "againstColumn" in rule.attributes else "column")
        message = f"unknown column '{their}' of '{against}' in rule '{rule.id}'"
        UNKNOWN_COLUMN.report(check.problems, message, where, tuple(fields))
        return None
    for name, kind, attribute in ((column, scope[column], "column"), (field.name, field.type, "againstColumn")):
        if not kind.numeric:
            message = f"rule '{rule.id}' sums {name}, which is {kind}"
            hint = "only numbers can be summed; without column rows are counted"
            UNLIKE_TYPES.report(check.problems, message, rule.place(attribute), hint=hint)
            return None
    return DatasetRule(rule, pack, (column,), rule_fingerprint(pack, rule), (scope[column],), table, (field,))


def lake_table(check: PipelineCheck, written: str, where: Location) -> tuple[Table | None, Contract | None]:
    """The table and its contract; None for the contract after a problem was reported."""
    table = table_name(written, check.pipeline.app)
    if table is None:
        report_bad_table(written, where, check.problems)
        return None, None
    if (plain := plain_files(check, table)) is not None:
        message = f"'{written}' is written as {plain} files, and what is compared with is a table that has versions"
        PLAIN_FILES.report(check.problems, message, where, hint='write it as format="delta"')
        return table, None
    found = check.around.tables.get(table)
    if found is not None:
        return table, found.contract
    unread = any(a.name == table[0] and "pipeline" in a.unread for a in check.around.applications)
    if table not in check.around.writers and not unread:  # else its writer has errors of its own
        known: list[tuple[str, ...]] = [t[1:] if t[0] == check.pipeline.app else t for t in check.around.writers]
        message = f"unknown table '{written}': no pipeline writes it"
        UNKNOWN_TABLE.report(check.problems, message, where, [".".join(t) for t in known])
    return table, None
