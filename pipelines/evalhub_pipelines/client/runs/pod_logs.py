"""The log of a pod, from whoever has it: Kubeflow Pipelines, its dashboard, or Kubernetes.

The API server reads the pod's log, and the archived one when the pod is gone and it keeps an archive; its path is
there when an endpoint is the server itself. Behind a dashboard, as in a whole Kubeflow, only the dashboard's own path
for logs is reached. Kubernetes is asked last: that takes rights that those who submit do not need.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING
from urllib.parse import quote

from evalhub_components.errors import EvalHubError
from evalhub_pipelines.client import failures
from evalhub_pipelines.client.failures import NotTheApi
from evalhub_pipelines.client.runs.run_state import RunState

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection

CONTAINER = "main"
"""Of a pod of Argo: the one that does the work."""

_NAMESPACE = "kubeflow"
"""Of pods, where an installation has one user and nobody names another."""

_CHUNK = 1 << 16

Source = Callable[["Connection", RunState, str], Iterator[bytes]]


class Unreadable(EvalHubError):
    """Nobody gives the log."""


def lines(connection: Connection, state: RunState, pod: str) -> Iterator[str]:
    """Yield the lines of a pod's log as far as it goes, each with its end when it has one; they are a stranger's text.

    Args:
        state: of the run that the pod belongs to.

    Raises:
        Unreadable: nobody gives it; the message has what each of them says.
        EvalHubError: the connection broke off in between.
    """
    said: list[str] = []
    for name, source in _SOURCES:
        chunks = source(connection, state, pod)
        try:
            first = next(chunks, b"")
        except NotTheApi:
            continue  # there is no such path: the endpoint is another part of Kubeflow
        except EvalHubError as error:
            said.append(f"{name}: {error}")
            continue
        yield from _split(first, chunks)
        return
    if len(said) < 2:
        said.insert(0, f"Kubeflow Pipelines: there are no logs at {connection.endpoint}")
    raise Unreadable(f"pod {pod}: nobody gives its log:\n  " + "\n  ".join(said))


def _of_server(connection: Connection, state: RunState, pod: str) -> Iterator[bytes]:
    # registered beside the API proper in backend/src/apiserver/main.go
    path = f"/apis/v1alpha1/runs/{quote(state.run_id, safe='')}/nodes/{quote(pod, safe='')}/log"
    yield from _stream(connection, path, {})


def _of_dashboard(connection: Connection, state: RunState, pod: str) -> Iterator[bytes]:
    query = {"podname": pod, "runid": state.run_id}
    if connection.namespace:
        query["podnamespace"] = connection.namespace
    if state.created_at:
        query["createdat"] = state.created_at.date().isoformat()
    yield from _stream(connection, "/k8s/pod/logs", query)


def _of_kubernetes(connection: Connection, state: RunState, pod: str) -> Iterator[bytes]:
    import urllib3

    from evalhub_pipelines.client.cluster import Cluster

    api, namespace = Cluster(connection.timeout).api, connection.namespace or _NAMESPACE
    from kubernetes.client import ApiException  # by now it is known to be installed

    path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/log"
    try:
        # not by the library's own call: it takes a log of one line for JSON
        answer = api.call_api(
            path,
            "GET",
            query_params=[("container", CONTAINER)],
            auth_settings=["BearerToken"],
            _preload_content=False,
            _return_http_data_only=True,
            _request_timeout=(connection.connect_timeout, connection.timeout),
        )
        with closing(answer):
            yield from answer.stream(_CHUNK)
    except ApiException as error:
        words = {
            401: "it does not know who you are (log in again, as for kubectl)",
            403: f"you may not read logs in namespace {namespace} (ask for `get` on `pods/log`)",
            404: f"the pod is gone, or not in namespace {namespace} (--namespace names another)",
        }
        raise EvalHubError(words.get(error.status) or f"it answers {error.status}{_message(error.body)}") from None
    except urllib3.exceptions.HTTPError as error:
        raise EvalHubError(f"{api.configuration.host}: no answer, {type(error).__name__}") from None


def _message(body: bytes | None) -> str:
    try:
        text = str(json.loads(body or b"")["message"])
    except (ValueError, TypeError, KeyError):
        return ""
    return ": " + "".join(character if character.isprintable() else " " for character in text)[:300]


_SOURCES: tuple[tuple[str, Source], ...] = (
    ("Kubeflow Pipelines", _of_server),
    ("its dashboard", _of_dashboard),
    ("Kubernetes", _of_kubernetes),
)


def _stream(connection: Connection, path: str, query: dict[str, str]) -> Iterator[bytes]:
    """Yield what a path of the endpoint answers.

    Raises:
        NotTheApi: there is no such path.
        EvalHubError: there is no answer, or it is an error.
    """
    api = connection.api
    import urllib3

    request = {"_preload_content": False, "_return_http_data_only": True, "query_params": list(query.items())}
    answer = api.call_api(path, "GET", header_params={"Accept": "*/*"}, **request)
    try:
        with closing(answer):
            headers = {name.lower(): value for name, value in answer.headers.items()}
            if "html" in headers.get("content-type", ""):
                raise failures.of_answer(connection, answer.status, headers, b"")
            yield from answer.stream(_CHUNK)
    except urllib3.exceptions.HTTPError as error:
        raise failures.of_exception(connection, error) from None


def _split(first: bytes, chunks: Iterator[bytes]) -> Iterator[str]:
    """Yield the lines of a text that comes in pieces."""
    rest = b""
    for chunk in chain([first], chunks):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace") + "\n"
    if rest:
        yield rest.decode(errors="replace")
