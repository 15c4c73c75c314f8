"""Rules that keep the accounting true: modes, keys, and what a quarantined record can still become."""

from __future__ import annotations

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.lake_tables import producers, table_name
from pipeline_xml.model import Application, CsvTarget, FileSource, HiveSource, HiveTarget, Node
from pipeline_xml.rulebook import Report, catalog_rule, checked_rule


@checked_rule("LK501")
def merge_keys(checked: CheckedPipeline, report: Report) -> None:
    """A merge target needs keys: its own, or the contract's x-primaryKey."""
    for target in checked.targets:
        written = target.target
        if isinstance(written, HiveTarget) and written.mode == "merge" and not target.keys:
            report("merge without keys", written.place("mode"), target.dataset.names, 'write keys="…"')


@checked_rule("LK502", "warning")
def merge_order(checked: CheckedPipeline, report: Report) -> None:
    """A merge target without orderBy keeps what arrived last, which need not be what happened last."""
    for target in checked.targets:
        written = target.target
        if isinstance(written, HiveTarget) and written.mode == "merge" and not target.order_by:
            hint = 'write orderBy="…", or x-orderBy in the contract'
            report("merge without orderBy: the row that arrived last wins", written.place("mode"), hint=hint)


@checked_rule("LK503")
def merge_records(checked: CheckedPipeline, report: Report) -> None:
    """Only delta tables can be merged into."""
    for target in checked.targets:
        written = target.target
        if isinstance(written, HiveTarget) and written.mode == "merge" and written.format != "delta":
            report(f"merge into {written.format}", written.place("format"), ("delta",))


@checked_rule("LK514")
def merged_by_their_key(checked: CheckedPipeline, report: Report) -> None:
    """Rows that are no records are merged by a key in which no two of them agree: nothing tells the newer of two."""
    for target in checked.targets:
        written, made = target.target, target.dataset
        if not isinstance(written, HiveTarget) or written.mode != "merge" or made.per_record or not target.keys:
            continue
        if not made.key or not set(made.key) <= set(target.keys):
            hint = f'keys="{", ".join(made.key)}"' if made.key else "deduplicate them by these keys before"
            place = written.place("keys" if written.keys else "mode")
            report(f"several rows of '{made.name}' may have one key ({', '.join(target.keys)})", place, hint=hint)


@checked_rule("LK504")
def overwrite_needs_the_whole(checked: CheckedPipeline, report: Report) -> None:
    """An overwrite replaces a whole business date: a file is whole (snapshot), a table is read by partition or full."""
    sources = {s.source.id: s.source for s in checked.sources}
    for target in checked.targets:
        source = sources.get(target.dataset.driving)
        if target.target.mode != "overwrite":
            continue
        if isinstance(source, FileSource) and not source.snapshot:
            message = f"overwrite from '{source.id}', whose files are parts: a second file would replace the first"
            hint = 'snapshot="true" on the source if a file is the whole of its date, else mode="append"'
            report(message, target.target.place("mode"), hint=hint)
        if isinstance(source, HiveSource) and source.read == "changes":
            message = f"overwrite from the changes of '{source.table}': new rows of a date would replace earlier ones"
            hint = f'read="partition" on \'{source.id}\' reads all of a date, else mode="append" or "merge"'
            report(message, target.target.place("mode"), hint=hint)


@catalog_rule("LK505")
def changes_of_appended(applications: tuple[Application, ...], report: Report) -> None:
    """read="changes" follows a table that only grows; a merged or overwritten table is read by partition or full."""
    writers = producers(applications)
    for application in applications:
        for pipeline in application.pipelines:
            for source in pipeline.sources:
                if not isinstance(source, HiveSource) or source.read != "changes":
                    continue
                table = table_name(source.table, pipeline.app)
                writer = writers.get(table) if table else None
                for target in writer.targets if writer else ():
                    if (
                        isinstance(target, HiveTarget)
                        and table_name(target.table, writer.app if writer else "") == table
                    ):
                        _changes(source, target, report)


