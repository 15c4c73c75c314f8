"""`lake quarantine …`: look at rejected records, correct them, decide. Exit 0 done, 2 wrong use or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from command_line import quarantine_report as report
from command_line.catalog import WrongUse, business_day
from command_line.stewards import (
    BatchName,
    Desk,
    DryRun,
    Json,
    Limit,
    Reason,
    Rule,
    State,
    Token,
    desk,
    pairs,
    show,
)
from pipeline_xml.checked import CheckedPipeline

app = typer.Typer(help="Rejected records: look, correct, decide.", no_args_is_help=True, add_completion=False)
Record = Annotated[str | None, typer.Option("--record", help="One record of the batch, by its id.")]
OfPipeline = Annotated[str | None, typer.Option("--pipeline", metavar="APP/PIPELINE", help="Instead of a batch.")]
MaybeBatch = Annotated[str | None, typer.Argument(metavar="BATCH", help="The key or id of a quarantined batch.")]
Where = Annotated[str | None, typer.Option("--where", help="A condition over the record, as in the definitions.")]


@app.command("list")
def list_command(
    pipeline: Annotated[str | None, typer.Option("--pipeline", metavar="APP/PIPELINE")] = None,
    business_date: Annotated[str | None, typer.Option("--date", help="Only this business date.")] = None,
    state: State = None,
    rule: Rule = None,
    assignee: Annotated[str | None, typer.Option("--assignee", help="Only what this person looks after.")] = None,
    processor: Annotated[str | None, typer.Option("--product-processor", help="Only its pipelines.")] = None,
    after: Annotated[str | None, typer.Option("--after", help="The key of the last batch of a page.")] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Quarantined batches, the newest first."""
    from stewardship.batches import Wanted, list_batches

    with desk(as_json=as_json) as at:
        key = at.pipeline(pipeline).key if pipeline else None
        wanted = Wanted(key, business_day(business_date), state, rule, assignee, processor)
        page = list_batches(at.lake, at.catalog, wanted, after=after, limit=limit)
        show(as_json, page.as_dict(), lambda: report.print_batches(page))


@app.command("show")
def show_command(
    batch: BatchName,
    record: Record = None,
    state: State = None,
    rule: Rule = None,
    after: Annotated[str | None, typer.Option("--after", help="The id of the last record of a page.")] = None,
    limit: Limit = 50,
    reveal: Annotated[bool, typer.Option("--reveal", help="In clear: needs the role auditor, and a reason.")] = False,
    reason: Reason = "",
    token: Token = None,
    as_json: Json = False,
) -> None:
    """A batch page by page, or one record with everything that was done to it; masked."""
    from stewardship import quarantine

    with desk(token, as_json) as at:
        narrowed = {"after": after, "limit": limit, "state": state, "rule": rule}
        if not reveal:
            if record is not None:
                view = quarantine.show_record(at.lake, at.catalog, batch, record)
                show(as_json, view.as_dict(), lambda: report.print_record(view))
            else:
                page = quarantine.show_batch(at.lake, at.catalog, batch, **narrowed)  # type: ignore[arg-type]
                show(as_json, page.as_dict(), lambda: report.print_page(page))
            return
        pipeline = at.pipeline_of(batch)
        actor = at.actor(pipeline.key, "reveal")
        asked = (at.lake, at.catalog, pipeline, actor, reason, batch)
        if record is not None:
            clear = quarantine.reveal_record(*asked, record)
            show(as_json, clear.as_dict(), lambda: report.print_record(clear))
        else:
            opened = quarantine.reveal_batch(*asked, **narrowed)  # type: ignore[arg-type]
            show(as_json, opened.as_dict(), lambda: report.print_page(opened))


