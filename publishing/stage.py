"""Staging: one attempt's records computed, written once split by status, counted, checked, and fixed by a manifest."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from pipeline_xml.contract import Field
from pipeline_xml.model import FileSource, HiveTarget
from processing import frame as f
from processing.compute import Tools, later_frames, record_frame, stamp, target_columns
from processing.lines import beside_names, later_steps, read_beside
from processing.read import RawFile, read_records
from processing.read_table import read_lake_rows
from processing.rejects import alive
from processing.step import Runtime
from processing.transformations import registry
from processing.unrecorded import with_identity
from publishing import failpoints
from publishing.lake import Lake
from publishing.manifest import FileCounts, Manifest, staged_files
from publishing.outcome import CheckOutcome, Counts, StepLine
from publishing.rule_columns import rule_columns
from publishing.rule_tables import compared_rows, lookup_rows, rule_references
from publishing.table_input import TableInput, table_beside
from publishing.verdict import judge
from resources.durable import fsync
from resources.lake_table import NULL_PARTITION, DataFile

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class ReconciliationError(Exception):
    """The statuses of a file's records do not add up to the records that were scanned; nothing is published."""


class RecordTwice(Exception):
    """Two tables that were made of the same records are put under each other (permanent); says what to do."""


@dataclass(frozen=True, slots=True)
class AttemptInput:
    """What an attempt reads: files of the raw zone with their uris and record counts, or the rows of a table.

    A replay of a table's records reads them from `rows`, a Parquet file of the staging folder. `overlay` is the file of
    decisions over rows of a table or of `rows`; those over files are with the files. `corrections` are their ids. What
    is not `judged` is not held back by the batch's limits: of a replay's few records somebody looked at each. `waived`
    is what a release let pass, as publishing.verdict.judge takes it.
    """

    batch_id: str
    attempt: int
    business_date: date
    opened_at: datetime
    raw: tuple[RawFile, ...] = ()
    uris: tuple[tuple[int, str, int], ...] = ()  # (arrival, uri, records by the boundary scan)
    table: TableInput | None = None
    rows: str | None = None
    overlay: str | None = None
    corrections: tuple[str, ...] = ()
    judged: bool = True
    waived: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, TableInput] = field(default_factory=dict)  # of the other driving sources
    bound: Mapping[str, object] = field(default_factory=dict)  # values of expressions by name
    versions: Mapping[str, int] = field(default_factory=dict)  # of tables read beside; without one, the newest
    arrival: int = 0  # the batch's, which rows that are no records get

    @property
    def by_file(self) -> bool:
        return self.table is None and self.rows is None


