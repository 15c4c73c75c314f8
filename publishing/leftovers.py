"""What a crash leaves behind: found, and removed once it is old enough to be nobody's work.

Never anything of a batch that a run has still to end, nor of a pipeline that runs now, nor what any version of a
table's log refers to. Raw files and journal entries are never touched, only what never got its name.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from pipeline_xml.checked import Catalog
from pipeline_xml.model import FileSource
from publishing.decisions import Correction
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.look import watched
from publishing.table_files import unreferenced

HOUR = timedelta(hours=1)
KINDS = ("table_file", "raw_copy", "staged", "journal", "export", "lock", "correction", "ledger", "key")
_ENDED = ("published", "held", "superseded", "withdrawn", "unpublished")
_BATCH_FILE = re.compile(r"part-([0-9a-f]{32})-\d{4}")
_EXPORT_PART = re.compile(r"part-([0-9a-f]{32})-\d{4}\.csv(\.gz|\.bz2)?")
_ASIDE = re.compile(r"\..+\.[0-9a-f]{32}")
_SEALED = re.compile(r"correction-([^.]+)\.sealed")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or folder that nothing needs. `path` is relative to the lake root; `size` in bytes."""

    kind: str
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What was found, and of that what still lies there: all of it after a dry run."""

    found: Sequence[Leftover]
    left: Sequence[Leftover]

    @property
    def size(self) -> int:
        return sum(item.size for item in self.found)

    def by_kind(self) -> dict[str, int]:
        return {kind: n for kind in KINDS if (n := sum(item.kind == kind for item in self.found))}


def sweep(lake: Lake, catalog: Catalog, older_than: timedelta = HOUR, dry_run: bool = False) -> Swept:
    """Removes every leftover that did not change for `older_than`; with `dry_run` only says what there is."""
    found: list[Leftover] = []
    left: list[Leftover] = []
    with ExitStack() as locks:
        search = _Search(lake, catalog, time.time() - older_than.total_seconds(), locks)
        for part in (_tables, _raw, _staged, _journal, _exports, _locks, _ledgers, _keys):
            for kind, path in list(part(search)):
                item = Leftover(kind, str(path.relative_to(lake.settings.data)), _size(path))
                found.append(item)
                if dry_run or not _removed(path):
                    left.append(item)
    return Swept(found, left)


@dataclass(slots=True)
class _Search:
    lake: Lake
    catalog: Catalog
    before: float
    locks: ExitStack
    held: dict[str, bool] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.lake.settings.data

    def old(self, path: Path) -> bool:
        try:
            return path.lstat().st_mtime <= self.before
        except FileNotFoundError:
            return False

    def going_on(self, batch_id: str | None) -> bool:
        """Whether the batch is one that has not ended. A batch nobody knows may be one that is being persisted."""
        if batch_id is None:
            return False
        with self.lake.ledger.read() as session:
            status = session.scalar(select(Batch.status).where(Batch.id == batch_id))
        return status is not None and status not in _ENDED

    def alone(self, *pipelines: str) -> bool:
        """Takes the locks of pipelines and keeps them until all is swept; False where one of them runs."""
        for each in pipelines:
            if each not in self.held:
                self.held[each] = self.locks.enter_context(_held(self.root / "locks" / each))
        return all(self.held[each] for each in pipelines)

    def loaded(self, app: str) -> bool:
        """Whether all there is to know of an application is in the catalog."""
        return not self.lake.settings.applications or app in self.lake.settings.applications


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


Found = Iterator[tuple[str, Path]]


def _tables(search: _Search) -> Found:
    writers: dict[Path, list[str]] = {}
    data = search.lake.settings.application_data
    for application in search.catalog.applications:
        for pipeline in application.pipelines:
            writers.setdefault(search.lake.quarantine(pipeline.key).root, []).append(pipeline.key)
            for target in pipeline.targets:
                writers.setdefault(search.lake.table(target.asset).root, []).append(pipeline.key)
    for log in sorted(data.rglob("_delta_log")):
        table = log.parent
        app = table.relative_to(data).parts[0]
        if table not in writers and not search.loaded(app):
            continue
        own = writers.get(table, [f"{app}/.ops"] if table.parent.name == "ops" else [])
        if search.alone(*own):
            for path in unreferenced(table):
                batch = _BATCH_FILE.match(path.name)
                if search.old(path) and not search.going_on(batch[1] if batch else None):
                    yield "table_file", path


def _raw(search: _Search) -> Found:
    raw = search.root / "raw"
    for path in sorted([*raw.rglob(".copy-*"), *raw.rglob("..copy-*")]):  # a copy, its mark, and a mark half written
        pipeline = str(path.parent.relative_to(search.root / "raw"))
        if search.old(path) and search.alone(pipeline):
            yield "raw_copy", path


def _staged(search: _Search) -> Found:
    """Records in clear of batches that have ended. An empty folder is no leftover: the next run takes it away."""
    for folder in sorted((search.root / "staged").glob("*/*/*")):
        pipeline = str(folder.parent.relative_to(search.root / "staged"))
        inside = list(folder.rglob("*"))
        if not any(p.is_file() for p in inside) or not all(search.old(p) for p in (folder, *inside)):
            continue
        if not search.going_on(folder.name) and search.alone(pipeline):
            yield "staged", folder


def _journal(search: _Search) -> Found:
    root = search.lake.journal.root
    with search.lake.ledger.read() as session:
        known = set(session.scalars(select(Correction.id)))
    for path in sorted(root.rglob("*")):
        if _ASIDE.fullmatch(path.name) and search.old(path):
            yield "journal", path
        sealed = _SEALED.fullmatch(path.name)
        told = sealed and (sealed[1] in known or path.with_name(f"correction-{sealed[1]}.json").exists())
        if sealed and not told and search.old(path):
            yield "correction", path


def _exports(search: _Search) -> Found:
    """Parts that no manifest names, and what was written aside; both have names that nothing else has."""
    for path in sorted(search.lake.settings.application_data.rglob("*")):
        part = _EXPORT_PART.fullmatch(path.name)
        aside = _ASIDE.fullmatch(path.name) and "_delta_log" not in path.parts
        if not (part or aside) or not search.old(path):
            continue
        if aside:
            inside = _EXPORT_PART.search(path.name)
            if not search.going_on(inside[1] if inside else None):
                yield "export", path
        elif part and path.name not in _named(path.with_name("_manifest.json")) and not search.going_on(part[1]):
            yield "export", path


def _named(manifest: Path) -> set[str]:
    if not manifest.exists():
        return set()
    return {part["file"] for part in json.loads(manifest.read_text(encoding="utf-8"))["parts"]}


def _locks(search: _Search) -> Found:
    """Of pipelines and zones that are defined no more. Nobody waits for them: the lock is held while its file goes."""
    root = search.root / "locks"
    known = {pipeline.key for a in search.catalog.applications for pipeline in a.pipelines}
    known |= {f"{application.name}/.ops" for application in search.catalog.applications}
    known |= {
        watched(pipeline).lock
        for application in search.catalog.applications
        for pipeline in application.pipelines
        if isinstance(pipeline.driving.source, FileSource)
    }
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        pipeline = str(path.relative_to(root))
        dead = pipeline not in known and search.loaded(pipeline.partition("/")[0])
        if dead and search.old(path) and search.alone(pipeline):
            yield "lock", path


def _ledgers(search: _Search) -> Found:
    """Ledgers that were being made again. Those kept aside are left: a person removes them."""
    yield from (("ledger", p) for p in sorted(search.root.glob("ledger.db.rebuild-*")) if search.old(p))


def _keys(search: _Search) -> Found:
    yield from (("key", p) for p in sorted((search.root / "keys").glob(".quarantine.*")) if search.old(p))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(p.stat().st_size for p in files if p.is_file())


def _removed(path: Path) -> bool:
    """Whether it is gone now; what cannot be removed is told, and tried again the next time."""
    with contextlib.suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return not path.exists()
