"""What a crash leaves is found and removed, between the crash and the second run and after it, and nothing else is.

    python -m tests.faults.test_leftovers            every failpoint at every passing
    python -m tests.faults.test_leftovers --short    each failpoint once
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipeline_xml.load import load_catalog
from processing.transformations import registry
from publishing import failpoints
from publishing.lake import open_lake
from publishing.leftovers import sweep
from publishing.table_files import unreferenced
from resources.settings import Settings
from tests.faults.harness import CASE, Injection, World, document_of, succeeds
from tests.faults.run import SAME, each_once, every_passing, warm_up

PROJECT = Path(__file__).resolve().parents[2]
AT_ONCE = timedelta(0)


def swept(root: Path) -> list[str]:
    """Sweeps whatever is old enough to be seen, in a child; `kind path` of each thing found, all of it gone."""
    told = root.with_name(f"{root.name}.swept")

    def work() -> None:
        settings = Settings(config=CASE / "config", data=root)
        catalog = load_catalog(settings.config, registry())
        with open_lake(settings, catalog) as lake:
            dry = sweep(lake, catalog, AT_ONCE, dry_run=True)
            found = sweep(lake, catalog, AT_ONCE)
            assert dry.found == found.found == dry.left
            assert not found.left
            again = sweep(lake, catalog, AT_ONCE)
            assert not again.found, again.found
        told.write_text(json.dumps([f"{item.kind} {item.path}" for item in found.found]))

    succeeds(work)
    out: list[str] = json.loads(told.read_text())
    return out


def left_by_looking(root: Path) -> list[str]:
    """What should not be there, looked for without the sweep: tables, raw, staging, journal, exports."""
    found = [p for log in root.rglob("_delta_log") for p in unreferenced(log.parent)]
    found += [*(root / "raw").rglob(".copy-*"), *(root / "staged").rglob("*.parquet")]
    found += [p for p in (root / "journal").rglob(".*") if p.is_file()]
    for manifest in (root / "applications").rglob("_manifest.json"):
        named = {part["file"] for part in json.loads(manifest.read_text())["parts"]}
        found += [p for p in manifest.parent.iterdir() if p.name not in {*named, manifest.name}]
    return sorted(str(p.relative_to(root)) for p in found)


class Swept(World):
    """As its base, with a sweep between the crash and the second run, and one after it that leaves nothing."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.seen = root / "seen"
        self.seen.mkdir()

    def between(self, root: Path) -> None:
        self._remember(swept(root))

    def ended(self, root: Path, phase: str) -> dict[str, Any]:
        document = super().ended(root, phase)
        self._remember(swept(root))
        assert not left_by_looking(root), left_by_looking(root)
        assert document_of(root) == document, "a sweep took something that was needed"
        return document

    def _remember(self, found: list[str]) -> None:
        kinds = " ".join(sorted({line.partition(" ")[0] for line in found}))
        with (self.seen / str(os.getpid())).open("a") as out:
            out.write(f"{kinds}\n")

    def kinds(self) -> list[str]:
        return sorted({kind for path in self.seen.iterdir() for kind in path.read_text().split()})


def main(arguments: list[str]) -> int:
    warm_up()
    chosen: Callable[[World], Iterator[tuple[Injection, str]]] = each_once if "--short" in arguments else every_passing
    with tempfile.TemporaryDirectory(prefix="datalake-leftovers-") as folder:
        world = Swept(Path(folder) / "world")
        for phase in world.states:
            undisturbed = world.root / f"after-{phase}"
            left = swept(undisturbed)
            assert left == [], f"a run without a crash leaves nothing: {left}"
            assert not left_by_looking(undisturbed)
        crashes = list(chosen(world))
        print(f"swept: {len(crashes)} crashes, kinds {' '.join(world.kinds())}")
    wrong = [f"{injection}: {outcome}" for injection, outcome in crashes if outcome != SAME]
    for line in wrong:
        print(line[:1000])
    print(f"{len(wrong)} with a difference")
    return int(bool(wrong))


def test_what_a_crash_leaves_is_swept_and_the_next_run_does_not_miss_it() -> None:
    """In a process of its own: it forks, and this one may have an engine's threads."""
    command = [sys.executable, "-m", "tests.faults.test_leftovers", "--short"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    first = done.stdout.splitlines()[0]
    assert first.startswith(f"swept: {len(failpoints.POINTS)} crashes")
    assert {"table_file", "staged"} <= set(first.split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