@app.command("assign")
def assign_command(
    batch: BatchName,
    assignee: Annotated[str, typer.Argument(help="Who looks after it from now on.")],
    record: Record = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Say who looks after a batch, or one record of it."""
    from stewardship.assign import assign

    with desk(token, as_json) as at:
        actor = at.actor(at.pipeline_of(batch).key, "assign")
        done = assign(at.lake, at.catalog, actor, batch, assignee, record)
        show(as_json, done.as_dict(), lambda: report.say(f"{done.key}: {done.assignee} looks after it"))


@app.command("correct")
def correct_command(
    batch: MaybeBatch = None,
    pipeline: OfPipeline = None,
    record: Record = None,
    value: Annotated[list[str] | None, typer.Option("--value", help="column=text of the record named.")] = None,
    file: Annotated[Path | None, typer.Option("--csv", help="record_id,column,value; or wide.")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="column=expression, for all open records.")] = None,
    where: Where = None,
    rule: Rule = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Propose new values: of one record, from a CSV file, or by expressions over all open records."""
    from stewardship.correct import correct_by_expression, correct_values
    from stewardship.new_values import Named, read_values
    from stewardship.selection import Scope

    ways = [bool(value), file is not None, bool(sets)]
    if sum(ways) != 1:
        raise WrongUse("name one of: --record with --value, --csv FILE, --set column=expression")
    if bool(value) != (record is not None):
        raise WrongUse("--record and --value belong together: --record ID --value column=text")
    if not sets and (where is not None or rule is not None):
        raise WrongUse("--where and --rule choose records for --set")
    with desk(token, as_json) as at:
        found = _pipeline(at, batch, pipeline)
        asked = (at.lake, at.catalog, found, at.actor(found.key, "correct"), reason, Scope(batch, rule))
        if sets:
            done = correct_by_expression(*asked, pairs("--set", sets), where, dry_run=dry_run)
        elif file is not None:
            done = correct_values(*asked, read_values(file), dry_run=dry_run)
        else:
            named = Named({record or "": dict(pairs("--value", value or []))})
            done = correct_values(*asked, named, dry_run=dry_run)
        show(as_json, done.as_dict(), lambda: report.print_proposal(done))


@app.command("discard")
def discard_command(
    batch: MaybeBatch = None,
    pipeline: OfPipeline = None,
    record: Annotated[list[str] | None, typer.Option("--record", help="A record by its id; may be repeated.")] = None,
    rule: Rule = None,
    where: Where = None,
    everything: Annotated[bool, typer.Option("--all", help="All open records of the batch.")] = False,
    reason: Reason = "",
    dry_run: DryRun = False,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Propose to give records up: named ones, those of a rule or condition, or all."""
    from stewardship.correct import discard
    from stewardship.selection import Scope

    if not (record or rule or where or everything):
        raise WrongUse("name what is given up: --record ID, --rule ID, --where CONDITION, or --all")
    if record and (rule or where or everything):
        raise WrongUse("--record names records; --rule, --where and --all choose them: one or the other")
    with desk(token, as_json) as at:
        found = _pipeline(at, batch, pipeline)
        actor = at.actor(found.key, "discard")
        scope = Scope(batch, rule)
        done = discard(at.lake, at.catalog, found, actor, reason, scope, record or None, where, dry_run=dry_run)
        show(as_json, done.as_dict(), lambda: report.print_proposal(done))


@app.command("export")
def export_command(
    batch: BatchName,
    out: Annotated[Path, typer.Option("--out", help="A file that does not exist yet; only you will read it.")],
    state: State = "open",
    rule: Rule = None,
    reveal: Annotated[bool, typer.Option("--reveal", help="In clear: needs the role auditor, and a reason.")] = False,
    reason: Reason = "",
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Write a batch to a CSV file for work outside; masked."""
    from stewardship.exchange import export

    with desk(token, as_json) as at:
        pipeline = at.pipeline_of(batch)
        actor = at.actor(pipeline.key, "reveal" if reveal else "export")
        done = export(
            at.lake, at.catalog, pipeline, actor, batch, out, state=state, rule=rule, reveal=reveal, reason=reason
        )
        how = "in clear" if done.revealed else "masked"
        show(as_json, done.as_dict(), lambda: report.say(f"{done.path}: {done.records} records of {done.key}, {how}"))


@app.command("import")
def import_command(
    batch: BatchName,
    file: Annotated[Path, typer.Argument(help="An exported file, edited.")],
    reason: Reason = "",
    dry_run: DryRun = False,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Propose what was edited in an exported file."""
    from stewardship.exchange import import_file

    with desk(token, as_json) as at:
        pipeline = at.pipeline_of(batch)
        actor = at.actor(pipeline.key, "import")
        done = import_file(at.lake, at.catalog, pipeline, actor, reason, batch, file, dry_run=dry_run)
        show(as_json, done.as_dict(), lambda: report.print_proposal(done))


@app.command("approve")
def approve_command(
    correction: Annotated[list[str] | None, typer.Argument(metavar="[CORRECTION]...")] = None,
    batch: Annotated[str | None, typer.Option("--batch", help="All that is proposed for this batch.")] = None,
    pipeline: Annotated[str | None, typer.Option("--pipeline", metavar="APP/PIPELINE", help="Or for this one.")] = None,
    reason: Reason = "",
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Approve what another person proposed."""
    _decide("approve", correction or [], batch, pipeline, reason, token, as_json)


@app.command("reject")
def reject_command(
    correction: Annotated[list[str] | None, typer.Argument(metavar="[CORRECTION]...")] = None,
    batch: Annotated[str | None, typer.Option("--batch", help="All that is proposed for this batch.")] = None,
    pipeline: Annotated[str | None, typer.Option("--pipeline", metavar="APP/PIPELINE", help="Or for this one.")] = None,
    reason: Reason = "",
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Reject what another person proposed; its records can be corrected anew."""
    _decide("reject", correction or [], batch, pipeline, reason, token, as_json)


@app.command("revoke")
def revoke_command(
    correction: Annotated[list[str] | None, typer.Argument(metavar="[CORRECTION]...")] = None,
    batch: Annotated[str | None, typer.Option("--batch", help="All that is approved for this batch and waits.")] = None,
    reason: Reason = "",
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Take back what was approved and has not taken effect, as another person than the one who proposed it."""
    from stewardship.revoke import revoke

    if bool(correction) == (batch is not None):
        raise WrongUse("name what to revoke: corrections by id, or --batch BATCH")
    with desk(token, as_json) as at:
        found = at.pipeline_of(batch) if batch is not None else at.pipeline_of_corrections(correction or [])
        actor = at.actor(found.key, "revoke")
        done = revoke(at.lake, at.catalog, found, actor, reason, corrections=correction or (), batch=batch)
        show(as_json, done.as_dict(), lambda: report.print_revoked(done))


def _decide(
    action: str, ids: list[str], batch: str | None, pipeline: str | None, reason: str, token: str | None, as_json: bool
) -> None:
    from stewardship.approve import decide

    if sum((bool(ids), batch is not None, pipeline is not None)) != 1:
        raise WrongUse(f"name what to {action}: corrections by id, --batch BATCH, or --pipeline APP/PIPELINE")
    with desk(token, as_json) as at:
        if ids:
            found = at.pipeline_of_corrections(ids)
        else:
            found = at.pipeline_of(batch) if batch is not None else at.pipeline(pipeline or "")
        actor = at.actor(found.key, action)
        done = decide(at.lake, at.catalog, found, actor, action, reason, corrections=ids, batch=batch)
        show(as_json, {"verdicts": [v.as_dict() for v in done]}, lambda: report.print_verdicts(done))


def _pipeline(at: Desk, batch: str | None, name: str | None) -> CheckedPipeline:
    """The pipeline of a batch, or the one named."""
    if (batch is None) == (name is None):
        raise WrongUse("name a batch, or --pipeline APP/PIPELINE")
    return at.pipeline_of(batch) if batch is not None else at.pipeline(name or "")
