"""What a step finds out about the machine and software it runs on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path

import pytest

from evalhub_components import __version__, canonical, environment


def test_hardware_system_and_python_are_known() -> None:
    found = environment.capture()
    assert found["package_version"] == __version__
    assert found["python"]["version"] == platform.python_version()
    assert found["os"]["kernel"] == platform.release()
    assert found["hardware"]["cpus"] == os.cpu_count()
    assert found["hardware"]["memory"] > 1 << 20
    canonical.dumps(found)


def test_every_installed_package_is_listed_with_its_version() -> None:
    found = environment.installed_packages()
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        assert found[name] == distribution.version


def test_old_kinds_of_metadata_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Some_Package-1.0.dist-info", "dotted.name-2.0rc1.dist-info", "old_egg-3.1-py3.11.egg-info"):
        (tmp_path / name).mkdir()
    (tmp_path / "no_version.egg-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "missing"), ""])
    assert environment.installed_packages() == {"dotted-name": "2.0rc1", "old-egg": "3.1", "some-package": "1.0"}


def test_the_package_that_python_would_import_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, version in (("first", "2"), ("second", "1")):
        (tmp_path / folder / f"thing-{version}.dist-info").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), str(tmp_path / "second")])
    assert environment.installed_packages() == {"thing": "2"}


def test_image_and_pod_are_what_the_pod_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "labels").write_text('app="evaluation"\n')
    (tmp_path / "..data").mkdir()
    monkeypatch.setenv("EVALHUB_PODINFO", str(tmp_path))
    monkeypatch.setenv("EVALHUB_IMAGE", "registry.example/provider:1")
    monkeypatch.setenv("EVALHUB_IMAGE_DIGEST", "sha256:ab")
    found = environment.capture()
    assert found["pod"] == {"labels": 'app="evaluation"\n'}
    assert found["image"] == {"reference": "registry.example/provider:1", "digest": "sha256:ab"}


def test_what_nobody_told_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALHUB_PODINFO", str(tmp_path / "nothing"))
    monkeypatch.delenv("EVALHUB_IMAGE", raising=False)
    monkeypatch.delenv("EVALHUB_IMAGE_DIGEST", raising=False)
    found = environment.capture()
    assert found["pod"] is None
    assert found["image"] == {"reference": None, "digest": None}


def test_accelerators_are_what_nvidia_smi_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "nvidia-smi"
    lines = ("NVIDIA H100 80GB HBM3, 81559 MiB, 550.54, GPU-1", "B, 2 MiB, 550.54, GPU-2")
    command.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    first, second = environment.capture()["accelerators"]
    assert first == {"name": "NVIDIA H100 80GB HBM3", "memory": "81559 MiB", "driver": "550.54", "uuid": "GPU-1"}
    assert second["uuid"] == "GPU-2"


@pytest.mark.parametrize("script", ["exit 9", "exec 1>&-; kill $$"])
def test_a_driver_that_fails_means_no_accelerators(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert environment.capture()["accelerators"] == []