def _changes(source: HiveSource, target: HiveTarget, report: Report) -> None:
    if target.mode != "append":
        message = f"changes of '{source.table}', which is written by {target.mode} ({target.where})"
        report(message, source.place("read"), ("partition", "full"))


@checked_rule("LK506", "warning")
def deduplicate_sees_one_batch(checked: CheckedPipeline, report: Report) -> None:
    """deduplicate sees one batch; a duplicate that arrives in a later batch is appended. Across batches, use merge."""
    appended = any(isinstance(t.target, HiveTarget) and t.target.mode == "append" for t in checked.targets)
    for plan in checked.steps if appended else ():
        if plan.kind == "deduplicate":
            hint = 'mode="merge" on the target keeps one row a key across batches'
            report("deduplicate sees one batch, and the target appends", plan.step.where, hint=hint)


@checked_rule("LK507")
def replay_needs_records(checked: CheckedPipeline, report: Report) -> None:
    """A record that is quarantined before an aggregate cannot be replayed: its share of the groups is gone.

    An error where onRecordError="quarantine" is written, a warning where it is the default.
    """
    policy = checked.pipeline.error_policy
    if policy.on_record_error != "quarantine":
        return
    written = "onRecordError" in policy.places
    ends = next((p for p in checked.steps if not p.output.per_record), None)
    if ends is not None:
        where = policy.place("onRecordError") if written else ends.step.where
        message = f"quarantined records cannot be replayed through <{ends.kind}>"
        hint = 'quarantine in a pipeline before this one, or onRecordError="skip"'
        report(message, where, hint=hint, severity="error" if written else "warning")


@checked_rule("LK512", "warning")
def corrected_in_the_first(checked: CheckedPipeline, report: Report) -> None:
    """Rejected records of several sources are shown and corrected in the columns of the first; the others lack some."""
    if checked.pipeline.error_policy.on_record_error != "quarantine" or not checked.sources:
        return
    first = {(c.name, c.type) for c in checked.driving.contract.columns}
    for source in checked.drivers[1:]:
        lost = [c.name for c in source.contract.columns if (c.name, c.type) not in first]
        if lost:
            message = f"a rejected record of '{source.source.id}' is kept without {', '.join(lost)}"
            hint = f"'{checked.driving.source.id}', the first source, has no such column; reject in a pipeline before"
            report(message, source.source.where, hint=hint)


@checked_rule("LK513", "warning")
def order_is_kept(checked: CheckedPipeline, report: Report) -> None:
    """A sort orders what is written; where a later step makes other rows or values, its order is lost."""
    for number, plan in enumerate(checked.steps):
        name = plan.output.name if plan.kind == "sort" else None
        for later in checked.steps[number + 1 :]:
            if name is None or later.inputs[0] != name:
                continue
            if later.output.order is None or later.kind == "sort":
                hint = "sort in the last step before the target"
                report(f"the order of this sort is lost in <{later.kind}>", plan.step.where, hint=hint)
                break
            name = later.output.name


@checked_rule("LK508")
def masked_is_written(checked: CheckedPipeline, report: Report) -> None:
    """A mask whose result has a name of its own does not help a target that writes the dataset it was made from."""
    for plan in checked.steps:
        if plan.kind != "mask" or plan.output.name in plan.inputs:
            continue
        for target in checked.targets:
            if target.dataset.name in plan.inputs:
                where = target.target.place("source")
                hint = f'source="{plan.output.name}"'
                report(
                    f"the target writes '{target.dataset.name}', not the masked '{plan.output.name}'", where, hint=hint
                )


@checked_rule("LK509", "warning")
def export_only(checked: CheckedPipeline, report: Report) -> None:
    """A pipeline that writes exports only has nowhere to put a replayed record."""
    quarantines = checked.pipeline.error_policy.on_record_error == "quarantine"
    if checked.targets and quarantines and all(isinstance(t.target, CsvTarget) for t in checked.targets):
        where: Node = checked.targets[0].target
        report("exports only: quarantined records cannot be replayed", where.where, hint="add a hive target")
