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
        seconds: time in which at least one request was under way.
    """

    max_error_rate: float = 0.0
    answered: int = 0
    lost: list[Lost] = field(default_factory=list)
    usage: Counter[str] = field(default_factory=Counter)
    fatal: str | None = None
    seconds: float = 0.0
    _under_way: int = 0
    _since: float = 0.0
    _kinds: Counter[str] = field(default_factory=Counter)
    _first: dict[str, str] = field(default_factory=dict)  # the first reason of every kind

    def lose(self, text: str, reason: str) -> None:
        """Enter a request that got no usable answer."""
        self.lost.append(Lost(text, reason))
        kind = reason.partition(": ")[0]
        if kind != NOT_ASKED:
            self._kinds[kind] += 1
            self._first.setdefault(kind, reason)

    @property
    def is_hopeless(self) -> bool:
        """Whether going on would be a waste of requests."""
        if self.fatal or (self.lost and self.max_error_rate == 0):
            return True
        return len(self.lost) >= _HOPELESS and not self.answered

    def begin(self, now: float) -> None:
        """Enter that a request is sent, at `now` seconds of the monotonic clock."""
        if not self._under_way:
            self._since = now
        self._under_way += 1

    def end(self, now: float) -> None:
        """Enter that its answer has come, or never will."""
        self._under_way -= 1
        if not self._under_way:
            self.seconds = round(self.seconds + now - self._since, 6)

    def explain(self) -> str:
        """Return why requests got no answer, empty when all did."""
        if self.fatal:
            return self.fatal
        return ", ".join(f"{count} x {self._first[kind]}" for kind, count in self._kinds.most_common(3))

    def reason_for(self, text: str) -> str | None:
        """Return why a question got no answer, None when nothing was lost about it.

        Args:
            text: as it was sent, and in no other question: a short one may be an example in another's prompt, and then
                the whole prompt is what to look for.
        """
        return next((lost.reason for lost in self.lost if text and text in lost.text), None)


def usage_of(**ledgers: Ledger | None) -> dict[str, float]:
    """Return what results report of requests: of `model` by plain names, of every other behind its own."""
    found: dict[str, float] = {}
    for name, ledger in ledgers.items():
        if ledger is not None:
            before = "" if name == "model" else f"{name}_"
            found |= {f"{before}{kind}": float(count) for kind, count in ledger.usage.items()}
            found |= {"seconds": ledger.seconds} if name == "model" else {}
    return found


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
