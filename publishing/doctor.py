"""What only the network and the machine can tell: whether the ledger answers, secrets are there, zones let us in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date
from itertools import islice

from sqlalchemy import text

from pipeline_xml.checked import CheckedApplication
from pipeline_xml.model import FileSource, HolidayCalendar, LandingZone
from publishing.lake import Lake
from publishing.ledger_errors import LedgerUnavailable
from resources.failures import told
from resources.secrets import SecretMissing
from resources.zone import ZoneRefused, ZoneUnreachable
from resources.zones import lake_path

SOME = 1000  # entries of a zone that are listed


@dataclass(frozen=True, slots=True)
class Examined:
    """One thing that was looked at; `said` what was found, or what is wrong and what to do."""

    kind: str  # ledger, secret, calendar, zone
    subject: str
    ok: bool
    said: str

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def examine(lake: Lake, application: str | None = None) -> Iterator[Examined]:
    """Everything that the definitions of an application, or of all, need from outside. Changes nothing."""
    yield _ledger(lake)
    for app in lake.catalog.applications:
        if application in (None, app.name):
            yield from _secrets(lake, app)
            yield from (_calendar(each) for each in app.calendars)
            for zone in app.zones:
                yield _zone(lake, zone)


def _ledger(lake: Lake) -> Examined:
    where = (lake.settings.ledger and "the database of DATALAKE_LEDGER") or str(lake.settings.data / "ledger.db")
    try:
        with lake.ledger.read() as session:
            session.execute(text("SELECT 1 FROM claim LIMIT 1"))
    except LedgerUnavailable as error:
        return Examined("ledger", where, False, told(error))
    return Examined("ledger", where, True, "answers")


def _secrets(lake: Lake, app: CheckedApplication) -> Iterator[Examined]:
    named = {zone.secret_ref: f"landing zone {zone.id}" for zone in app.zones if zone.secret_ref}
    named |= {key.secret_ref: f"mask key {key.id}" for key in app.keys}
    for pipeline, source in ((p.pipeline, p.driving.source) for p in app.pipelines):
        for reference in (source.pgp_secret_ref, source.pgp_passphrase_ref) if isinstance(source, FileSource) else ():
            if reference is not None:
                named.setdefault(reference, f"pipeline {pipeline.id}")
    for reference, by in sorted(named.items()):
        try:
            lake.secrets.key(reference)
        except SecretMissing as error:
            yield Examined("secret", f"{app.name}: {reference}", False, f"of {by}: {error}")
        else:
            yield Examined("secret", f"{app.name}: {reference}", True, f"of {by}: is there")


def _calendar(known: HolidayCalendar) -> Examined:
    """A calendar that nobody carries on would let every holiday to come count as a missing file."""
    last, subject = max(known.holidays), f"{known.app}/{known.id}"
    if last < date.today():
        told = f"its last holiday is {last}: add those to come to <calendar id=\"{known.id}\">"
        return Examined("calendar", subject, False, told)
    return Examined("calendar", subject, True, f"{len(known.holidays)} holidays, the last on {last}")


def _zone(lake: Lake, zone: LandingZone) -> Examined:
    subject = f"{zone.app}/{zone.id} ({zone.type})"
    began = time.monotonic()
    try:
        with closing(lake.open_zone(zone)) as place:
            entries = list(islice(place.entries(), SOME))
    except (ZoneUnreachable, ZoneRefused, SecretMissing) as error:
        return Examined("zone", subject, False, told(error))
    except OSError as error:
        return Examined("zone", subject, False, f"{zone.uri}: {error.strerror}; give the user of the run the right")
    if zone.type == "local" and not lake_path(lake.settings.data, zone.uri).is_dir():
        return Examined("zone", subject, True, f"{zone.uri} is not there yet; its sender makes it")
    more = "or more " if len(entries) == SOME else ""
    return Examined("zone", subject, True, f"{len(entries)} {more}entries, listed in {time.monotonic() - began:.1f} s")
