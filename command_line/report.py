"""Outcomes as tables for a person. Masked: nothing of a record is shown but its place and its reasons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from publishing.outcome import CheckOutcome, Counts, PipelineOutcome, RunOutcome

WIDE = 120
SHORT = {"quarantined": "quarant.", "deduplicated": "dedup.", "superseded": "supers."}
ALWAYS = ("in", "accepted", "quarantined")
TERMS = ("in", "accepted", "quarantined", "deduplicated", "filtered", "superseded", "skipped")


def print_run(console: Console, outcome: RunOutcome) -> None:
    """Every batch and file with the terms of the equation and whether it closes; then targets and reasons."""
    for pipeline in outcome.pipelines:
        _print_pipeline(console, pipeline)
    style = {"published": "green", "nothing_to_do": "cyan", "held": "yellow", "failed": "red"}[outcome.status]
    console.print(f"run {outcome.run}: [{style}]{outcome.status}[/]")
    if outcome.error:
        console.print(outcome.error, markup=False, style="red")


def _print_pipeline(console: Console, pipeline: PipelineOutcome) -> None:
    if not pipeline.batches:
        console.print(f"[bold]{pipeline.pipeline}[/]: {pipeline.status.replace('_', ' ')}")
        return
    # A terminal of 80 columns has no room for all terms: those that are 0 throughout are named below the table.
    narrow = console.width < WIDE
    title = f"{pipeline.pipeline} · {pipeline.status}"
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=not narrow, pad_edge=not narrow)
    table.add_column("batch / file", overflow="fold")
    table.add_column("status", overflow="fold")
    shown = [t for t in TERMS if t in ALWAYS or any(b.counts.as_dict()[t] for b in pipeline.batches)]
    for term in shown:
        table.add_column(SHORT.get(term, term) if narrow else term, justify="right", overflow="fold")
    table.add_column("closes", overflow="fold")
    for batch in pipeline.batches:
        closes = _closes(batch.status, batch.counts)
        table.add_row(f"[bold]{escape(batch.key)}[/]", batch.status, *_terms(batch.counts, shown), closes)
        for file in batch.files:
            name = escape(file.uri.rsplit("/", 1)[-1])
            table.add_row(f"  {name}", file.status, *_terms(file.counts, shown), _closes(file.status, file.counts))
        table.add_section()
    console.print(table)
    if zero := [t for t in TERMS if t not in shown]:
        console.print(f"  0 throughout: {', '.join(zero)}", style="dim", highlight=False)
    for batch in pipeline.batches:
        if batch.files_late:
            late = f"{batch.files_late} {'file' if batch.files_late == 1 else 'files'} late"
            console.print(f"  {batch.key}: {late}", markup=False, style="yellow")
        if batch.reason:
            console.print(f"  {batch.key}: {batch.reason}", markup=False, style="yellow")
        for step in batch.steps:
            console.print(f"  {batch.key}: {step.step}: {step.in_} in, {step.out} out ({step.why})", markup=False)


def _terms(counts: Counts, shown: Sequence[str]) -> Iterable[str]:
    said = counts.as_dict()
    return (str(said[name]) if said[name] or name == "in" else "·" for name in shown)


def _closes(status: str, counts: Counts) -> str:
    if counts.closes and (counts.in_ or status != "held"):
        return "[green]yes[/]"
    return "[yellow]held[/]" if status == "held" else "[red]NO[/]"


def print_checks(console: Console, found: Sequence[tuple[str, CheckOutcome]]) -> None:
    """(pipeline, check) rows."""
    table = Table(title="checks", title_justify="left")
    for name in ("pipeline", "check", "severity", "result", "failed rows", "what"):
        table.add_column(name, overflow="fold")
    for pipeline, check in found:
        result = "[green]passed[/]" if check.passed else "[red]failed[/]"
        table.add_row(pipeline, check.name, check.severity, result, str(check.failed_rows), check.description)
    console.print(table)
