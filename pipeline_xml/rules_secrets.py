"""Rules about references to secrets."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline_xml.location import Location
from pipeline_xml.model import Application, FileSource, OtherSource, OtherTarget
from pipeline_xml.rulebook import Report, catalog_rule
from pipeline_xml.secret_name import SECRET_FORM, SECRET_NAME

Written = Iterable[tuple[str | None, Location]]


@catalog_rule("LK635")
def secret_names(applications: tuple[Application, ...], report: Report) -> None:
    """A reference to a secret is the name of one: of an environment variable, or of a file in the folder of secrets."""
    for application in applications:
        for written, where in (*_resources(application), *_pipelines(application), *_jobs(application)):
            if written is not None and not SECRET_NAME.match(written):
                report(f"'{written}' cannot name a secret", where, hint=SECRET_FORM)


def _resources(application: Application) -> Written:
    yield from ((zone.secret_ref, zone.place("secretRef")) for zone in application.zones)
    yield from ((key.secret_ref, key.place("secretRef")) for key in application.keys)


def _pipelines(application: Application) -> Written:
    for pipeline in application.pipelines:
        for each in (*pipeline.sources, *pipeline.targets):
            if isinstance(each, FileSource):
                yield each.pgp_secret_ref, each.place("pgpSecretRef")
                yield each.pgp_passphrase_ref, each.place("pgpPassphraseRef")
            elif isinstance(each, OtherSource | OtherTarget):
                yield each.attributes.get("userSecretRef"), each.place("userSecretRef")
        yield from ((step.attributes.get("secretRef"), step.place("secretRef")) for step in pipeline.steps)


def _jobs(application: Application) -> Written:
    for note in (note for job in application.jobs for note in job.notifications):
        if "urlSecretRef" in note.places:
            yield note.address, note.place("urlSecretRef")
