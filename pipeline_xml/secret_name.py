"""What can name a secret: an environment variable, and a file of a folder that no name leads out of."""

from __future__ import annotations

import re

SECRET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]*\Z")
SECRET_FORM = "letters, digits, '_', '-' and '.', a letter first"  # noqa: S105 - how it is written
