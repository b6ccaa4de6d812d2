"""Who may import what: the layers of the project, read from the imports of every module."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

EVERYWHERE = {"pydantic", "yaml"}
"""The dependencies of the base distribution."""

OWNERS = {
    "boto3": ("evalhub_components.test_data.s3",),
    "botocore": ("evalhub_components.test_data.s3",),
    "cryptography": ("evalhub_components.evidence.signing",),
    "click": ("evalhub_pipelines.cli",),
    "filelock": ("evalhub_components.records.tracking",),
    "huggingface_hub": ("evalhub_components.test_data.huggingface",),
    "jinja2": ("evalhub_components.records.html", "evalhub_pipelines.new_provider"),
    "kfp": (
        "evalhub_components.*.component",
        "evalhub_components.kfp_ports",
        "evalhub_pipelines.compiler",
        "evalhub_pipelines.client",
    ),
    "kfp_server_api": ("evalhub_pipelines.client",),
    "kubernetes": ("evalhub_pipelines.client", "evalhub_pipelines.doctor"),
    "mlflow": ("evalhub_components.records.tracking",),
    "olot": (
        "evalhub_components.evidence.building",
        "evalhub_components.evidence.layout",
        "evalhub_components.evidence.signing",
    ),
    "oras": ("evalhub_components.evidence.registry",),
    "requests": ("evalhub_components.evidence.registry",),
    "urllib3": ("evalhub_components.evidence.registry", "evalhub_pipelines.client"),
    "rfc8785": ("evalhub_components.evidence.layout",),
    "rich": ("evalhub_pipelines.cli",),
    "tenacity": ("evalhub_components.evidence.registry",),
    "uv": ("evalhub_pipelines.environments",),
}
"""Every other library, and the modules that alone import it."""

RECORDS = {"kfp", "kubernetes", "mlflow", "olot", "oras"}
"""What runs benchmarks and keeps their records: no business of a provider, whose framework may bring anything else."""

BASE = tuple(
    f"evalhub_components.{name}"
    for name in (
        "adapter",
        "atomic",
        "benchmark",
        "bridge",
        "canonical",
        "credentials",
        "environment",
        "errors",
        "file_names",
        "fingerprint",
        "framework",
        "kfp_output",
        "redaction",
        "schema",
        "test_data",
    )
)
"""What every provider image runs, beside a framework with pins of its own."""

PURE = (
    "evalhub_components.scoring.benchmark_score",
    "evalhub_components.scoring.comparison",
    "evalhub_components.scoring.overall_score",
    "evalhub_components.scoring.judgement",
    "evalhub_components.scoring.standard_error",
    "evalhub_pipelines.resolution",
)
IMPURE = {
    *("asyncio", "datetime", "getpass", "glob", "http", "io", "locale", "logging", "multiprocessing", "os", "pathlib"),
    *("platform", "random", "requests", "secrets", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys"),
    *("tempfile", "threading", "time", "urllib", "uuid"),
}
"""Files, network, clock, chance, processes and environment."""

STRANGERS = (
    ("evalhub_pipelines.compiler", "evalhub_pipelines.local"),
    ("evalhub_pipelines.local", "evalhub_pipelines.compiler"),
)


def imports_of(module: str, source: str) -> Iterator[str]:
    """Yields the dotted names that a module imports anywhere, lazily or by a literal name too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = ast.unparse(node.func)
            yield from [str(node.args[0].value)] if name.endswith(("import_module", "__import__")) else []


def within(name: str, *places: str) -> bool:
    """Tells whether a module, or a name in it, belongs to one of the places; a `*` stands for one folder."""
    parts = name.split(".")
    return any(
        len(parts) >= len(place.split("."))
        and all(wanted in ("*", part) for wanted, part in zip(place.split("."), parts, strict=False))
        for place in places
    )


def violations(module: str, source: str) -> list[str]:
    """Returns what a module imports and may not; a provider's modules are `providers.<id>.<name>`."""
    found = []
    for name in sorted(set(imports_of(module, source))):
        root = name.partition(".")[0]
        if within(module, "providers"):
            if root == "evalhub_pipelines" or (root in RECORDS):
                found.append(f"{module} imports {name}: a provider knows evalhub_components and its framework")
            continue
        if root not in sys.stdlib_module_names | EVERYWHERE | {"evalhub_components", "evalhub_pipelines"}:
            owners = OWNERS.get(root, ())
            if not within(module, *owners):
                found.append(f"{module} imports {name}: that belongs to {' and '.join(owners) or 'nobody'}")
        if within(module, "evalhub_components") and root == "evalhub_pipelines":
            found.append(f"{module} imports {name}: evalhub_components never imports evalhub_pipelines")
        own = ("evalhub_components.__version__", *BASE)
        # component.py is read where pipelines are compiled, and runs in no image
        if (
            within(module, *BASE)
            and not module.endswith(".component")
            and root == "evalhub_components"
            and name != root
            and not within(name, *own)
        ):
            found.append(f"{module} imports {name}: the base needs nothing beyond the base")
        if within(module, *PURE) and root in IMPURE:
            found.append(f"{module} imports {name}: it is pure")
        if within(name, "evalhub_pipelines.demo_model") and not within(
            module, "evalhub_pipelines.demo_model", "evalhub_pipelines.cli"
        ):
            found.append(f"{module} imports {name}: the demo model is for the command line alone")
        if any(within(module, one) and within(name, other) for one, other in STRANGERS):
            found.append(f"{module} imports {name}: the engines do not know each other")
    return found


