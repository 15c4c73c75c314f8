"""Rules about landing zones: what can be told without the network. `lake doctor` tells the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from pipeline_xml.model import Application, LandingZone
from pipeline_xml.rulebook import Report, catalog_rule

_ONLY_FOR = {"hostKey": ("sftp",), "endpoint": ("s3",), "secretRef": ("sftp", "s3")}
_HOST_KEY = re.compile(r"SHA256:[A-Za-z0-9+/]{43}|(ssh|ecdsa|sk)-[a-z0-9@.\-]+ [A-Za-z0-9+/]+=*( .*)?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")


def _zones(applications: Iterable[Application]) -> Iterable[LandingZone]:
    return (zone for application in applications for zone in application.zones)


@catalog_rule("LK602")
def local_zone(applications: tuple[Application, ...], report: Report) -> None:
    """The uri of a local landing zone is a folder, relative to the lake root or absolute, without '..'."""
    for zone in _zones(applications):
        if zone.type == "local" and ("://" in zone.uri or ".." in zone.uri.split("/")):
            report(f"'{zone.uri}' is no folder", zone.place("uri"), hint='as uri="landing/orders"')


@catalog_rule("LK603")
def remote_zone(applications: tuple[Application, ...], report: Report) -> None:
    """An SFTP zone has a uri sftp://user@host:port/folder, an S3 zone s3://bucket/prefix; neither holds a secret."""
    for zone in _zones(applications):
        if zone.type == "local":
            continue
        wanted = "sftp://user@host/folder" if zone.type == "sftp" else "s3://bucket/prefix"
        fault = _uri_fault(zone)
        if fault:
            report(f"the uri {fault}", zone.place("uri"), hint=f'as uri="{wanted}"')


def _uri_fault(zone: LandingZone) -> str | None:
    try:
        parts = urlsplit(zone.uri)
        port = parts.port
    except ValueError:
        return "has a port that is no number from 1 to 65535"
    if parts.scheme != zone.type:
        return f"does not begin with {zone.type}://"
    if parts.password is not None:
        return "holds a password: it is a secret, and goes by secretRef"
    if not parts.hostname:
        return "names no host" if zone.type == "sftp" else "names no bucket"
    if parts.query or parts.fragment:
        return "has a '?' or '#'; write them as %3F and %23 where they are part of a folder's name"
    if ".." in parts.path.split("/"):
        return "has '..' in it"
    if zone.type == "sftp":
        return None if parts.username else "names no user"
    if not _BUCKET.fullmatch(parts.netloc) or port is not None:
        return f"names '{parts.netloc}', which is no bucket: 3 to 63 small letters, digits, dots and hyphens"
    return None


@catalog_rule("LK604")
def attributes_of_a_zone(applications: tuple[Application, ...], report: Report) -> None:
    """hostKey is for an SFTP zone, endpoint for an S3 zone, secretRef for either; an SFTP zone needs its secretRef."""
    for zone in _zones(applications):
        for name, kinds in _ONLY_FOR.items():
            if name in zone.places and zone.type not in kinds:
                report(f"{name} says nothing of a {zone.type} zone", zone.place(name), hint="leave it out")
        if zone.type == "sftp" and zone.secret_ref is None:
            report("an SFTP zone without secretRef", zone.where, hint="it names the password or the private key")
        if zone.host_key is not None and not _HOST_KEY.fullmatch(zone.host_key):
            report("hostKey is no public key", zone.place("hostKey"), hint="SHA256:… or ssh-ed25519 AAAA…")
        if zone.endpoint is not None and urlsplit(zone.endpoint).scheme not in ("http", "https"):
            report("endpoint is no URL", zone.place("endpoint"), hint="as https://s3.example.com")
