"""The signed token of a person who is not the operating system's user: from a file, standard input or the environment.

Never on the command line itself, where every user of the machine can read it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from command_line.catalog import WrongUse

VARIABLE = "DATALAKE_TOKEN"
HELP = f"A file that holds a signed token, - for standard input; else {VARIABLE}, else you are the system's user."


def given_token(option: str | None) -> str | None:
    """The token's text; None where neither the option nor DATALAKE_TOKEN gives one."""
    if option is None:
        return os.environ.get(VARIABLE) or None
    if option == "-":
        return sys.stdin.read().strip()
    try:
        return Path(option).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(f"--token is '{option}', which cannot be read ({type(error).__name__}); name a file") from error
