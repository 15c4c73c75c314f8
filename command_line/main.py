"""`lake`: a thin caller of the rooms. Exit 0 published or nothing to do, 3 held, 1 failed, 2 wrong use."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from command_line import audit, batches, definitions, landing, ledger, outbox, quarantine, vault
from command_line.catalog import WrongUse, business_day, load, parameters, resolve
from command_line.doctor import doctor_command
from command_line.rebuild import rebuild_command
from command_line.replay import replay_command
from pipeline_xml.problems import DefinitionError
from resources.settings import Settings, SettingsError

EXIT = {"published": 0, "nothing_to_do": 0, "held": 3, "failed": 1}
WRONG_USE = 2
FORMATS = ("text", "json", "github")

app = typer.Typer(
    name="lake", help="Run, check and explain data lake pipelines.", no_args_is_help=True, add_completion=False
)
app.command("replay")(replay_command)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(audit.app, name="audit")
app.add_typer(batches.app, name="batches")
app.add_typer(ledger.app, name="ledger")
app.add_typer(vault.app, name="vault")
app.add_typer(landing.app, name="landing")
app.add_typer(outbox.app, name="outbox")
app.command("restore")(batches.restore_command)
app.command("doctor")(doctor_command)
app.command("rebuild")(rebuild_command)
app.command("schema")(definitions.schema_command)
app.command("diff")(definitions.diff_command)
err = Console(stderr=True)


def wide_console() -> Console:
    """Standard output; where it is no terminal, wide enough that no cell is cut."""
    return Console() if sys.stdout.isatty() else Console(width=160)


def run() -> None:
    """The entry point: turns every known error into a message and an exit code."""
    from publishing.ledger_errors import LedgerUnavailable
    from resources.engine import EngineUnavailable

    try:
        app(standalone_mode=True)
    except DefinitionError as error:
        _print_problems(error)
        sys.exit(WRONG_USE)
    except (WrongUse, SettingsError) as error:
        err.print(str(error), markup=False, style="red")
        sys.exit(WRONG_USE)
    except (EngineUnavailable, LedgerUnavailable) as error:
        err.print(str(error), markup=False, style="red")
        sys.exit(1)


def _print_problems(error: DefinitionError) -> None:
    from pipeline_xml.render import render_text

    text = render_text(error.problems, Settings.from_environment().config)
    err.print(text, markup=False, highlight=False, soft_wrap=True)


@app.command("run")
def run_command(
    name: Annotated[str, typer.Argument(metavar="APP/PIPELINE_OR_JOB")],
    business_date: Annotated[str | None, typer.Option("--date", help="Only this business date.")] = None,
    reprocess: Annotated[bool, typer.Option("--reprocess", help="The next attempt, from raw.")] = False,
    param: Annotated[list[str] | None, typer.Option("--param", help="NAME=VALUE of a parameter of the job.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Only a JSON document on standard output.")] = False,
) -> None:
    """Run everything that is ready; the run stands in the history of the UI."""
    settings = Settings.from_environment()
    catalog = load(settings)
    application, wanted = resolve(catalog, name)
    day = business_day(business_date)
    from datalake_assets.execute import UnknownName, execute

    given = parameters(param or [])
    try:
        outcome = execute(settings, application, wanted, day, reprocess, parameters=given, catalog=catalog)
    except UnknownName as error:
        raise WrongUse(str(error)) from error
    if as_json:
        sys.stdout.write(json.dumps(outcome.as_dict(), indent=1) + "\n")
    else:
        from command_line.report import print_run

        print_run(wide_console(), outcome)
    raise typer.Exit(EXIT[outcome.status])


@app.command("checks")
def checks_command(
    name: Annotated[str, typer.Argument(metavar="APP[/PIPELINE]")],
    business_date: Annotated[str | None, typer.Option("--date", help="Only this business date.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Only a JSON document on standard output.")] = False,
) -> None:
    """Run the asset checks on what is published; exit 1 on a failed check of severity error."""
    settings = Settings.from_environment()
    catalog = load(settings)
    application, _, wanted = name.partition("/")
    if wanted:
        resolve(catalog, name)
    elif catalog.application(application) is None:
        resolve(catalog, f"{application}/")
    from datalake_assets.execute import execute_checks

    found = execute_checks(settings, application, wanted or None, business_day(business_date), catalog=catalog)
    rows = [(p, c) for p, group in found.checks.items() for c in group]
    if as_json:
        document = [{"pipeline": p, **asdict(c)} for p, c in rows]
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        from command_line.report import print_checks

        print_checks(wide_console(), rows)
    if found.error:
        err.print(found.error, markup=False, style="red")
    raise typer.Exit(int(not found.passed))


@app.command("check")
def check_command(
    path: Annotated[Path | None, typer.Argument(help="A file or folder of definitions; all without it.")] = None,
    form: Annotated[str, typer.Option("--format", help="text, json or github.")] = "text",
) -> None:
    """Check definitions: all problems of all files in one go; exit 1 if any is an error."""
    from pipeline_xml.load import check_path
    from pipeline_xml.render import render_github, render_json, render_text
    from processing.transformations import registry

    settings = Settings.from_environment()
    if form not in FORMATS:
        raise WrongUse(f"--format is '{form}'; valid: {', '.join(FORMATS)}")
    if path is not None and not path.exists():
        raise WrongUse(f"{path} does not exist; name a file or folder below {settings.config}")
    problems = check_path(settings.config, registry(), settings.environment, path)
    if form == "json":
        text = render_json(problems)
    elif form == "github":
        text = render_github(problems, _from_here(settings.config))
    else:
        text = render_text(problems, settings.config)
    sys.stdout.write(text + "\n")
    raise typer.Exit(int(any(p.severity == "error" for p in problems)))


def _from_here(root: Path) -> str:
    """What leads from the working folder to the config root: GitHub wants paths of the repository."""
    here, root = Path.cwd().resolve(), root.resolve()
    inside = root.relative_to(here).as_posix() if root.is_relative_to(here) else root.as_posix()
    return "" if inside == "." else f"{inside}/"


@app.command("new")
def new_command(
    sample: Annotated[str, typer.Argument(metavar="FILE|APP/LAYER.TABLE", help="Text, JSON, Parquet, or a table.")],
    application: Annotated[str, typer.Option("--app", help="The application it becomes part of.")] = "sandbox",
    pipeline: Annotated[str | None, typer.Option("--id", help="The pipeline's id; by default from the name.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A config root; by default DATALAKE_CONFIG.")] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many records to look at.")] = 10_000,
    header: Annotated[bool | None, typer.Option("--header/--no-header", help="Instead of guessing.")] = None,
    delimiter: Annotated[str | None, typer.Option("--delimiter", help="Instead of guessing; \\t is a tab.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what stands there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Only a JSON document on standard output.")] = False,
) -> None:
    """Write contract and pipeline from a person's sample, or from a table; says what it guessed and how sure it is."""
    from command_line import new, new_from_records, new_from_table
    from processing.infer_records import kind_of
    from processing.infer_sample import CannotInfer

    settings = Settings.from_environment()
    config, file = settings.config, Path(sample)
    root = out or config
    chosen = {"rows": rows, "header": header, "delimiter": delimiter, "force": force}
    try:
        if not file.exists() and new_from_table.TABLE.match(sample):
            found = new_from_table.new_from_table(settings, sample, root, pipeline, rows, force)
            new_from_table.tell(found, as_json)
            return
        if (kind := kind_of(file)) is not None:
            read = new_from_records.new_from_records(file, kind, root, application, pipeline, rows, force)
            new_from_records.tell(read, as_json, config)
            return
        made = new.new(file, root, application, pipeline, **chosen)  # type: ignore[arg-type]
    except (CannotInfer, new.CannotWrite) as error:
        raise WrongUse(str(error)) from error
    if as_json:
        sys.stdout.write(json.dumps(new.as_document(made), indent=1) + "\n")
    else:
        new.print_made(Console(), made, config)


@app.command("explain")
def explain_command(
    name: Annotated[str, typer.Argument(metavar="APP/PIPELINE_OR_JOB")],
    as_json: Annotated[bool, typer.Option("--json", help="Only a JSON document on standard output.")] = False,
) -> None:
    """What would be built and run: sources, rules as compiled, steps, targets, lineage, hashes."""
    from command_line import explain

    settings = Settings.from_environment()
    catalog = load(settings)
    application, wanted = resolve(catalog, name)
    pipeline, job = catalog.pipeline(application, wanted), catalog.job(application, wanted)
    workflow = catalog.workflow(pipeline.key) if pipeline else None
    if as_json:
        said = explain.explain_pipeline(pipeline, workflow) if pipeline else explain.explain_job(job) if job else {}
        sys.stdout.write(json.dumps(said, indent=1) + "\n")
    elif pipeline is not None:
        explain.print_pipeline(Console(), explain.explain_pipeline(pipeline, workflow))
    elif job is not None:
        explain.print_job(Console(), explain.explain_job(job))
