"""A provider's environment: made once, shared, mended when damaged, and plain about what cannot be installed.

Packages come from a folder of small wheels made here, so nothing is downloaded.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from evalhub_pipelines import environments
from evalhub_pipelines.demo_model import DemoModelServer

# what evalhub_components itself imports, packed anew from this environment
OURS = ["pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection", "PyYAML"]

ADAPTER = """\
import tiny
from evalhub_components.adapter import EvaluationResult, FrameworkAdapter, JobResults


class Tiny(FrameworkAdapter):
    def run_benchmark_job(self, config, callbacks):
        return JobResults(
            id=config.id,
            benchmark_id=config.benchmark_id,
            benchmark_index=config.benchmark_index,
            model_name=config.model.name,
            results=[EvaluationResult("acc", tiny.SCORE)],
            num_examples_evaluated=1,
        )
"""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    pack(folder, "tiny", "1.0", {"tiny/__init__.py": "SCORE = 1.0\n"})
    pack(folder, "tiny", "2.0", {"tiny/__init__.py": "SCORE = 0.0\n"})
    pack(folder, "needy", "1.0", {"needy.py": ""}, ["tiny==2.0"])
    for name in OURS:
        repack(folder, metadata.distribution(name))
    return folder


def pack(folder: Path, name: str, version: str, files: dict[str, str], requires: list[str] | None = None) -> None:
    """Write a wheel."""
    facts = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    facts += [f"Requires-Dist: {requirement}" for requirement in requires or []]
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": "\n".join(facts) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        record = []
        for path, content in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).decode().rstrip("=")
            wheel.writestr(path, content)
            record.append(f"{path},sha256={digest},{len(content)}")
        wheel.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")


def repack(folder: Path, distribution: metadata.Distribution) -> None:
    """Write the wheel that an installed distribution came from."""
    text = distribution.read_text("WHEEL") or ""
    tag = next(line.split()[1] for line in text.splitlines() if line.startswith("Tag:"))
    name = distribution.metadata["Name"].replace("-", "_").lower()
    with zipfile.ZipFile(folder / f"{name}-{distribution.version}-{tag}.whl", "w") as wheel:
        for file in distribution.files or []:
            local = file.name in ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")
            if ".." not in file.parts and "__pycache__" not in file.parts and not local:
                wheel.write(file.locate(), str(file))


@pytest.fixture(autouse=True)
def offline(cli: Any, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    uv_cache = tmp_path_factory.getbasetemp() / "uv-cache"
    cli.environ |= {"UV_FIND_LINKS": str(wheels), "UV_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_CACHE_DIR": str(uv_cache)}


@pytest.fixture
def provider(cli: Any, write: Callable[..., Path]) -> Callable[[str], Path]:
    """A function that writes the provider `tiny` with these requirements and returns its folder."""

    def provider(requirements: str) -> Path:
        benchmark = {"id": "a", "primary_score": {"metric": "acc"}}
        write("own/providers/tiny/provider.yaml", {"id": "tiny", "benchmarks": [benchmark]})
        write("own/providers/tiny/adapter.py", ADAPTER)
        return write("own/providers/tiny/requirements.txt", requirements).parent

    return provider


@pytest.fixture
def install(cli: Any) -> Callable[[], Any]:
    return lambda: cli("providers", "install", "tiny", "--catalog", "own")


@pytest.fixture
def environment(cli: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """A function that returns where the environment of a provider's folder is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", cli.environ["XDG_CACHE_HOME"])
    return environments.environment_of


def test_provider_runs_in_its_own_environment(
    cli: Any, model: DemoModelServer, collection: Callable[..., Path], provider: Callable[[str], Path]
) -> None:
    """It has its own requirement and what this project's package needs, and nothing of the program that starts it."""
    provider("tiny==1.0\n")
    done = cli.run(collection(("tiny/a", {})), model, "--catalog", "own", "--format", "json")
    assert done.status == 0, done.err
    assert "making the environment of tiny (once)" in done.err
    assert done.json["verdict"]["score"] == 1.0
    seen = json.loads((cli.run_directory() / "benchmarks" / "000-a" / "environment.json").read_text())["packages"]
    assert {name.lower() for name in seen} - {"evalhub-kfp"} == {name.lower() for name in [*OURS, "tiny"]}
    again = cli.run(collection(("tiny/a", {})), model, "--catalog", "own")
    assert again.status == 0
    assert "making the environment" not in again.err


