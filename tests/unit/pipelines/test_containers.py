"""The command line that an engine gets, and what becomes of its answers. What containers do with it needs an engine."""

from __future__ import annotations

import csv
import itertools
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from evalhub_components.errors import EvalHubError
from evalhub_components.schema.collection import HardwareConfig, ResourceBounds
from evalhub_components.schema.plan import BenchmarkTask, ResolvedScore
from evalhub_components.schema.provider import EnvVar, KubernetesRuntime
from evalhub_pipelines import containers
from evalhub_pipelines.containers import Container, Given

IMAGE_ID = "sha256:" + "1" * 64
DIGEST = "sha256:" + "2" * 64

ENGINE = """\
#!/bin/sh
echo "$@" >> "$0.calls"
case "$1 $2" in
  "image inspect") test -e "$0.image" || exit 1; cat "$0.image";;
  "pull "*) test -e "$0.pulled" && mv "$0.pulled" "$0.image" || { echo "no such image" >&2; exit 1; };;
  "info "*) cat "$0.info" 2>/dev/null;;
esac
"""


def a_task(**hardware: str) -> BenchmarkTask:
    bounds = {name: ResourceBounds(limit=limit) for name, limit in hardware.items()}
    return BenchmarkTask(
        index=0,
        slug="000-a",
        provider_id="p",
        benchmark_id="a",
        primary_score=ResolvedScore(metric="acc"),
        hardware=HardwareConfig(**bounds) if bounds else None,
    )


def a_container(engine: str = "docker", **changes: object) -> Container:
    fields: dict[str, object] = {"user": 1234, "identity": ("--user", "1234:0"), "runtime": KubernetesRuntime()}
    return Container(engine, IMAGE_ID, **{**fields, **changes})  # type: ignore[arg-type]


def argv(container: Container, *tasks: BenchmarkTask, **given: Path) -> list[str]:
    places = Given(**{"task": Path("/host/task.json"), "results": Path("/host/runs/r/benchmarks"), **given})
    return containers.argv(container, "name", tasks or (a_task(),), places, ["--model-url", "http://m/v1"])


