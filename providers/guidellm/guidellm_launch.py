"""GuideLLM with the key of a model, which is in no file, argument or variable that guidellm would take it from.

Started in the place of `python -m guidellm`. Its workers import this file too, as `multiprocessing` has it. An API key
is in the backend that they are handed. A service account's token is replaced about every hour: it is read anew for
every request, before the clock of the request is started, so that it takes nothing away from what is measured.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guidellm_key
from guidellm.backends.openai.http import OpenAIHTTPBackend
from guidellm.cli import cli
from pydantic import SecretStr

from evalhub_components.adapter import ModelCredentials
from evalhub_components.credentials import SERVICE_ACCOUNT_TOKEN


def _headers(backend: Any, existing_headers: dict[str, str] | None = None) -> dict[str, str] | None:
    key = ModelCredentials(token_file=Path(os.environ[SERVICE_ACCOUNT_TOKEN])).key()
    return ({"Authorization": f"Bearer {key}"} if key else {}) | (existing_headers or {}) or None


def _with(key: str) -> Callable[[Any, Any], None]:
    """Return how a backend begins when it has the key, and the arguments that go into the report have not."""
    begin = OpenAIHTTPBackend.__init__

    def begin_with_key(backend: Any, arguments: Any) -> None:
        begin(backend, arguments.model_copy(update={"api_key": SecretStr(key)}))

    return begin_with_key


if SERVICE_ACCOUNT_TOKEN in os.environ:
    OpenAIHTTPBackend._build_headers = _headers

if __name__ == "__main__":
    if key := guidellm_key.taken():
        OpenAIHTTPBackend.__init__ = _with(key)
    cli()
