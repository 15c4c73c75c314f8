"""Opening the landing zone that a definition names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline_xml.model import LandingZone
from resources.secrets import SecretResolver
from resources.zone import Zone
from resources.zone_local import LocalZone
from resources.zone_s3 import ConnectS3, S3Access, S3Zone, s3_client
from resources.zone_sftp import SftpAccess, SftpZone

OpenZone = Callable[[LandingZone], Zone]


def zone_opener(data: Path, secrets: SecretResolver, connect_s3: ConnectS3 = s3_client) -> OpenZone:
    """Opens zones below the lake root `data`; SecretMissing when a secret that one names is not there.

    Nothing is connected before the zone is first used.
    """

    def opened(zone: LandingZone) -> Zone:
        if zone.type == "local":
            return LocalZone(lake_path(data, zone.uri))
        secret = secrets.key(zone.secret_ref) if zone.secret_ref else None
        if zone.type == "sftp":
            return SftpZone(zone.uri, SftpAccess(secret, zone.secret_ref or "", zone.host_key))
        access = S3Access.of(secret, zone.endpoint, zone.secret_ref or "")
        return S3Zone(zone.uri, lambda: connect_s3(access))

    return opened


def lake_path(data: Path, text: str) -> Path:
    """A path or file URI of a definition; relative ones start at the lake root."""
    return data / text.removeprefix("file://")
