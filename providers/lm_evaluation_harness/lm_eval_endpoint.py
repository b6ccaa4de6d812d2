"""The model's server as lm-eval needs to know it: addresses, trust, and what it says about itself."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lm_eval_process import ca_bundle

from evalhub_components.adapter import JobSpec

PROBE_SECONDS = 30


@dataclass(frozen=True)
class Endpoint:
    """A model behind an OpenAI-compatible API; `url` ends in `/v1`."""

    url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    bundle: Path | None = None

    @classmethod
    def of(cls, config: JobSpec) -> Endpoint:
        """Return the endpoint of a job."""
        bundle = ca_bundle(config.credentials.ca_cert, config.work_dir)
        return cls(config.model.url.rstrip("/"), config.model.name, config.credentials.api_key, bundle)

    @property
    def server(self) -> str:
        """The address without `/v1`, under which vLLM has its tokenizer."""
        return self.url.removesuffix("/v1")

    @property
    def headers(self) -> dict[str, str]:
        """What every request says; without a key there must be no empty bearer token."""
        plain = {"Accept": "application/json"}
        return {**plain, "Authorization": f"Bearer {self.api_key}"} if self.api_key else plain

    def ssl_context(self) -> ssl.SSLContext:
        """Return a context that trusts the system's certificates and the model's own."""
        return ssl.create_default_context(cafile=str(self.bundle) if self.bundle else None)

    def max_length(self) -> int | None:
        """Return the tokens of context the server declares for the model, None when it says nothing."""
        listed = self._get_json(f"{self.url}/models")
        for card in (listed or {}).get("data") or []:
            if isinstance(card, dict) and card.get("id") == self.model and isinstance(card.get("max_model_len"), int):
                return int(card["max_model_len"])
        return None

    def tokenizes(self) -> bool:
        """Return whether the server offers its tokenizer, as vLLM does."""
        answer = self._get_json(f"{self.server}/tokenize", {"model": self.model, "prompt": "a"})
        return isinstance((answer or {}).get("tokens"), list)

    def _get_json(self, url: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        request = urllib.request.Request(url, json.dumps(body).encode() if body else None)
        for name, value in {**self.headers, "Content-Type": "application/json"}.items():
            request.add_unredirected_header(name, value)
        # without proxies, as lm-eval's own requests
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.ssl_context())
        )
        try:
            with opener.open(request, timeout=PROBE_SECONDS) as response:
                answer = json.load(response)
        except (OSError, ValueError):
            return None
        return answer if isinstance(answer, dict) else None
