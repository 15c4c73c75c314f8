"""The two jars by which Apache Spark reads and writes Delta tables: fetched once, kept beside the environment.

Ivy comes with pyspark, so Java is all that is needed; it asks Maven Central.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from resources.engine import find_java

FOLDER = Path(sys.prefix) / "jars"
SHA256 = {
    "delta-spark_4.2_2.13-4.4.0.jar": "27d4fd8b1f879535c573ed1c718177d6a27f24d3e626ba02e216369725721ead",
    "delta-storage-4.4.0.jar": "c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc",
}
_WANTED = """<ivy-module version="2.0">
  <info organisation="datalake" module="jars"/>
  <dependencies>
    <dependency org="io.delta" name="delta-spark_4.2_2.13" rev="4.4.0" conf="default->master" transitive="false"/>
    <dependency org="io.delta" name="delta-storage" rev="4.4.0" conf="default->master" transitive="false"/>
  </dependencies>
</ivy-module>
"""


class CannotFetch(Exception):
    """The jars are neither there nor to be had."""


def delta_jars_folder() -> Path:
    """DATALAKE_DELTA_JARS where that is set, else a folder below the environment, filled when it is empty."""
    named = os.environ.get("DATALAKE_DELTA_JARS")
    if named is not None:
        return Path(named)
    if not all((FOLDER / name).is_file() for name in SHA256):
        _fetch()
    return FOLDER


def _fetch() -> None:
    import pyspark

    (ivy,) = (Path(pyspark.__file__).parent / "jars").glob("ivy-*.jar")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        wanted = Path(scratch, "ivy.xml")
        wanted.write_text(_WANTED)
        command = [find_java(), "-jar", str(ivy), "-ivy", str(wanted), "-cache", str(Path(scratch, "cache")), "-types",
                   "jar", "-retrieve", str(Path(scratch, "[artifact]-[revision].[ext]"))]  # fmt: skip
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300).stdout
        except subprocess.TimeoutExpired as late:
            raise _cannot("no answer in 300 s") from late
        for name, digest in SHA256.items():
            jar = Path(scratch, name)
            if not jar.is_file():
                raise _cannot("\n".join(said.splitlines()[-25:]))
            if hashlib.sha256(jar.read_bytes()).hexdigest() != digest:
                raise _cannot(f"{name} is not the jar that these tests were written with")
            jar.rename(FOLDER / name)


def _cannot(why: str) -> CannotFetch:
    return CannotFetch(
        f"Apache Spark needs {' and '.join(SHA256)} (io.delta on Maven Central) to read Delta tables, and Ivy could "
        f"not fetch them. Put them into {FOLDER}, or say where they are with DATALAKE_DELTA_JARS; behind a proxy, set "
        f"JAVA_TOOL_OPTIONS='-Dhttps.proxyHost=… -Dhttps.proxyPort=…'. Ivy said:\n{why}"
    )
