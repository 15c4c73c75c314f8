"""Any interleaving of load, crash, retry, reprocess, correct, replay, un-publish and reload equals a model in memory.

A crash is an error raised at a named place between two effects; tests/faults kills real processes at the same places.
The model knows nothing of batches: it is a set of records with what was decided about them, and one total order.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from publishing import failpoints
from resources.engine import Engine
from tests.promised_feed import APPEND
from tests.steward_feed import StewardFeed

MERGE = '<hive table="staging.feed" mode="merge" keys="id" orderBy="at"/>'
COLUMNS = {"v": {"type": "integer"}, "at": {"type": "integer"}}
FILES = 4
EXAMPLES = int(os.environ.get("DATALAKE_EXAMPLES", "6"))  # more of them look longer

RECORDS = st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.booleans().map(lambda sound: not sound))


class Crash(BaseException):
    """Ends a run where it stands; no handler of errors takes it for one."""


@dataclass
class Record:
    """`at` decides in a merge. `bad` needs a correction, `approved` has one; `stands` once something took it."""

    id: str
    at: int
    bad: bool
    approved: bool = False
    stands: bool = False


@dataclass
class File:
    records: list[Record]
    arrival: int = 0
    loaded: bool = False
    names: int = 0

    @property
    def rows(self) -> list[str]:
        return [f"{r.id},{'x' if r.bad else r.at},{r.at}" for r in self.records]


@dataclass
class Model:
    files: dict[int, File] = field(default_factory=dict)
    arrivals: int = 0

    def table(self, merge: bool) -> list[tuple[str, int, int]]:
        standing = [
            (record.id, record.at, file.arrival, number)
            for file in self.files.values()
            if file.loaded
            for number, record in enumerate(file.records)
            if record.stands
        ]
        if not merge:
            return sorted((identity, at, at) for identity, at, _, _ in standing)
        best: dict[str, tuple[int, int, int]] = {}
        for identity, at, arrival, number in standing:
            best[identity] = max(best.get(identity, (-1, -1, -1)), (at, arrival, number))
        return sorted((identity, at, at) for identity, (at, _, _) in best.items())

    def load(self, file: File) -> None:
        self.arrivals += 1
        file.arrival, file.loaded = self.arrivals, True
        self.attempt(file)

    def attempt(self, file: File) -> None:
        """An attempt accepts what is good, and what was approved."""
        for record in file.records:
            record.stands = not record.bad or record.approved


def machine(engine: Engine, merge: bool, whole: bool) -> type[RuleBasedStateMachine]:
    """`whole`: replays are attempts of their batch, for a step compares its records (none of them is a duplicate)."""
    steps = '<deduplicate source="s" keys="id,at,v" keep="first"/>' if whole else ""
    class Interleavings(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.root = Path(tempfile.mkdtemp(prefix="interleavings-"))
            self.feed = StewardFeed(self.root, engine)
            self.feed.define(MERGE if merge else APPEND, steps=steps, **COLUMNS)
            self.model = Model()

        def teardown(self) -> None:
            shutil.rmtree(self.root, ignore_errors=True)

        def through(self, crash_at: str | None, act: Callable[[], object], again: Callable[[], object]) -> None:
            """`act`, and where it crashes at a place that it passes, `again` to its end."""
            reached = failpoints.reached

            def dies(name: str) -> None:
                if name == crash_at:
                    raise Crash(name)

            failpoints.reached = dies
            try:
                act()
                return
            except Crash:
                pass
            finally:
                failpoints.reached = reached
            again()

        crashes = st.one_of(st.none(), st.sampled_from(sorted(failpoints.POINTS)))
        numbers = st.integers(0, FILES - 1)

        @initialize(files=st.lists(st.lists(RECORDS, min_size=1, max_size=3), min_size=FILES, max_size=FILES))
        def given(self, files: list[list[tuple[str, int, bool]]]) -> None:
            for number, rows in enumerate(files):
                self.model.files[number] = File(
                    [Record(i if merge else f"{i}{number}{n}", at, bad) for n, (i, at, bad) in enumerate(rows)]
                )

        @rule(number=numbers, crash_at=crashes)
        def load(self, number: int, crash_at: str | None) -> None:
            """Land a file that is not loaded, or a copy of one that is: a duplicate."""
            file = self.model.files[number]
            file.names += 1
            # The model's files differ in content, so that none is a duplicate of another.
            self.feed.land(f"f{number}n{file.names}.csv", "id,v,at", *file.rows, f"pad{number},0,0")
            self.through(crash_at, self.feed.run, self.feed.run)
            if not file.loaded:
                self.model.load(file)

        @rule(crash_at=crashes)
        def reprocess(self, crash_at: str | None) -> None:
            again = lambda: self.feed.run(reprocess=True)  # noqa: E731
            self.through(crash_at, again, again)
            for file in self.model.files.values():
                if file.loaded:
                    self.model.attempt(file)

        def waiting(self) -> list[tuple[int, int]]:
            """(file, record) of what is open and has no correction."""
            return [
                (number, place)
                for number, file in self.model.files.items()
                for place, record in enumerate(file.records if file.loaded else ())
                if record.bad and not record.approved
            ]

        @precondition(lambda self: self.waiting())
        @rule(which=st.integers(0, 20))
        def correct(self, which: int) -> None:
            """Approved at once: correcting and approving are transactions of the ledger alone."""
            waiting = self.waiting()
            number, place = waiting[which % len(waiting)]
            record = self.model.files[number].records[place]
            found = [key for key, state in self.feed.states().items() if state == "open"]
            (name,) = [k for k in found if k.startswith(f"f{number}n") and k.endswith(f":{place + 1}")]
            self.feed.decide({name: {"v": str(record.at)}})
            record.approved = True

        @rule(crash_at=crashes)
        def replay(self, crash_at: str | None) -> None:
            self.through(crash_at, self.feed.replay, self.feed.replay)
            for file in self.model.files.values():
                for record in file.records if file.loaded else ():
                    record.stands |= record.approved

        @precondition(lambda self: any(f.loaded for f in self.model.files.values()))
        @rule(number=numbers, crash_at=crashes)
        def unpublish(self, number: int, crash_at: str | None) -> None:
            loaded = [n for n, f in self.model.files.items() if f.loaded]
            chosen = loaded[number % len(loaded)]
            file = self.model.files[chosen]
            keys = self.feed.published(f"f{chosen}n")

            def again() -> None:
                if self.feed.published(f"f{chosen}n"):
                    self.feed.unpublish_keys(keys)
                else:
                    self.feed.run()

            self.through(crash_at, lambda: self.feed.unpublish_keys(keys), again)
            file.loaded = False

        @invariant()
        def tables_are_equal(self) -> None:
            if not self.feed.folder("staging.feed").exists():
                assert not any(f.loaded for f in self.model.files.values())
                return
            found = [r for r in self.feed.rows("staging.feed", "id", "v", "at") if not r[0].startswith("pad")]
            assert sorted(found) == self.model.table(merge)

        @invariant()
        def every_quarantined_record_is_accounted_for(self) -> None:
            states = self.feed.states().values()
            waiting = sum(
                1 for f in self.model.files.values() if f.loaded for r in f.records if r.bad and not r.stands
            )
            assert sum(1 for state in states if state == "open") == waiting

    return Interleavings


@pytest.mark.parametrize("engine", ["sail"], indirect=True)  # a step costs seconds on the other
@pytest.mark.parametrize(
    ("merge", "whole"), [(False, False), (True, False), (False, True)], ids=["append", "merge", "by attempt"]
)
def test_any_interleaving_equals_the_model(engine: Engine, merge: bool, whole: bool) -> None:
    run_state_machine_as_test(
        machine(engine, merge, whole),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=14,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
