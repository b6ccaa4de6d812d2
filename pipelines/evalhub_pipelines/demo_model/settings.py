"""The settings of a demo model server."""

from dataclasses import dataclass, field
from pathlib import Path

API_KEY_VARIABLE = "DEMO_MODEL_API_KEY"
"""Environment variable a command line takes the key from: argv is readable by every user of the machine."""


@dataclass(frozen=True)
class DemoModelSettings:
    """How the demo model answers, and where it listens.

    Attributes:
        skill: Share of the questions it understands that it answers correctly, in [0, 1].
        seed: Chooses which questions those are.
        latency: Seconds every model request waits before it is answered.
        error_rate: Share of the model requests that get HTTP 500, in [0, 1].
        refusal_rate: Share of the harmful requests that it refuses, in [0, 1]; None means the same as `skill`.
        api_key: When given, everything under `/v1` wants it as bearer token.
        model_name: The one model name it answers to.
        host: Address to listen on.
        port: TCP port to listen on; 0 takes a free one.
        port_file: File that receives the port once the server listens.
    """

    skill: float = 0.9
    seed: int = 0
    latency: float = 0.0
    error_rate: float = 0.0
    refusal_rate: float | None = None
    api_key: str | None = field(default=None, repr=False)
    model_name: str = "demo-model"
    host: str = "127.0.0.1"
    port: int = 0
    port_file: Path | None = None

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ValueError: A value is out of range; the message names the setting and the range.
        """
        for name in ("skill", "error_rate", "refusal_rate"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name}: must be between 0 and 1, got {value}")
        if not 0 <= self.latency < float("inf"):
            raise ValueError(f"latency: must be a number of seconds >= 0, got {self.latency}")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port: must be between 0 and 65535, got {self.port}")
        if not self.model_name:
            raise ValueError("model_name: must not be empty")
