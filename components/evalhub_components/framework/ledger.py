"""What became of the requests of a benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NOT_ASKED = "not asked"
_HOPELESS = 10


@dataclass(frozen=True)
class Lost:
    """A request that got no usable answer.

    Attributes:
        text: what the model was asked, all messages or prompts of it.
    """

    text: str
    reason: str


@dataclass
class Ledger:
    """The requests of one benchmark to one model.

    Attributes:
        max_error_rate: share of examples that may fail, in [0, 1].
        answered: requests with an answer.
        lost: requests without.
        usage: tokens as the server counted them, and requests with every repetition.
        fatal: a reason for which no other request will get an answer.
    """

    max_error_rate: float = 0.0
    answered: int = 0
    lost: list[Lost] = field(default_factory=list)
    usage: Counter[str] = field(default_factory=Counter)
    fatal: str | None = None

    @property
    def is_hopeless(self) -> bool:
        """Whether going on would be a waste of requests."""
        if self.fatal or (self.lost and self.max_error_rate == 0):
            return True
        return len(self.lost) >= _HOPELESS and not self.answered

    def explain(self) -> str:
        """Return why requests got no answer, empty when all did."""
        if self.fatal:
            return self.fatal
        kinds = Counter(lost.reason.partition(": ")[0] for lost in self.lost)
        del kinds[NOT_ASKED]  # for the reasons of the others
        first = {lost.reason.partition(": ")[0]: lost.reason for lost in reversed(self.lost)}
        return ", ".join(f"{count} x {first[kind]}" for kind, count in kinds.most_common(3))

    def reason_for(self, text: str) -> str | None:
        """Return why a question with `text` in it got no answer, None when nothing was lost about it."""
        return next((lost.reason for lost in self.lost if text and text in lost.text), None)


def text_of(body: Mapping[str, Any]) -> str:
    """Return what a request asks: the texts of its messages, its prompt or its input."""
    found: list[str] = []
    _collect([body.get(key) for key in ("messages", "prompt", "input")], found)
    return "\n".join(found)


def _collect(value: Any, found: list[str]) -> None:
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, list):
        for item in value:
            _collect(item, found)
    elif isinstance(value, dict):
        _collect([value.get("content"), value.get("text")], found)
