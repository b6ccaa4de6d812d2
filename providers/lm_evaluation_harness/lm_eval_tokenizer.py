"""A tokenizer that the model's server does the work of."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lm_eval.utils import RemoteTokenizer
from lm_eval_endpoint import Endpoint


class ServerTokenizer(RemoteTokenizer):  # type: ignore[misc]  # the class is Any where lm-eval is not installed
    """lm-eval's remote tokenizer for any vLLM, started with `--enable-tokenizer-info-endpoint` or not.

    lm-eval asks for one text at a time and again for every choice of a question; this one remembers, and
    `prefetch` asks for many at once.
    """

    def __init__(self, endpoint: Endpoint, timeout: int, add_bos_token: bool) -> None:
        self._model = endpoint.model
        self._endpoint = endpoint
        self._add_bos_token = add_bos_token
        self._known: dict[str, list[int]] = {}
        super().__init__(
            base_url=f"{endpoint.url}/completions",
            timeout=timeout,
            ca_cert_path=str(endpoint.bundle) if endpoint.bundle else None,
        )

    def _validate_server(self) -> None:
        # .netrc would replace the API key; the proxy is that of the requests to the model
        self.session.trust_env = False
        # asked for every request: a service account's token is replaced from time to time
        self.session.auth = self._authorized
        if proxy := self._endpoint.proxy:
            self.session.proxies = {"http": proxy, "https": proxy}
        answer = self.session.get(f"{self.base_url}/tokenizer_info", timeout=self.timeout, verify=self.cert_config)
        self._tokenizer_info = answer.json() if answer.ok else {}

    def _authorized(self, request: Any) -> Any:
        request.headers.update(self._endpoint.headers)
        return request

    @property
    def has_chat_template(self) -> bool:
        """Whether the server tells the model's chat template."""
        return bool((self._tokenizer_info or {}).get("chat_template"))

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`."""
        if text not in self._known:
            body = {"model": self._model, "prompt": text, "add_special_tokens": self._add_bos_token}
            answer = self._request_with_retries("POST", f"{self.base_url}/tokenize", json=body)
            self._known[text] = answer.json()["tokens"]
        return list(self._known[text])

    def prefetch(self, texts: Iterable[str], workers: int) -> None:
        """Tokenize many texts, so that `encode` has them at hand."""
        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(self.encode, dict.fromkeys(texts)):
                pass
