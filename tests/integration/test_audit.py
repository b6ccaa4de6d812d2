"""The README's audit without this program, line by line, with whichever of its tools are installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from container_engine import missing
from evidence_runs import SignedRun, finished_run, key, signed
from registries import RunningRegistry, plain_registry

from evalhub_components.evidence.reference import Reference
from evalhub_components.evidence.registry import push
from evalhub_components.evidence.registry.registry import Registry

__all__ = ["finished_run", "key", "plain_registry", "signed"]

README = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
(SECTION,) = re.findall(r"### Audit without this program\n.*?```sh\n(.*?)```", README, re.DOTALL)
LINES = SECTION.splitlines()
TOOLS = ("skopeo", "oras", "cosign")
IN_DEBIAN = ("skopeo",)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:olot")


@pytest.mark.parametrize("line", LINES, ids=[line.partition("#")[0].strip()[:40] for line in LINES])
def test_the_readmes_audit_holds_for_what_we_push(
    line: str, signed: SignedRun, plain_registry: RunningRegistry, tmp_path: Path
) -> None:
    tool = next(tool for tool in TOOLS if line.startswith(tool))
    if not shutil.which(tool):
        if tool in IN_DEBIAN:
            missing(f"{tool} (Debian: apt-get install {tool})")
        pytest.skip(f"{tool} is not installed")
    registry = Registry(Reference.parse(f"{plain_registry.address}/team/evals"))
    push.push(signed.layout, registry)
    # the line has no flag for plain HTTP: a user's registry has TLS
    plain = tmp_path / ".config" / "containers" / "registries.conf"
    plain.parent.mkdir(parents=True)
    plain.write_text(f'[[registry]]\nlocation = "{plain_registry.host}"\ninsecure = true\n')
    shutil.copy(signed.public_key, tmp_path / "public.key")
    environ = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "REF": f"{plain_registry.host}/team/evals@{signed.digest}",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    if line.endswith("the digest that the reference names"):
        assert f"sha256:{done.stdout.split()[0]}" == signed.digest
