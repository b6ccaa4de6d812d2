"""Requests of the API's generated client, with what it lacks: time-outs, patience, fresh credentials, plain errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kfp_server_api
import urllib3
from kfp_server_api import rest

from evalhub_pipelines.client import failures

if TYPE_CHECKING:
    from evalhub_pipelines.client.connection import Connection

LONGEST_WAIT = 30.0
"""Seconds that a server may ask to wait before a request is sent again."""


class Patience(urllib3.Retry):
    """Asks again only for what changes nothing, at most once a second."""

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        """Return the seconds that the server asks for, within bounds."""
        wanted = super().get_retry_after(response)
        return None if wanted is None else min(max(wanted, 1.0), LONGEST_WAIT)

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
            total=3,
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
        timeout = _request_timeout or (connection.connect_timeout, connection.timeout)
        try:
            answer = super().request(
                method, url, query_params, sent, body, post_params, _preload_content, _request_timeout=timeout
            )
        except kfp_server_api.ApiException as error:
            if error.status:
                known = {name.lower(): value for name, value in (error.headers or {}).items()}
                raise failures.of_answer(connection, error.status, known, error.body or b"") from None
            raise failures.of_exception(connection, error) from None
        except urllib3.exceptions.HTTPError as error:
            raise failures.of_exception(connection, error) from None
        if _preload_content:
            known = {name.lower(): value for name, value in answer.urllib3_response.headers.items()}
            # all answers are objects; of anything else the client would make one without values
            if failures.is_page(known, answer.data) or answer.data.lstrip()[:1] != b"{":
                raise failures.of_answer(connection, answer.status, known, answer.data)
        return answer


def client(connection: Connection) -> kfp_server_api.ApiClient:
    """Return the API's client for a connection."""
    configuration = kfp_server_api.Configuration()
    configuration.host = connection.endpoint
    made = kfp_server_api.ApiClient(configuration)
    made.rest_client = Transport(connection)
    return made
