"""The definitions as commands name them: the catalog, a pipeline or job in it, a business date."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pipeline_xml.checked import Catalog
from pipeline_xml.problems import nearest
from resources.settings import Settings, SettingsError


class WrongUse(Exception):
    """Something the caller named does not exist; says what does."""


def load(settings: Settings) -> Catalog:
    """The checked definitions of the config root; DefinitionError with every problem of every file."""
    from pipeline_xml.load import load_catalog
    from processing.transformations import registry

    if not settings.config.is_dir():
        raise SettingsError(f"DATALAKE_CONFIG is {settings.config}, which is no folder")
    return load_catalog(settings.config, registry(), settings.environment, settings.applications)


def resolve(catalog: Catalog, name: str) -> tuple[str, str]:
    """(application, pipeline or job) of `APP/NAME`; WrongUse names what there is."""
    application, _, wanted = name.partition("/")
    names = [a.name for a in catalog.applications]
    if application not in names:
        raise WrongUse(f"no application '{application}'{_guess(application, names)}; there are: {', '.join(names)}")
    found = catalog.application(application)
    assert found is not None  # noqa: S101 - its name is in the list
    inside = [p.pipeline.id for p in found.pipelines] + [j.id for j in found.jobs]
    if wanted not in inside:
        raise WrongUse(
            f"no pipeline or job '{wanted}' in {application}{_guess(wanted, inside)}; there are: {', '.join(inside)}"
        )
    return application, wanted


def _guess(value: str, valid: list[str]) -> str:
    close = nearest(value, valid)
    return f". Did you mean {close}?" if close else ""


def business_day(text: str | None) -> date | None:
    """The date of an option; WrongUse shows the form."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise WrongUse(f"--date is '{text}'; valid: a date such as 2024-12-31") from None


def parameters(written: Sequence[str]) -> dict[str, str]:
    """{name: text} of `--param NAME=VALUE` options; WrongUse shows the form."""
    found: dict[str, str] = {}
    for text in written:
        name, separator, value = text.partition("=")
        if not separator or not name or name in found:
            raise WrongUse(f"--param is '{name}'; valid: NAME=VALUE, each name once")
        found[name] = value
    return found
