"""A model as KServe serves it with authentication: asked with a token of which there is soon another one."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evalhub_pipelines.demo_model import DemoModelServer, DemoModelSettings, running
from evalhub_pipelines.demo_model.protocol import Protocol
from evalhub_pipelines.demo_model.reply import Reply


class RotatingTokens(Protocol):
    """The demo model behind a proxy that asks who it is on every path, as kube-rbac-proxy does.

    Attributes:
        file: where the token is, as the kubelet mounts it: a link into a folder that is exchanged as a whole.
        made: every token there was, the last one being the one in the file.
        refused: how often another was sent, or none.
    """

    def __init__(self, settings: DemoModelSettings, folder: Path, every: int, grace: int = 0) -> None:
        super().__init__(settings)
        self.file = folder / "token"
        self.made: list[str] = []
        self.refused = 0
        self._every, self._grace = every, grace
        self._served = 0
        self._counting = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._rotate()

    def handle(self, method: str, path: str, authorization: str | None, body: bytes) -> Reply:
        with self._counting:
            if authorization not in [f"Bearer {token}" for token in self.made[-1 - self._grace :]]:
                self.refused += 1
                # some proxies repeat what they refuse
                return Reply(401, {"error": {"message": f"not with {authorization}"}})
            self._served += 1
            if self._served % self._every == 0:
                self._rotate()
        return super().handle(method, path, authorization, body)

    def _rotate(self) -> None:
        self.made.append(f"eyJhbGciOiJSUzI1NiJ9.{secrets.token_hex(24)}.{secrets.token_urlsafe(32)}")
        folder = self.file.with_name(f"..{len(self.made)}")
        folder.mkdir()
        (folder / "token").write_text(self.made[-1])
        new = self.file.with_name("..new")
        new.symlink_to(folder.name)
        new.rename(self.file.with_name("..data"))
        if not self.file.is_symlink():
            self.file.symlink_to(Path("..data") / "token")


@contextmanager
def guarded(
    folder: Path, *, every: int = 10, grace: int = 0, **settings: object
) -> Iterator[tuple[DemoModelServer, RotatingTokens]]:
    """Serve the demo model with a token in `folder / "token"` that is another one after `every` requests.

    Args:
        folder: made where it is missing.
        every: requests until there is a new token.
        grace: how many tokens before the newest are still good; a cluster takes an old one for minutes at least.
        settings: of the demo model.
    """
    chosen = DemoModelSettings(**settings)  # type: ignore[arg-type]
    with running(chosen) as server:
        server.protocol = protocol = RotatingTokens(chosen, folder, every, grace)
        yield server, protocol


def files_with_a_token(folder: Path, tokens: list[str]) -> list[Path]:
    """Return the files below `folder` that hold one of the tokens, or bear its name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(t in path.name or t.encode() in path.read_bytes() for t in tokens)]
