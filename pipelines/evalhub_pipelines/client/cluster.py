"""The API of Kubernetes, asked with a user's own configuration: whatever goes wrong is an error that says the cure."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from evalhub_components.errors import EvalHubError, MissingExtra, NotFound

if TYPE_CHECKING:
    import kubernetes

_SET_UP = "set KUBECONFIG, or put the configuration that kubectl uses into ~/.kube/config"
_CONNECT_SECONDS = 10.0


class Unconfigured(EvalHubError):
    """Nothing says where Kubernetes is."""


class Forbidden(EvalHubError):
    """Kubernetes knows who asks, and that this is not theirs to ask."""


class Cluster:
    """A client that sends nothing before its first request.

    Args:
        timeout: seconds that an answer may take.
    """

    def __init__(self, timeout: float = 30.0) -> None:
        self._timeout = (min(_CONNECT_SECONDS, timeout), timeout)

    @cached_property
    def api(self) -> kubernetes.client.ApiClient:
        """Return the client's library.

        Raises:
            MissingExtra: it is not installed.
            Unconfigured: nothing says where Kubernetes is.
            EvalHubError: what says so cannot be used.
        """
        try:
            import kubernetes
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "kubernetes":
                raise
            raise MissingExtra("kfp", "asking Kubernetes") from None
        # it logs the answers it cannot read, and these may hold secrets
        logging.getLogger("kubernetes").setLevel(logging.ERROR)
        configuration = kubernetes.client.Configuration()
        configuration.retries = False
        found = os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")
        # as kubectl: a configuration of the user's goes before the one that a pod has
        is_there = any(os.path.exists(path) for path in found.split(os.pathsep) if path)
        try:
            if is_there or not os.environ.get("KUBERNETES_SERVICE_HOST"):
                if not is_there:
                    raise Unconfigured(f"nothing says where Kubernetes is: there is no {found} ({_SET_UP})")
                kubernetes.config.load_kube_config(config_file=found, client_configuration=configuration)
            else:
                kubernetes.config.load_incluster_config(client_configuration=configuration)
        except kubernetes.config.ConfigException as error:
            # its words name keys and files, never what a key holds
            raise EvalHubError(f"{found}: {error} (kubectl config view shows what is in it)") from None
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise EvalHubError(f"{found}: cannot be read, {type(error).__name__} (kubectl config view)") from None
        return kubernetes.client.ApiClient(configuration)

    @property
    def models(self) -> Any:
        """Return the module with the library's models, of which requests are made; it raises as `api` does."""
        self.api  # noqa: B018 - it says what to install
        import kubernetes.client

        return kubernetes.client

    @property
    def address(self) -> str:
        """Return where Kubernetes answers."""
        return str(self.api.configuration.host)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        accept: str = "application/json",
    ) -> Any:
        """Return the JSON of an answer.

        Args:
            body: a model of the library.

        Raises:
            NotFound: there is none.
            Forbidden: the rights do not reach that far.
            EvalHubError: there is no answer, or it is another error.
        """
        import urllib3
        from kubernetes.client import ApiException

        try:
            found = self.api.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params={"Accept": accept, "Content-Type": "application/json"},
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=self._timeout,
            )
        except ApiException as error:
            raise self._refusal(error.status or 0, error.body, str(error.reason or "")) from None
        except urllib3.exceptions.HTTPError as error:
            raise self._silence(error) from None
        if not isinstance(found, dict):
            raise EvalHubError(f"{self.address}: is not the API of Kubernetes (is it the right context?)")
        return found

    def _refusal(self, status: int, body: Any, reason: str) -> EvalHubError:
        said = _message(body)
        if status == 0:
            return EvalHubError(f"{self.address}: {_of_tls(reason)}")
        if status == 401:
            return EvalHubError(f"{self.address}: does not know who you are (log in again, as for kubectl)")
        if status == 403:
            return Forbidden(f"you may not ask this{said}")
        if status == 404:
            return NotFound(f"there is none{said}")
        return EvalHubError(f"{self.address}: answered {status}{said} (is it the API of Kubernetes, and well?)")

    def _silence(self, error: Exception) -> EvalHubError:
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text or "SSLError" in type(error).__name__:
            return EvalHubError(f"{self.address}: {_of_tls(text)}")
        if "Timeout" in type(error).__name__:
            return EvalHubError(f"{self.address}: no answer in time (a firewall, or a VPN?)")
        if "NameResolution" in type(error).__name__:
            return EvalHubError(f"{self.address}: the host name is unknown (is it the right context? a VPN?)")
        return EvalHubError(f"{self.address}: nothing answers there (is it the right context, and does it run?)")


def _of_tls(text: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate is not trusted (certificate-authority in the kubeconfig names the CA's file)"
    return "TLS failed (does the kubeconfig say https, and does the server speak it?)"


def _message(body: Any) -> str:
    try:
        text = str(json.loads(body)["message"])
    except (ValueError, TypeError, KeyError):
        return ""
    line = "".join(character if character.isprintable() else " " for character in text)
    return f"; it says: {line[:300]}" if line else ""
