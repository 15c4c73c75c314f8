"""The product on a benchmark's input: lands the file, runs the pipeline, prints rows and seconds of the run itself.

python benchmarks/product.py sail|spark APP/PIPELINE LAKE_ROOT [file to land ...]
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path


def main(engine: str, name: str, root: Path, files: list[Path]) -> None:
    began = time.monotonic()
    from pipeline_xml.load import load_catalog
    from processing.transformations import registry
    from publishing.lake import open_lake
    from publishing.run import run_pipeline
    from resources.settings import Settings

    shutil.rmtree(root, ignore_errors=True)
    (root / "landing").mkdir(parents=True)
    for number, path in enumerate(files):
        (root / "landing" / f"{name.split('/')[1]}{number:05d}.csv").hardlink_to(path)
    settings = Settings(definitions(root.with_name(root.name + "-config")), root, engine)
    catalog = load_catalog(settings.config, registry())
    app, _, pipeline_id = name.partition("/")
    pipeline = catalog.pipeline(app, pipeline_id)
    if pipeline is None:
        raise SystemExit(f"no pipeline {name} in {settings.config}")
    with open_lake(settings, catalog) as lake:
        outcome = run_pipeline(lake, pipeline, run_id="benchmark")
    counts = [b.counts for b in outcome.batches]
    accepted, rejected = sum(c.accepted for c in counts), sum(c.quarantined for c in counts)
    print(f"{accepted} rows, {rejected} rejected, {time.monotonic() - began:.2f} s, {outcome.status}")


def definitions(folder: Path) -> Path:
    """The benchmark's definitions, and the register contract of the mortgage application beside them."""
    here = Path(__file__).parent
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(here / "config", folder)
    schemas = Path("applications") / "bench" / "staging" / "schemas"
    contract = here.parent / "config" / "applications" / "mortgage" / "staging" / "schemas" / "lar.json"
    shutil.copy(contract, folder / schemas / "registers.json")
    return folder


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), [Path(p) for p in sys.argv[4:]])
