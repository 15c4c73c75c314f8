"""Several sources in one pipeline: those whose records come together, and tables that are joined to the records."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from pipeline_xml.checked import KeyRule, RowRule
from pipeline_xml.model import HiveSource, OtherSource
from pipeline_xml.rulebook import UNKNOWN_COLUMN, code

if TYPE_CHECKING:
    from pipeline_xml.check_pipeline import PipelineCheck

CHANGES_BESIDE = code(
    "LK510", "A table that is joined to the records is read by partition or in full, not by its changes."
)
READ_ALIKE = code(
    "LK511",
    "Tables whose records come together are read alike: by partition, in full, or, where they are united, by changes.",
)


_INTO_A_TABLE = (
    'load it by a pipeline of its own, and read its table here: <hive table="staging.…"/>; an attempt can be repeated '
    "with what a table held, and not with what lay in a folder"
)
_EACH = "say it of the table that they are written to, or of each source in a pipeline of its own"


def check_beside(
    check: PipelineCheck, driving: str | None, drive: Collection[str | None], rules: Sequence[RowRule | KeyRule]
) -> None:
    """What may stand beside the driving source: lake tables, whose version an attempt can pin.

    `drive` are all sources whose records the targets hold; row rules need their columns in each.
    """
    records = {*drive, *(p.output.name for p in check.plans if p.output.driving in drive)}
    for plan in check.plans:
        if plan.output.driving not in drive and any(name in records for name in plan.inputs):
            what = f"'{plan.output.name}' is made of the records, and stands beside them"
            check.cannot_run(what, plan.step.where, "make it by a pipeline of its own, and read its table here")
    reads = [s.source.read for n, s in check.sources.items() if n in drive and isinstance(s.source, HiveSource)]
    for name in dict.fromkeys(name for plan in check.plans for name in plan.inputs):
        source = check.sources[name].source if name in check.sources else None
        if source is None or (name == driving and len(drive) == 1) or isinstance(source, OtherSource):
            continue  # what does not run anyway says so itself
        if not isinstance(source, HiveSource):
            what = "records of files that come together" if name in drive else "files beside the driving source"
            check.cannot_run(f"{what} ('{name}')", source.where, _INTO_A_TABLE)
        elif name in drive and len(set(reads)) > 1:
            message = f"'{name}' is read by {source.read}, and its records come together with others"
            hint = "read all of them alike"
            READ_ALIKE.report(check.problems, message, source.place("read"), ("partition", "full", "changes"), hint)
        elif name in drive and source.read == "changes" and any(p.needs_all for p in check.plans):
            message = f"the changes of '{name}' lack the records of other sources that they would be merged with"
            READ_ALIKE.report(check.problems, message, source.place("read"), ("partition", "full"))
        elif name not in drive and source.read == "changes":
            message = f"'{name}' is joined, and read=\"changes\" would show it without what came before"
            CHANGES_BESIDE.report(check.problems, message, source.place("read"), ("partition", "full"))
    for rule in rules:
        if len(drive) > 1 and isinstance(rule, KeyRule) and rule.compares_records:
            check.cannot_run(f"'{rule.rule.id}' compares records of several sources", rule.rule.where, _EACH)
    first = check.contracts.get(driving or "")
    for name in sorted(n for n in drive if n and n != driving) if first else ():
        known = {c.name: c.type for c in check.contracts[name].columns} if name in check.contracts else {}
        here = {c.name: c.type for c in first.columns} if first else {}
        for rule in rules:
            for column in sorted(c for c in _looks_at(rule) if known.get(c) != here.get(c)):
                message = f"rule '{rule.rule.id}' looks at every record, and '{name}' has no {column} ({here[column]})"
                UNKNOWN_COLUMN.report(check.problems, message, rule.rule.where, tuple(known))


def _looks_at(rule: RowRule | KeyRule) -> Collection[str]:
    return rule.expression.columns if isinstance(rule, RowRule) else rule.columns
