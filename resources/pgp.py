"""PGP: a message of a sender in clear, streamed through a process of its own.

Sequoia (pysequoia) decrypts from a file to a file and holds Python's lock all the while. In a child, fed through pipes,
it needs memory for one buffer, and a message that never ends is cut off by whoever reads. The key goes through a pipe
as well: never in an argument, a variable or a file.

    BadArchive `not_encrypted`      no PGP message
    BadArchive `not_decrypted`      for another key, or damaged
    SecretMissing                   the secret is no private key (permanent, and of the lake: no file is to blame)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resources.archive import PIECE, BadArchive
from resources.secrets import SecretMissing

_CHILD = Path(__file__).with_name("pgp_child.py")
NO_KEY = 3
_FIRST_PACKETS = (1, 3)  # a session key, for a public key or for a passphrase: how a message begins


def is_message(head: bytes) -> bool:
    """Whether the first bytes of a file are those of an encrypted message, binary or in ASCII armor."""
    if head.lstrip().startswith(b"-----BEGIN PGP MESSAGE"):
        return True
    first = head[0] if head else 0
    tag = first & 0x3F if first & 0x40 else first >> 2 & 0xF
    return bool(first & 0x80) and tag in _FIRST_PACKETS


@dataclass(frozen=True, slots=True)
class PgpKey:
    """A private key, as its secret holds it, with the passphrase that unlocks it, where it has one."""

    secret: bytes
    secret_ref: str
    passphrase: bytes | None = None
    passphrase_ref: str | None = None


def decrypted(path: Path, key: PgpKey) -> Iterator[bytes]:
    """The message in clear. Nothing of it may be used before the end was reached: only then it is known to be whole."""
    with path.open("rb") as message:
        if not is_message(message.read(64)):
            text = "it is no encrypted PGP message, and the source says that it is one; send it encrypted"
            raise BadArchive("not_encrypted", text)
    key_out, key_in = os.pipe()
    command = [sys.executable, "-I", str(_CHILD), str(key_out)]
    with path.open("rb") as message, tempfile.TemporaryFile() as said:
        # Our own program, and no word of the message among its arguments.
        child = subprocess.Popen(  # noqa: S603
            command, stdin=message, stdout=subprocess.PIPE, stderr=said, pass_fds=[key_out]
        )
        os.close(key_out)
        threading.Thread(target=_give, args=(key_in, key), daemon=True).start()
        assert child.stdout is not None  # noqa: S101 - it was asked for
        try:
            while piece := child.stdout.read(PIECE):
                yield piece
            code = child.wait()
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
    if code == NO_KEY:
        raise SecretMissing(_no_key(key))
    if code:
        text = f"it cannot be decrypted with the key '{key.secret_ref}': for another key, cut off or damaged"
        raise BadArchive("not_decrypted", f"{text}; send it again")


def _no_key(key: PgpKey) -> str:
    if key.passphrase_ref is None:
        return (
            f"secret '{key.secret_ref}' is no private PGP key that can decrypt, or has a passphrase: name that one by "
            "pgpPassphraseRef"
        )
    return f"secret '{key.secret_ref}' is no private PGP key that the passphrase '{key.passphrase_ref}' unlocks"


def _give(pipe: int, key: PgpKey) -> None:
    """A line with the passphrase in hexadecimal digits, empty where there is none; then the key."""
    with os.fdopen(pipe, "wb") as out:
        try:
            out.write((key.passphrase or b"").hex().encode() + b"\n")
            out.write(key.secret)
            out.flush()
        except BrokenPipeError:  # the child ended before it asked for the key: its exit code says why
            return
