"""Which installation of Kubeflow Pipelines is meant, and how to get in."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evalhub_components import credentials
from evalhub_components.errors import EvalHubError, InvalidDocument, MissingExtra
from evalhub_pipelines import documents
from evalhub_pipelines.client import failures, profiles
from evalhub_pipelines.client.secret_reference import SecretReference

if TYPE_CHECKING:
    import kfp
    import kfp_server_api

ENDPOINT = "KF_PIPELINES_ENDPOINT"

VARIABLES = {
    "namespace": "KF_PIPELINES_NAMESPACE",
    "token_file": "KF_PIPELINES_TOKEN_FILE",
    "cookies_file": "KF_PIPELINES_COOKIES_FILE",
    "ca_file": "KF_PIPELINES_CA_FILE",
    "dashboard": "KF_PIPELINES_UI_ENDPOINT",
}
"""Environment variables with the keys of a profile; the endpoint's and the dashboard's are the ones of kfp."""

_NAMESPACE_OF = {"--endpoint": "--namespace", ENDPOINT: VARIABLES["namespace"]}
"""Where a namespace was said, by who said it; a profile says it under its own name."""

SERVICE_ACCOUNT_TOKEN = "KF_PIPELINES_SA_TOKEN_PATH"
"""kfp's own name for the file of a service account's token."""

CONNECT_TIMEOUT = 10

_Source = tuple[str, dict[str, Any]]
"""Who says something of a connection, and what: keys as in a profile."""


class Server(NamedTuple):
    """What an installation says of itself.

    Attributes:
        multi_user: namespaces are needed.
        version: None where only the dashboard knows it.
    """

    multi_user: bool
    version: str | None


@dataclass(frozen=True)
class Connection:
    """How to reach an installation; nothing is sent before the first request.

    Attributes:
        endpoint: where the API is, without `/apis` and a slash at the end.
        origin: who said so, for messages.
        namespace: None where an installation has one user.
        dashboard: where people look at runs.
        timeout: seconds that an answer may take.
        is_patient: whether a question that fails is asked again; else whoever asks does so.
    """

    endpoint: str
    origin: str
    namespace: str | None = None
    token: SecretReference | None = None
    cookies: SecretReference | None = None
    ca_file: Path | None = None
    dashboard: str = ""
    timeout: int = 60
    is_patient: bool = True

    def within(self, seconds: float | None) -> Connection:
        """Return this connection for requests that are sent once and take `seconds` at most, but at least one."""
        limit = self.timeout if seconds is None else max(math.ceil(min(seconds, self.timeout)), 1)
        return replace(self, timeout=limit, is_patient=False)

    @property
    def connect_timeout(self) -> int:
        """Return the seconds that a connection may take to be made."""
        return min(CONNECT_TIMEOUT, self.timeout)

    @property
    def place(self) -> dict[str, str]:
        """Return whose things a request is about, as an argument of lists and a part of bodies."""
        return {"namespace": self.namespace} if self.namespace else {}

    def run_page(self, run_id: str) -> str:
        """Return the address of a run on the dashboard."""
        return f"{self.dashboard or self.endpoint}/#/runs/details/{run_id}"

    def credentials(self) -> dict[str, str]:
        """Return the headers that say who asks.

        Raises:
            NoCredentials: the file that they should be in does not have them.
            EvalHubError: they are not where else they should be.
        """
        headers = {"Authorization": f"Bearer {_secret(self.token)}"} if self.token else {}
        return headers | ({"Cookie": _secret(self.cookies)} if self.cookies else {})

    @cached_property
    def api(self) -> kfp_server_api.ApiClient:
        """Return the client of the API; every failure of its requests is an EvalHubError.

        Raises:
            MissingExtra: the libraries are not installed.
            EvalHubError: the CA's file cannot be used.
        """
        _check_certificates(self.ca_file)
        try:
            from evalhub_pipelines.client import transport
        except ModuleNotFoundError as error:
            raise _missing(error) from None
        return transport.Client(self)

    @cached_property
    def runs(self) -> Any:
        """Return the API of runs."""
        return self._service("RunServiceApi")

    @cached_property
    def experiments(self) -> Any:
        """Return the API of experiments."""
        return self._service("ExperimentServiceApi")

    @cached_property
    def pipelines(self) -> Any:
        """Return the API of pipelines and their versions."""
        return self._service("PipelineServiceApi")

    @cached_property
    def uploads(self) -> Any:
        """Return the API that takes files of pipelines."""
        return self._service("PipelineUploadServiceApi")

    @cached_property
    def recurring_runs(self) -> Any:
        """Return the API of schedules."""
        return self._service("RecurringRunServiceApi")

    def _service(self, name: str) -> Any:
        client = self.api
        import kfp_server_api

        return getattr(kfp_server_api, name)(client)

    def version(self) -> Server:
        """Return what the installation says of itself, by a real request.

        Raises:
            EvalHubError: it cannot be reached, refuses, or is something else; the message says the cure.
        """
        try:
            return self._version()
        except failures.NotTheApi as error:
            for endpoint in _other_endpoints(self.endpoint):
                try:
                    replace(self, endpoint=endpoint)._version()
                except EvalHubError:
                    continue
                raise failures.NotTheApi(f"{error}; the API is at {endpoint}: use that") from None
            raise

    def _version(self) -> Server:
        path = "/apis/v2beta1/healthz"
        found = self.api.call_api(path, "GET", response_type="object", _return_http_data_only=True)
        if found.get("apiServerReady") is False:
            raise failures.Unavailable(f"{self.endpoint}: the dashboard answers, but the API behind it does not")
        return Server(bool(found.get("multi_user")), found.get("apiServerTagName") or found.get("tag_name") or None)

    def kfp_client(self) -> kfp.Client:
        """Return the client of the kfp SDK for this connection, for what people do with the SDK besides.

        Raises:
            EvalHubError: as `version`, which is asked first.
        """
        self.version()
        import warnings

        try:
            import kfp
        except ModuleNotFoundError as error:
            raise _missing(error) from None
        with warnings.catch_warnings():
            # it warns of every server, whatever its version
            warnings.simplefilter("ignore", FutureWarning)
            # a namespace, because it would ask the server for one in its own way: unauthorized, five times
            client = kfp.Client(host=self.endpoint, namespace=self.namespace or "-", ui_host=self.dashboard or None)
        client._context_setting = {"namespace": self.namespace or ""}
        theirs = client._run_api.api_client
        theirs.rest_client, theirs.deserialize = self.api.rest_client, self.api.deserialize
        return client


def resolve(
    *,
    endpoint: str | None = None,
    namespace: str | None = None,
    profile: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Connection:
    """Return the connection that is meant.

    What is given here counts first, then a profile that is named here, the environment, and the current profile.
    Each is taken only for its own endpoint: a token never goes to a server that another source names.

    Raises:
        EvalHubError: nobody says where the installation is, or what is said is wrong.
    """
    found = profiles.read().named(profile)
    own: _Source | None = (f"profile {found[0]}", found[1].as_yaml()) if found else None
    given: _Source = ("--endpoint", {"endpoint": endpoint, "namespace": namespace})
    surroundings: _Source = (ENDPOINT, _of_environment(environ))
    sources = [given, own, surroundings] if profile else [given, surroundings, own]
    said = [(who, {key: value for key, value in keys.items() if value}) for who, keys in filter(None, sources)]
    origin, address = next(((who, str(keys["endpoint"])) for who, keys in said if "endpoint" in keys), ("", ""))
    if not address:
        cure = f"give --endpoint, set {ENDPOINT}, or make a profile: evalhub-kfp config set NAME endpoint=https://..."
        raise EvalHubError(f"nobody says where Kubeflow Pipelines is ({cure})")
    address = _normal(address)
    keys: dict[str, Any] = {}
    placed = origin
    for who, source in said:
        if _normal(source.get("endpoint", address)) != address:
            continue
        if "namespace" in source and "namespace" not in keys:
            placed = _NAMESPACE_OF.get(who, f"{who}: namespace")
        # credentials of one source are not mixed with another's: one of them would be sent in vain
        secret = {key for key in keys if key.startswith(("token_", "cookies_"))}
        keys |= {
            key: value
            for key, value in source.items()
            if key not in keys and not (secret and key.startswith(("token_", "cookies_")))
        }
    try:
        chosen = documents.validate({**keys, "endpoint": address}, profiles.Profile, origin)
    except InvalidDocument as error:
        known = {f"{origin}: namespace": placed}
        found_wrong = [replace(problem, where=known.get(problem.where, problem.where)) for problem in error.problems]
        raise InvalidDocument(found_wrong) from None
    return Connection(
        endpoint=chosen.endpoint,
        origin=origin,
        namespace=chosen.namespace,
        token=_reference(chosen.token_env, chosen.token_file),
        cookies=_reference(chosen.cookies_env, chosen.cookies_file),
        ca_file=Path(chosen.ca_file).expanduser() if chosen.ca_file else credentials.ca_bundle(environ),
        dashboard=(chosen.dashboard or chosen.endpoint).rstrip("/"),
        timeout=chosen.timeout,
    )


def _of_environment(environ: Mapping[str, str]) -> dict[str, str]:
    keys = {key: environ[name] for key, name in VARIABLES.items() if environ.get(name)}
    for key in ("token_file", "cookies_file", "ca_file"):
        if key in keys:
            keys[key] = str(Path(keys[key]).expanduser().absolute())
    if environ.get(SERVICE_ACCOUNT_TOKEN):
        keys.setdefault("token_file", str(Path(environ[SERVICE_ACCOUNT_TOKEN]).absolute()))
    for kind in ("token", "cookies"):
        if environ.get(f"KF_PIPELINES_{kind.upper()}"):
            keys[f"{kind}_env"] = f"KF_PIPELINES_{kind.upper()}"
            keys.pop(f"{kind}_file", None)
    if environ.get(ENDPOINT):
        keys["endpoint"] = environ[ENDPOINT]
    return keys


def _normal(address: str) -> str:
    # kfp takes an address without a scheme, and then speaks TLS
    address = address if "://" in address else f"https://{address}"
    return re.sub(r"(/apis(/v[0-9a-z]+)?)?/*$", "", address)


def _other_endpoints(endpoint: str) -> list[str]:
    """Return where the API may be when it is not at `endpoint`: on the same server alone, for credentials go along."""
    origin = "/".join(endpoint.split("/")[:3])
    return [other for other in (f"{endpoint}/pipeline", f"{origin}/pipeline", origin) if other != endpoint]


def _reference(variable: str | None, file: str | None) -> SecretReference | None:
    if not (variable or file):
        return None
    return SecretReference(variable, Path(file).expanduser() if file else None)


def _secret(reference: SecretReference) -> str:
    try:
        return reference.read()
    except EvalHubError as error:
        if reference.variable:
            raise
        raise failures.NoCredentials(str(error)) from None


def _check_certificates(file: Path | None) -> None:
    if file is None:
        return
    import ssl

    try:
        ssl.create_default_context(cafile=str(file))
    except (ssl.SSLError, OSError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "holds no certificates in PEM form"
        raise EvalHubError(f"{file}: {reason} (it should be those of the CA of Kubeflow Pipelines)") from None


def _missing(error: ModuleNotFoundError) -> Exception:
    known = (error.name or "").partition(".")[0] in ("kfp", "kfp_server_api", "urllib3", "kubernetes")
    return MissingExtra("kfp", "Kubeflow Pipelines") if known else error