def stage(lake: Lake, pipeline: CheckedPipeline, given: AttemptInput) -> Manifest:
    """Computes and writes everything the attempt will publish; makes no change to any table."""
    root = lake.staged_root(pipeline.key, given.batch_id, given.attempt) / uuid.uuid4().hex
    root.mkdir(parents=True)
    session = lake.engine.session
    checkpoints = root / "checkpoints"

    def materialise(rows: DataFrame) -> DataFrame:
        folder = checkpoints / uuid.uuid4().hex
        rows.write.option("compression", "snappy").parquet(str(folder))  # read back once: cheap beats small
        if not any(folder.glob("*.parquet")):  # Sail writes no file for no rows, and then there is no schema to read
            return rows
        back: DataFrame = session.read.parquet(str(folder))
        return back

    day, looked_up = given.business_date, lookup_rows(lake, pipeline, given.versions)
    runtime = Runtime(session, lake.engine.name, day, day, lake.secrets, given.bound, looked_up)
    tools = Tools(registry(), runtime, materialise)
    beside = _read_beside(lake, pipeline, given)
    references = rule_references(lake, pipeline, given.versions)
    rows = record_frame(pipeline, _read(lake, pipeline, given), beside, tools, references)
    direct = _direct_target(pipeline)
    partition_by = pipeline.targets[direct].target.partition_by if direct is not None else ()  # type: ignore[union-attr]
    columns = [c for c in dict.fromkeys((*rows.columns, *f.STAMPED)) if c != f.STATUS]
    out = stamp(rows, given.batch_id, given.opened_at).select(*columns, f.STATUS)
    if given.by_file:
        out = _hidden(out)
    _named(out, partition_by).write.partitionBy(f.STATUS, *partition_by).parquet(str(root / "records"))
    records = {
        status: staged_files(root, root / "records" / f"{f.STATUS}={status}")
        for status in f.STATUSES
        if (root / "records" / f"{f.STATUS}={status}").is_dir()
    }
    failpoints.reached("stage.records")
    if len(pipeline.drivers) > 1:
        _each_once(pipeline, root, records.get(f.ACCEPTED, ()))
    counted, rules, rejecting = count_records(root, records, given.by_file)
    lines = _reconcile(pipeline, given, counted)
    accepted_folder = root / "records" / f"{f.STATUS}={f.ACCEPTED}"
    accepted: DataFrame | None = None
    if accepted_folder.is_dir():
        accepted = session.read.parquet(str(accepted_folder))
    elif beside:  # a right or full join has rows even where no record is left
        accepted = out.drop(f.STATUS).limit(0)
    branches = {
        name: _of_branch(rows, accepted, given, tools) for name, rows in tools.branches.items() if accepted is not None
    }
    targets, steps = _later_targets(pipeline, given, root, accepted, branches, beside, tools, direct, lines)
    for number, tokens in enumerate(tools.vault):
        tokens.write.parquet(str(root / "vault" / str(number)))
    manifest = Manifest(
        batch=given.batch_id,
        attempt=given.attempt,
        root=str(root.relative_to(lake.settings.data)),
        records=records,
        targets=targets,
        files=lines,
        rules=rules,
        rejecting=rejecting,
        checks=(),
        steps=steps,
        corrections=given.corrections,
        vault=staged_files(root, root / "vault", ()),
    )
    shutil.rmtree(checkpoints, ignore_errors=True)
    checks: tuple[CheckOutcome, ...] = ()
    held: str | None = None
    if given.judged:
        compared = compared_rows(lake, given.versions, given.business_date)
        checks, held = judge(pipeline, manifest, root, given.business_date, compared, given.waived)
    for path in root.rglob("*.parquet"):
        fsync(path)
    failpoints.reached("stage.finished")
    return replace(manifest, checks=checks, held=held)


