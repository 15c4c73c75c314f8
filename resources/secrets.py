"""Secrets by reference: from the environment, or from files such as a container platform mounts.

    SecretMissing          no secret of that name, or none that will do; says where it was looked for, never a value
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline_xml.secret_name import SECRET_FORM, SECRET_NAME

FOLDER_VARIABLE = "DATALAKE_SECRETS"


class SecretMissing(Exception):
    """A secret that is named and not there, or is too short (permanent: trying again does not help)."""


@dataclass(frozen=True)
class SecretResolver:
    """Resolves a reference where it is used: it travels to workers, the values never do.

    Looked up in this order: the environment variable of that name (its UTF-8 bytes), then the file of that name in
    `folder`, by default the folder DATALAKE_SECRETS. One final newline of a file is not part of the secret.
    """

    folder: Path | None = None

    def key(self, secret_ref: str) -> bytes:
        if not SECRET_NAME.match(secret_ref):
            raise SecretMissing(f"'{secret_ref}' cannot name a secret: {SECRET_FORM}")
        value = os.environ.get(secret_ref)
        found = value.encode() if value is not None else self._from_file(secret_ref)
        if not found:
            state = "missing" if found is None else "empty"
            raise SecretMissing(f"secret '{secret_ref}' is {state}; looked at {self._places(secret_ref)}")
        return found

    def _from_file(self, secret_ref: str) -> bytes | None:
        folder = self._folder()
        path = folder / secret_ref if folder else None
        if path is None or not path.is_file():
            return None
        content = path.read_bytes()
        return content.removesuffix(b"\n").removesuffix(b"\r")

    def _folder(self) -> Path | None:
        if self.folder is not None:
            return self.folder
        named = os.environ.get(FOLDER_VARIABLE)
        return Path(named) if named else None

    def _places(self, secret_ref: str) -> str:
        folder = self._folder()
        files = f"the file {folder / secret_ref}" if folder else f"no file, because {FOLDER_VARIABLE} is not set"
        return f"the environment variable {secret_ref} and {files}"
