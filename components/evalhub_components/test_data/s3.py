"""Objects of an S3 bucket, at Amazon or at any endpoint that speaks S3. The only module that imports boto3."""

from __future__ import annotations

import os
import queue
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

from evalhub_components.errors import EvalHubError, MissingExtra
from evalhub_components.schema.collection import S3Data
from evalhub_components.test_data import addresses, names
from evalhub_components.test_data.arrival import Arrival, Incoming
from evalhub_components.test_data.folder import Stage, require_room
from evalhub_components.test_data.limits import Limits
from evalhub_components.test_data.secret import Secret
from evalhub_components.test_data.tree import DataFile

try:
    import boto3
    import botocore.session
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectionError,
        HTTPClientError,
        IncompleteReadError,
        SSLError,
    )
except ImportError:
    raise MissingExtra("data", "test data from S3") from None

_WORKERS = 4
_CHUNK = 1 << 20
_TRIES = 5  # of one object; each goes on where the one before broke off

_BROKEN_OFF = (HTTPClientError, ConnectionError, IncompleteReadError)
_CHANGED = (404, 412)
_DENIED = (
    "access is denied (these credentials need s3:ListBucket and s3:GetObject; without any, name a secret: secret_ref)"
)
_CURES = {
    "NoSuchBucket": "there is no such bucket (check its name and AWS_S3_ENDPOINT)",
    "404": "no S3 answers there (check AWS_S3_ENDPOINT)",
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "PermanentRedirect": "the bucket is in another region (set AWS_DEFAULT_REGION)",
    "AuthorizationHeaderMalformed": "the bucket is in another region (set AWS_DEFAULT_REGION)",
    "RequestTimeTooSkewed": "the clock of this machine is wrong (set it)",
    "InvalidObjectState": "an object is archived (restore it first)",
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AuthFailure"),
        "the credentials are refused (check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the secret)",
    ),
}


class _Object(NamedTuple):
    """One object to download; `name` is where it goes."""

    name: str
    key: str
    size: int
    etag: str


def fetch(data: S3Data, stage: Stage, secret: Secret, limits: Limits) -> Arrival:
    """Download the object `data.key`, or everything in the folder of that name.

    Raises:
        EvalHubError: it cannot be had as a whole; the message says what to change.
    """
    where = f"s3://{data.bucket}/{data.key}"
    try:
        client = _client(secret, limits)
        objects = list(_objects(client, data, limits, where))
        require_room(stage.content, sum(one.size for one in objects))
        return _Download(client, data.bucket, objects, stage, where).run()
    except (BotoCoreError, ClientError) as error:
        raise EvalHubError(f"{where}: {_reason(error, secret)}") from None


def _client(secret: Secret, limits: Limits) -> Any:
    endpoint = secret.get("AWS_S3_ENDPOINT")
    if endpoint:
        addresses.parse(endpoint, "AWS_S3_ENDPOINT")
    key_id, key = secret.get("AWS_ACCESS_KEY_ID"), secret.get("AWS_SECRET_ACCESS_KEY")
    if bool(key_id) != bool(key):
        raise EvalHubError("the secret must hold both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither")
    # of the profiles and configuration files of whoever runs this, none counts
    nowhere = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    session = boto3.Session(botocore_session=botocore.session.Session(session_vars=nowhere))
    config = Config(
        # a host of its own for each bucket needs wildcard names that few private endpoints have
        s3={"addressing_style": "path" if endpoint else "auto"},
        signature_version=None if key_id else UNSIGNED,
        ignore_configured_endpoint_urls=True,
        connect_timeout=min(limits.silence, 20),
        read_timeout=limits.silence,
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=_WORKERS,
    )
    return session.client(
        "s3",
        endpoint_url=endpoint,
        region_name=secret.get("AWS_DEFAULT_REGION") or "us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=key,
        aws_session_token=secret.get("AWS_SESSION_TOKEN"),
        verify=str(secret.ca_cert) if secret.ca_cert else None,
        config=config,
    )