def after(words: list[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(words) if name == option]


def test_the_step_gets_the_arguments_of_a_process_with_the_places_in_the_container() -> None:
    words = argv(a_container(), test_data=Path("/host/data"))
    start = words.index("--entrypoint")
    assert words[start:] == [
        *("--entrypoint", "python", IMAGE_ID, "-m", "evalhub_components.benchmark"),
        *("--task", "@/evalhub/task.json", "--model-url", "http://m/v1"),
        *("--results", "/evalhub/results", "--test-data", "/test_data"),
    ]
    assert {"--rm", "--interactive", "--read-only"} < set(words[:start])
    assert after(words, "--network") == ["host"]
    assert after(words, "--user") == ["1234:0"]


@pytest.mark.parametrize("path", ["/a, b/c", '/say "x"', "/a:b"])
def test_any_path_can_be_given(path: str) -> None:
    mounts = after(argv(a_container(), results=Path(path)), "--mount")
    (fields,) = [found for found in csv.reader(mounts) if "target=/evalhub/results" in found]
    assert fields == ["type=bind", f"source={path}", "target=/evalhub/results"]


def test_all_but_the_results_is_read_only() -> None:
    mounts = list(csv.reader(after(argv(a_container(), secret=Path("/s"), test_data=Path("/d")), "--mount")))
    assert {mount[2] for mount in mounts if "readonly=true" in mount} == {
        "target=/evalhub/task.json",
        "target=/evalhub/secret",
        "target=/test_data",
    }


@pytest.mark.parametrize(
    ("tasks", "runtime", "memory", "quota"),
    [
        ([{}], {}, [], []),
        ([{}], {"memory_limit": "4Gi", "cpu_limit": "2"}, [str(4 << 30)], ["200000"]),
        ([{"memory": "1G", "cpu": "250m"}], {"memory_limit": "4Gi", "cpu_limit": "2"}, ["1000000000"], ["25000"]),
        ([{"memory": "1Gi"}, {"memory": "1.5Gi"}], {}, [str(3 << 29)], []),
        ([{"memory": "1Gi"}, {}], {}, [], []),
        ([{"cpu": "1m"}], {}, [], ["1000"]),
    ],
    ids=["none", "the provider's", "the task's", "the largest", "one without", "the kernel's least"],
)
def test_limits_are_the_tasks_or_else_the_providers(
    tasks: list[dict[str, str]], runtime: dict[str, str], memory: list[str], quota: list[str]
) -> None:
    words = argv(a_container(runtime=KubernetesRuntime(**runtime)), *(a_task(**hardware) for hardware in tasks))
    assert after(words, "--memory") == memory
    assert after(words, "--memory-swap") == memory  # swapping would hide that it is not enough
    assert after(words, "--cpu-quota") == quota


@pytest.mark.parametrize("text", ["4GB", "much", "", "m", "-"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    if text:
        with pytest.raises(EvalHubError, match=r"is no quantity \(write 500m, 2, 4Gi\)"):
            argv(a_container(), a_task(memory=text))
    else:
        assert after(argv(a_container(), a_task(memory=text)), "--memory") == []


def test_a_secret_is_named_by_its_place_alone() -> None:
    words = argv(a_container(environ={"A": "1"}), secret=Path("/host/secret"))
    assert "EVALHUB_MODEL_SECRET=/evalhub/secret" in after(words, "--env")
    assert "A=1" in after(words, "--env")
    assert "https_proxy" in after(words, "--env")  # its value is the engine's to read


def test_the_token_of_a_service_account_is_the_file_behind_its_links(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a.token")
    (tmp_path / "token").symlink_to("data")
    words = argv(a_container(), token=tmp_path / "token")
    assert f"EVALHUB_SERVICE_ACCOUNT_TOKEN={containers.TOKEN}" in after(words, "--env")
    mount = f"type=bind,source={tmp_path / 'data'},target={containers.TOKEN},readonly=true"
    assert mount in after(words, "--mount")
    assert not [word for word in words if "a.token" in word]


@pytest.mark.parametrize(("status", "end"), [(0, 0), (2, 2), (125, 125), (137, -9), (143, -15), (255, 255)])
def test_an_end_by_a_signal_reads_as_one(status: int, end: int) -> None:
    assert containers.end(status) == end


@pytest.fixture
def engine(tmp_path: Path) -> Callable[[str], Path]:
    """A function that makes an engine of this name, which answers from files beside it and writes down its calls."""

    def engine(name: str) -> Path:
        path = tmp_path / name
        path.write_text(ENGINE)
        path.chmod(0o755)
        return path

    return engine


def described(path: Path, *digests: str) -> None:
    names = ", ".join(f'"{digest}"' for digest in digests)
    path.write_text(f'[{{"Id": "{IMAGE_ID}", "RepoDigests": [{names}]}}]')


def test_a_missing_image_is_pulled_and_said_to_be(engine: Callable[[str], Path]) -> None:
    docker = engine("docker")
    described(docker.with_name("docker.pulled"), f"other.example/x@sha256:{'3' * 64}", f"r.example:5000/x@{DIGEST}")
    said: list[str] = []
    runtime = KubernetesRuntime(image="r.example:5000/x:1", env=[EnvVar(name="A", value="1")])
    found = containers.container_of("p", runtime, str(docker), said.append)
    assert said == ["pulling r.example:5000/x:1 (once)"]
    assert found.image == IMAGE_ID
    assert found.environ == {"A": "1", "EVALHUB_IMAGE": "r.example:5000/x:1", "EVALHUB_IMAGE_DIGEST": DIGEST}


def test_an_image_that_was_built_here_is_known_by_its_id(engine: Callable[[str], Path]) -> None:
    docker = engine("docker")
    described(docker.with_name("docker.image"))
    found = containers.container_of("p", KubernetesRuntime(image="x:1"), str(docker), pytest.fail)
    assert found.environ["EVALHUB_IMAGE_DIGEST"] == IMAGE_ID


def test_an_image_with_an_entrypoint_of_its_own_runs_through_the_bridge(engine: Callable[[str], Path]) -> None:
    docker = engine("docker")
    described(docker.with_name("docker.image"))
    runtime = KubernetesRuntime(image="x:1", entrypoint=["python3", "main.py"])
    words = argv(containers.container_of("p", runtime, str(docker), pytest.fail))
    start = words.index("--entrypoint")
    assert words[start : start + 5] == ["--entrypoint", "python3", IMAGE_ID, "-I", "-c"]
    compile(words[start + 5], "bridge", "exec")
    assert words[-3:] == ["--", "python3", "main.py"]


@pytest.mark.parametrize(
    ("name", "host_user", "info", "options"),
    [
        ("docker", 1000, '["name=seccomp"]', ["--user", "1000:0"]),
        ("docker", 1000, '["name=seccomp","name=rootless"]', ["--user", "0:0"]),
        ("docker", 0, '["name=seccomp"]', ["--user", "1001:0"]),
        ("podman", 1000, "", ["--userns", "keep-id", "--user", "1000:0"]),
        ("podman-remote", 0, "", ["--user", "1001:0"]),
    ],
    ids=["docker", "rootless docker", "root's docker", "podman", "root's podman"],
)
def test_files_belong_to_who_runs_the_program_and_never_to_root(
    engine: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    host_user: int,
    info: str,
    options: list[str],
) -> None:
    path = engine(name)
    described(path.with_name(f"{name}.image"))
    path.with_name(f"{name}.info").write_text(info)
    monkeypatch.setattr(os, "getuid", lambda: host_user)
    found = containers.container_of("p", KubernetesRuntime(image="x:1"), str(path), pytest.fail)
    assert list(found.identity) == options
    assert found.user == (host_user or 1001)


def test_a_podman_of_a_user_is_not_asked_to_limit_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    task = a_task(cpu="1", memory="1Gi")
    assert "--cpu-quota" not in argv(a_container("podman"), task)
    assert "--memory" in argv(a_container("podman"), task)
    assert "--cpu-quota" in argv(a_container("docker"), task)


def test_an_engine_that_is_not_installed_is_named() -> None:
    with pytest.raises(EvalHubError, match=r"/nowhere/docker: cannot be started .*install it, or name another"):
        containers.container_of("p", KubernetesRuntime(image="x:1"), "/nowhere/docker", pytest.fail)


def test_a_provider_without_an_image_is_named() -> None:
    with pytest.raises(EvalHubError, match=r"provider p: has no runtime\.k8s\.image"):
        containers.container_of("p", KubernetesRuntime(), "docker", pytest.fail)


def test_removing_ends_the_container_of_that_name(engine: Callable[[str], Path]) -> None:
    path = engine("docker")
    containers.remove(str(path), "evalhub-x")
    assert path.with_name("docker.calls").read_text().split() == ["rm", "--force", "evalhub-x"]


def test_what_belongs_to_the_containers_user_already_is_given_as_it_is(tmp_path: Path) -> None:
    given = Given(tmp_path / "task.json", tmp_path / "runs" / "results", secret=tmp_path / "secret")
    given.task.touch(mode=0o600)
    with containers.lent(a_container(user=os.getuid()), [a_task()], given) as lent:
        assert lent == given
        assert given.results.is_dir()
    assert given.task.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="only root's containers run as somebody else")
def test_root_lends_a_secret_as_a_copy_that_is_gone_afterwards(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    (secret / "api-key").write_text("sk-1")
    (secret / "api-key").chmod(0o600)
    token = tmp_path / "token"
    token.write_text("a.token")
    token.chmod(0o600)
    given = Given(tmp_path / "task.json", tmp_path / "results", secret=secret, token=token)
    given.task.touch(mode=0o600)
    with containers.lent(a_container(), [a_task()], given) as lent:
        assert lent.secret is not None
        copied = lent.secret / "api-key"
        assert (copied.stat().st_uid, copied.stat().st_mode & 0o777) == (1234, 0o600)
        assert (given.results.stat().st_uid, given.results.stat().st_mode & 0o777) == (1234, 0o755)
        assert lent.token is not None
        assert (lent.token.stat().st_uid, lent.token.stat().st_mode & 0o777) == (1234, 0o600)
        # nobody else gets near it on the way
        reading = ["setpriv", "--reuid", "4321", "--clear-groups", "cat", str(copied)]
        assert subprocess.run(reading, capture_output=True).returncode != 0
    assert not copied.exists()
    assert (secret / "api-key").stat().st_uid == 0
