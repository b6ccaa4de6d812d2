"""The model's server as lm-eval needs to know it: addresses, the way there, and trust."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from evalhub_components.adapter import JobSpec, ModelCredentials
from evalhub_components.framework import proxy
from evalhub_components.framework.surroundings import ca_bundle


@dataclass(frozen=True)
class Endpoint:
    """A model behind an OpenAI-compatible API; `url` ends in `/v1`."""

    url: str
    model: str
    credentials: ModelCredentials = field(default_factory=ModelCredentials)
    bundle: Path | None = None

    @classmethod
    def of(cls, config: JobSpec) -> Endpoint:
        """Return the endpoint of a job."""
        bundle = ca_bundle(config.credentials.ca_cert, config.work_dir)
        return cls(config.model.url.rstrip("/"), config.model.name, config.credentials, bundle)

    @property
    def server(self) -> str:
        """The address without `/v1`, under which vLLM has its tokenizer."""
        return self.url.removesuffix("/v1")

    @property
    def headers(self) -> dict[str, str]:
        """What a request says now; without a key there must be no empty bearer token."""
        plain, key = {"Accept": "application/json"}, self.credentials.key()
        return {**plain, "Authorization": f"Bearer {key}"} if key else plain

    @property
    def proxy(self) -> str | None:
        """The address of the proxy that the environment names for the server, with its password.

        Told to the HTTP clients, because those that read the variables themselves read .netrc as well, and a password
        from there would take the place of the API key.

        Raises:
            EvalHubError: the environment names none that can be one.
        """
        found = proxy.of(self.url)
        return found.url if found else None

    def ssl_context(self) -> ssl.SSLContext:
        """Return a context that trusts the system's certificates and the model's own."""
        return ssl.create_default_context(cafile=str(self.bundle) if self.bundle else None)
