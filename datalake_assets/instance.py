"""The Dagster instance of a lake: `DAGSTER_HOME`, else `<data>/dagster`, made from our dagster.yaml where missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from resources.settings import Settings

PROJECT = Path(__file__).resolve().parent.parent
_IN_THIS_PROCESS = {
    # The command line shows outcomes itself. Capturing the output of a step starts two processes, and mirrors an
    # engine's chatter into an output that scripts read.
    "compute_logs": {"module": "dagster.core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"},
}


def home(settings: Settings, env: Mapping[str, str] | None = None) -> Path:
    """The folder, which exists afterwards and holds a dagster.yaml; one that is there is left as it is."""
    env = os.environ if env is None else env
    folder = Path(env.get("DAGSTER_HOME") or settings.data / "dagster").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "dagster.yaml").exists():
        shutil.copyfile(PROJECT / "dagster.yaml", folder / "dagster.yaml")
    return folder


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance that the UI shows, for runs in this process; a context manager."""
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home(settings)), overrides=_IN_THIS_PROCESS))
