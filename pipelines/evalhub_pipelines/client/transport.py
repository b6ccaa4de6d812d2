"""Requests of the API's generated client, with what it lacks: time-outs, patience, fresh credentials, plain errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import kfp_server_api
import urllib3
from kfp_server_api import rest

from evalhub_pipelines.client import failures

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection


class Patience(urllib3.Retry):
    """Asks again only for what changes nothing, at most once a second."""

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        """Return the seconds that the server asks for, within bounds."""
        wanted = super().get_retry_after(response)
        return None if wanted is None else min(max(wanted, 1.0), failures.LONGEST_PAUSE)

    def get_backoff_time(self) -> float:
        """Return the seconds to wait where the server asks for none."""
        return max(1.0, super().get_backoff_time())


class Transport(rest.RESTClientObject):  # type: ignore[misc]
    """Sends requests for one connection."""

    def __init__(self, connection: Connection) -> None:
        configuration = kfp_server_api.Configuration()
        configuration.ssl_ca_cert = str(connection.ca_file) if connection.ca_file else None
        # a login page must not look like an answer, so redirects are not followed
        configuration.retries = Patience(
            total=3 if connection.is_patient else 0,
            connect=0,
            read=1,
            other=0,
            redirect=False,
            allowed_methods=["GET"],
            status_forcelist=[429, 502, 503, 504],
            backoff_factor=0.5,
            raise_on_status=False,
        )
        super().__init__(configuration)
        self._connection = connection

    def request(
        self,
        method: str,
        url: str,
        query_params: Any = None,
        headers: dict[str, str] | None = None,
        body: Any = None,
        post_params: Any = None,
        _preload_content: bool = True,
        _request_timeout: Any = None,
    ) -> Any:
        """Return the answer to a request.

        Raises:
            EvalHubError: there is none, or it is an error or no answer of the API.
        """
        connection = self._connection
        sent = {**(headers or {}), **connection.credentials()}
        given = _request_timeout or (connection.connect_timeout, connection.timeout)
        # the client takes a whole number too, and would take no notice of another
        limits = given if isinstance(given, tuple) else (given, given)
        try:
            answer = super().request(
                method, url, query_params, sent, body, post_params, _preload_content, _request_timeout=limits
            )
        except kfp_server_api.ApiException as error:
            if error.status:
                known = {name.lower(): value for name, value in (error.headers or {}).items()}
                raise failures.of_answer(connection, error.status, known, error.body or b"") from None
            raise failures.of_exception(connection, error, limits) from None
        except urllib3.exceptions.HTTPError as error:
            raise failures.of_exception(connection, error, limits) from None
        if _preload_content:
            known = {name.lower(): value for name, value in answer.urllib3_response.headers.items()}
            # all answers are objects; of anything else the client would make one without values
            if failures.is_page(known, answer.data) or not _is_object(answer.data):
                raise failures.of_answer(connection, answer.status, known, answer.data)
        return answer


def _is_object(content: bytes) -> bool:
    """Return whether an answer is an object in JSON."""
    try:
        return isinstance(json.loads(content.decode()), dict)
    except (ValueError, RecursionError):
        return False


class Client(kfp_server_api.ApiClient):  # type: ignore[misc]
    """The API's client, for one connection."""

    def __init__(self, connection: Connection) -> None:
        configuration = kfp_server_api.Configuration()
        configuration.host = connection.endpoint
        super().__init__(configuration)
        self.rest_client = Transport(connection)
        self._connection = connection

    def deserialize(self, response: Any, response_type: Any) -> Any:
        """Return what an answer says.

        Raises:
            Garbled: it is not what the API says there.
        """
        try:
            return super().deserialize(response, response_type)
        # whatever its parsers raise where a value is of another kind than theirs
        except (kfp_server_api.ApiException, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise failures.of_unreadable(self._connection, str(response_type), error) from None
