"""The test-data step against an S3 server that checks signatures and policies."""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from botocore.config import Config
from stub_http import StubApi, StubRequest, answers, hangs, served

PATIENCE = 300  # seconds; far beyond what anything here takes
MANIFEST = ".evalhub-data.json"
# A process counts as its own what it had before `exec`, and these tests have much: so a small one starts the step.
MEASURED = (
    "import resource, subprocess, sys; status = subprocess.call(sys.argv[1:]);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024); sys.exit(status)"
)


class Done(NamedTuple):
    """A step that ended; `memory` is the most it had at once, in bytes."""

    status: int
    out: str
    err: str
    memory: int


class Store(NamedTuple):
    """A running S3 server and a user who may do anything there."""

    endpoint: str
    key_id: str
    key: str

    def client(self, name: str, key_id: str | None = None, key: str | None = None) -> Any:
        return boto3.client(
            name,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=key_id or self.key_id,
            aws_secret_access_key=key or self.key,
            config=Config(s3={"addressing_style": "path"}),
        )

    def user(self, name: str, **policy: Any) -> tuple[str, str]:
        """Make a user with this statement as policy and return their key."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", **policy}]}
        iam.put_user_policy(UserName=name, PolicyName="only", PolicyDocument=json.dumps(document))
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    environ = {"PATH": os.environ["PATH"], "INITIAL_NO_AUTH_ACTION_COUNT": "3", "PYTHONWARNINGS": "ignore"}
    # its log is one line a request, and nobody reads it
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert server.poll() is None
            try:
                with urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=PATIENCE):
                    break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        # these three calls are let in, and no other without a signature
        iam = Store(endpoint, "nobody", "nothing").client("iam")
        iam.create_user(UserName="root")
        everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        iam.put_user_policy(UserName="root", PolicyName="all", PolicyDocument=json.dumps(everything))
        made = iam.create_access_key(UserName="root")["AccessKey"]
        yield Store(endpoint, made["AccessKeyId"], made["SecretAccessKey"])
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def bucket(store: Store, request: pytest.FixtureRequest) -> Any:
    """A new bucket, as boto3 gives it."""
    name = f"b{hashlib.sha256(request.node.name.encode()).hexdigest()[:20]}"
    config = Config(s3={"addressing_style": "path"})
    keys = {"aws_access_key_id": store.key_id, "aws_secret_access_key": store.key}
    made = boto3.resource("s3", endpoint_url=store.endpoint, region_name="us-east-1", config=config, **keys)
    return made.create_bucket(Bucket=name)


Step = Callable[..., Done]


@pytest.fixture
def step(store: Store, tmp_path: Path) -> Step:
    """A function that runs the step on a bucket and key, with a secret that holds the store's key or other values."""

    def step(bucket: str, key: str, environ: dict[str, str] | None = None, **secret: str | None) -> Done:
        folder = tmp_path / "secret"
        folder.mkdir(exist_ok=True)
        values: dict[str, str | None] = {
            "AWS_ACCESS_KEY_ID": store.key_id,
            "AWS_SECRET_ACCESS_KEY": store.key,
            "AWS_S3_ENDPOINT": store.endpoint,
            **secret,
        }
        for name, value in values.items():
            (folder / name).unlink(missing_ok=True)
            if value is not None:
                (folder / name).write_text(value + "\n")
        ref = json.dumps({"s3": {"bucket": bucket, "key": key, "secret_ref": "mine"}})
        environ = {"EVALHUB_TEST_DATA_SECRET": str(folder), "HOME": "/nonexistent", **(environ or {})}
        return run(["--ref", ref, "--output", str(tmp_path / "data")], environ)

    return step


