"""The engines that compute: Sail in this process, or Apache Spark over Spark Connect.

    with open_engine("sail") as engine:
        engine.session.range(3).count()

Both speak one API; what differs in how they are started and configured stands in this file and nowhere else.

    EngineUnavailable      the engine cannot be started or reached; says what was tried and what to do
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from resources.failures import Transient

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

Connect = Callable[[str], "SparkSession"]

SAIL = "sail"
SPARK = "spark"
OLDEST_JAVA = 17
START_SECONDS = 120  # a JVM on a busy machine was seen to take 50
STOP_SECONDS = 15
RETRIES = 6
RETRY_MILLISECONDS = 4000  # the longest wait between two; all of them last about 12 s
PROJECT = Path(__file__).resolve().parent.parent

# Modules that Spark reaches into by reflection; without them a JVM of 17 or later refuses (Spark's JavaModuleOptions).
_OPENED_MODULES = (
    "java.base/java.lang", "java.base/java.lang.invoke", "java.base/java.lang.reflect", "java.base/java.io",
    "java.base/java.net", "java.base/java.nio", "java.base/java.util", "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic", "java.base/jdk.internal.ref", "java.base/sun.nio.ch",
    "java.base/sun.nio.cs", "java.base/sun.security.action", "java.base/sun.util.calendar",
    "java.security.jgss/sun.security.krb5",
)  # fmt: skip

# Ends the JVM and clears its folder when this process is gone, however it went: its standard input closes then.
_WATCHDOG = """
read -r _
kill "$1" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$1" 2>/dev/null || break; sleep 1; done
rm -rf "$2"
"""


class EngineUnavailable(Transient):
    """The engine could not be started or reached."""


@dataclass(frozen=True)
class Engine:
    """`name` is sail or spark; `session` a Spark Connect session."""

    name: str
    session: SparkSession


def connect(address: str) -> SparkSession:
    """A new session at a Spark Connect server."""
    from pyspark.sql.connect.session import SparkSession

    return SparkSession.builder.remote(address).create()


@contextmanager
def open_engine(name: str, remote: str | None = None, connect_spark: Connect = connect) -> Iterator[Engine]:
    """An engine with a session of its own, ended with the block. `remote` (sc://host:port) is for spark only.

    `connect_spark` makes the session of Apache Spark: Dagster's runs hand in that of dagster-pyspark.
    """
    if name == SAIL and remote is None:
        with _sail_server() as address, _session(SAIL, address, connect) as session:
            yield Engine(SAIL, session)
    elif name == SPARK and remote is not None:
        _probe(remote)
        with _session(SPARK, remote, connect_spark) as session:
            yield Engine(SPARK, session)
    elif name == SPARK:
        with _spark_server() as address, _session(SPARK, address, connect_spark) as session:
            yield Engine(SPARK, session)
    elif name == SAIL:
        raise EngineUnavailable("the engine 'sail' runs in this process and takes no remote; use 'spark' with a remote")
    else:
        raise EngineUnavailable(f"unknown engine '{name}'; valid: {SAIL}, {SPARK}")


def session_settings(name: str) -> Mapping[str, str]:
    """What every session is set to, so that the engines read and write alike."""
    settings = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        # INT96, Spark's other way, cannot be read by Sail
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    }
    if name == SPARK:
        settings["spark.sql.execution.arrow.maxRecordsPerBatch"] = "65536"
    return settings


@contextmanager
def _session(name: str, address: str, make: Connect) -> Iterator[SparkSession]:
    from pyspark.errors import PySparkException

    # pyspark.sql.functions picks its Connect half by this switch, which only getOrCreate sets by itself
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"
    try:
        session = make(address)
        _patience(name, session)
        for key, value in session_settings(name).items():
            session.conf.set(key, value)
    except PySparkException as error:
        raise _unanswered(address, error) from error
    try:
        yield session
    finally:
        session.stop()


def _patience(name: str, session: SparkSession) -> None:
    """How long a server may be silent: some seconds. pyspark's own way would ask one that is gone for ten minutes."""
    if name != SPARK:
        return
    from pyspark.sql.connect.client.retries import DefaultPolicy

    session.client.set_retry_policies([DefaultPolicy(max_retries=RETRIES, max_backoff=RETRY_MILLISECONDS)])


def lost(error: BaseException) -> EngineUnavailable | None:
    """The engine that was lost behind an error; None where the engine answered."""
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, EngineUnavailable):
            return each
        code = getattr(each, "code", None)
        silent = callable(code) and getattr(code(), "name", "") == "UNAVAILABLE"
        if silent or type(each).__name__ == "RetriesExceeded" or "StatusCode.UNAVAILABLE" in str(each):
            return EngineUnavailable("the engine stopped answering in the middle of the run; start it, then run again")
        each = each.__cause__ or each.__context__
    return None


def _probe(remote: str) -> None:
    """EngineUnavailable at once where nothing listens: pyspark itself would try again for minutes."""
    try:
        parts = urlsplit(remote)
        if parts.scheme != "sc" or parts.hostname is None:
            raise ValueError("not of the form sc://host:port")
        socket.create_connection((parts.hostname, parts.port or 15002), timeout=10).close()
    except (OSError, ValueError) as error:
        raise _unanswered(remote, error) from error


