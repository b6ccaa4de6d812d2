"""What the README shows is what a reader gets."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.demo_model import DemoModelSettings, running

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
COMMAND = str(Path(sys.executable).with_name("evalhub-kfp"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    found = []
    for block in blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0].endswith("evalhub-kfp"):
                found.append(words[1:])
    return found


def normalised(text: str) -> list[str]:
    """Return the lines without what differs from run to run: ids, digests, folders and the padding they cause."""
    text = re.sub(r"\d{8}-\d{6}-[0-9a-f]{6}", "RUN", text)
    text = re.sub(r"sha256:[0-9a-f]{64}", "DIGEST", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "MLFLOW", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z, .* ago|\d+ bytes", "SOME", text)
    text = text.replace(".venv/bin/", "")
    text = re.sub(r"[^\s:]*/(?=runs/RUN|mlflow\.db)", "", text)
    return [line.rstrip() for line in text.strip().splitlines()]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    if not os.environ.get("EVALHUB_LM_EVAL_PYTHON"):
        pytest.skip("the environment of lm_evaluation_harness is made by `make test`")
    folder = tmp_path_factory.mktemp("demo")
    environ = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [ROOT / "tests" / "demo.sh", "--output", str(folder / "runs")], env=environ, capture_output=True, text=True
    )
    return folder, done


def test_the_demo_passes_and_prints_what_the_readme_shows(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = demo
    assert done.returncode == 0, done.stderr
    assert normalised(done.stdout) == normalised(blocks("text")[0])


def test_verify_says_of_a_signed_run_what_the_readme_shows(tmp_path: Path) -> None:
    if not os.environ.get("EVALHUB_LM_EVAL_PYTHON"):
        pytest.skip("the environment of lm_evaluation_harness is made by `make test`")
    secret = tmp_path / "secrets" / "evidence-signing"
    subprocess.run([COMMAND, "keys", "generate", secret], check=True, capture_output=True)
    argv = [ROOT / "tests" / "demo.sh", "--output", tmp_path / "runs", "--signing-secret", secret.name, "--no-mlflow"]
    environ = os.environ | {"EVALHUB_SECRETS": str(secret.parent)}
    made = subprocess.run(argv, env=environ, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    (run,) = (tmp_path / "runs").iterdir()
    done = subprocess.run([COMMAND, "verify", run, "--key", secret / "public.key"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (shown,) = [block for block in blocks("text") if block.startswith("evidence ")]
    assert normalised(done.stdout) == normalised(shown)


def test_the_python_example_runs_as_it_stands(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = demo
    (example,) = [block for block in blocks("python") if "import compare" in block]
    with running(DemoModelSettings(skill=1.0, model_name="my-model")) as server:
        script = example.replace("http://localhost:8000/v1", server.base_url)
        done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    digest, verdict = done.stdout.splitlines()
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)
    assert verdict.startswith("pass ")


def test_the_walk_to_a_provider_of_ones_own_works_as_it_stands(tmp_path: Path) -> None:
    (walk,) = [block for block in blocks("sh") if "providers new" in block]
    (tmp_path / ".venv").symlink_to(sys.prefix)
    with running(DemoModelSettings()) as server:
        for line in walk.replace("http://127.0.0.1:8000/v1", server.base_url).splitlines():
            done = subprocess.run(shlex.split(line), cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert "pass" in done.stdout
    assert [path.name for path in (tmp_path / "mine" / "providers").iterdir()] == ["my-framework"]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_and_option_in_the_readme_exists(words: list[str]) -> None:
    names = [word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)][:2]
    options = [word for word in words if word.startswith("-")]
    for depth in (2, 1):
        done = subprocess.run([COMMAND, *names[:depth], "--help"], capture_output=True, text=True)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    assert [option for option in options if option not in done.stdout] == []


def test_every_make_target_in_the_readme_exists() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = {line.split()[0] for line in shown.splitlines()}
    named = set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)`", README, re.MULTILINE))
    assert {first or second for first, second in named} <= targets


@pytest.mark.parametrize("part", ["", "exports:", "execution:"], ids=["whole", "exports", "execution"])
def test_the_eval_yaml_in_the_readme_is_valid(tmp_path: Path, part: str) -> None:
    (example,) = [block for block in blocks("yaml") if "\nmodel:" in block]
    evaluation = yaml.safe_load(example)
    if part:
        (more,) = [block for block in blocks("yaml") if block.startswith(part)]
        evaluation |= yaml.safe_load(more)
    path = tmp_path / "eval.yaml"
    path.write_text(yaml.safe_dump(evaluation))
    done = subprocess.run([COMMAND, "plan", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_table_of_providers_is_that_of_the_catalogue() -> None:
    rows = re.findall(r"^\| \[`([\w-]+)`\].*? \| ([^|]+) \| [^|]+ \| (\d+) \| ([\d.]+) GB \|$", README, re.MULTILINE)
    catalog = Catalog.of()
    assert {name: int(count) for name, _, count, _ in rows} == {
        name: len(catalog.provider(name).benchmarks) for name in catalog.provider_ids()
    }
    for name, framework, _, _ in rows:
        pinned = (catalog.provider_directory(name) / "requirements.in").read_text("utf-8")
        assert [version for version in re.findall(r"[\d.]+\d", framework) if f"=={version}" not in pinned] == []


def test_every_collection_is_named() -> None:
    assert [name for name in Catalog.of().collection_ids() if f"`{name}`" not in README] == []
