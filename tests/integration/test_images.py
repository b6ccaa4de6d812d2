"""The images, built from the project's Containerfiles, and benchmark steps in containers of them.

The containers run as a user that no image knows, so that a wrong permission shows here and not on a cluster.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from container_engine import Engine, base_image, built_images, engine, missing

import evalhub_components
from evalhub_components.errors import EvalHubError
from evalhub_components.schema.collection import HardwareConfig, ResourceBounds
from evalhub_components.schema.plan import BenchmarkTask, EvaluationPlan
from evalhub_components.schema.provider import EnvVar, KubernetesRuntime
from evalhub_components.schema.run import RunRecord
from evalhub_pipelines import containers, images, plan
from evalhub_pipelines.chosen_images import read_lock
from evalhub_pipelines.containers import Container, Given
from evalhub_pipelines.demo_model import DemoModelServer, DemoModelSettings, running

__all__ = ["base_image", "built_images", "engine"]  # fixtures

CHECKOUT = Path(__file__).resolve().parents[2]
SOMEBODY = random.SystemRandom().randrange(10_000, 1_000_000_000)
PATIENCE = 300  # seconds until something that must happen counts as not happening
KEY = "sk-5e0d2b-never-to-be-seen"

ADAPTER = """\
import time

from evalhub_components.adapter import EvaluationResult, FrameworkAdapter, JobResults, JobStatusUpdate


class Obedient(FrameworkAdapter):
    def run_benchmark_job(self, config, callbacks):
        callbacks.report_status(JobStatusUpdate(phase="running_evaluation"))
        if config.parameters.get("allocate"):
            hoard = [b"x" * (1 << 20) for _ in range(config.parameters["allocate"])]
        time.sleep(config.parameters.get("sleep", 0))
        return JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=[EvaluationResult("acc", 0.75)],
            num_examples_evaluated=4,
        )
"""

FOREIGN = """\
import json, os, urllib.request

job = json.load(open(os.environ["EVALHUB_JOB_SPEC_PATH"]))
event = {key: job[key] for key in ("provider_id", "benchmark_index")} | {"id": job["benchmark_id"]}
event |= {"status": "completed", "metrics": {job["primary_score"]["metric"]: 0.5}}
body = json.dumps({"benchmark_status_event": event}).encode()
url = f"{job['callback_url']}/api/v1/evaluations/jobs/{job['id']}/events"
urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}))
"""


class Ended(NamedTuple):
    """A command that ended."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="module", autouse=True)
def _the_tests_own_engine(engine: Engine) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine.environ.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def quickstart() -> EvaluationPlan:
    return plan("quickstart-v1")


@pytest.fixture(scope="module")
def provider(engine: Engine, built_images: Mapping[str, str], quickstart: EvaluationPlan) -> Container:
    """lm-evaluation-harness in its image, as somebody."""
    return of(engine, "lm_evaluation_harness", quickstart.header.runtimes["lm_evaluation_harness"])


