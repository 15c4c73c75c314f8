"""Dagster's resources over plain connections: opened when a run needs them, closed when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg

from resources.settings import Settings
from resources.zone_s3 import S3Access, s3_client

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

T = TypeVar("T")


def opened_for_a_run(open_it: Callable[[], AbstractContextManager[T]], description: str) -> dg.ResourceDefinition:
    """A resource around a context manager; with the in-process executor it is opened once a run."""

    def resource(_context: dg.InitResourceContext) -> Iterator[T]:
        with open_it() as opened:
            yield opened

    return dg.ResourceDefinition(resource_fn=resource, description=description)


def pyspark_session(address: str) -> SparkSession:
    """A session of Apache Spark by dagster-pyspark's resource, at a Spark Connect server (sc://host:port)."""
    from dagster_pyspark import LazyPySparkResource

    session: SparkSession = LazyPySparkResource(spark_config={"spark.remote": address}).spark_session
    return session


def s3_client_of_dagster(access: S3Access) -> Any:
    """A client by dagster-aws's resource, with the time limits of ours: its own wait for minutes."""
    from dagster_aws.s3 import S3Resource

    class LandingS3(S3Resource):
        def get_client(self) -> Any:
            return s3_client(
                S3Access(
                    self.endpoint_url,
                    self.aws_access_key_id,
                    self.aws_secret_access_key,
                    self.aws_session_token,
                    self.region_name,
                )
            )

    return LandingS3(
        endpoint_url=access.endpoint,
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
        aws_session_token=access.session_token,
        region_name=access.region,
    ).get_client()


def lake_description(settings: Settings) -> str:
    """What the UI says of the lake: engine, environment and places; nothing secret is among them."""
    return (
        f"The lake at {settings.data}, definitions of {settings.config}, engine {settings.engine}, "
        f"environment {settings.environment}."
    )
