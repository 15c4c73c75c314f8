"""`lake landing …`: what lies in the landing zones and became of it, and decisions over it. Exit 2 for wrong use."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from command_line.catalog import WrongUse
from command_line.stewards import Desk, Json, Limit, Reason, Token, desk, show

if TYPE_CHECKING:
    from publishing.look import Watched
    from stewardship.actors import Actor

app = typer.Typer(
    help="Landing zones: list, show, retry, ignore, pause, resume.", no_args_is_help=True, add_completion=False
)
Zone = Annotated[str, typer.Argument(metavar="APP/ZONE")]
Name = Annotated[str, typer.Argument(metavar="FILE", help="Its name in the zone.")]
OfFile = Annotated[str | None, typer.Option("--file", help="Only this file.")]
OfSender = Annotated[str | None, typer.Option("--sender", help="Only what this sender sends.")]


@app.command("list")
def list_command(
    zone: Annotated[str | None, typer.Argument(metavar="APP/ZONE", help="Its files; without it, the zones.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="Only files in this state, such as waiting.")] = None,
    after: Annotated[str | None, typer.Option("--after", help="The last name of the page before.")] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Zones with what lies in them as of the last look, or the files of one with what became of each."""
    from stewardship.landing import STATES, list_files, list_zones

    if state is not None and state not in STATES:
        raise WrongUse(f"--state is '{state}'; valid: {', '.join(STATES)}")
    with desk(as_json=as_json) as at:
        if zone is None:
            rows = [asdict(line) for line in list_zones(at.lake)]
            show(as_json, rows, lambda: _print_zones(rows))
        else:
            rows = [asdict(line) for line in list_files(at.lake, _watched(at, zone), state, limit, after)]
            show(as_json, rows, lambda: _print_files(rows))


@app.command("show")
def show_command(zone: Zone, name: Name, as_json: Json = False) -> None:
    """Everything that is known of a file: how it lies there, each claim of it, each delivery."""
    from stewardship.landing import show_file

    with desk(as_json=as_json) as at:
        found = show_file(at.lake, _watched(at, zone), name)
    show(as_json, found, lambda: _print_file(found))


@app.command("retry")
def retry_command(zone: Zone, name: Name, reason: Reason = "", token: Token = None, as_json: Json = False) -> None:
    """Take a file again with the next look, as if it had just come: after a withdrawal, or a mended definition."""
    from stewardship.landing import retry

    with desk(token, as_json) as at:
        of = _watched(at, zone)
        retry(at.lake, of, _actor(at, of, "retry"), name, reason)
    said = {"zone": zone, "file": name, "state": "waiting"}
    show(as_json, said, lambda: typer.echo(f"{name}: taken by the next look"))


@app.command("ignore")
def ignore_command(zone: Zone, name: Name, reason: Reason = "", token: Token = None, as_json: Json = False) -> None:
    """Never take a file that lies there, whatever becomes of it; `resume --file` takes that back."""
    _decide("ignore", zone, name, None, reason, token, as_json)


@app.command("pause")
def pause_command(
    zone: Zone, file: OfFile = None, sender: OfSender = None, reason: Reason = "", token: Token = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Leave a zone, one file or one sender alone until it is resumed."""
    _decide("pause", zone, file, sender, reason, token, as_json)


@app.command("resume")
def resume_command(
    zone: Zone, file: OfFile = None, sender: OfSender = None, reason: Reason = "", token: Token = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Take up again what was paused or ignored."""
    _decide("resume", zone, file, sender, reason, token, as_json)


def _decide(
    kind: str, zone: str, file: str | None, sender: str | None, reason: str, token: str | None, as_json: bool
) -> None:
    from stewardship.landing import pause, resume

    if file is not None and sender is not None:
        raise WrongUse("--file and --sender: one of them, or neither for the whole zone")
    what = "file" if file is not None else "sender" if sender is not None else "zone"
    value = file or sender or ""
    with desk(token, as_json) as at:
        of = _watched(at, zone)
        actor = _actor(at, of, kind)
        if kind == "resume":
            resume(at.lake, of, actor, what, value, reason)
        else:
            pause(at.lake, of, actor, kind, what, value, reason)
    done = {"pause": "paused", "ignore": "ignored", "resume": "taken up again"}[kind]
    subject = f"{what} {value}".strip() + f" of {zone}" if value else f"zone {zone}"
    said = {"zone": zone, "what": what, "value": value, "done": done}
    show(as_json, said, lambda: typer.echo(f"{subject} is {done}"))


def _watched(at: Desk, name: str) -> Watched:
    from publishing.look import watched
    from stewardship.landing import find_zone

    zone, pipelines = find_zone(at.catalog, name)
    if not pipelines:
        raise WrongUse(f"no pipeline takes from {zone.app}/{zone.id}; a csv source names it by landing=\"{zone.id}\"")
    return watched(pipelines[0], pipelines)


def _actor(at: Desk, of: Watched, action: str) -> Actor:
    return at.actor(of.feeds[0].pipeline, action)


def _print_zones(rows: list[dict[str, Any]]) -> None:
    table = Table("zone", "type", "uri", "state", "last look", "waiting", "bytes", "oldest", "others", "reason")
    for row in rows:
        files = dict(row["files"])
        waiting = files.pop("waiting", 0)
        others = ", ".join(f"{number} {state}" for state, number in sorted(files.items()))
        table.add_row(
            row["zone"], row["type"], row["uri"], row["state"], row["looked_at"] or "", str(waiting),
            f"{row['bytes_waiting']:,}", f"{row['oldest_seconds']:.0f} s", others, row["reason"] or "",
        )  # fmt: skip
    _print(table)


def _print_files(rows: list[dict[str, Any]]) -> None:
    table = Table("file", "bytes", "state", "became", "coming", "first seen", "reason")
    for row in rows:
        table.add_row(
            row["name"], f"{row['size']:,}", row["state"], row["status"], str(row["occurrence"] + 1),
            row["first_seen"], row["reason"] or "",
        )  # fmt: skip
    _print(table)


def _print_file(found: dict[str, Any]) -> None:
    if found["now"] is not None:
        _print_files([found["now"]])
    else:
        typer.echo(f"{found['name']} does not lie in {found['zone']} any more")
    if not found["takers"]:
        typer.echo("no pipeline asks for such a name")
    for title, lines in (("claims", found["claims"]), ("deliveries", found["deliveries"])):
        if lines:
            table = Table(*lines[0], title=title)
            for line in lines:
                table.add_row(*(str(value if value is not None else "") for value in line.values()))
            _print(table)


def _print(table: Table) -> None:
    Console(width=None if Console().is_terminal else 220).print(table)
