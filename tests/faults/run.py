"""`make faults`: every failpoint at every passing, crashes at random times, crashes of `lake run`; failpoint x outcome.

    python -m tests.faults.run            all: at least 200 injections
    python -m tests.faults.run --short    each failpoint once

Exit 0 only if every crash, and the run after it, ends like a run without one.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from publishing import failpoints
from tests.faults.harness import CASE, LANDED, PIPELINES, Injection, World

AT_RANDOM = 70
THROUGH_LAKE_RUN = 20
SAME = "same"
ARMED = """
import sys
from publishing import failpoints
failpoints.arm(sys.argv[1])
from command_line.main import run
sys.argv = ["lake", "run", sys.argv[2], "--json"]
run()
"""


def warm_up() -> None:
    """Imported once here, so that a forked child starts at the work itself. Nothing is started: threads do not fork."""
    import deltalake  # noqa: F401
    import pyarrow.dataset  # noqa: F401
    import pysail.spark  # noqa: F401
    import pyspark.sql.connect.session  # noqa: F401

    import processing.read
    import processing.read_table  # noqa: F401


def every_passing(world: World) -> Iterator[tuple[Injection, str]]:
    for phase in LANDED:
        for point in failpoints.POINTS:
            passing = 1
            while (outcome := world.crash(Injection(phase, point, passing))) != "not reached":
                yield Injection(phase, point, passing), outcome
                passing += 1


def each_once(world: World) -> Iterator[tuple[Injection, str]]:
    for point in failpoints.POINTS:
        for phase in ("second", "third", "first"):
            injection = Injection(phase, point)
            outcome = world.crash(injection)
            if outcome != "not reached":
                yield injection, outcome
                break
        else:
            yield Injection("any", point), "never reached"


def at_random(world: World, number: int, seed: int) -> Iterator[tuple[Injection, str]]:
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    done = 0
    while done < number:
        injection = Injection(chance.choice(list(LANDED)), "at random", after=chance.uniform(0.02, 1.2))
        outcome = world.crash(injection)
        if outcome != "not reached":
            done += 1
            yield injection, outcome


def through_lake_run(world: World, number: int) -> Iterator[tuple[Injection, str]]:
    """The same by the command line, Dagster and all: each pipeline in turn until one dies."""

    def dies(root: Path, injection: Injection) -> bool:
        environment = {**os.environ, "DATALAKE_CONFIG": str(CASE / "config"), "DATALAKE_DATA": str(root)}
        for name in PIPELINES:
            command = [sys.executable, "-c", ARMED, injection.point, f"lender/{name}"]
            if subprocess.run(command, env=environment, capture_output=True, check=False).returncode == -9:
                return True
        return False

    done = 0
    for point in [*failpoints.POINTS, *failpoints.POINTS]:
        if done == number:
            return
        injection = Injection("second" if done < len(failpoints.POINTS) else "first", point)
        outcome = world.crash(injection, dies)
        if outcome != "not reached":
            done += 1
            yield Injection("lake run", point), outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=20201231)
    given = parser.parse_args()
    console = Console(width=160)
    warm_up()
    counted: dict[str, Counter[str]] = {}
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="datalake-faults-") as folder:
        world = World(Path(folder) / "world")
        rounds = [each_once(world)] if given.short else [
            every_passing(world), at_random(world, AT_RANDOM, given.seed), through_lake_run(world, THROUGH_LAKE_RUN)
        ]  # fmt: skip
        for round_ in rounds:
            for injection, outcome in round_:
                row = injection.point if injection.phase != "lake run" else f"lake run: {injection.point}"
                counted.setdefault(row, Counter())[SAME if outcome == SAME else "different"] += 1
                if outcome != SAME:
                    wrong.append(f"{injection}: {outcome}")
    table = Table("killed at", "what had just happened", "same as no crash", "different", title="faults")
    for row, outcomes in counted.items():
        what = failpoints.POINTS.get(row.removeprefix("lake run: "), "anything")
        table.add_row(row, what, str(outcomes[SAME]), str(outcomes["different"]))
    console.print(table)
    for line in wrong:
        console.print(line, markup=False)
    total = sum(sum(c.values()) for c in counted.values())
    console.print(f"{total} crashes, {len(wrong)} with a difference")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