def _unanswered(address: str, error: Exception) -> EngineUnavailable:
    where = address.partition("/;")[0]  # parameters of a connection string may hold a token
    return EngineUnavailable(
        f"no Spark Connect server answers at {where} ({type(error).__name__}); start one, or check "
        "DATALAKE_SPARK_REMOTE, which has the form sc://host:15002"
    )


@contextmanager
def _sail_server() -> Iterator[str]:
    os.environ.setdefault("RUST_LOG", "error")  # read once, when the native library starts its first server
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    try:
        listening = server.listening_address
        if listening is None:
            raise EngineUnavailable("the Sail server did not start to listen on 127.0.0.1")
        yield f"sc://127.0.0.1:{listening[1]}"
    finally:
        server.stop()


@contextmanager
def _spark_server() -> Iterator[str]:
    """A Spark Connect server in a JVM of its own, ended by its process id."""
    java = find_java()
    folder = Path(tempfile.mkdtemp(prefix="datalake-spark-"))
    try:
        port = _free_port()
        with (folder / "server.log").open("wb") as log:
            server = subprocess.Popen(  # noqa: S603 - fixed words and paths of our own, no shell
                _server_command(java, folder, port),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=_server_environment(),
            )  # fmt: skip
        watchdog = subprocess.Popen(  # noqa: S603 - fixed script, the process id is its argument
            ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(server.pid), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _await_port(server, port, folder / "server.log")
            yield f"sc://127.0.0.1:{port}"
        finally:
            _end(watchdog)  # first: while the server is not yet waited for, its id cannot name another process
            _end(server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find_java() -> str:
    """The java to run, from JAVA_HOME or PATH; EngineUnavailable when it is missing or older than 17."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    looked = f"JAVA_HOME ({home})" if home else "PATH (JAVA_HOME is not set)"
    need = f"Apache Spark needs Java {OLDEST_JAVA} or later"
    advice = "install it (Debian: openjdk-17-jre-headless) and set JAVA_HOME, or use DATALAKE_ENGINE=sail"
    if java is None or not Path(java).exists():
        raise EngineUnavailable(f"{need}, and there is none in {looked}; {advice}")
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603 - found above
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < OLDEST_JAVA:
        found = told.partition("\n")[0] or "a java that does not tell its version"
        raise EngineUnavailable(f"{need}; {looked} has {found}; {advice}")
    return java


def _server_command(java: str, folder: Path, port: int) -> list[str]:
    import pyspark

    home = Path(pyspark.__file__).parent
    logging = folder / "log4j2.properties"
    logging.write_text(
        "rootLogger.level = warn\nrootLogger.appenderRef.err.ref = err\nappender.err.type = Console\n"
        "appender.err.name = err\nappender.err.target = SYSTEM_ERR\nappender.err.layout.type = PatternLayout\n"
        "appender.err.layout.pattern = %d %p %c{1}: %m%n%ex\n"
    )
    settings = {
        "spark.master": "local[2]",
        "spark.app.name": "datalake",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.local.dir": str(folder),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.shuffle.partitions": "4",
        "spark.log.structuredLogging.enabled": "false",
        "spark.sql.artifact.isolation.enabled": "false",
        **_delta_settings(),
    }
    jars = [str(home / "jars" / "*"), *(str(jar) for jar in delta_jars())]
    return [
        java, "-cp", os.pathsep.join(jars), "-Xms512m", "-Xmx2g", "-Xss4m",
        # a short-lived JVM never earns back the second compiler and a parallel collector: 37 s of CPU became 12
        "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-XX:-UsePerfData",
        "-XX:+IgnoreUnrecognizedVMOptions", "-Djdk.reflect.useDirectMethodHandle=false",
        "-Dio.netty.tryReflectionSetAccessible=true", f"-Djava.io.tmpdir={folder}",
        f"-Dlog4j2.configurationFile={logging}",
        *(f"--add-opens={module}=ALL-UNNAMED" for module in _OPENED_MODULES),
        *(f"-D{key}={value}" for key, value in settings.items()),
        "org.apache.spark.sql.connect.service.SparkConnectServer",
    ]  # fmt: skip


def delta_jars() -> tuple[Path, ...]:
    """The Delta jars in the folder DATALAKE_DELTA_JARS; none when it is not set (Spark then reads Parquet only)."""
    folder = os.environ.get("DATALAKE_DELTA_JARS")
    if folder is None:
        return ()
    jars = tuple(sorted(Path(folder).glob("delta-*.jar")))
    if len(jars) < 2:
        raise EngineUnavailable(
            f"DATALAKE_DELTA_JARS ({folder}) must hold delta-spark_4.2_2.13-4.4.0.jar and delta-storage-4.4.0.jar of "
            "Maven Central (io.delta); found: " + (", ".join(jar.name for jar in jars) or "none")
        )
    return jars


def _delta_settings() -> Mapping[str, str]:
    if not delta_jars():
        return {}
    return {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.databricks.delta.snapshotPartitions": "2",
    }


def _server_environment() -> dict[str, str]:
    """Python workers are children of the JVM: they need this interpreter and must find this project."""
    import pyspark

    path = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **os.environ,
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": path,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise EngineUnavailable(f"the Spark server ended with exit code {server.returncode}:\n{_tail(log)}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise EngineUnavailable(f"the Spark server did not listen after {START_SECONDS} s:\n{_tail(log)}")


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
