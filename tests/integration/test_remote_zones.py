"""Files that `sftp` and boto3 drop into remote zones are published; the zone keeps them as they were."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.engine import Engine, open_engine
from tests.landing_servers import SSHD, SftpServer, moto_server, openssh_server
from tests.promised_feed import APPEND, Feed


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with open_engine("sail", None) as opened:
        yield opened


def drop(server: SftpServer, *files: Path) -> None:
    """By OpenSSH's own `sftp`, as a sender would."""
    key = server.root.parent / "login_key"
    batch = "".join(f'put "{file}" "{server.root}/{file.name}"\n' for file in files)
    command = ["sftp", "-b", "-", "-i", str(key), "-P", str(server.port), "-o", "StrictHostKeyChecking=no",
               "-o", "UserKnownHostsFile=/dev/null", f"{server.user}@127.0.0.1"]  # fmt: skip
    subprocess.run(command, input=batch.encode(), check=True, capture_output=True)


@pytest.mark.skipif(SSHD is None, reason="needs Debian's openssh-server")
def test_what_sftp_puts_is_published(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed(tmp_path / "lake", engine)
    with openssh_server(tmp_path / "server") as server:
        monkeypatch.setenv("BANK_KEY", server.private_key.decode())
        feed.define(APPEND, zone=f'type="sftp" uri="{server.uri}" secretRef="BANK_KEY" hostKey="{server.host_key}"')
        sent = [tmp_path / "a b.csv", tmp_path / "naïve.csv"]
        sent[0].write_text("id,v\na,1\n")
        sent[1].write_text("id,v\nb,2\n")
        drop(server, *sent)
        (batch,) = feed.run()
        assert batch.status == "published"
        assert feed.rows("staging.feed", "id", "_source_file") == [("a", "a b.csv"), ("b", "naïve.csv")]
        assert feed.run() == []
        assert {p.name for p in server.root.iterdir()} == {"a b.csv", "naïve.csv"}


def test_what_is_put_into_a_bucket_is_published(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(tmp_path, engine)
    with moto_server() as server:
        secret = {"access_key_id": "key", "secret_access_key": "secret-of-a-test"}
        monkeypatch.setenv("BANK_KEY", json.dumps(secret))
        where = f'type="s3" uri="s3://feeds/in" secretRef="BANK_KEY" endpoint="{server.access.endpoint}"'
        feed.define(APPEND, zone=where)
        server.bucket("feeds")
        server.client.put_object(Bucket="feeds", Key="in/a.csv", Body=b"id,v\na,1\n")
        server.client.put_object(Bucket="feeds", Key="in/deeper/b.csv", Body=b"id,v\nb,2\n")
        (batch,) = feed.run()
        assert batch.status == "published"
        assert batch.files[0].uri == "s3://feeds/in/a.csv"
        assert feed.rows("staging.feed", "id") == ["a"]
        assert feed.run() == []