def _each_once(pipeline: CheckedPipeline, root: Path, files: Sequence[DataFile]) -> None:
    """RecordTwice where a record came by two of the tables that come together: both rows have its name."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    ids = [pq.ParquetFile(root / item.path).read(columns=[f.RECORD_ID])[f.RECORD_ID] for item in files]
    found = pa.chunked_array([chunk for column in ids for chunk in column.chunks], pa.string())
    twice = len(found) - found.null_count - int(pc.count_distinct(found, mode="only_valid").as_py())
    if twice:
        names = ", ".join(source.source.id for source in pipeline.drivers)
        raise RecordTwice(
            f"{pipeline.key}: {twice} records are in more than one of {names}, and would be there twice; "
            f"<filter> them apart before, or <merge> them by their key"
        )


def _read(lake: Lake, pipeline: CheckedPipeline, given: AttemptInput) -> DataFrame:
    source = pipeline.driving.source
    session = lake.engine.session
    columns = pipeline.driving.contract.columns
    if given.rows is not None:
        return read_lake_rows(session, [(given.rows, {})], columns, given.overlay)
    if given.table is None:
        assert isinstance(source, FileSource)  # noqa: S101 - a batch of files has a file source
        return read_records(session, source, pipeline.driving.contract, given.raw)
    return _rows_of(session, given.table, columns, given.overlay)


def _rows_of(session: Any, table: TableInput, columns: Sequence[Field], overlay: str | None = None) -> DataFrame:
    from pyspark.sql import functions as F

    files = [(str(table.snapshot.root / item.path), dict(item.partition)) for item in table.files]
    rows: DataFrame = read_lake_rows(session, files, columns, overlay)
    if table.without:
        read = session.read.parquet(*table.without).select(f.RECORD_ID)
        rows = rows.join(read, f.RECORD_ID, "left_anti").select(*rows.columns)
    if table.business_date is not None:
        rows = rows.where(F.col(f.BUSINESS_DATE) == F.lit(table.business_date.isoformat()).cast("date"))
    return rows


def _read_beside(lake: Lake, pipeline: CheckedPipeline, given: AttemptInput) -> dict[str, DataFrame]:
    """The rows of the tables that are joined, of the version that the attempt pinned, and of other driving ones."""
    frames = {}
    for source in read_beside(pipeline):
        table = table_beside(lake, pipeline, source, given.versions, given.business_date)
        frames[source.source.id] = _rows_of(lake.engine.session, table, source.contract.columns)
    for source in pipeline.drivers[1:]:
        table = given.others[source.source.id]
        columns = source.contract.columns
        frames[source.source.id] = _rows_of(lake.engine.session, table, columns, given.overlay)
    return frames


def _named(rows: DataFrame, partition_by: Sequence[str]) -> DataFrame:
    """The partition columns as the texts of their folders: Sail puts the null of a number under 0, of a boolean under
    false."""
    from pyspark.sql import functions as F

    texts = {c: F.coalesce(F.col(c).cast("string"), F.lit(NULL_PARTITION)) for c in partition_by}
    return rows.withColumns(texts) if texts else rows


def _hidden(rows: DataFrame) -> DataFrame:
    """Records that are not accepted, without their values: those of a partition would stand in paths and the journal.

    They are read again from raw. Of a record that came from a table the staged row is all there is.
    """
    from pyspark.sql import functions as F

    accepted = F.col(f.STATUS) == F.lit(f.ACCEPTED)
    told = (*f.IDENTITY, *f.STAMPED, f.STATUS, f.ERRORS)
    values = {c: F.when(accepted, F.col(c)) for c in rows.columns if c not in told}
    return rows.withColumns(values) if values else rows


def _of_branch(rows: DataFrame, accepted: DataFrame, given: AttemptInput, tools: Tools) -> DataFrame:
    """The records that are alive on a branch, less those that another branch rejected; stamped."""
    living = rows.where(alive()).join(accepted.select(f.RECORD_ID), [f.RECORD_ID], "left_semi")
    return tools.materialise(stamp(living, given.batch_id, given.opened_at))


def _direct_target(pipeline: CheckedPipeline) -> int | None:
    """The target whose files are the staged accepted records themselves: they are written once and linked in."""
    if pipeline.branches.several:
        return None
    reread = later_steps(pipeline) or len(pipeline.targets) > 1
    for position, target in enumerate(pipeline.targets):
        chosen = target.target
        if isinstance(chosen, HiveTarget) and chosen.mode != "merge" and target.dataset.per_record:
            return None if reread and chosen.partition_by else position
    return None


def count_records(
    root: Path, records: Mapping[str, Sequence[DataFile]], by_file: bool
) -> tuple[dict[int, dict[str, int]], dict[str, int], dict[str, int]]:
    """({arrival: {status: records}}, {rule: records that broke it}, the same of rules that reject).

    Read from the staged files themselves.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    counted: dict[int, dict[str, int]] = {}
    rules: dict[str, int] = {}
    rejecting: dict[str, int] = {}
    for status, files in records.items():
        for item in files:
            with pq.ParquetFile(root / item.path) as parquet:
                columns = [f.ARRIVAL, *rule_columns(parquet, f.ERRORS)]
                for batch in parquet.iter_batches(columns=columns, batch_size=262_144):
                    values = pc.value_counts(batch.column(0)) if by_file else [{"values": 0, "counts": len(batch)}]
                    for entry in values:
                        arrival, number = _plain(entry)
                        per_status = counted.setdefault(arrival, {})
                        per_status[status] = per_status.get(status, 0) + number
                    count_rules(batch.column(1), rules, rejecting)
    return counted, rules, rejecting


def _plain(entry: Any) -> tuple[int, int]:
    if isinstance(entry, dict):
        return entry["values"], entry["counts"]
    return entry["values"].as_py(), entry["counts"].as_py()


