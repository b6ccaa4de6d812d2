"""What is in the wheel and the sdist, and what the base needs to run."""

import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from evalhub_components import __version__
from evalhub_pipelines.catalog import Catalog

CHECKOUT = Path(__file__).resolve().parents[2]
SUFFIXES = {".csv", ".jinja", ".py", ".yaml", ".json", ".jsonl", ".txt", ".in", ".md", ".typed", ".css", ""}
INFO = f"evalhub_kfp-{__version__}.dist-info"


def files(folder: str) -> set[str]:
    """Returns the files below a folder of the checkout, as paths from the checkout; caches of tools do not count."""
    found = (path.relative_to(CHECKOUT) for path in (CHECKOUT / folder).rglob("*") if path.is_file())
    return {str(path) for path in found if not any(part.startswith((".", "__pyc")) for part in path.parts)}


def moved(paths: set[str], folder: str, target: str) -> set[str]:
    return {target + path.removeprefix(folder) for path in paths}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with the sdist, and the wheel made from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stdout + made.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


def test_the_wheel_holds_both_packages_and_the_catalogue_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if not name.endswith("/")}
    info = {f"{INFO}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    providers = {path for path in files("providers") if not re.match(r"providers/[^/]+/tests/", path)}
    assert found == (
        info
        | moved(files("components/evalhub_components"), "components/", "")
        | moved(files("pipelines/evalhub_pipelines"), "pipelines/", "")
        | moved(files("collections"), "collections/", "evalhub_pipelines/_catalog/collections/")
        | moved(providers, "providers/", "evalhub_pipelines/_catalog/providers/")
    )


def test_the_sdist_holds_the_sources_and_nothing_else(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        found = {member.name.partition("/")[2] for member in archive if member.isfile()}
    sources = {path for root in ("components", "pipelines", "collections", "providers") for path in files(root)}
    assert found == sources | {"LICENSE", "README.md", "pyproject.toml", ".gitignore", "PKG-INFO"}


def test_nothing_unexpected_lies_among_the_sources() -> None:
    sources = {path for root in ("components", "pipelines", "collections", "providers") for path in files(root)}
    assert {path for path in sources if Path(path).suffix not in SUFFIXES} == set()
    assert not [path for path in files("collections") if path.endswith(".py")]


def test_the_base_depends_on_two_libraries(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{INFO}/METADATA").decode()
    needed = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata, re.MULTILINE)
    assert {name.lower() for name in needed} == {"pydantic", "pyyaml"}


def closure(*names: str) -> set[str]:
    """Returns the distributions that the named ones need, themselves included."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        for requirement in distribution(name).requires or []:
            if "extra ==" not in requirement:
                todo.append(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the Python of a new environment that has the wheel, pydantic and PyYAML and nothing else."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    uv = [sys.executable, "-m", "uv", "--quiet", "--offline"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(folder)], check=True, timeout=300)
    python = folder / "bin" / "python"
    subprocess.run([*uv, "pip", "install", "--python", str(python), "--no-deps", str(wheel)], check=True, timeout=300)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in closure("pydantic", "PyYAML"):
        # taken from the environment of the tests, so that no index is asked
        origin = distribution(name)
        for top in {path.parts[0] for path in origin.files or []} - {"..", "__pycache__"}:
            (packages / top).symlink_to(str(origin.locate_file(top)))
    return python


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-I", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=python.parent)


def test_an_installed_wheel_finds_its_catalogue(installed: Path) -> None:
    script = """
from evalhub_pipelines.catalog import Catalog, built_in
from evalhub_pipelines.resolution import resolve
catalog = Catalog.of()
assert "site-packages" in str(built_in()), built_in()
for collection in catalog.collections():
    resolve(collection, catalog.providers_of(collection))
for provider in catalog.provider_ids():
    assert (catalog.provider_directory(provider) / "adapter.py").is_file()
print(*catalog.collection_ids(), *catalog.provider_ids())
"""
    found = run(installed, "-c", script)
    here = Catalog.of()
    assert found.stdout.split() == [*here.collection_ids(), *here.provider_ids()], found.stderr


def test_what_runs_beside_a_framework_needs_two_libraries(installed: Path) -> None:
    script = """
import importlib, pkgutil
import evalhub_components
base = "adapter atomic benchmark canonical credentials environment errors fingerprint redaction schema".split()
names = [
    module.name
    for module in pkgutil.walk_packages(evalhub_components.__path__, "evalhub_components.")
    if module.name.split(".")[1] in base and not module.name.endswith(("__main__", ".component"))
]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    found = run(installed, "-c", script)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) > 15
    shown = run(installed, "-m", "evalhub_components.benchmark", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "--task" in shown.stdout


def test_a_missing_extra_says_how_to_install_it(installed: Path) -> None:
    command = [str(installed.parent / "evalhub-kfp"), "version"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert found.returncode == 2
    assert "pip install 'evalhub-kfp[cli]'" in found.stderr
    assert "Traceback" not in found.stderr
