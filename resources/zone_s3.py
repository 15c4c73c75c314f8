"""A prefix of an S3 bucket as a landing zone, by boto3.

An object is the same while its etag and its time are. On a bucket with versions, what was seen is read even after it
was overwritten or deleted; on one without, it is gone then, and said to be.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from resources.secrets import SecretMissing
from resources.zone import CHUNK, PATIENCE, ChangedWhileRead, Pace, Sighting, ZoneRefused, ZoneUnreachable

CONNECT_SECONDS = 10.0
AT_ONCE = 256 * 1024  # bytes that are taken from the network at once
LONGEST_KEY = 1024  # bytes of an object's name
ATTEMPTS = 2  # of one request; a tick that fails comes again by itself
_ACCESS = ("access_key_id", "secret_access_key", "session_token", "region")
_GONE = {"404", "NoSuchKey", "NoSuchVersion"}
_IMPOSSIBLE = {"400", "KeyTooLongError"}  # asked for by a name that no object there can have
_CHANGED = {"412", "PreconditionFailed", "416", "InvalidRange"}
_CLOSED = {"403", "AccessDenied", "InvalidObjectState"}
_BUSY = {"500", "502", "503", "504", "SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "429"}


@dataclass(frozen=True, slots=True)
class S3Access:
    """How to reach an S3 server. Without a key, boto3 finds credentials as the AWS tools do."""

    endpoint: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None
    region: str | None = None

    @staticmethod
    def of(secret: bytes | None, endpoint: str | None, secret_ref: str = "") -> S3Access:
        """From a secret: a JSON object with access_key_id and secret_access_key, and maybe session_token, region."""
        if secret is None:
            return S3Access(endpoint)
        try:
            found = json.loads(secret)
            keys = {name: str(found[name]) for name in _ACCESS if found.get(name)}
            return S3Access(endpoint, keys["access_key_id"], keys["secret_access_key"], keys.get("session_token"),
                            keys.get("region"))  # fmt: skip
        except (ValueError, KeyError, AttributeError, TypeError):
            raise SecretMissing(
                f"secret '{secret_ref}' is no S3 key; it is a JSON object with: access_key_id, secret_access_key, and "
                "where needed session_token, region"
            ) from None


ConnectS3 = Callable[[S3Access], Any]


def s3_client(access: S3Access, patience: float = PATIENCE) -> Any:
    """A client of boto3 whose every call ends."""
    import boto3
    import botocore.session
    from botocore.config import Config

    session = botocore.session.get_session()
    session.register_component("data_loader", _api_documents(session.get_config_variable("data_path")))
    # Its own parser of times takes most of what listing 100,000 objects costs.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
    return boto3.session.Session(botocore_session=session).client(
        "s3",
        endpoint_url=access.endpoint,
        region_name=access.region or ("us-east-1" if access.endpoint else None),
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
        aws_session_token=access.session_token,
        config=Config(
            connect_timeout=min(CONNECT_SECONDS, patience),
            read_timeout=patience,
            retries={"max_attempts": ATTEMPTS, "mode": "standard"},
        ),
    )


@cache
def _api_documents(data_path: str | None) -> Any:
    """What botocore knows of the servers, read once a process: the documents are 0.1 s of parsing for each client."""
    from botocore.loaders import create_loader

    return create_loader(data_path)


def _moment(text: Any) -> Any:
    """A time as S3 writes it in listings; whatever else by botocore's parser."""
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        from botocore.utils import parse_timestamp

        return parse_timestamp(text)


