"""A feed in a landing zone for benchmarks: its definitions, and the real servers that its files lie on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import quoteattr

from pipeline_xml.checked import Catalog
from pipeline_xml.load import load_catalog
from processing.transformations import registry
from tests.landing_servers import SSHD, VERSITYGW, openssh_server, versity_server

SECRET = "BENCH_ZONE"  # noqa: S105 - the name of one
MISSING = {"sftp": "Debian's openssh-server", "s3": "versitygw (make versitygw)"}
CONTRACT = {
    "title": "feed", "type": "object", "required": ["id"],
    "properties": {"id": {"type": "string"}, "v": {"type": "string"}},
}  # fmt: skip
PIPELINE = """<pipeline id="feed" version="1.0" layer="staging">
  <metadata><appName>bench</appName><description>Files of a landing zone.</description></metadata>
  <sources>
    <csv id="feed" landing="in" pattern=".*[.]csv" header="true" quote="" schemaRef="schemas/feed.json"/>
  </sources>
  <targets><hive table="staging.feed" mode="append"/></targets>
</pipeline>
"""


@dataclass(frozen=True)
class Served:
    """`root` is the folder that the server shows; `put` takes a file into it as a client would; `attributes` are the
    zone's, `secret` its secret; `fetch` is the command, and its environment, that copies a file (`{name}`) to a path
    (`{to}`), None where there is no such tool."""

    root: Path
    put: Callable[[Path], object]
    attributes: Mapping[str, str]
    secret: str = ""
    fetch: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def there(kind: str) -> bool:
    return {"sftp": SSHD, "s3": VERSITYGW, "local": "always"}[kind] is not None


@contextmanager
def served(kind: str, folder: Path) -> Iterator[Served]:
    """An empty zone of that kind: sftp (sshd), s3 (versitygw)."""
    if kind == "sftp":
        with openssh_server(folder / "server") as sftp:
            key = str(sftp.root.parent / "login_key")
            options = ("-q", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i", key)
            place = f"{sftp.user}@127.0.0.1:{sftp.root}/{{name}}"
            fetch = ("sftp", *options, "-P", str(sftp.port), place, "{to}")
            attributes = {"type": "sftp", "uri": sftp.uri, "hostKey": sftp.host_key, "secretRef": SECRET}
            secret = sftp.private_key.decode()
            yield Served(sftp.root, lambda path: path.rename(sftp.root / path.name), attributes, secret, fetch)
        return
    with versity_server(folder / "server") as s3:
        s3.bucket("feeds")
        root = folder / "server" / "objects" / "feeds" / "in"
        root.mkdir()
        endpoint = s3.access.endpoint or ""
        keys = {"access_key_id": s3.access.access_key_id, "secret_access_key": s3.access.secret_access_key}
        environment = {f"AWS_{name.upper()}": str(value) for name, value in keys.items()} | {"AWS_REGION": "us-east-1"}
        aws = ("aws", "s3", "cp", "--quiet", "--endpoint-url", endpoint, "s3://feeds/in/{name}", "{to}")
        attributes = {"type": "s3", "uri": "s3://feeds/in", "endpoint": endpoint, "secretRef": SECRET}

        def put(path: Path) -> None:
            s3.client.upload_file(str(path), "feeds", f"in/{path.name}")  # written behind its back it has no etag

        yield Served(root, put, attributes, json.dumps(keys), aws if _aws() else None, environment)


def _aws() -> bool:
    """Whether the AWS CLI runs: what stands on PATH may be the shim of a version manager with nothing behind it."""
    found = shutil.which("aws")
    return found is not None and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0


def fetched(server: Served, name: str, to: Path) -> None:
    """The same file by the tool that people use."""
    assert server.fetch is not None  # noqa: S101 - the caller looked
    command = [part.format(name=name, to=to) for part in server.fetch]
    subprocess.run(command, env={**os.environ, **server.environment}, check=True, capture_output=True)


def define(config: Path, attributes: Mapping[str, str]) -> Catalog:
    """The definitions of one feed below `config`: the zone `in` with these attributes, the pipeline `bench/feed`."""
    home = config / "applications" / "bench" / "staging"
    for name in ("resources", "pipelines", "schemas"):
        (home / name).mkdir(parents=True, exist_ok=True)
    said = " ".join(f"{name}={quoteattr(value)}" for name, value in attributes.items())
    (home / "resources" / "zones.xml").write_text(f'<resources><landingZone id="in" {said}/></resources>')
    (home / "pipelines" / "feed.xml").write_text(PIPELINE)
    (home / "schemas" / "feed.json").write_text(json.dumps(CONTRACT))
    return load_catalog(config, registry())