def run(arguments: list[str], environ: dict[str, str]) -> Done:
    command = [sys.executable, "-c", MEASURED, sys.executable, "-m", "evalhub_components.test_data", *arguments]
    environ = {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1,localhost", **environ}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE)
    assert "Traceback" not in done.stderr, done.stderr
    *out, memory = done.stdout.splitlines(keepends=True)
    return Done(done.returncode, "".join(out), done.stderr, int(memory))


def manifest(folder: Path) -> Any:
    return json.loads((folder / MANIFEST).read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


def refused(done: Done, tmp_path: Path) -> str:
    """Returns the one line that says why nothing was fetched."""
    assert done.status == 2, done
    assert done.err.count("\n") == 1, done.err
    assert list((tmp_path / "data").iterdir()) == []
    return done.err


def test_a_folder_of_a_bucket_arrives_with_a_manifest(bucket: Any, step: Step, tmp_path: Path) -> None:
    bucket.Versioning().enable()
    files = {"a.jsonl": b"a\n", "deep/er/b": b"", "ümläut x.txt": "ü".encode()}
    for name, content in files.items():
        bucket.put_object(Key=f"sets/one/{name}", Body=content)
    bucket.put_object(Key="sets/one/", Body=b"")  # what a console makes of "new folder"
    bucket.put_object(Key="sets/one/deep/", Body=b"")
    bucket.put_object(Key="sets/one-more/c", Body=b"not asked for")
    done = step(bucket.name, "sets/one")
    assert done.status == 0, done.err
    assert contents(tmp_path / "data") == files
    found = manifest(tmp_path / "data")
    assert found["source"] == {"type": "s3", "bucket": bucket.name, "key": "sets/one"}
    assert found["total_bytes"] == 4
    for name, content in files.items():
        there = bucket.Object(f"sets/one/{name}")
        assert found["files"][name] == {
            "size": len(content),
            "digest": "sha256:" + hashlib.sha256(content).hexdigest(),
        }
        assert found["resolved"]["objects"][name] == {
            "key": f"sets/one/{name}",
            "etag": there.e_tag.strip('"'),
            "version_id": there.version_id,
        }
    assert done.out.endswith(f"{found['digest']}\n")


def test_a_single_object_arrives_under_its_own_name(bucket: Any, step: Step, tmp_path: Path) -> None:
    bucket.put_object(Key="sets/one.jsonl", Body=b"1")
    bucket.put_object(Key="sets/one.jsonl.bak", Body=b"2")
    assert step(bucket.name, "sets/one.jsonl").status == 0
    assert contents(tmp_path / "data") == {"one.jsonl": b"1"}


def test_more_keys_than_one_page_of_a_listing_all_arrive(bucket: Any, step: Step, tmp_path: Path) -> None:
    names = {f"n/{number:04d}" for number in range(1_234)}
    for name in names:
        bucket.put_object(Key=name, Body=name.encode())
    done = step(bucket.name, "n/")
    assert done.status == 0, done.err
    assert contents(tmp_path / "data") == {name[2:]: name.encode() for name in names}


def test_a_later_fetch_replaces_what_an_earlier_one_left(bucket: Any, step: Step, tmp_path: Path) -> None:
    bucket.put_object(Key="d/old", Body=b"1")
    assert step(bucket.name, "d").status == 0
    first = manifest(tmp_path / "data")["digest"]
    bucket.Object("d/old").delete()
    bucket.put_object(Key="d/new", Body=b"2")
    assert step(bucket.name, "d").status == 0
    assert contents(tmp_path / "data") == {"new": b"2"}
    assert manifest(tmp_path / "data")["digest"] != first
    # and one that fails leaves all as it is
    assert step(bucket.name, "elsewhere").status == 2
    assert contents(tmp_path / "data") == {"new": b"2"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret-0123456789"}, "the credentials are refused (check AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "AKIAWRONG0123456"}, "the credentials are refused (check AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": None}, "must hold both"),
        ({"AWS_S3_ENDPOINT": "http://127.0.0.1:9"}, "cannot be reached or broke off"),
        ({"AWS_S3_ENDPOINT": "127.0.0.1:9000"}, "AWS_S3_ENDPOINT: must be an http or https address"),
    ],
    ids=["wrong secret", "wrong id", "half", "nobody there", "no address"],
)
def test_wrong_credentials_are_named_and_never_shown(
    bucket: Any, step: Step, tmp_path: Path, store: Store, change: dict[str, str | None], words: str
) -> None:
    bucket.put_object(Key="d/x", Body=b"1")
    line = refused(step(bucket.name, "d", **change), tmp_path)
    assert words in line
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert (change.get(name) or getattr(store, "key_id" if name.endswith("_ID") else "key")) not in line


def test_a_user_without_the_right_to_read_is_told_which_rights_are_needed(
    bucket: Any, step: Step, tmp_path: Path, store: Store
) -> None:
    bucket.put_object(Key="d/x", Body=b"1")
    key_id, key = store.user("lister", Action="s3:ListBucket")
    line = refused(step(bucket.name, "d", AWS_ACCESS_KEY_ID=key_id, AWS_SECRET_ACCESS_KEY=key), tmp_path)
    assert "s3:ListBucket and s3:GetObject" in line


