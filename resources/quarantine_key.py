"""The key that seals raw records in quarantine: by reference, or for a lake on one machine a file made once."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from resources.settings import Settings, SettingsError

REFERENCE = "DATALAKE_QUARANTINE_KEY"
BYTES = 32


@dataclass(frozen=True, slots=True, repr=False)
class QuarantineKey:
    """`id` stands beside every sealed record; `value` (32 bytes) never leaves the process."""

    id: str
    value: bytes


def quarantine_key(settings: Settings) -> QuarantineKey:
    """DATALAKE_QUARANTINE_KEY (64 hex digits) from the environment, else `<data>/keys/quarantine`, made when missing.

    In the environment `prod` the file is not made: losing it would make every rejected record unreadable.
    """
    stated = os.environ.get(REFERENCE)
    if stated is not None:
        try:
            value = bytes.fromhex(stated)
        except ValueError:
            value = b""
        if len(value) != BYTES:
            raise SettingsError(f"{REFERENCE} is not a key; valid: 64 hex digits, as of `openssl rand -hex 32`")
        return QuarantineKey(_fingerprint(value), value)
    path = settings.data / "keys" / "quarantine"
    if not path.exists():
        if settings.environment == "prod":
            raise SettingsError(f"no key to seal rejected records: set {REFERENCE} to 64 hex digits")
        _make(path)
    value = path.read_bytes()
    return QuarantineKey(_fingerprint(value), value)


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(secrets.token_bytes(BYTES))
        out.flush()
        os.fsync(out.fileno())
    try:
        path.hardlink_to(aside)  # the first of two processes wins
    except FileExistsError:
        return
    finally:
        aside.unlink()


def _fingerprint(value: bytes) -> str:
    return "local-" + hashlib.sha256(b"quarantine key id" + value).hexdigest()[:12]
