"""The login of a registry, from a mounted secret or from the configuration that Docker and Podman share.

Described in docker-login(1) and containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalhub_components.errors import EvalHubError

SECRET_FILES = (".dockerconfigjson", "config.json")
"""What a secret's folder holds: as Kubernetes mounts it, or as Docker writes it."""

_MAX_BYTES = 2**20
_HELPER_SECONDS = 30.0
_TOKEN_USER = "<token>"  # what a helper names the user when its secret is an identity token
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"


@dataclass(frozen=True)
class Login:
    """Who we are for a registry; without a user name or an identity token, nobody.

    Attributes:
        identity_token: what the token server exchanges for tokens, in place of a password.
        source: where it comes from, or where it was looked for in vain; for messages.
    """

    source: str
    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def anonymous(self) -> bool:
        """Whether there is no login."""
        return not (self.username or self.identity_token)

    def confidential(self) -> list[str]:
        """Return what must not be shown."""
        return [secret for secret in (self.password, self.identity_token) if secret]


def login(host: str, repository: str, secret: Path | None = None, environ: Mapping[str, str] = os.environ) -> Login:
    """Return the login for a repository: from the folder `secret` alone when given, else as Docker and Podman find it.

    Raises:
        EvalHubError: a file or a credential helper cannot be used; the message shows nothing of what is in it.
    """
    paths = [_secret_file(secret)] if secret else _usual_files(environ)
    for path in paths:
        found = _in_file(path, host, repository)
        if found:
            return found
    looked = " and ".join(str(path) for path in paths)
    return Login(f"there is none for {host} in {looked}")


def _secret_file(folder: Path) -> Path:
    for name in SECRET_FILES:
        if (folder / name).is_file():
            return folder / name
    raise EvalHubError(f"{folder}: has no {SECRET_FILES[0]} (a secret of type kubernetes.io/dockerconfigjson has)")


def _usual_files(environ: Mapping[str, str]) -> list[Path]:
    """Return what the environment names explicitly, else the files in their usual places."""
    named = []
    if folder := environ.get("DOCKER_CONFIG"):
        named.append(Path(folder) / "config.json")
    if file := environ.get("REGISTRY_AUTH_FILE"):
        named.append(Path(file))
    if named:
        return named
    home = environ.get("HOME")
    usual = [(Path(home) if home else Path.home()) / ".docker" / "config.json"]
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        usual.append(Path(runtime) / "containers" / "auth.json")
    return usual


def _in_file(path: Path, host: str, repository: str) -> Login | None:
    config = _read(path)
    auths, helpers = _object(config, "auths", path), _object(config, "credHelpers", path)
    for alias in _aliases(host):
        if helper := helpers.get(alias):
            return _from_helper(helper, alias, path)
    for key in _matching_keys(auths, host, repository):
        found = _from_entry(auths[key], f"{path}: auths[{key[:200]!r}]", str(path))
        if found:
            return found
    if store := config.get("credsStore"):
        server = _DOCKER_HUB_KEY if host in _DOCKER_HUB else host
        return _from_helper(store, server, path)
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise EvalHubError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        value = json.loads(content) if len(content) <= _MAX_BYTES else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise EvalHubError(f"{path}: is no Docker configuration (it would be JSON with the key auths)")
    return value


def _object(config: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = config.get(key) or {}
    if not isinstance(value, dict):
        raise EvalHubError(f"{path}: {key}: must be an object")
    return value


def _matching_keys(auths: Mapping[str, Any], host: str, repository: str) -> Iterator[str]:
    """Yield the keys that speak of the repository, those of the longest path first.

    A key is a host, a host and a leading part of the repository, or the address of the host's old API.
    """
    scopes = {}
    for key in auths:
        bare = re.sub(r"^https?://", "", key)
        bare = re.sub(r"/v[12]/?$", "", bare).rstrip("/")
        # an address stands for its host; only what is written without a scheme has a path
        scopes[key] = bare.partition("/")[0] if bare != key.rstrip("/") else bare
    wanted = repository.split("/")
    for length in range(len(wanted), -1, -1):
        for alias in _aliases(host):
            scope = "/".join([alias, *wanted[:length]])
            # the plain spelling before an address that comes to the same
            yield from sorted((key for key in auths if scopes[key] == scope), key=lambda key: key != scope)


def _aliases(host: str) -> tuple[str, ...]:
    return _DOCKER_HUB if host in _DOCKER_HUB else (host,)


def _from_entry(entry: Any, where: str, source: str) -> Login | None:
    """Return the login in an entry of `auths`, None when it is empty: then a credential store has it."""
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise EvalHubError(f"{where}: must be an object of texts")
    username, password = entry.get("username", ""), entry.get("password", "")
    if auth := entry.get("auth"):
        try:
            decoded = base64.b64decode(auth, validate=True).decode().rstrip("\0")
        except (binascii.Error, ValueError):
            decoded = ""
        username, colon, password = decoded.partition(":")
        if not colon:
            raise EvalHubError(f"{where}.auth: must be base64 of USER:PASSWORD")
    return _checked(Login(source, username, password, entry.get("identitytoken", "")), where)


def _from_helper(name: Any, server: str, path: Path) -> Login | None:
    """Return what the credential helper has for `server`, None when it has nothing."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise EvalHubError(f"{path}: a credential helper's name must be letters, digits, '.', '_' and '-'")
    command = f"docker-credential-{name}"
    where = f"{command} (named in {path})"
    try:
        # what it says is a secret, or may hold one: it is never shown
        done = subprocess.run([command, "get"], input=server.encode(), capture_output=True, timeout=_HELPER_SECONDS)
    except FileNotFoundError:
        raise EvalHubError(f"{where}: is not installed (it must be on the PATH)") from None
    except OSError as error:
        raise EvalHubError(f"{where}: cannot be started ({error.strerror})") from None
    except subprocess.TimeoutExpired:
        raise EvalHubError(f"{where}: does not answer (it has {_HELPER_SECONDS:.0f} s)") from None
    if done.returncode != 0:
        if b"credentials not found" in done.stdout + done.stderr:
            return None
        raise EvalHubError(f"{where}: failed for {server} (its `get` must work without asking for anything)")
    try:
        answer = json.loads(done.stdout)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise EvalHubError(f"{where}: answers {server} with something else than Username and Secret") from None
    if username == _TOKEN_USER:
        return _checked(Login(where, identity_token=secret), where)
    return _checked(Login(where, username, secret), where)


def _checked(found: Login, where: str) -> Login | None:
    # what cannot be sent in a header would be quoted by the error about that
    if any(
        ord(character) < 0x20 or ord(character) == 0x7F
        for text in (found.username, *found.confidential())
        for character in text
    ):
        raise EvalHubError(f"{where}: user name and password must hold no control characters")
    return None if found.anonymous else found
