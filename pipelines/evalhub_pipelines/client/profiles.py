"""Named Kubeflow installations of a user: `profiles.yaml`, which only its owner reads and which holds no secret."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from evalhub_components.errors import EvalHubError, InvalidDocument, Problem
from evalhub_components.schema.document import Document, Seconds, matching
from evalhub_pipelines import bounded_yaml, documents

LITERALS = {"token": "token", "existing_token": "token", "password": "token", "cookies": "cookies", "cookie": "cookies"}
"""Keys under which somebody might write a secret, and what its references begin with."""

Address = Annotated[
    str,
    matching(
        r"^https?://[^\s@?#/]+(/[^\s@?#]*)?\Z",
        "an http or https address such as https://kubeflow.example/pipeline, without query, user and password",
    ),
]
"""Where an installation answers."""

Variable = Annotated[
    str,
    matching(r"^[A-Z_][A-Z0-9_]{0,63}\Z", "the name of an environment variable (capitals), never the secret itself"),
]
"""An environment variable that holds a secret. Capitals alone: hardly a secret has that form, and none is kept here."""

File = Annotated[
    str, matching(r"^(/|~/)[^\n]+\Z", "the absolute path of a file (or one beginning with ~/), never its content")
]
"""A file that is read again for every request: whoever renews a token writes it there."""

Namespace = Annotated[
    str, matching(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z", "a namespace: lower-case letters, digits and '-'")
]
"""A namespace of Kubernetes."""

Name = Annotated[
    str,
    matching(r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z", "a name of letters, digits, '.', '_' and '-'"),
]
"""What a profile is called."""


class Profile(Document):
    """One installation of Kubeflow Pipelines, and how to get in.

    Attributes:
        endpoint: where the API is, without `/apis`.
        namespace: the tenant's; needed where an installation has several users.
        token_env: environment variable with the bearer token.
        token_file: file with the bearer token, such as that of a service account.
        cookies_env: environment variable with what the `Cookie` header says.
        cookies_file: file with that.
        ca_file: certificates of the CA that the server's is signed by.
        dashboard: where people look at runs, when that is not the endpoint.
        timeout: seconds that an answer may take.
    """

    endpoint: Address
    namespace: Namespace | None = None
    token_env: Variable | None = None
    token_file: File | None = None
    cookies_env: Variable | None = None
    cookies_file: File | None = None
    ca_file: File | None = None
    dashboard: Address | None = None
    timeout: Seconds = 60

    @model_validator(mode="after")
    def _one_of_each(self) -> Profile:
        for kind in ("token", "cookies"):
            if getattr(self, f"{kind}_env") and getattr(self, f"{kind}_file"):
                raise ValueError(f"has {kind}_env and {kind}_file (keep one)")
        return self

    def as_yaml(self) -> dict[str, Any]:
        """Return the keys that were given."""
        return self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


class Profiles(Document):
    """The whole file.

    Attributes:
        current: the profile that counts when none is named.
    """

    current: Name | None = None
    profiles: dict[Name, Profile] = Field(default_factory=dict)

    def named(self, name: str | None, where: str = "--profile") -> tuple[str, Profile] | None:
        """Return a profile and its name, the current one without a name; None when there is none.

        Args:
            where: who asks for that name, for messages.

        Raises:
            EvalHubError: no profile is called that.
        """
        wanted = name or self.current
        if wanted is None:
            return None
        if wanted not in self.profiles:
            raise self.unknown(wanted, f"{path()}: current" if name is None else where)
        return wanted, self.profiles[wanted]

    def unknown(self, name: str, where: str) -> EvalHubError:
        """Return the error that no profile has this name."""
        known = f"there are {', '.join(self.profiles)}" if self.profiles else "there is none"
        hint = documents.near(name, self.profiles) or f" ({known}; `config set` makes one)"
        return EvalHubError(f"{where}: there is no profile {name!r}{hint}")


def path() -> Path:
    """Return the file of profiles in the user's configuration folder."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "evalhub-kfp" / "profiles.yaml"


def read() -> Profiles:
    """Return the user's profiles; none without a file.

    Raises:
        InvalidDocument: with every problem of the file.
        EvalHubError: somebody else may write it, and so have tokens sent elsewhere.
    """
    file = path()
    if not file.exists():
        return Profiles()
    if stat.S_IMODE(file.stat().st_mode) & 0o022:
        raise EvalHubError(f"{file}: others may write it (chmod 600 {file})")
    return _parsed(bounded_yaml.read(file), str(file))


def changed(profiles: Profiles, name: str, values: Mapping[str, str]) -> Profiles:
    """Return `profiles` with some keys of a profile set; an empty value takes a key away. The first becomes current.

    Raises:
        InvalidDocument: with everything that is wrong with them.
    """
    data = profiles.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    kept = data.setdefault("profiles", {}).setdefault(name, {})
    for key, value in values.items():
        if value:
            kept[key] = value
        else:
            kept.pop(key, None)
    data.setdefault("current", name)
    return _parsed(data, "config")


def used(profiles: Profiles, name: str) -> Profiles:
    """Return `profiles` with that one current.

    Raises:
        EvalHubError: there is none of that name.
    """
    if name not in profiles.profiles:
        raise profiles.unknown(name, "config use")
    return profiles.model_copy(update={"current": name})


@contextmanager
def changing() -> Iterator[None]:
    """Let nobody else read the profiles to change them, until these are written."""
    folder = path().resolve().parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write(profiles: Profiles) -> Path:
    """Keep the profiles, whole or not at all, where nobody else reads them; return the file.

    Inside `changing`.
    """
    import yaml

    # what a link leads to is written, not the link: people keep their configuration elsewhere
    file = path().resolve()
    data: dict[str, Any] = {"current": profiles.current} if profiles.current else {}
    data |= {"profiles": {name: profile.as_yaml() for name, profile in profiles.profiles.items()}}
    # mkstemp makes a file of mode 0600, and that is what it stays
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".profiles.", suffix=".part")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            yaml.safe_dump(data, handle, sort_keys=False, allow_unicode=True)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
    return file


def _parsed(data: Any, where: str) -> Profiles:
    """Return the profiles in `data`; every problem of every profile is reported, with the nearest key."""
    problems = []
    kept = data.get("profiles") if isinstance(data, dict) else None
    if isinstance(kept, dict):
        good = {}
        for name, profile in kept.items():
            place = f"{where}: profiles.{name}"
            problems += _literals(profile, place)
            try:
                good[name] = documents.validate(_without_literals(profile), Profile, place)
            except InvalidDocument as error:
                problems += error.problems
        data = {**data, "profiles": good}
    try:
        found = documents.validate(data, Profiles, where)
    except InvalidDocument as error:
        problems += error.problems
    if problems:
        raise InvalidDocument(problems)
    return found


def _without_literals(profile: Any) -> Any:
    if not isinstance(profile, dict):
        return profile
    return {key: value for key, value in profile.items() if key not in LITERALS}


def _literals(profile: Any, place: str) -> list[Problem]:
    """Return what is wrong with keys that can only hold a secret; no message repeats it."""
    found = [key for key in profile if key in LITERALS] if isinstance(profile, dict) else []
    return [
        Problem(
            f"{place}: {key}",
            f"secrets are not kept here ({LITERALS[key]}_env names an environment variable that holds it, "
            f"{LITERALS[key]}_file a file)",
        )
        for key in found
    ]
