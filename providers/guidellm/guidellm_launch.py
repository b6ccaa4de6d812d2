"""GuideLLM asking with a service account's token, which is replaced about every hour: read anew for every request.

Started in the place of `python -m guidellm`. Its workers import this file too, as `multiprocessing` has it. The token
is read before the clock of a request is started, so that it takes nothing away from what is measured.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from guidellm.backends.openai.http import OpenAIHTTPBackend
from guidellm.cli import cli

from evalhub_components.adapter import ModelCredentials
from evalhub_components.credentials import SERVICE_ACCOUNT_TOKEN


def _headers(backend: Any, existing_headers: dict[str, str] | None = None) -> dict[str, str] | None:
    key = ModelCredentials(token_file=Path(os.environ[SERVICE_ACCOUNT_TOKEN])).key()
    return ({"Authorization": f"Bearer {key}"} if key else {}) | (existing_headers or {}) or None


OpenAIHTTPBackend._build_headers = _headers

if __name__ == "__main__":
    cli()
