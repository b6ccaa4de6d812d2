"""Which images there are, what a build is told, what a lock holds, and what every Containerfile keeps to."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from evalhub_components import __version__
from evalhub_components.errors import EvalHubError
from evalhub_pipelines import images
from evalhub_pipelines.catalog import Catalog
from evalhub_pipelines.images import Image

CHECKOUT = Path(__file__).resolve().parents[3]
DIGEST = "sha256:" + "a" * 64
CONTAINERFILES = [image.containerfile for image in images.of_checkout()]

ENGINE = """\
#!/bin/sh
for word in "$@"; do echo "$word"; done > "$0.calls"
cat "$0.says" 2>/dev/null
while [ $# -gt 0 ]; do [ "$1" = --digestfile ] && cp "$0.digest" "$2"; shift; done
test ! -e "$0.fails"
"""


@pytest.fixture
def engine(tmp_path: Path) -> Callable[[str], Path]:
    """A function that makes an engine of this name, which writes down its last call and says what it is told to."""

    def engine(name: str) -> Path:
        path = tmp_path / name
        path.write_text(ENGINE)
        path.chmod(0o755)
        return path

    return engine


def calls(engine: Path) -> list[str]:
    return engine.with_name(f"{engine.name}.calls").read_text().splitlines()


def test_every_provider_with_an_adapter_has_an_image() -> None:
    catalog = Catalog.of()
    own = [name for name in catalog.provider_ids() if (catalog.provider_directory(name) / "adapter.py").is_file()]
    assert [image.name for image in images.of_checkout()] == ["components", *own]


def test_a_registry_takes_the_place_of_the_catalogues() -> None:
    assert [image.reference for image in images.of_checkout("r.example:5000/team/", ["components"])] == [
        f"r.example:5000/team/components:{__version__}"
    ]
    for image in images.of_checkout("r.example:5000/team"):
        assert re.fullmatch(rf"r\.example:5000/team/[a-z-]+:{re.escape(__version__)}", image.reference)


@pytest.mark.parametrize(
    ("registry", "names", "words"),
    [
        ("https://r.example", [], r"must be host and path, such as registry\.example/team"),
        ("/", [], "must be host and path"),
        (None, ["componets"], r"did you mean 'components'\?"),
    ],
)
def test_what_cannot_be_built_is_refused(registry: str | None, names: list[str], words: str) -> None:
    with pytest.raises(EvalHubError, match=words):
        images.of_checkout(registry, names)


def test_a_build_is_told_what_the_image_is(engine: Callable[[str], Path]) -> None:
    docker = engine("docker")
    image = Image("components", "r.example/components:1", Path("components/Containerfile"))
    images.build(image, str(docker), base_image="b@sha256:1", options=["--network=host"])
    words = calls(docker)
    assert words[:5] == ["build", "--file", str(CHECKOUT / image.containerfile), "--tag", image.reference]
    arguments = dict(word.split("=", 1) for option, word in itertools.pairwise(words) if "arg" in option)
    assert arguments.pop("REVISION") is not None
    assert arguments == {"VERSION": __version__, "IMAGE": "r.example/components:1", "BASE_IMAGE": "b@sha256:1"}
    assert words[-2:] == ["--network=host", str(CHECKOUT)]


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_what_is_pushed_is_known_by_the_digest_in_the_registry(engine: Callable[[str], Path], name: str) -> None:
    path = engine(name)
    answer = f"The push refers to repository [r.example:5000/x]\n5f70: Layer sha256:{'b' * 64} exists\n"
    path.with_name("docker.says").write_text(f"{answer}1: digest: {DIGEST} size: 948\n")
    path.with_name("podman.digest").write_text(DIGEST)
    image = Image("x", "r.example:5000/x:1", Path("components/Containerfile"))
    assert images.push(image, str(path)) == f"r.example:5000/x@{DIGEST}"


def test_a_push_without_a_digest_is_an_error(engine: Callable[[str], Path]) -> None:
    image = Image("x", "r.example/x:1", Path("components/Containerfile"))
    with pytest.raises(EvalHubError, match="did not say by which digest"):
        images.push(image, str(engine("docker")))


@pytest.mark.parametrize("work", [images.push, images.build])
def test_an_engine_that_is_not_installed_is_named(work: Callable[[Image, str], object]) -> None:
    image = Image("x", "r.example/x:1", Path("components/Containerfile"))
    with pytest.raises(EvalHubError, match=r"/nowhere/docker: cannot be started .*name docker, podman"):
        work(image, "/nowhere/docker")


def test_a_lock_has_every_image_by_digest(tmp_path: Path) -> None:
    path = tmp_path / "made" / "images.lock.json"
    images.write_lock(path, {"b": f"r/b@{DIGEST}", "components": f"r/c@{DIGEST}", "a": f"r/a@{DIGEST}"})
    document = json.loads(path.read_text())
    assert document == {"components": f"r/c@{DIGEST}", "providers": {"a": f"r/a@{DIGEST}", "b": f"r/b@{DIGEST}"}}


def test_a_lock_without_the_components_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(EvalHubError, match="needs the image 'components' too"):
        images.write_lock(tmp_path / "lock.json", {"a": f"r/a@{DIGEST}"})
    assert not (tmp_path / "lock.json").exists()


@pytest.mark.parametrize(
    ("reference", "repository"),
    [
        ("x:1", "x"),
        ("r.example:5000/x", "r.example:5000/x"),
        ("r.example:5000/a/x:1", "r.example:5000/a/x"),
        (f"r.example/x:1@{DIGEST}", "r.example/x"),
        (f"r.example/x@{DIGEST}", "r.example/x"),
    ],
)
def test_a_repository_is_a_reference_without_tag_and_digest(reference: str, repository: str) -> None:
    assert images.repository(reference) == repository


@pytest.mark.parametrize("path", CONTAINERFILES, ids=str)
def test_a_containerfile_keeps_to_what_pods_need(path: Path) -> None:
    text = (CHECKOUT / path).read_text()
    base = re.search(r"^ARG BASE_IMAGE=(\S+)$", text, re.MULTILINE)
    assert base is not None
    assert re.search(r"(:[\w.-]+|@sha256:[0-9a-f]{64})$", base[1]), "the base has neither tag nor digest"
    assert ":latest" not in text
    users = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert re.fullmatch(r"[1-9]\d*:0", users[-1]), "the last user must be a number, and not root"
    # whatever is installed is installed here, from a lock with hashes
    installs = [
        line for line in text.splitlines() if re.search(r"\b(pip|uv|dnf|microdnf|apt-get)\b.*\binstall\b", line)
    ]
    assert installs
    assert all("--require-hashes" in line and "--no-deps" in line for line in installs)


def test_containerfiles_agree_on_base_and_environment() -> None:
    bases, environments = set(), []
    for path in CONTAINERFILES:
        text = (CHECKOUT / path).read_text()
        bases.update(re.findall(r"^ARG BASE_IMAGE=(\S+)$", text, re.MULTILINE))
        block = re.search(r"^ENV PATH=(.*?[^\\])\n", text, re.MULTILINE | re.DOTALL)
        assert block is not None
        environments.append(set(block[1].replace("\\\n", " ").split()))
    assert len(bases) == 1
    shared = set.intersection(*environments)
    for wanted in ("HOME=/tmp", "PYTHONPATH=/opt/evalhub/components", "PYTHONDONTWRITEBYTECODE=1", "DO_NOT_TRACK=1"):
        assert wanted in shared


@pytest.mark.parametrize("path", [path.with_name("requirements.txt") for path in CONTAINERFILES], ids=str)
def test_what_is_installed_is_locked_and_from_no_particular_index(path: Path) -> None:
    text = (CHECKOUT / path).read_text()
    assert not re.search(r"https?://|--index|--extra-index|--find-links", re.sub(r"(?m)#.*$", "", text))
    for block in re.split(r"\n(?=[a-z0-9])", text)[1:]:
        assert re.match(r"[a-z0-9._-]+(\[[\w,-]+\])?==\S+", block), block
        assert "--hash=sha256:" in block


def test_the_components_image_has_what_the_tests_ran_with() -> None:
    def pins(path: str) -> set[str]:
        return set(re.findall(r"(?m)^([a-z0-9._-]+==[^\s;]+)", (CHECKOUT / path).read_text()))

    assert pins("components/requirements.txt") - pins(".ci/requirements-dev.txt") == set()
