"""`make faults`: every failpoint at every passing, crashes at random times, crashes of `lake run`, and Apache Spark.

    python -m tests.faults.run                all: at least 200 injections embedded, 30 on Spark and 3 of its server
    python -m tests.faults.run --short        each failpoint once
    python -m tests.faults.run --engine sail  one engine only (sail, spark)

Prints failpoint x outcome, and writes it to docs/reliability.json where everything was run. Exit 0 only if every crash,
and the run after it, ends like a run without one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from publishing import failpoints
from tests.faults.document import CASE
from tests.faults.flow import PIPELINES
from tests.faults.harness import PHASES, Injection, On, World

AT_RANDOM = 70
THROUGH_LAKE_RUN = 20
ON_SPARK = 30
SAME = "same"
RANDOM = "at random"
LAKE_RUN = "lake run: "
SERVER = "server killed at "
DATA = Path(__file__).resolve().parents[2] / "docs" / "reliability.json"
WORKERS = os.cpu_count() or 1
ARMED = """
import sys
from publishing import failpoints
failpoints.arm(sys.argv[1])
from command_line.main import run
sys.argv = ["lake", "run", sys.argv[2], "--json"]
run()
"""

Outcome = tuple[Injection, str]
Through = Callable[[Path, Injection], bool]


def warm_up() -> None:
    """Imported once here, so that a forked child starts at the work itself. Nothing is started: threads do not fork."""
    import alembic.config  # noqa: F401
    import deltalake  # noqa: F401
    import pyarrow.dataset  # noqa: F401
    import pysail.spark  # noqa: F401
    import pyspark.sql.connect.session  # noqa: F401

    import processing.read
    import processing.read_table  # noqa: F401


_at_work: tuple[World, Through | None] | None = None


def outcomes(world: World, injections: Iterable[Injection], through: Through | None = None) -> Iterator[Outcome]:
    """What comes of each; a few at a time, each in a process of its own that forks the ones that die."""

    def take() -> None:
        global _at_work
        _at_work = (world, through)

    with multiprocessing.get_context("fork").Pool(WORKERS, initializer=take) as pool:
        yield from pool.imap_unordered(_inject, injections)
        pool.close()
        pool.join()  # to end its workers by force may wait for ever: one waits for a lock that another died with


def _inject(injection: Injection) -> Outcome:
    assert _at_work is not None
    world, through = _at_work
    try:
        return injection, world.crash(injection, through)
    except AssertionError as error:
        return injection, str(error)


def every_passing(world: World) -> Iterator[Outcome]:
    """Each point of each phase as often as a run without trouble passes it."""
    chosen = [
        Injection(phase, point, number + 1)
        for phase, passings in world.passings.items()
        for point, times in passings.items()
        for number in range(times)
    ]
    yield from outcomes(world, chosen)
    yield from _never_reached(world)


def each_once(world: World) -> Iterator[Outcome]:
    """Each point in the phase with the most to lose."""
    yield from outcomes(world, once_each(world))
    yield from _never_reached(world)


def once_each(world: World) -> list[Injection]:
    order = sorted(world.passings, key=lambda phase: phase == PHASES[0].name)  # the first phase has the least to lose
    found = ((next((p for p in order if world.passings[p].get(point)), None), point) for point in failpoints.POINTS)
    return [Injection(phase, point) for phase, point in found if phase is not None]


def _never_reached(world: World) -> Iterator[Outcome]:
    reached = {point for passings in world.passings.values() for point in passings}
    for point in failpoints.POINTS:
        if point not in reached:
            yield Injection("any", point), "never reached"


def at_random(world: World, number: int, seed: int) -> Iterator[Outcome]:
    """Kills after a random time; those that came too late do not count."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    left = number
    while left:
        phases = [chance.choice(list(world.states)) for _ in range(left)]
        chosen = [Injection(p, RANDOM, after=chance.uniform(0.02, world.seconds[p])) for p in phases]
        for injection, outcome in outcomes(world, chosen):
            if outcome != "not reached":
                left -= 1
                yield injection, outcome


