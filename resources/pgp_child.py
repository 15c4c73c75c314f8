"""Decrypts a PGP message from standard input to standard output. The argument is the descriptor that gives the key.

Started by resources/pgp.py as a program of its own, isolated: it imports nothing of the lake.
"""

import os
import sys

from pysequoia import Tsk, decrypt_file


def main() -> int:
    """0 decrypted; 1 not, with the reason on standard error; 3 no key."""
    with os.fdopen(int(sys.argv[1]), "rb") as pipe:
        passphrase = bytes.fromhex(pipe.readline().decode()).decode() or None
        key = pipe.read()
    try:
        decryptor = Tsk.from_bytes(key).decryptor(passphrase)
    except Exception:  # noqa: BLE001 - the library raises plain RuntimeErrors
        return 3
    try:
        decrypt_file("/dev/fd/0", "/dev/fd/1", decryptor=decryptor)
    except Exception as error:  # noqa: BLE001 - as above
        sys.stderr.write(str(error).partition("\n")[0][:500])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
