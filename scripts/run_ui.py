"""`make ui`: dagster dev over this project's workspace, with the instance that `lake run` uses too."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from datalake_assets.instance import home
from resources.settings import Settings

PROJECT = Path(__file__).resolve().parent.parent
ADDRESS = "127.0.0.1"  # open source Dagster knows no users: nothing but this machine may reach it
PORT = "3000"
DEMO = PROJECT / ".demo"


def demo_environment() -> dict[str, str]:
    """What demo/environment sets, so that the mortgage application runs out of the box; set variables win."""
    lines = (PROJECT / "demo" / "environment").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def main(arguments: list[str]) -> None:
    os.environ.update({k: v for k, v in demo_environment().items() if k not in os.environ})
    if "DATALAKE_DATA" not in os.environ and DEMO.is_dir():  # what `make demo` left is what there is to look at
        os.environ["DATALAKE_DATA"] = str(DEMO)
    settings = Settings.from_environment()
    os.environ["DAGSTER_HOME"] = str(home(settings))
    port = arguments[0] if arguments else PORT
    print(f"lake {settings.data}\ndefinitions {settings.config}\nUI http://{ADDRESS}:{port}", flush=True)
    dagster = Path(sys.executable).with_name("dagster")
    command = [str(dagster), "dev", "-w", "workspace.yaml", "-h", ADDRESS, "-p", port]
    os.chdir(PROJECT)
    os.execv(command[0], command)  # noqa: S606 - fixed words, no shell; signals then reach dagster itself


if __name__ == "__main__":
    main(sys.argv[1:])
