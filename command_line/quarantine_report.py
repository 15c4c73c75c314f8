"""Quarantined batches and records as tables for a person; masked, unless a record's text was revealed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from stewardship.approve import Verdict
    from stewardship.audit import Entry
    from stewardship.batches import BatchLine, BatchPage
    from stewardship.correct import Proposal
    from stewardship.quarantine import BatchView, Change, RecordView
    from stewardship.revoke import Revoked


def console() -> Console:
    """Standard output; where it is no terminal, wide enough that no cell is cut."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(width=160, highlight=False)


def say(text: str) -> None:
    console().print(text, markup=False)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold", justify="right" if name in ("records", "open", "age") else "left")
    return table


def print_batches(page: BatchPage) -> None:
    out = console()
    if not page.batches:
        out.print("nothing is in quarantine that fits")
        return
    table = _table("quarantine", "batch", "pipeline", "open", "records", "states", "rules", "assignee", "age", "due")
    for line in page.batches:
        table.add_row(
            escape(line.key), escape(line.pipeline), str(line.open), str(line.records), _states(line),
            escape(_counts(line.rules)), escape(line.assignee or "·"), _age(line.age_hours), _due(line),
        )  # fmt: skip
    out.print(table)
    if page.after:
        out.print(f"more: --after {page.after}", markup=False, style="dim")


def _states(line: BatchLine) -> str:
    waiting = {"proposed": line.proposed, "approved": line.approved}
    return _counts({**line.states, **{name: count for name, count in waiting.items() if count}})


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f", and {len(ordered) - 3} more" if len(ordered) > 3 else ""
    return ", ".join(f"{name} {count}" for name, count in ordered[:3]) + more


def _age(hours: float) -> str:
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} d"


def _due(line: BatchLine) -> str:
    if line.due is None:
        return "·"
    return f"[red]{line.due} overdue[/]" if line.overdue else line.due


def print_page(view: BatchView) -> None:
    out = console()
    line = view.batch
    out.print(f"{line.key} of {line.pipeline}: {line.status}, {_states(line)}", markup=False)
    if not view.records:
        out.print("no record fits")
        return
    shown = any(record.text is not None for record in view.records)
    table = _table("", "record", "file", "state", "reasons", "text" if shown else "shape")
    for record in view.records:
        entry = record.entry
        reasons = "\n".join(f"{error['rule']}: {error['message']}" for error in entry.errors)
        state = f"{entry.state}, {record.decision}" if record.decision else entry.state
        tries = f", tried {entry.tries}" if entry.tries else ""
        what = record.text if record.text is not None else "\n".join(f"{k} {v}" for k, v in entry.preview.items())
        place = f"{entry.source_file} {entry.source_record}"
        table.add_row(entry.record_id, escape(place), state + tries, escape(reasons), escape(what))
    out.print(table)
    if view.after:
        out.print(f"more: --after {view.after}", markup=False, style="dim")


def print_record(view: RecordView) -> None:
    out = console()
    entry = view.record.entry
    decision = f", {view.record.decision}" if view.record.decision else ""
    out.print(f"{entry.record_id}: {entry.state}{decision}, tried {entry.tries}", markup=False, style="bold")
    out.print(f"  {entry.source_file}, record {entry.source_record}, of {view.batch.key}", markup=False)
    for error in entry.errors:
        out.print(f"  {error['rule']}: {error['message']}", markup=False, style="yellow")
    for name, shape in entry.preview.items():
        out.print(f"  {name}: {shape}", markup=False)
    if view.record.text is not None:
        out.print(f"  text: {view.record.text}", markup=False)
    for assignment in view.assignments:
        what = "record" if assignment.record else "batch"
        until = f" until {assignment.ended_at}" if assignment.ended_at else ""
        said = f"{what} with {assignment.assignee}, by {assignment.actor}"
        out.print(f"  {assignment.made_at}{until}: {said}", markup=False)
    for each in view.corrections:
        out.print(f"  {each.made_at}: {each.kind} {each.correction}, {each.state}, by {each.actor}: {each.reason}",
                  markup=False)  # fmt: skip
        for text in _changes(each.changes):
            out.print(f"    {text}", markup=False)
        if each.verdict:
            v = each.verdict
            out.print(f"    {v['made_at']}: {v['verdict']} by {v['actor']}: {v['reason']}", markup=False)
        if each.revoked:
            r = each.revoked
            out.print(f"    {r['made_at']}: revoked by {r['actor']}: {r['reason']}", markup=False)
        if each.replay:
            out.print(f"    replay {each.replay['key']}: {each.replay['status']}", markup=False)


def _changes(changes: Iterable[Change]) -> Iterable[str]:
    return (f"{c.column}: {_value(c.before)} → {_value(c.after)}" for c in changes)


def _value(text: str | None) -> str:
    return "(null)" if text is None else text or '""'


def print_proposal(done: Proposal) -> None:
    out = console()
    verb = "would be" if done.dry_run else "are"
    what = "corrected" if done.kind == "correct" else "given up"
    out.print(f"{done.pipeline}: {done.records} records {verb} {what}, once another person approves", markup=False)
    for each in done.corrections:
        name = f" by {each.correction}" if each.correction else ""
        out.print(f"  {each.key}: {each.records}{name}", markup=False)
    for why, count in done.left_out.items():
        out.print(f"  left out, {why}: {count}", markup=False, style="dim")
    for line in done.diff:
        out.print(f"  {line.record_id}: {'; '.join(_changes(line.changes)) or 'discarded'}", markup=False)
    if done.records > len(done.diff) > 0:
        out.print(f"  … and {done.records - len(done.diff)} more", markup=False, style="dim")
    if done.trial is not None:
        out.print(f"  of {done.trial.records}, {done.trial.would_pass} would pass now", markup=False, style="bold")
        for rule, count in done.trial.rules.items():
            out.print(f"  still breaks {rule}: {count}", markup=False, style="yellow")
        for why in done.trial.held:
            out.print(f"  the replay would be held: {why}", markup=False, style="yellow")


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        say(f"{verdict.correction}: {verdict.kind} of {verdict.records} records {verdict.verdict}")


def print_revoked(done: Revoked) -> None:
    say(f"{', '.join(done.corrections)}: revoked, {done.records} records can be corrected anew")
    for key in done.withdrawn:
        say(f"  the replay {key} is withdrawn; what else it held waits for the next one")
    for key in done.reopened:
        say(f"  {key} is not held with it any more: lake run {done.pipeline} computes its next attempt")


def print_audit(entries: Sequence[Entry]) -> None:
    out = console()
    if not entries:
        out.print("no entry fits")
        return
    table = _table("audit trail", "number", "when", "who", "role", "what", "of", "details")
    for entry in entries:
        details = ", ".join(f"{k} {v}" for k, v in entry.details.items() if v not in ("", None))
        table.add_row(
            str(entry.seq), entry.at[:19], escape(entry.actor), entry.role, entry.action, escape(entry.subject),
            escape(details),
        )  # fmt: skip
    out.print(table)