def modules() -> dict[str, Path]:
    """Returns every module of the packages and providers, tests aside."""
    found = {}
    for root in (CHECKOUT / "components", CHECKOUT / "pipelines"):
        for path in root.glob("evalhub_*/**/*.py"):
            found[".".join(path.relative_to(root).with_suffix("").parts)] = path
    for path in (CHECKOUT / "providers").glob("*/**/*.py"):
        if "tests" not in path.parts:
            found[".".join(path.relative_to(CHECKOUT).with_suffix("").parts)] = path
    return found


MODULES = modules()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_its_layer_may(module: str) -> None:
    assert violations(module, MODULES[module].read_text()) == []


@pytest.mark.parametrize("module", [*BASE, *PURE])
def test_the_rules_speak_of_modules_that_exist(module: str) -> None:
    assert module in MODULES or f"{module}.__init__" in MODULES


@pytest.mark.parametrize(
    ("module", "source", "words"),
    [
        ("evalhub_components.errors", "import evalhub_pipelines", "never imports evalhub_pipelines"),
        ("evalhub_components.gate.__main__", "from evalhub_pipelines import local", "never imports evalhub_pipelines"),
        ("evalhub_components.atomic", "def f():\n    import evalhub_pipelines.x", "never imports evalhub_pipelines"),
        ("providers.p.adapter", "from evalhub_pipelines.catalog import Catalog", "a provider knows"),
        ("providers.p.tool", "import mlflow", "a provider knows"),
        ("evalhub_pipelines.resolution", "import os", "it is pure"),
        ("evalhub_pipelines.resolution", "from os import environ", "it is pure"),
        ("evalhub_components.scoring.judgement", "import urllib.request", "it is pure"),
        ("evalhub_components.scoring.standard_error", "from datetime import datetime", "it is pure"),
        ("evalhub_components.records.report", "import mlflow.entities", "that belongs to"),
        ("evalhub_components.records.tracking", "import olot", "that belongs to"),
        ("evalhub_components.gate.__main__", "from kfp import dsl", "that belongs to"),
        ("evalhub_pipelines.local", "import kfp.compiler", "that belongs to"),
        ("evalhub_pipelines.compiler", "import kubernetes", "that belongs to"),
        ("evalhub_pipelines.api", "if True:\n    from rich.table import Table", "that belongs to"),
        ("evalhub_pipelines.local", "import importlib\nimportlib.import_module('click')", "that belongs to"),
        ("evalhub_pipelines.local", "import requests", "that belongs to"),
        ("evalhub_pipelines.local", "from evalhub_pipelines import demo_model", "for the command line alone"),
        ("evalhub_pipelines.api", "from .demo_model import running", "for the command line alone"),
        ("evalhub_pipelines.local", "from evalhub_pipelines import compiler", "do not know each other"),
        ("evalhub_pipelines.compiler", "from evalhub_pipelines.local import run", "do not know each other"),
        ("evalhub_components.schema.plan", "from evalhub_components.aggregate import scoring", "beyond the base"),
        ("evalhub_components.benchmark.harness", "from ..aggregate.report import x", "beyond the base"),
        ("evalhub_components.fingerprint.probe", "import httpx", "that belongs to nobody"),
    ],
)
def test_a_violation_is_seen(module: str, source: str, words: str) -> None:
    (found,) = violations(module, source)
    assert words in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("evalhub_components.fingerprint.component", "from kfp import dsl"),
        ("evalhub_pipelines.compiler", "from kfp import kubernetes"),
        ("evalhub_pipelines.client", "import kubernetes.client"),
        ("evalhub_pipelines.cli.demo", "from evalhub_pipelines.demo_model import running"),
        ("evalhub_pipelines.demo_model.__main__", "from evalhub_pipelines.demo_model.server import DemoModelServer"),
        ("evalhub_components.benchmark.harness", "import evalhub_components\nfrom evalhub_components import atomic"),
        ("evalhub_components.schema.plan", "from . import document\nimport os"),
        ("providers.p.adapter", "import lm_eval, numpy\nfrom evalhub_components.adapter import JobSpec"),
    ],
)
def test_an_owner_may(module: str, source: str) -> None:
    assert violations(module, source) == []