def test_a_missing_bucket_and_a_missing_key_are_told_apart(bucket: Any, step: Step, tmp_path: Path) -> None:
    bucket.put_object(Key="sets/one-more/c", Body=b"1")
    assert "no such bucket" in refused(step("b-that-is-not-there", "d"), tmp_path)
    assert "nothing below it (check the key)" in refused(step(bucket.name, "sets/one"), tmp_path)
    assert "bucket" in refused(step("no_bucket/at all", "d"), tmp_path)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["d/../../etc/x"], "has an empty part, '.' or '..'"),
        (["d//etc/x"], "is an absolute path"),
        (["d/a//b"], "has an empty part, '.' or '..'"),
        (["d/a\\..\\b"], "has a backslash"),
        (["d/a\x1b[2Jb"], "has control characters"),
        (["d/.evalhub-data.json"], "is a name that the test-data step uses itself"),
        (["d/a", "d/a/b"], "'a' is both a file and a folder"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_keys_that_are_no_safe_names_are_refused(
    bucket: Any, step: Step, tmp_path: Path, keys: list[str], words: str
) -> None:
    for key in ["d/good", *keys]:
        bucket.put_object(Key=key, Body=b"1")
    assert words in refused(step(bucket.name, "d"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "secret"]


def test_more_bytes_than_allowed_are_refused(bucket: Any, step: Step, tmp_path: Path) -> None:
    bucket.put_object(Key="d/a", Body=bytes(600))
    bucket.put_object(Key="d/b", Body=bytes(600))
    line = refused(step(bucket.name, "d", {"EVALHUB_TEST_DATA_MAX_BYTES": "1000"}), tmp_path)
    assert "more than 1000 bytes (name a smaller part, or raise EVALHUB_TEST_DATA_MAX_BYTES)" in line
    assert step(bucket.name, "d", {"EVALHUB_TEST_DATA_MAX_BYTES": "1200"}).status == 0


def test_settings_of_the_machines_user_do_not_count(bucket: Any, step: Step, tmp_path: Path) -> None:
    bucket.put_object(Key="d/a", Body=b"1")
    other = {"AWS_PROFILE": "missing", "AWS_ACCESS_KEY_ID": "other", "AWS_SECRET_ACCESS_KEY": "other"}
    assert step(bucket.name, "d", {**other, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}).status == 0


def test_a_laptop_gives_its_credentials_in_the_environment(bucket: Any, store: Store, tmp_path: Path) -> None:
    bucket.put_object(Key="d/a", Body=b"1")
    environ = {"AWS_ACCESS_KEY_ID": store.key_id, "AWS_SECRET_ACCESS_KEY": store.key, "AWS_S3_ENDPOINT": store.endpoint}
    ref = json.dumps({"s3": {"bucket": bucket.name, "key": "d"}})
    (tmp_path / "ref.json").write_text(ref)
    done = run(["--ref", f"@{tmp_path / 'ref.json'}", "--output", str(tmp_path / "data")], environ)
    assert done.status == 0, done.err
    assert contents(tmp_path / "data") == {"a": b"1"}


def test_kubeflow_gets_digest_and_numbers(bucket: Any, store: Store, tmp_path: Path) -> None:
    bucket.put_object(Key="d/a", Body=b"12")
    environ = {"AWS_ACCESS_KEY_ID": store.key_id, "AWS_SECRET_ACCESS_KEY": store.key, "AWS_S3_ENDPOINT": store.endpoint}
    data = tmp_path / "s3" / "bucket" / "run" / "test_data"
    artifact = {"name": "projects/p", "uri": "s3://bucket/run/test_data", "metadata": {}}
    outputs = {"outputFile": str(tmp_path / "kfp" / "out.json"), "artifacts": {"test_data": {"artifacts": [artifact]}}}
    arguments = ["--ref", json.dumps({"s3": {"bucket": bucket.name, "key": "d"}}), "--output", str(data)]
    arguments += ["--digest-file", str(tmp_path / "digest"), "--executor-input", json.dumps({"outputs": outputs})]
    done = run(arguments, environ)
    assert done.status == 0, done.err
    assert (tmp_path / "digest").read_text() == manifest(data)["digest"]
    told = json.loads((tmp_path / "kfp" / "out.json").read_bytes())
    [said] = told["artifacts"]["test_data"]["artifacts"]
    assert said == {**artifact, "metadata": {"files": 1, "bytes": 2}}


def test_memory_does_not_grow_with_an_object(bucket: Any, step: Step, tmp_path: Path) -> None:
    size = 256 << 20
    bucket.put_object(Key="small", Body=b"1")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(size)
    bucket.upload_file(str(tmp_path / "large"), "large")
    small, large = step(bucket.name, "small"), step(bucket.name, "large")
    assert (small.status, large.status) == (0, 0), large.err
    assert (tmp_path / "data" / "large").stat().st_size == size
    assert large.memory < small.memory + (48 << 20)


@pytest.fixture
def stub() -> Iterator[StubApi]:
    """A server that answers what is ordered."""
    with served(StubApi(), StubRequest) as api:
        yield api


def test_without_credentials_nothing_is_signed_and_a_refusal_names_the_cure(
    step: Step, tmp_path: Path, stub: StubApi
) -> None:
    stub.fail("HEAD", "", answers(403))
    stub.fail("GET", "", answers(403, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"))
    none = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
    line = refused(step("bucket", "one", AWS_S3_ENDPOINT=stub.address, **none), tmp_path)
    assert "access is denied" in line
    assert "name a secret: secret_ref" in line
    assert [seen.headers["Authorization"] for seen in stub.seen] == [None, None]


def test_an_address_without_s3_is_said_in_one_line(step: Step, tmp_path: Path, stub: StubApi) -> None:
    for method in ("HEAD", "GET"):
        stub.fail(method, "", answers(404, "<html><br>"), times=9)
    line = refused(step("bucket", "one", AWS_S3_ENDPOINT=stub.address), tmp_path)
    assert "no S3 answers there (check AWS_S3_ENDPOINT)" in line


def test_an_object_that_changes_meanwhile_is_refused(step: Step, tmp_path: Path, stub: StubApi) -> None:
    stub.fail("HEAD", "", answers(200, bytes(10), ETag='"tag"'), times=9)
    stub.fail(
        "GET", "", lambda request: request.answer(412 if request.headers["If-Match"] == '"tag"' else 200), times=9
    )
    line = refused(step("bucket", "one", AWS_S3_ENDPOINT=stub.address), tmp_path)
    assert "one: changed since it was listed (try again)" in line


def test_a_silent_server_is_given_up(step: Step, tmp_path: Path, stub: StubApi) -> None:
    for method in ("HEAD", "GET"):
        stub.fail(method, "", hangs, times=9)
    line = refused(step("bucket", "one", {"EVALHUB_TEST_DATA_TIMEOUT": "1"}, AWS_S3_ENDPOINT=stub.address), tmp_path)
    assert "cannot be reached or broke off" in line


def test_a_broken_download_goes_on_where_it_broke_off(step: Step, tmp_path: Path, stub: StubApi) -> None:
    content = random.Random(1).randbytes(4 << 20)

    def breaks(request: StubRequest) -> None:
        assert request.headers["If-Match"] == '"tag"'
        start = int((request.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        headers = {"Content-Length": str(len(content) - start), "ETag": '"tag"'}
        request.answer(206 if start else 200, content[start : start + (1 << 20)], headers)
        request.close_connection = True

    stub.fail("HEAD", "", answers(200, content, ETag='"tag"'), times=9)
    stub.fail("GET", "", breaks, times=9)
    done = step("bucket", "one", AWS_S3_ENDPOINT=stub.address)
    assert done.status == 0, done.err
    assert contents(tmp_path / "data") == {"one": content}
    ranges = [seen.headers["Range"] for seen in stub.asked("GET", "")]
    assert ranges == [None, "bytes=1048576-", "bytes=2097152-", "bytes=3145728-"]
    assert manifest(tmp_path / "data")["files"]["one"]["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_what_cannot_fit_is_refused_before_the_first_byte(step: Step, tmp_path: Path, stub: StubApi) -> None:
    stub.fail("HEAD", "", answers(200, Content_Length=str(1 << 50), ETag='"tag"'), times=9)
    limit = {"EVALHUB_TEST_DATA_MAX_BYTES": str(1 << 51)}
    line = refused(step("bucket", "one", limit, AWS_S3_ENDPOINT=stub.address), tmp_path)
    assert line.startswith(f"{tmp_path / 'data'}: the disk has ")
    assert line.endswith(f"bytes free, and the data needs {1 << 50}\n")
    assert not stub.asked("GET", "")


def test_a_disk_that_fills_up_on_the_way_is_named(bucket: Any, store: Store, tmp_path: Path) -> None:
    bucket.put_object(Key="d/a", Body=bytes(3 << 20))
    ref = json.dumps({"s3": {"bucket": bucket.name, "key": "d"}})
    # to a process, the largest size of its files is reached as the end of a disk is
    small = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)); "
    start = small + "runpy.run_module('evalhub_components.test_data', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", start, "--ref", ref, "--output", str(tmp_path / "data")],
        env={
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": store.key_id,
            "AWS_SECRET_ACCESS_KEY": store.key,
            "AWS_S3_ENDPOINT": store.endpoint,
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    line = refused(Done(done.returncode, done.stdout, done.stderr, 0), tmp_path)
    assert f"{tmp_path / 'data'}: the disk is full" in line
