"""What the Containerfiles of the providers copy: everything that an adapter needs, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROVIDERS = sorted(path.parent for path in (ROOT / "providers").glob("*/Containerfile"))
NOT_IN_AN_IMAGE = {"Containerfile", "README.md", "check_catalogue.py", "provider.yaml", "requirements.in"}


def copied(containerfile: str) -> set[Path]:
    """Return the files of the checkout that a Containerfile copies."""
    found: set[Path] = set()
    for line in re.findall(r"(?m)^COPY (.+)$", containerfile):
        *sources, _ = line.split()
        for source in sources:
            paths = list(ROOT.glob(source))
            assert paths, f"COPY {source}: there is no such file"
            found |= {file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))}
    return found


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda path: path.name)
def test_an_image_has_all_that_its_adapter_needs(provider: Path) -> None:
    text = (provider / "Containerfile").read_text("utf-8")
    needed = {
        path
        for path in provider.rglob("*")
        if path.is_file()
        and path.name not in NOT_IN_AN_IMAGE
        and not {"tests", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
        & set(path.relative_to(provider).parts)
    }
    assert {
        path
        for path in copied(text)
        if path.is_relative_to(provider) and "__pycache__" not in path.parts and path.is_file()
    } == needed


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda path: path.name)
def test_an_image_can_be_told_where_pytorch_is_when_it_needs_that(provider: Path) -> None:
    text = (provider / "Containerfile").read_text("utf-8")
    needs = "+cpu" in (provider / "requirements.txt").read_text("utf-8")
    assert ("ARG PIP_EXTRA_INDEX_URL=" in text and "ARG PIP_FIND_LINKS=" in text) == needs