def through_lake_run(world: World, number: int) -> Iterator[Outcome]:
    """The same by the command line, Dagster and all: each pipeline in turn until one dies."""

    def dies(root: Path, injection: Injection) -> bool:
        environment = {**os.environ, "DATALAKE_CONFIG": str(CASE / "config"), "DATALAKE_DATA": str(root)}
        for name in PIPELINES:
            command = [sys.executable, "-c", ARMED, injection.point, f"lender/{name}"]
            if subprocess.run(command, env=environment, capture_output=True, check=False).returncode == -9:
                return True
        return False

    loads = [phase for phase in ("second", "first") if phase in world.passings]
    chosen = [Injection(phase, point) for phase in loads for point in world.passings[phase]][:number]
    for injection, outcome in outcomes(world, chosen, dies):
        yield Injection(injection.phase, f"{LAKE_RUN}{injection.point}"), outcome


def on_spark(root: Path, seed: int) -> Iterator[Outcome]:
    """Clients killed against one server that lives on; then the server itself, three times."""
    from tests.faults.spark import Server, server_killed

    with Server() as server:
        world = World(root, On("spark", server.address), PHASES[:1])
        chosen = once_each(world)[:ON_SPARK]
        yield from outcomes(world, chosen)
        yield from at_random(world, ON_SPARK - len(chosen), seed)
        for point in ("attempt.opened", "stage.records", "quarantine.committed"):
            injection = Injection(PHASES[0].name, point)
            yield Injection(injection.phase, f"{SERVER}{point}"), server_killed(world, server, injection)


def what(row: str) -> str:
    """What had just happened where a row of the table was killed."""
    return failpoints.POINTS.get(row.removeprefix(LAKE_RUN).removeprefix(SERVER), "anything")


def counted(found: Sequence[tuple[str, Outcome]]) -> list[dict[str, Any]]:
    """One line an engine and place: how many crashes ended the same, and how many did not; in a fixed order."""
    sums: dict[tuple[str, str], Counter[str]] = {}
    for engine, (injection, outcome) in found:
        sums.setdefault((engine, injection.point), Counter())[SAME if outcome == SAME else "different"] += 1
    places = [RANDOM, *failpoints.POINTS]
    places += [f"{before}{place}" for before in (LAKE_RUN, SERVER) for place in failpoints.POINTS]
    lines = sorted(sums, key=lambda line: (line[0], places.index(line[1])))
    return [
        {"engine": engine, "at": at, "same": sums[engine, at][SAME], "different": sums[engine, at]["different"]}
        for engine, at in lines
    ]


def printed(console: Console, lines: Sequence[dict[str, Any]]) -> None:
    table = Table("engine", "killed at", "what had just happened", "same as no crash", "different", title="faults")
    for line in lines:
        table.add_row(line["engine"], line["at"], what(line["at"]), str(line["same"]), str(line["different"]))
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--engine", choices=["sail", "spark"])
    parser.add_argument("--seed", type=int, default=20201231)
    given = parser.parse_args()
    console = Console(width=160)
    warm_up()
    found: list[tuple[str, Outcome]] = []
    with tempfile.TemporaryDirectory(prefix="datalake-faults-") as folder:
        rounds: list[tuple[str, Iterator[Outcome]]] = []
        if given.engine != "spark":
            world = World(Path(folder) / "world")
            rounds = [("sail", each_once(world))] if given.short else [
                ("sail", every_passing(world)),
                ("sail", at_random(world, AT_RANDOM, given.seed)),
                ("sail", through_lake_run(world, THROUGH_LAKE_RUN)),
            ]  # fmt: skip
        if given.engine == "spark" or not (given.short or given.engine):
            rounds.append(("spark", on_spark(Path(folder) / "spark", given.seed)))
        for engine, round_ in rounds:
            found += [(engine, outcome) for outcome in round_]
    lines = counted(found)
    printed(console, lines)
    wrong = [f"{engine}: {injection}: {outcome}" for engine, (injection, outcome) in found if outcome != SAME]
    for line in wrong:
        console.print(line, markup=False)
    console.print(f"{len(found)} crashes, {len(wrong)} with a difference")
    if not given.short and given.engine is None:
        DATA.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
