"""Files that `sftp` and boto3 drop into remote zones are published; the zone keeps them as they were."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from datalake_assets.build import build
from datalake_assets.previews import previews_accepted
from datalake_assets.work import lake_work
from resources.engine import Engine, open_engine
from tests.landing_servers import RCLONE, SSHD, by_rclone, free_port, moto_server, openssh_server, put_by_sftp
from tests.promised_feed import APPEND, Feed


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with open_engine("sail", None) as opened:
        yield opened


@pytest.mark.skipif(SSHD is None, reason="needs Debian's openssh-server")
def test_what_sftp_puts_is_published(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed(tmp_path / "lake", engine)
    with openssh_server(tmp_path / "server") as server:
        monkeypatch.setenv("BANK_KEY", server.private_key.decode())
        feed.define(APPEND, zone=f'type="sftp" uri="{server.uri}" secretRef="BANK_KEY" hostKey="{server.host_key}"')
        sent = [tmp_path / "a b.csv", tmp_path / "naïve.csv"]
        sent[0].write_text("id,v\na,1\n")
        sent[1].write_text("id,v\nb,2\n")
        put_by_sftp(server, *sent)
        (batch,) = feed.run()
        assert batch.status == "published"
        assert feed.rows("staging.feed", "id", "_source_file") == [("a", "a b.csv"), ("b", "naïve.csv")]
        assert feed.run() == []
        assert {p.name for p in server.root.iterdir()} == {"a b.csv", "naïve.csv"}


@pytest.mark.parametrize(
    "client", ["boto3", pytest.param("rclone", marks=pytest.mark.skipif(RCLONE is None, reason="needs rclone"))]
)
def test_what_is_put_into_a_bucket_is_published(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    feed = Feed(tmp_path, engine)
    with moto_server() as server:
        secret = {"access_key_id": "key", "secret_access_key": "secret-of-a-test"}
        monkeypatch.setenv("BANK_KEY", json.dumps(secret))
        where = f'type="s3" uri="s3://feeds/in" secretRef="BANK_KEY" endpoint="{server.access.endpoint}"'
        feed.define(APPEND, zone=where)
        server.bucket("feeds")
        sent = {"a b ☂.csv": b"id,v\na,1\n", "deeper/b.csv": b"id,v\nb,2\n"}
        for name, content in sent.items():
            local = tmp_path / "sent" / name
            local.parent.mkdir(parents=True, exist_ok=True)
            local.write_bytes(content)
            if client == "boto3":
                server.client.put_object(Bucket="feeds", Key=f"in/{name}", Body=content)
        if client == "rclone":
            by_rclone(server, "copy", tmp_path / "sent", "land:feeds/in")
        (batch,) = feed.run()
        assert batch.status == "published"
        assert batch.files[0].uri == "s3://feeds/in/a%20b%20%E2%98%82.csv"
        assert feed.rows("staging.feed", "id") == ["a"]
        assert feed.run() == []


def located(feed: Feed) -> dg.RepositoryDefinition:
    """The code location."""
    catalog = feed.catalog()
    with previews_accepted():
        return build(feed.settings, catalog, lake_work(feed.settings, catalog)).get_repository_def()


def test_the_sensor_of_a_bucket_asks_for_a_run_that_takes_its_claim(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the code location: dagster-aws's resource, a tick, its request, and a run on Dagster's instance."""
    feed = Feed(tmp_path, engine)
    with moto_server() as server:
        secret = {"access_key_id": "key", "secret_access_key": "secret-of-a-test"}
        monkeypatch.setenv("BANK_KEY", json.dumps(secret))
        where = f'type="s3" uri="s3://ticked/in" secretRef="BANK_KEY" endpoint="{server.access.endpoint}"'
        feed.define(APPEND, zone=where)
        server.bucket("ticked")
        repository = located(feed)
        sensor = repository.get_sensor_def("app__zone__landing")
        with dg.DagsterInstance.ephemeral() as instance:
            quiet = sensor.evaluate_tick(dg.build_sensor_context(instance))
            assert quiet.run_requests == []
            assert "0 files wait, 0 bytes, nothing new to claim" in (quiet.skip_message or "")
            server.client.put_object(Bucket="ticked", Key="in/a.csv", Body=b"id,v\na,1\n")
            (request,) = sensor.evaluate_tick(dg.build_sensor_context(instance)).run_requests
            server.client.put_object(Bucket="ticked", Key="in/later.csv", Body=b"id,v\nb,1\n")
            job = repository.get_job(request.job_name or "")
            done = job.execute_in_process(instance=instance, tags=request.tags, raise_on_error=False)
            assert done.success
    assert feed.rows("staging.feed", "id") == ["a"], "and what was not claimed waits"


def test_the_sensor_of_a_bucket_that_is_gone_is_skipped_with_the_reason(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(tmp_path, engine)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-a-test")
    feed.define(zone=f'type="s3" uri="s3://feeds/in" endpoint="http://127.0.0.1:{free_port()}"')
    sensor = located(feed).get_sensor_def("app__zone__landing")
    with dg.DagsterInstance.ephemeral() as instance:
        found = sensor.evaluate_tick(dg.build_sensor_context(instance))
    assert found.run_requests == []
    assert "ZoneUnreachable: s3://feeds/in: the server does not answer" in (found.skip_message or "")