class S3Zone:
    """Objects right below `s3://bucket/prefix/`. `client` is opened when it is first needed."""

    def __init__(self, uri: str, client: Callable[[], Any]) -> None:
        parts = urlsplit(uri)
        self.uri = uri
        self.bucket = parts.netloc
        self.prefix = unquote(parts.path).strip("/") + "/" if parts.path.strip("/") else ""
        self._connect = client
        self._client: Any = None

    def entries(self) -> Iterator[Sighting]:
        with self._told(None):
            pages = self._s3().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix, Delimiter="/"):
                for found in page.get("Contents", ()):
                    if found["Key"] != self.prefix:  # a marker that some tools leave where they show a folder
                        yield self._sighting(found["Key"], found["Size"], _etag(found), found["LastModified"])

    def find(self, name: str) -> Sighting | None:
        if len((self.prefix + name).encode()) > LONGEST_KEY:
            return None
        try:
            with self._told(name):
                found = self._s3().head_object(Bucket=self.bucket, Key=self.prefix + name)
        except FileNotFoundError:
            return None
        except PermissionError:  # who may not list is told so where an object is missing
            return None
        return self._sighting(self.prefix + name, found["ContentLength"], _etag(found), found["LastModified"])

    def read(self, seen: Sighting, start: int = 0) -> Iterator[bytes]:
        with self._told(seen.name):
            taken = start
            body = self._body(seen, start) if start < seen.size or not seen.size else None
            for chunk in _pieces(body, Pace(self.uri)) if body is not None else ():
                taken += len(chunk)
                yield chunk
            if taken < seen.size:
                raise ZoneUnreachable(f"{self.uri}: the server broke off in the middle of a file; it is tried again")

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _s3(self) -> Any:
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _body(self, seen: Sighting, start: int) -> Any:
        key = self.prefix + seen.name
        etag = seen.version.partition("@")[0]
        asked = {"Range": f"bytes={start}-"} if start else {}
        same = {"IfMatch": etag} if etag else {}
        try:
            with self._told(seen.name):
                return self._s3().get_object(Bucket=self.bucket, Key=key, **same, **asked)["Body"]
        except (ChangedWhileRead, FileNotFoundError):
            version = self._older(key, seen)
            if version is None:
                raise
            return self._s3().get_object(Bucket=self.bucket, Key=key, VersionId=version, **asked)["Body"]

    def _older(self, key: str, seen: Sighting) -> str | None:
        """The id of a version with the bytes that were seen, where the bucket keeps versions.

        By etag: some servers give an overwritten version the time at which it was.
        """
        etag = seen.version.partition("@")[0]
        pages = self._s3().get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=self.bucket, Prefix=key):
            for found in page.get("Versions", ()):
                same = (found["Key"], _etag(found), found["Size"]) == (key, etag, seen.size)
                if same and found.get("VersionId") not in (None, "null"):
                    return str(found["VersionId"])
        return None

    def _sighting(self, key: str, size: int, etag: str, modified: Any) -> Sighting:
        uri = f"s3://{self.bucket}/{quote(key)}"
        return Sighting(key.removeprefix(self.prefix), uri, size, _version(etag, modified), modified.timestamp())

    @contextmanager
    def _told(self, name: str | None) -> Iterator[None]:
        """Says what boto3 raises in our own words; `name` is the file it is about, None for the zone itself."""
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            HTTPClientError,
            IncompleteReadError,
            NoCredentialsError,
            PartialCredentialsError,
        )
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            raise self._answered(code, name) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            told = f"{self.uri}: no key for S3; name one by secretRef, or give the run an AWS role"
            raise ZoneRefused(told) from error
        except (HTTPClientError, IncompleteReadError, HTTPError, OSError, BotoCoreError) as error:
            if isinstance(error, (FileNotFoundError, PermissionError)):
                raise
            told = f"{self.uri}: the server does not answer ({type(error).__name__}); it is tried again"
            raise ZoneUnreachable(told) from error

    def _answered(self, code: str, name: str | None) -> Exception:
        if code in _BUSY:
            return ZoneUnreachable(f"{self.uri}: the server is busy ({code}); it is tried again")
        if name is not None and code in _GONE | _IMPOSSIBLE:
            return FileNotFoundError(errno.ENOENT, "No such object", name)
        if name is not None and code in _CHANGED:
            return ChangedWhileRead("the object changed before it was copied; it is taken once it stays as it is")
        if name is not None and code in _CLOSED:
            return PermissionError(errno.EACCES, f"the S3 server refuses to read it ({code})", name)
        if code == "NoSuchBucket":
            return ZoneRefused(f"{self.uri}: there is no bucket {self.bucket}; make it, or correct the uri")
        return ZoneRefused(f"{self.uri}: the S3 server refuses ({code}); check the key and its rights on the bucket")


class _AsItComes:
    """The stream of an answer that gives what there is: urllib3's `read` waits for all of it, however long that is."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, amount: int) -> bytes:
        return bytes(self._stream.read1(amount))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _pieces(body: Any, pace: Pace) -> Iterator[bytes]:
    """The bytes of an answer, in pieces of CHUNK. What came before the server was lost is given first."""
    body._raw_stream = _AsItComes(body._raw_stream)  # below botocore's own check of length and checksum
    parts: list[bytes] = []
    size = 0
    try:
        while part := pace.await_bytes(partial(body.read, min(CHUNK - size, AT_ONCE)), len):
            parts.append(part)
            size += len(part)
            if size == CHUNK:
                yield b"".join(parts)
                parts, size = [], 0
    except Exception:
        if parts:
            yield b"".join(parts)
        raise
    finally:
        body.close()  # nobody is to be sent what nobody reads
    if parts:
        yield b"".join(parts)


def _etag(found: Any) -> str:
    """Empty for what was put behind the back of a server that keeps files: then size and time are all there is."""
    return str(found.get("ETag", ""))


def _version(etag: str, modified: Any) -> str:
    """Two uploads of the same bytes are two: the second may follow on a withdrawal."""
    return f"{etag}@{modified.replace(microsecond=0).isoformat()}"