def test_environment_is_made_once_and_again_when_requirements_change(
    provider: Callable[[str], Path], install: Callable[[], Any]
) -> None:
    provider("tiny==1.0\n")
    first, second = install(), install()
    assert (first.status, second.status) == (0, 0), first.err
    assert "making the environment of tiny (once)" in first.err
    assert second.err == ""
    assert first.out == second.out
    name, python = first.out.split()
    assert name == "tiny"
    assert Path(python).exists()
    provider("tiny==2.0\n")
    third = install()
    assert "making the environment" in third.err
    assert third.out != first.out


def test_two_that_need_the_same_environment_at_once_make_it_once(
    cli: Any,
    provider: Callable[[str], Path],
    environment: Callable[[Path], Path],
    eventually: Callable[[Any], Any],
) -> None:
    """Both are at the door, which the test keeps shut until then."""
    place = environment(provider("tiny==1.0\n"))
    lock = place.with_name(place.name + ".lock")
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        processes = [cli.start("providers", "install", "tiny", "--catalog", "own") for _ in range(2)]
        inode = str(lock.stat().st_ino)
        eventually(lambda: sum(":" + inode in line for line in waiting_for_locks()) == 2)
        assert not place.exists()
    done = [cli.ended(process) for process in processes]
    assert [one.status for one in done] == [0, 0], done
    assert done[0].out == done[1].out
    assert sorted("making the environment" in one.err for one in done) == [False, True]


def waiting_for_locks() -> Iterator[str]:
    return (line for line in Path("/proc/locks").read_text().splitlines() if "->" in line)


@pytest.mark.parametrize("lost", ["bin/python", "lib/*/site-packages/tiny", "lib/*/site-packages/tiny-1.0.dist-info"])
def test_damaged_environment_is_made_anew(
    cli: Any, provider: Callable[[str], Path], install: Callable[[], Any], lost: str
) -> None:
    provider("tiny==1.0\n")
    root = Path(install().out.split()[1]).parents[1]
    (path,) = root.glob(lost)
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    listed = cli("providers", "list", "--catalog", "own", "--format", "json").json
    assert {"tiny": False}.items() <= {one["id"]: one["installed"] for one in listed}.items()
    done = install()
    assert done.status == 0, done.err
    assert "making the environment" in done.err
    assert path.exists()
    assert "making the environment" not in install().err


def test_environment_in_which_nothing_starts_is_made_anew_within_the_run(
    cli: Any,
    model: DemoModelServer,
    collection: Callable[..., Path],
    provider: Callable[[str], Path],
    install: Callable[[], Any],
) -> None:
    """A file inside a package is gone, which nobody sees who looks at the packages alone."""
    provider("tiny==1.0\n")
    root = Path(install().out.split()[1]).parents[1]
    (path,) = root.glob("lib/*/site-packages/pydantic/main.py")
    path.unlink()
    done = cli.run(collection(("tiny/a", {})), model, "--catalog", "own")
    assert done.status == 0, done.err
    assert "making the environment of tiny (once)" in done.err
    assert path.exists()


def test_environment_whose_making_was_cut_short_is_made_anew(
    provider: Callable[[str], Path], install: Callable[[], Any], environment: Callable[[Path], Path]
) -> None:
    place = environment(provider("tiny==1.0\n"))
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").write_text("#!/bin/false\n")
    (place / "bin" / "python").chmod(0o755)
    done = install()
    assert done.status == 0, done.err
    assert "making the environment" in done.err


@pytest.mark.parametrize(
    ("requirements", "blamed"),
    [
        ("tiny==1.0\nno-such-package==1.0\n", "no-such-package cannot be installed"),
        ("tiny==9.9\n", "tiny cannot be installed"),
        ("tiny==1.0\nneedy==1.0\n", "tiny, needy cannot be installed"),
        (f"tiny==1.0 --hash=sha256:{'0' * 64}\n", "tiny cannot be installed"),
        ("tiny==1.0\npydantic==1.10.2\n", "pydantic cannot be installed"),
    ],
    ids=["unknown package", "unknown version", "conflicting pins", "hash mismatch", "conflict with our own"],
)
def test_environment_that_cannot_be_made_names_the_requirement(
    cli: Any,
    model: DemoModelServer,
    collection: Callable[..., Path],
    provider: Callable[[str], Path],
    requirements: str,
    blamed: str,
) -> None:
    folder = provider(requirements)
    done = cli.run(collection(("tiny/a", {})), model, "--catalog", "own")
    assert done.status == 2
    assert f"{folder.relative_to(cli.folder)}/requirements.txt: {blamed}: " in done.err
    assert done.out == ""
    assert cli.run_directories() == []
