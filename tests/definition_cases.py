"""Cases of wrong definitions: a folder or an XML file is laid over `base`, a correct application, and checked.

`<code>-<name>.xml` replaces the base's document of the same root element; `<code>-<name>/` holds the files that differ,
or a whole config root in `standalone/`. `@prod` at the end of a name checks for that environment. The expected text is
`<code>-<name>.txt` beside it: every problem, as `lake check` prints it.

Cases of the language are checked with plain steps, those of steps (REAL_STEPS) with the real ones.
"""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack
from pathlib import Path

from pipeline_xml.load import check_path
from pipeline_xml.render import render_text
from processing.transformations import registry
from tests.custom_distribution import installed
from tests.plain_steps import STEPS

FOLDER = Path(__file__).parent / "cases" / "invalid"
BASE = FOLDER / "base"
REAL_STEPS = ("LK204-step_columns", "LK30", "LK31", "LK510", "LK511", "LK512", "LK513", "LK514", "LK190-unique")
INSTALLED = ("LK313", "LK314")  # with a distribution that offers transformations
_SHOP = "applications/shop"
_PLACES = {
    "pipeline": f"{_SHOP}/staging/pipelines/orders.xml",
    "jobPipeline": f"{_SHOP}/staging/jobs/daily.xml",
    "resources": f"{_SHOP}/staging/resources/resources.xml",
    "rulePack": f"{_SHOP}/exceptions/rules/orders.xml",
    "workflow": f"{_SHOP}/exceptions/workflows/orders.xml",
}


def cases() -> list[Path]:
    return sorted(p for p in FOLDER.iterdir() if p != BASE and p.suffix != ".txt")


def code_of(case: Path) -> str:
    return case.name[:5]


def expected_file(case: Path) -> Path:
    return FOLDER / f"{case.name.removesuffix('.xml')}.txt"


def lay_out(case: Path, root: Path) -> Path:
    """The config root of a case, made in `root`."""
    if (case / "standalone").is_dir():
        return case / "standalone"
    shutil.copytree(BASE, root, dirs_exist_ok=True)
    if case.is_dir():
        shutil.copytree(case, root, dirs_exist_ok=True)
        return root
    tag = re.search(rb"<(pipeline|jobPipeline|resources|rulePack|workflow)\b", case.read_bytes())
    name = tag[1].decode() if tag and not case.name.startswith("LK010") else "pipeline"
    shutil.copyfile(case, root / _PLACES[name])
    return root


def rendered(case: Path, root: Path) -> str:
    """What `lake check` says of the case."""
    environment = case.stem.partition("@")[2] or "dev"
    place = lay_out(case, root)
    steps = registry() if case.name.startswith(REAL_STEPS) else STEPS
    with ExitStack() as stack:
        if case.name.startswith(INSTALLED):
            site = root.parent / "site"
            site.mkdir()
            stack.enter_context(installed(site))
        return render_text(check_path(place, steps, environment), place, "config/")