def count_rules(errors: Any, rules: dict[str, int], rejecting: dict[str, int]) -> None:
    """Adds records to {rule: how many broke it}, and to that of rules that reject; once, however many columns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if errors.null_count == len(errors):
        return
    flat = errors.flatten()
    parents = pc.list_parent_indices(errors)
    names = ["row", "rule", "severity"]
    entries = pa.table([parents, flat.field("rule"), flat.field("severity")], names)
    if pc.max(pc.list_value_length(errors)).as_py() > 1:
        entries = entries.group_by(names).aggregate([])
    for found in entries.group_by(["rule", "severity"]).aggregate([([], "count_all")]).to_pylist():
        rule, number = found["rule"], found["count_all"]
        rules[rule] = rules.get(rule, 0) + number
        if found["severity"] == "error":
            rejecting[rule] = rejecting.get(rule, 0) + number


def _reconcile(
    pipeline: CheckedPipeline, given: AttemptInput, counted: Mapping[int, Mapping[str, int]]
) -> list[FileCounts]:
    if given.table is not None:
        tables = (given.table, *given.others.values())
        names = " + ".join(f"{table.name}@{table.snapshot.version}" for table in tables)
        expected = [(0, names, sum(table.records for table in tables))]
    else:
        expected = list(given.uris)
    lines = []
    for arrival, uri, scanned in expected:
        line = FileCounts(arrival, uri, Counts(in_=scanned, **counted.get(arrival, {})))
        if not line.counts.closes:
            raise ReconciliationError(
                f"{pipeline.key}: {uri}: scanned {scanned} records, but "
                + ", ".join(f"{k} {v}" for k, v in line.counts.as_dict().items() if k != "in")
            )
        lines.append(line)
    return lines


def _later_targets(
    pipeline: CheckedPipeline,
    given: AttemptInput,
    root: Path,
    accepted: DataFrame | None,
    branches: Mapping[str, DataFrame],
    beside: Mapping[str, DataFrame],
    tools: Tools,
    direct: int | None,
    lines: Sequence[FileCounts],
) -> tuple[dict[int, list[DataFile]], list[StepLine]]:
    """Writes the rows of every target that are not the accepted records; and the chain of the later steps."""
    later = [i for i, t in enumerate(pipeline.targets) if i != direct and (branches or _has_own_files(t))]
    accepted_count = sum(line.counts.accepted for line in lines)
    targets: dict[int, list[DataFile]] = {}
    steps: list[StepLine] = []
    if accepted is not None and later:
        outputs = later_frames(pipeline, accepted, beside, tools, branches)
        frames = {plan.output.name: rows for plan, rows in zip(later_steps(pipeline), outputs, strict=True)}
        written: dict[tuple[str, tuple[str, ...]], int] = {}
        for position in later:
            target = pipeline.targets[position]
            partition_by = _folders(target)
            same = written.get((target.dataset.name, partition_by))
            if same is not None:
                targets[position] = targets[same]
                continue
            rows: DataFrame = branches.get(target.dataset.name, accepted)
            if not target.dataset.per_record:
                found = frames[target.dataset.name]
                rows = with_identity(found, target.dataset, given.batch_id, given.arrival, given.business_date)
                rows = stamp(rows, given.batch_id, given.opened_at)
            folder = root / f"target{position}"
            rows = _named(rows.select(*target_columns(target)), partition_by)
            rows.write.partitionBy(*partition_by).parquet(str(folder))
            targets[position] = staged_files(root, folder)
            written[(target.dataset.name, partition_by)] = position
        written_rows = {pipeline.targets[i].dataset.name: sum(x.records for x in files) for i, files in targets.items()}
        plans, apart = later_steps(pipeline), beside_names(pipeline)
        read = {name for plan in plans for name in plan.inputs}
        sizes = {name: rows.count() for name, rows in branches.items() if name in read}
        for number, plan in enumerate(plans):
            # A name is that of its last step: what a target wrote counts for that one.
            last = all(other.output.name != plan.output.name for other in plans[number + 1 :])
            after = written_rows.get(plan.output.name) if last else None
            after = outputs[number].count() if after is None else after
            before = sum(sizes.get(name, accepted_count) for name in plan.inputs if name not in apart)
            steps.append(StepLine(plan.kind, before, after, f"{plan.kind} changes what a row is"))
            sizes[plan.output.name] = after
    return targets, steps


def _folders(target: CheckedTarget) -> tuple[str, ...]:
    """The columns by which its files lie in folders; what is merged is read again, and lies in none."""
    chosen = target.target
    return chosen.partition_by if isinstance(chosen, HiveTarget) and chosen.mode != "merge" else ()


def _has_own_files(target: CheckedTarget) -> bool:
    """Whether its rows are other files than the accepted records: groups, or records in folders of their own."""
    return bool(_folders(target)) or not target.dataset.per_record