def _objects(client: Any, data: S3Data, limits: Limits, where: str) -> list[_Object]:
    if data.key.startswith("/"):
        raise EvalHubError(f"{where}: key must not begin with a slash")
    alone = _single(client, data)
    # an empty object may only mark a folder
    if alone and alone.size:
        found = [alone]
    else:
        prefix = data.key if not data.key or data.key.endswith("/") else data.key + "/"
        found = _below(client, data.bucket, prefix, limits, where) or ([alone] if alone else [])
    if not found:
        raise EvalHubError(f"{where}: there is no object of that key and nothing below it (check the key)")
    limits.check(where, len(found), sum(one.size for one in found))
    for one in found:
        names.checked(one.name, where)
    names.check_together([one.name for one in found], where)
    return found


def _single(client: Any, data: S3Data) -> _Object | None:
    if not data.key or data.key.endswith("/"):
        return None
    try:
        head = client.head_object(Bucket=data.bucket, Key=data.key)
    except ClientError:
        return None  # whatever it is, listing tells it better: an answer to HEAD has no body
    return _Object(data.key.rpartition("/")[2], data.key, head["ContentLength"], head["ETag"])


def _below(client: Any, bucket: str, prefix: str, limits: Limits, where: str) -> list[_Object]:
    found: list[_Object] = []
    total = 0
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            name = item["Key"][len(prefix) :]
            if item["Size"] == 0 and (not name or name.endswith("/")):
                continue  # what consoles put there to show a folder
            found.append(_Object(name, item["Key"], item["Size"], item["ETag"]))
            total += item["Size"]
        limits.check(where, len(found), total)
    return found


class _Download:
    """The download of some objects by a few threads; what is in memory does not grow with their sizes."""

    def __init__(self, client: Any, bucket: str, objects: list[_Object], stage: Stage, where: str) -> None:
        self._client = client
        self._bucket = bucket
        self._content = stage.content
        self._where = where
        self._waiting: queue.SimpleQueue[_Object] = queue.SimpleQueue()
        for one in objects:
            self._waiting.put(one)
        self._stop = threading.Event()
        self._files: dict[str, DataFile] = {}
        self._resolved: dict[str, dict[str, str | None]] = {}

    def run(self) -> Arrival:
        """Download all, or raise what kept one of them from arriving."""
        with ThreadPoolExecutor(_WORKERS) as pool:
            try:
                workers = [pool.submit(self._work) for _ in range(_WORKERS)]
                wait(workers, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()
        for worker in workers:
            worker.result()
        return Arrival({"objects": self._resolved}, self._files)

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                one = self._waiting.get_nowait()
            except queue.Empty:
                return
            self._fetch(one)

    def _fetch(self, one: _Object) -> None:
        version: str | None = None
        with Incoming(self._content, one.name) as file:
            for failures in range(_TRIES):
                try:
                    version = self._receive(one, file)
                    break
                except _BROKEN_OFF:
                    if failures == _TRIES - 1 or self._stop.wait(2**failures / 4):
                        raise
            self._files[one.name] = file.described()
        self._resolved[one.name] = {"key": one.key, "etag": one.etag.strip('"'), "version_id": version}

    def _receive(self, one: _Object, file: Incoming) -> str | None:
        """Append what is missing of the object to `file`, and return its version id if it has one."""
        part = {"Range": f"bytes={file.size}-"} if file.size else {}
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=one.key, IfMatch=one.etag, **part)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in _CHANGED:
                raise EvalHubError(f"{self._where}: {one.key}: changed since it was listed (try again)") from None
            raise
        if file.size and answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
            file.restart()
        for chunk in answer["Body"].iter_chunks(_CHUNK):
            file.write(chunk)
            if file.size > one.size or self._stop.is_set():
                break
        if file.size != one.size and not self._stop.is_set():
            raise EvalHubError(f"{self._where}: {one.key}: is not of the size that was listed (try again)")
        version: str | None = answer.get("VersionId")
        return version


def _reason(error: BotoCoreError | ClientError, secret: Secret) -> str:
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        return _CURES.get(code) or f"{error} (try again, or check AWS_S3_ENDPOINT)"
    endpoint = secret.get("AWS_S3_ENDPOINT") or "Amazon S3"
    if isinstance(error, SSLError):
        return f"the certificate of {endpoint} is not trusted (put its CA's certificate into the secret as ca_cert)"
    if isinstance(error, _BROKEN_OFF):
        return f"{endpoint} cannot be reached or broke off: {type(error).__name__} (check AWS_S3_ENDPOINT)"
    return f"{type(error).__name__}: {error}"