@pytest.fixture(scope="module")
def obedient(engine: Engine, built_images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Container:
    """A small provider on the components image, as somebody."""
    folder = tmp_path_factory.mktemp("obedient")
    (folder / "adapter.py").write_text(ADAPTER)
    lines = [f"FROM {built_images['components']}", "COPY adapter.py /opt/evalhub/provider/adapter.py"]
    (folder / "Containerfile").write_text("\n".join(lines))
    engine("build", "--quiet", "--file", str(folder / "Containerfile"), "--tag", "local/obedient:1", str(folder))
    greeting = [EnvVar(name="GREETING", value="hello, 'world'")]
    return of(engine, "obedient", KubernetesRuntime(image="local/obedient:1", env=greeting))


def of(engine: Engine, name: str, runtime: KubernetesRuntime) -> Container:
    found = containers.container_of(name, runtime, engine.command, pytest.fail)
    return dataclasses.replace(found, user=SOMEBODY, identity=("--user", f"{SOMEBODY}:0"))


def a_task(quickstart: EvaluationPlan, **changes: Any) -> BenchmarkTask:
    own = {"provider_id": "obedient", "benchmark_id": "a", "slug": "000-a", "index": 0}
    return quickstart.tasks[0].model_copy(update={**own, **changes})


@contextmanager
def started(
    container: Container, tasks: Sequence[BenchmarkTask], folder: Path, url: str = "http://127.0.0.1:9/v1", **given: Any
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a benchmark step as a local run does; yields its client and the container's name."""
    (folder / "task.json").write_text(json.dumps([task.as_json() for task in tasks]))
    options = ["--model-url", url, "--model-name", "demo-model"]
    name = containers.new_name("test")
    with containers.lent(container, tasks, Given(folder / "task.json", folder / "results", **given)) as lent:
        command = containers.argv(container, name, tasks, lent, options)
        # a file, so that nobody has to read it while the step runs
        with (folder / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        with process:
            try:
                yield process, name
            finally:
                containers.remove(container.engine, name)
                process.kill()


def run(container: Container, tasks: Sequence[BenchmarkTask], folder: Path, *url: str, **given: Any) -> Ended:
    with started(container, tasks, folder, *url, **given) as (process, _):
        assert process.stdout is not None
        out = process.stdout.read()  # standard input stays open: the step ends with it
        process.wait(PATIENCE)
    return Ended(process.returncode, out, (folder / "stderr").read_text())


def results(folder: Path, task: BenchmarkTask) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results" / task.slug / "results.json").read_text())
    return found


def test_an_image_says_what_it_is_and_runs_as_nobody_in_particular(
    engine: Engine, built_images: Mapping[str, str], base_image: str
) -> None:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True).stdout.strip()
    assert set(built_images) == {"components", "lm_evaluation_harness", "deepeval"}
    for reference in built_images.values():
        config = json.loads(engine("image", "inspect", reference))[0]["Config"]
        labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
        assert labels["version"] == evalhub_components.__version__
        assert labels["revision"].removesuffix("-dirty") == commit
        assert labels["base.name"] == base_image
        assert labels["title"].startswith("evalhub-kfp ")
        assert config["User"] == "1001:0"
        assert not config["Entrypoint"]
        assert f"EVALHUB_IMAGE={reference}" in config["Env"]


def test_the_quickstart_completes_in_its_image_as_any_user_on_a_read_only_root(
    provider: Container, quickstart: EvaluationPlan, model: DemoModelServer, tmp_path: Path
) -> None:
    done = run(provider, quickstart.tasks, tmp_path, model.base_url)
    assert done.status == 0, done.err
    for task in quickstart.tasks:
        found = results(tmp_path, task)
        assert found["status"] == "completed", found["reason"]
        best = 0 if task.primary_score.lower_is_better else 1  # the model knows everything
        assert found["metrics"][task.primary_score.metric]["value"] == best
        assert found["task_digest"] == task.digest()
        folder = tmp_path / "results" / task.slug
        machine = json.loads((folder / "environment.json").read_text())
        assert machine["image"] == {"reference": provider.runtime.image, "digest": provider.image}
        assert machine["packages"]["lm-eval"]
        assert {path.stat().st_uid for path in folder.rglob("*")} == {SOMEBODY}
    events = [json.loads(line) for line in done.out.splitlines()]
    ended = [event["slug"] for event in events if event["event"] == "finished"]
    assert sorted(ended) == [task.slug for task in quickstart.tasks]


def test_the_other_steps_judge_in_their_image_as_any_user(
    engine: Engine,
    built_images: Mapping[str, str],
    obedient: Container,
    quickstart: EvaluationPlan,
    model: DemoModelServer,
    tmp_path: Path,
) -> None:
    tasks = [a_task(quickstart, primary_score=quickstart.tasks[0].primary_score.model_copy(update={"metric": "acc"}))]
    header = quickstart.header.model_copy(update={"task_digests": [task.digest() for task in tasks]})
    assert run(obedient, tasks, tmp_path).status == 0
    run_record = RunRecord(
        run_id="r1",
        job_id="0" * 32,
        name=None,
        plan_digest=header.digest(),
        model_url=model.base_url,
        model_name="demo-model",
        declared_environment={},
        num_examples=None,
        tags=[],
        experiment_name="images",
        experiment_tags={},
        package_version="0",
        engine="container",
        state="running",
        started_at="2026-01-01T00:00:00Z",
        completed_at=None,
    )
    tmp_path.chmod(0o777)
    (tmp_path / "header.json").write_text(json.dumps(header.as_json()))
    (tmp_path / "run.json").write_text(json.dumps(run_record.as_json()))
    (tmp_path / "plan.json").write_text(json.dumps({"header": header.as_json(), "tasks": [t.as_json() for t in tasks]}))

    def step(name: str, *arguments: str) -> Ended:
        command = [engine.command, "run", "--rm", "--network", "host", "--read-only", "--tmpfs", "/tmp"]
        command += ["--user", f"{SOMEBODY}:0", "--cap-drop", "ALL", "--volume", f"{tmp_path}:/run_directory"]
        command += [built_images["components"], "python", "-m", f"evalhub_components.{name}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        return Ended(done.returncode, done.stdout, done.stderr)

    steps = sorted(path.parent.name for path in (CHECKOUT / "components/evalhub_components").glob("*/__main__.py"))
    assert {"fingerprint", "aggregate", "gate"} <= set(steps)
    for name in steps:
        assert step(name, "--help").status == 0, name

    where = "/run_directory"
    endpoint = ["--model-url", model.base_url, "--model-name", "demo-model"]
    probed = step("fingerprint", *endpoint, "--output", f"{where}/fingerprint.json")
    assert probed.status == 0, probed.err
    with mlflow_server(tmp_path) as uri:
        given = ["--header", f"@{where}/header.json", "--run", f"@{where}/run.json", "--results", f"{where}/results"]
        given += ["--fingerprint", f"{where}/fingerprint.json", "--output", f"{where}/out"]
        judged = step("aggregate", *given, "--mlflow-uri", uri, "--mlflow-required")
    assert judged.status == 0, judged.err
    verdict = json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert [test["status"] for test in verdict["benchmarks"]] == ["completed"]
    gate = step("gate", "--verdict", f"{where}/out/verdict.json")
    assert gate.status == {"pass": 0, "fail": 1}[verdict["verdict"]], gate.err
    assert gate.out.startswith(verdict["verdict"])


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """A tracking server, as a cluster has one; yields its address."""
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "kept")]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with serving(command, port, {**os.environ, **settings}):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def serving(command: list[str], port: int, environ: Mapping[str, str] | None = None) -> Iterator[None]:
    process = subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        eventually(lambda: process.poll() is not None or listens(port))
        assert process.poll() is None, f"{command[0]} does not start"
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen")


LOOK = """
import json, os, sys

def may(path):
    try:
        open(path, "w").close()
    except OSError:
        return False
    return True

places = ["/tmp/x", "/evalhub/results/x", "/evalhub/task.json", "/evalhub/secret/x", "/test_data/x", "/opt/x", "/x"]
print(json.dumps({
    "may write": [path for path in places if may(path)],
    "user": [os.getuid(), os.getgid()],
    "privileges": [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "NoNewPrivs"))],
    "key": open("/evalhub/secret/api-key").read(),
    "data": os.listdir("/test_data"),
    "environ": dict(os.environ),
    "arguments": sys.argv[1:],
}))
"""


def test_a_container_sees_what_it_was_given_and_may_write_results_alone(
    obedient: Container, quickstart: EvaluationPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, data = tmp_path / "a secret, with a comma", tmp_path / "data"
    secret.mkdir(mode=0o700)
    (secret / "api-key").write_text(KEY)
    (secret / "api-key").chmod(0o600)
    data.mkdir()
    (data / "questions.csv").touch()
    monkeypatch.setenv("OTHER_TOKEN", KEY)
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hidden@127.0.0.1:3128")
    look = dataclasses.replace(obedient, command=("python", "-c", LOOK))
    done = run(look, [a_task(quickstart)], tmp_path, secret=secret, test_data=data)
    assert done.status == 0, done.err
    seen = json.loads(done.out)
    assert seen["may write"] == ["/tmp/x", "/evalhub/results/x"]
    assert seen["user"] == [SOMEBODY, 0]
    assert [int(value, 16) for value in seen["privileges"]] == [0, 1]
    assert seen["key"] == KEY
    assert seen["data"] == ["questions.csv"]
    environ = seen["environ"]
    assert "OTHER_TOKEN" not in environ
    assert environ["HTTPS_PROXY"] == "http://me:hidden@127.0.0.1:3128"
    assert environ["GREETING"] == "hello, 'world'"
    assert environ["HOME"] == "/tmp"
    assert environ["EVALHUB_MODEL_SECRET"] == "/evalhub/secret"
    assert seen["arguments"][:2] == ["--task", "@/evalhub/task.json"]
    assert seen["arguments"][-2:] == ["--test-data", "/test_data"]
    arguments = containers.argv(look, "x", [a_task(quickstart)], Given(tmp_path, tmp_path, secret), [])
    assert not [word for word in arguments if KEY in word or "hidden" in word]


@pytest.mark.parametrize("way", ["signal", "end of the run", "remove"])
def test_a_container_ends_with_what_started_it(
    engine: Engine, obedient: Container, quickstart: EvaluationPlan, tmp_path: Path, way: str
) -> None:
    with started(obedient, [a_task(quickstart, parameters={"sleep": 3600})], tmp_path) as (process, name):
        assert process.stdout is not None
        assert process.stdin is not None
        next(line for line in process.stdout if "running_evaluation" in line)
        if way == "signal":
            process.terminate()
            assert containers.end(process.wait(PATIENCE)) == -signal.SIGTERM
        elif way == "end of the run":
            process.kill()  # as when the whole run is killed: nobody is left to remove anything
        else:
            containers.remove(engine.command, name)
            assert containers.end(process.wait(PATIENCE)) == -signal.SIGKILL
        eventually(lambda: not engine("ps", "--all", "--quiet", "--filter", f"name={name}"))
    assert not list((tmp_path / "results").rglob("results.json"))


def test_a_benchmark_that_reaches_its_memory_limit_has_results_that_say_so(
    obedient: Container, quickstart: EvaluationPlan, tmp_path: Path
) -> None:
    limit = HardwareConfig(memory=ResourceBounds(limit="256Mi"), cpu=ResourceBounds(limit="64"))
    # below the limit but above the share of it that the harness allows: the kernel has no reason to act
    task = a_task(quickstart, hardware=limit, parameters={"allocate": 225, "sleep": 600})
    done = run(obedient, [task], tmp_path)
    assert done.status == 0, done.err
    found = results(tmp_path, task)
    assert found["status"] == "failed"
    assert "out of memory" in found["reason"]
    assert "256 MiB" in found["reason"]


def test_an_image_made_for_evalhub_runs_through_the_bridge(
    engine: Engine, base_image: str, quickstart: EvaluationPlan, tmp_path: Path
) -> None:
    (tmp_path / "main.py").write_text(FOREIGN)
    (tmp_path / "Containerfile").write_text(f"FROM {base_image}\nWORKDIR /app\nCOPY main.py /app/main.py\n")
    engine("build", "--quiet", "--file", str(tmp_path / "Containerfile"), "--tag", "local/foreign:1", str(tmp_path))
    runtime = KubernetesRuntime(image="local/foreign:1", entrypoint=["python3", "main.py"])
    task = a_task(quickstart)
    done = run(of(engine, "foreign", runtime), [task], tmp_path)
    assert done.status == 0, done.err
    found = results(tmp_path, task)
    assert found["status"] == "completed", found["reason"]
    assert found["metrics"][task.primary_score.metric]["value"] == 0.5


def test_a_start_after_one_by_another_user_makes_the_folders_anew(
    obedient: Container, quickstart: EvaluationPlan, tmp_path: Path
) -> None:
    task = a_task(quickstart, primary_score=quickstart.tasks[0].primary_score.model_copy(update={"metric": "acc"}))
    left = tmp_path / "results" / task.slug / "raw" / "old.txt"
    left.parent.mkdir(parents=True)
    left.touch()
    assert run(obedient, [task], tmp_path).status == 0
    assert results(tmp_path, task)["status"] == "completed"
    assert not left.exists()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry on loopback; yields host and port."""
    if not Path("/usr/bin/docker-registry").exists():
        missing("/usr/bin/docker-registry (Debian: apt-get install docker-registry)")
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    storage = {"filesystem": {"rootdirectory": str(folder / "data")}}
    settings = {"version": 0.1, "storage": storage, "http": {"addr": f"127.0.0.1:{port}"}}
    (folder / "config.yml").write_text(json.dumps(settings))
    with serving(["/usr/bin/docker-registry", "serve", str(folder / "config.yml")], port):
        yield f"127.0.0.1:{port}"


@pytest.fixture
def small_images(engine: Engine, registry: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Images of a few bytes under the names that the real ones would have in the registry: only the pushing counts."""
    found = {}
    for image in images.of_checkout(f"{registry}/team"):
        (tmp_path / "name").write_text(image.name)
        subprocess.run(["tar", "-C", tmp_path, "-cf", tmp_path / "root.tar", "name"], check=True)
        engine("import", str(tmp_path / "root.tar"), image.reference)
        found[image.name] = image.reference
    yield found
    for repository in map(images.repository, found.values()):
        engine("rmi", "--force", *engine("images", "--quiet", repository).split(), check=False)


def test_pushing_writes_a_lock_of_what_the_registry_holds(
    engine: Engine, registry: str, small_images: Mapping[str, str], tmp_path: Path
) -> None:
    lock = tmp_path / "images.lock.json"
    command = [Path(sys.executable).with_name("evalhub-kfp"), "images", "push", "--engine", engine.command]
    done = subprocess.run(
        [*command, "--registry", f"{registry}/team", "--lock", lock], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    found = read_lock(lock)
    assert found.keys() == small_images.keys()
    for name, pinned in found.items():
        assert pinned.startswith(f"{registry}/team/")
        engine("rmi", small_images[name])
        # only the registry can answer now
        assert containers.container_of(name, KubernetesRuntime(image=pinned), engine.command, lambda _: None)
        assert pinned in json.loads(engine("image", "inspect", pinned))[0]["RepoDigests"]


def test_an_image_that_was_not_built_is_not_pushed(engine: Engine, registry: str) -> None:
    (image,) = images.of_checkout(f"{registry}/nowhere", ["components"])
    with pytest.raises(EvalHubError, match=r"nowhere/components.*images build components"):
        images.push(image, engine.command)


def test_an_image_that_is_nowhere_says_how_to_build_it(engine: Engine, registry: str) -> None:
    said: list[str] = []
    runtime = KubernetesRuntime(image=f"{registry}/nowhere/at-all:1")
    with pytest.raises(EvalHubError, match=r"nowhere/at-all:1: is not on this machine.*images build mine"):
        containers.container_of("mine", runtime, engine.command, said.append)
    assert said == [f"pulling {registry}/nowhere/at-all:1 (once)"]


def test_a_build_that_fails_is_an_error(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    (image,) = images.of_checkout(names=["components"])
    with pytest.raises(EvalHubError, match=r"components/Containerfile: .* ended with status 1"):
        images.build(image, engine.command, base_image="Not A Reference")
    assert "invalid reference" in capfd.readouterr().err


def test_an_engine_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(EvalHubError, match=r"is it running, and may you use it"):
        containers.container_of("mine", KubernetesRuntime(image="x:1"), engine.command, pytest.fail)


@pytest.fixture
def trial(obedient: Container, write: Callable[..., Path], tmp_path: Path) -> Path:
    """A collection of a benchmark that is done at once and one that takes an hour; `catalog` beside it has both."""
    image = {"k8s": {"image": obedient.runtime.image}}
    entries = [{"id": name, "primary_score": {"metric": "acc"}} for name in ("quick", "slow")]
    write("catalog/providers/obedient/provider.yaml", {"id": "obedient", "runtime": image, "benchmarks": entries})
    listed = [
        {"id": "quick", "provider_id": "obedient"},
        {"id": "slow", "provider_id": "obedient", "parameters": {"sleep": 3600}, "weight": 0},
    ]
    return write("trial.yaml", {"pass_criteria": {"threshold": 0.5}, "benchmarks": listed})


def test_a_local_run_in_containers_is_judged_like_any_other(
    cli: Any, engine: Engine, built_images: Mapping[str, str], model: DemoModelServer
) -> None:
    how = ["--engine", "container", "--engine-command", engine.command]
    done = cli.run("quickstart-v1", model, *how, "--format", "json", environ=engine.environ)
    assert done.status == 0, done.err
    verdict = done.json["verdict"]
    assert {test["status"] for test in verdict["benchmarks"]} == {"completed"}
    record = json.loads((cli.run_directory() / "run.json").read_text())
    assert (record["engine"], record["state"]) == ("container", "completed")
    assert not engine("ps", "--all", "--quiet", "--filter", f"name=evalhub-{record['run_id']}")


def test_a_container_gets_the_judges_secret_beside_the_models(
    cli: Any, engine: Engine, built_images: Mapping[str, str], tmp_path: Path
) -> None:
    keys = {"of-model": "key-of-the-model", "of-judge": "key-of-the-judge"}
    for name, key in keys.items():
        (tmp_path / "secrets" / name).mkdir(parents=True)
        (tmp_path / "secrets" / name / "api-key").write_text(key)
    how = ["--engine", "container", "--engine-command", engine.command, "--no-mlflow", "--num-examples", "5"]
    with (
        running(DemoModelSettings(skill=1.0, api_key=keys["of-model"])) as asked,
        running(DemoModelSettings(skill=1.0, api_key=keys["of-judge"])) as judge,
    ):
        endpoints = ["--model-url", asked.base_url, "--model-name", "demo-model", "--model-secret", "of-model"]
        endpoints += ["--judge-url", judge.base_url, "--judge-name", "demo-model", "--judge-secret", "of-judge"]
        done = cli(
            *("run", "--provider", "deepeval", "-b", "deepeval-correctness", *endpoints, *how),
            environ={**engine.environ, "EVALHUB_SECRETS": str(tmp_path / "secrets")},
        )
    assert done.status == 0, done.out + done.err
    run = cli.run_directory()
    kept = [path for path in run.rglob("*") if path.is_file()]
    assert [path for path in kept for key in keys.values() if key.encode() in path.read_bytes()] == []


def test_an_interrupted_run_leaves_no_container(cli: Any, engine: Engine, trial: Path, model: DemoModelServer) -> None:
    how = ["--engine", "container", "--engine-command", engine.command]
    cli.catalog = cli.folder / "catalog"
    process = cli.start(*cli.arguments(trial, model), *how, environ=engine.environ)
    eventually(lambda: list((cli.folder / "runs").rglob("000-quick/results.json")))
    eventually(lambda: engine("ps", "--quiet", "--filter", "name=evalhub-"))
    os.killpg(process.pid, signal.SIGINT)
    assert cli.ended(process).status == 130
    assert not engine("ps", "--all", "--quiet", "--filter", f"name=evalhub-{cli.run_directory().name}")
    assert (cli.run_directory() / "benchmarks" / "000-quick" / "results.json").is_file()
