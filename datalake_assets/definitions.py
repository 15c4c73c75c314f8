"""The composition root: load, translate and build. Nothing is read or connected when this module is imported."""

from __future__ import annotations

import dagster as dg


@dg.definitions
def definitions() -> dg.Definitions:
    """The code location over DATALAKE_CONFIG; DATALAKE_APPLICATIONS chooses which applications it loads."""
    from datalake_assets.build import build
    from datalake_assets.catalog import load
    from datalake_assets.previews import quiet_inside_dagster
    from datalake_assets.work import lake_work
    from resources.settings import Settings

    quiet_inside_dagster()
    settings = Settings.from_environment()
    catalog = load(settings)
    return build(settings, catalog, lake_work(settings, catalog))
