"""The files of a claim copied to raw, several at once, and noted in the ledger once they are on the disk, by parts.

However many are copied at once, they come out in the order in which they were claimed: arrivals are given by it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Event

from sqlalchemy import update

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import FileSource
from publishing import failpoints
from publishing.beside import Neighbours, both
from publishing.claim import in_parts
from publishing.lake import Lake
from publishing.ledger import Look
from publishing.missed import Missed, missed_by
from publishing.raw import SYNC_BYTES, RawCopy, copied_before, copy_to_raw
from resources.durable import fsync, make_folder
from resources.failures import DiskFull, Outside, named
from resources.zone import ChangedWhileRead, Sighting, Zone

AT_ONCE = 4  # copies; of a server as many connections, which are made one after the other
PART_FILES, PART_BYTES = 100, SYNC_BYTES  # of a claim, that a crash may have copied again
WORTH = 10  # files that one more connection is worth

Ended = RawCopy | Missed


@dataclass
class _Copying:
    """What the copies of one claim share. `idle` are the zones that nobody reads from now, of `opened` in all."""

    lake: Lake
    pipeline: CheckedPipeline
    source: FileSource
    zones: ExitStack
    neighbours: Neighbours | None = None
    idle: SimpleQueue[Zone] = field(default_factory=SimpleQueue)
    opened: int = 0
    most: int = AT_ONCE
    stopped: Event = field(default_factory=Event)

    def open(self, files: int, some: str) -> None:
        """One zone at least; more where there are many files, and as long as the server lets them in."""
        while self.opened < min(self.most, max(1, files // WORTH)):
            place = self.zones.enter_context(self.lake.zone(self.source, self.pipeline.driving.zone))
            if self.opened:
                try:
                    place.find(some)
                except (Outside, OSError):  # no further connection for now: those that there are do it
                    self.most = self.opened
                    return
            self.idle.put(place)
            self.opened += 1

    def copy(self, look: Look) -> tuple[Ended, dict[str, str]] | None:
        """One file and what lies beside it; None once another one showed that there is no going on."""
        if self.stopped.is_set():
            return None
        place = self.idle.get()
        try:
            assert self.neighbours is not None  # noqa: S101 - set before the first copy
            beside = self.neighbours.of(place, self.source, look.name)
            seen = Sighting(look.name, look.uri, look.size, look.version, 0.0)
            root = self.lake.raw_root(self.pipeline.key)
            return copy_to_raw(place, seen, root, self.source, self.pipeline.driving.contract), beside
        except (ChangedWhileRead, OSError) as error:
            if self._ours(error):
                self.stopped.set()
                raise
            return missed_by(look, error), {}
        except BaseException:
            self.stopped.set()
            raise
        finally:
            self.idle.put(place)

    def _ours(self, error: Exception) -> bool:
        """Whether it is raw that cannot be written: then the sender is not to blame."""
        at = str(getattr(error, "filename", "") or "")
        return at.startswith(str(self.lake.settings.data / "raw")) or isinstance(named(error), DiskFull)


def copied(lake: Lake, pipeline: CheckedPipeline, looks: Sequence[Look]) -> Generator[tuple[Look, Ended]]:
    """Each file of a claim: its copy, on the disk and in the ledger, or why there is none.

    What a run before a crash copied is taken up: the sender may have removed his by now. ZoneUnreachable where the
    server is lost, and what keeps raw from being written; what was copied until then is in the ledger.
    """
    source, contract = pipeline.driving.source, pipeline.driving.contract
    assert isinstance(source, FileSource)  # noqa: S101 - only file sources have claims
    root = lake.raw_root(pipeline.key)
    make_folder(root)
    with ExitStack() as zones, ThreadPoolExecutor(AT_ONCE) as pool:
        shared = _Copying(lake, pipeline, source, zones)
        try:
            for part in in_parts(looks, PART_FILES, PART_BYTES):
                before = {look.id: look.content_id for look in part if _stands(root, look.content_id)}
                missing = [look for look in part if look.id not in before]
                ended = _copied_part(shared, pool, missing, len(looks)) if missing else {}
                for look in part:
                    taken_up = before.get(look.id)
                    yield look, ended[look.id] if taken_up is None else copied_before(root / taken_up, source, contract)
        finally:
            shared.stopped.set()


def _copied_part(shared: _Copying, pool: ThreadPoolExecutor, looks: Sequence[Look], files: int) -> dict[int, Ended]:
    """What became of each look, by its id. What is copied is in the ledger, also where one of them raises."""
    shared.open(len(looks), looks[0].name)
    if shared.neighbours is None:
        place = shared.idle.get()
        shared.neighbours = Neighbours(place, files)
        shared.idle.put(place)
    ended: dict[int, Ended] = {}
    fresh: list[Look] = []
    lost: BaseException | None = None
    copies = [_now(shared, looks[0])] if len(looks) == 1 else [pool.submit(shared.copy, look) for look in looks]
    for look, copy in zip(looks, copies, strict=True):
        if (error := copy.exception()) is not None:
            lost = lost or error
            continue
        if (found := copy.result()) is None:
            continue
        ended[look.id], beside = found
        if isinstance(found[0], RawCopy):
            look.content_id, look.beside = found[0].content_id, both(look.beside or {}, beside)
            fresh.append(look)
            failpoints.reached("raw.copied")
    if fresh:
        fsync(shared.lake.raw_root(shared.pipeline.key))  # the names of the copies
        with shared.lake.ledger.write() as session:
            known = [{"id": look.id, "content_id": look.content_id, "beside": look.beside} for look in fresh]
            session.execute(update(Look), known)
    if lost is not None:
        raise lost
    return ended


def _stands(root: Path, content_id: str | None) -> bool:
    """Whether a run before this one copied it, and raw still has it."""
    return content_id is not None and (root / content_id).exists()


def _now(shared: _Copying, look: Look) -> Future[tuple[Ended, dict[str, str]] | None]:
    """A copy in this thread, which may be interrupted: a large file is alone in its part."""
    done: Future[tuple[Ended, dict[str, str]] | None] = Future()
    try:
        done.set_result(shared.copy(look))
    except Exception as error:  # noqa: BLE001 - it is raised by whoever asks for the result
        done.set_exception(error)
    return done
