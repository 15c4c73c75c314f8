"""From a config root to a Catalog: find the documents, read them, check all applications together."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_xml import build_model
from pipeline_xml.check import check_applications
from pipeline_xml.checked import Catalog, Transformation
from pipeline_xml.element import digest
from pipeline_xml.lake_tables import looked_up_tables, table_name
from pipeline_xml.location import Location
from pipeline_xml.model import (
    LAYERS,
    Application,
    HiveSource,
    HolidayCalendar,
    JobPipeline,
    LandingZone,
    Layer,
    Pipeline,
    RulePack,
    SecretKey,
    Workflow,
)
from pipeline_xml.problems import DefinitionError, Problem, Problems
from pipeline_xml.read import read_document
from pipeline_xml.rulebook import code
from pipeline_xml.variables import Variables, read_variables

NO_ROOT = code("LK023", "The config root has no applications folder, or not the application that was asked for.")
WRONG_FOLDER = code("LK101", "A pipeline's layer is not that of the folder it stands in.")

_OBJECTS = 20_000  # made between two looks for garbage
_KINDS = {"pipelines": "pipeline", "jobs": "jobPipeline", "resources": "resources"}
_EXCEPTIONS = {"rules": "rulePack", "workflows": "workflow"}


@dataclass(slots=True)
class _Found:
    """What an application's documents held, until it is frozen."""

    pipelines: list[Pipeline] = field(default_factory=list)
    jobs: list[JobPipeline] = field(default_factory=list)
    packs: list[RulePack] = field(default_factory=list)
    zones: list[LandingZone] = field(default_factory=list)
    keys: list[SecretKey] = field(default_factory=list)
    calendars: list[HolidayCalendar] = field(default_factory=list)
    workflows: list[Workflow] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Documents:
    """All documents that could be read. `texts` holds what each says, by file, independent of how it is written."""

    applications: tuple[Application, ...]
    texts: Mapping[str, str]


def load_catalog(
    root: Path,
    transformations: Mapping[str, Transformation],
    environment: str = "dev",
    applications: tuple[str, ...] = (),
) -> Catalog:
    """The checked definitions under `root`; `applications` empty means all.

    Applications whose tables a chosen one reads are read and checked too, but not returned. Raises DefinitionError with
    every problem of every file when there is an error; warnings alone are kept in `Catalog.problems`.
    """
    problems = Problems()
    catalog = _load(root, transformations, environment, applications, problems)
    if problems.errors:
        raise DefinitionError(problems.found)
    return catalog


def read_catalog(root: Path, transformations: Mapping[str, Transformation], environment: str = "dev") -> Catalog:
    """All applications as far as they are right; every problem is in `Catalog.problems`."""
    return _load(root, transformations, environment, (), Problems())


def check_path(
    root: Path,
    transformations: Mapping[str, Transformation],
    environment: str = "dev",
    path: Path | None = None,
) -> tuple[Problem, ...]:
    """Every problem of all applications under `root`; with `path` only those of files at or below it."""
    problems = Problems()
    _load(root, transformations, environment, (), problems)
    if path is None:
        return problems.found
    chosen, base = path.resolve(), root.resolve()
    return tuple(p for p in problems.found if (base / p.where.file).is_relative_to(chosen))


def _load(
    root: Path,
    transformations: Mapping[str, Transformation],
    environment: str,
    chosen: tuple[str, ...],
    problems: Problems,
) -> Catalog:
    with _seldom_collected():
        variables = read_variables(root, environment, problems)
        documents = read_applications(root, chosen, variables, problems)
        checked = check_applications(root, documents, transformations, environment, problems)
    kept = tuple(a for a in checked if not chosen or a.name in chosen)
    return Catalog(root, kept, problems.found)


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Garbage is looked for seldom: nearly all that is made here stays, and looking through it again and again takes a
    quarter of the time that thousands of pipelines take."""
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def read_applications(root: Path, chosen: tuple[str, ...], variables: Variables, problems: Problems) -> Documents:
    """The model of the chosen applications and of those whose tables they read, in the order of their names."""
    folder = root / "applications"
    present = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    if not present:
        NO_ROOT.report(problems, "no applications here", Location("applications"), hint="expected applications/<app>/…")
    for name in chosen:
        if name not in present:
            NO_ROOT.report(problems, f"unknown application '{name}'", Location("applications"), present)
    texts: dict[str, str] = {}
    read: dict[str, Application] = {}
    waiting = [a for a in (chosen or present) if a in present]
    while waiting:
        name = waiting.pop(0)
        if name not in read:
            read[name] = _read_application(root, name, variables, problems, texts)
            waiting += [a for a in _reads_from(read[name]) if a in present and a not in read]
    return Documents(tuple(read[name] for name in sorted(read)), texts)


def _reads_from(application: Application) -> Iterable[str]:
    for pipeline in application.pipelines:
        for source in pipeline.sources:
            if isinstance(source, HiveSource) and (table := table_name(source.table, pipeline.app)):
                yield table[0]
        yield from (table[0] for table, _ in looked_up_tables(pipeline, application))


def _read_application(
    root: Path, name: str, variables: Variables, problems: Problems, texts: dict[str, str]
) -> Application:
    found = _Found()
    home = root / "applications" / name
    for layer in LAYERS:
        for folder, kind in _KINDS.items():
            for path in sorted((home / layer / folder).glob("*.xml")):
                _read_one(root, path, kind, name, layer, variables, problems, found, texts)
    for folder, kind in _EXCEPTIONS.items():
        for path in sorted((home / "exceptions" / folder).glob("*.xml")):
            _read_one(root, path, kind, name, None, variables, problems, found, texts)
    return Application(
        name,
        tuple(found.pipelines),
        tuple(found.jobs),
        tuple(found.packs),
        tuple(found.zones),
        tuple(found.keys),
        tuple(found.workflows),
        frozenset(found.unread),
        tuple(found.calendars),
    )


def _read_one(
    root: Path,
    path: Path,
    kind: str,
    app: str,
    layer: Layer | None,
    variables: Variables,
    problems: Problems,
    found: _Found,
    texts: dict[str, str],
) -> None:
    file = path.relative_to(root).as_posix()
    element = read_document(path, file, kind, variables, problems)
    if element is None:
        found.unread.add(kind)
        return
    texts[file] = digest(element.canonical())
    if kind == "pipeline":
        pipeline = build_model.pipeline(element, app)
        if pipeline.layer != layer:
            message = f"layer '{pipeline.layer}' in the folder of {layer}"
            WRONG_FOLDER.report(problems, message, pipeline.place("layer"), hint="move the file, or change the layer")
        found.pipelines.append(pipeline)
    elif kind == "jobPipeline":
        found.jobs.append(build_model.job(element, app))
    elif kind == "rulePack":
        found.packs.append(build_model.rule_pack(element, app))
    elif kind == "workflow":
        found.workflows.append(build_model.workflow(element, app))
    else:
        zones, keys, calendars = build_model.resources(element, app)
        found.zones += zones
        found.keys += keys
        found.calendars += calendars
