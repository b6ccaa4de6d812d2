"""Several things read from a store at once: a registry answers each after a while, and there may be thousands."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from threading import Event
from typing import TypeVar

from evalhub_components.errors import Cancelled, EvalHubError
from evalhub_components.evidence.store import Descriptor, Store

_READERS = 6
_BATCH = 500

Item = TypeVar("Item")
Result = TypeVar("Result")


def outcomes(
    store: Store, work: Callable[[Store, Item], Result], items: Iterable[Item]
) -> Generator[tuple[Item, Result | EvalHubError], None, None]:
    """Yield each item with what `work` makes of it or the error that it raises, in the order of the items."""
    stopped = Event()
    stoppable = _Stoppable(store, stopped)

    def attempt(item: Item) -> Result | EvalHubError:
        try:
            return work(stoppable, item)
        except EvalHubError as error:
            return error

    left = iter(items)
    with ThreadPoolExecutor(_READERS, "evidence") as pool:
        try:
            while batch := list(islice(left, _BATCH)):
                yield from zip(batch, pool.map(attempt, batch), strict=True)
        finally:
            # whoever interrupts does not wait for the end of a large blob
            stopped.set()
            pool.shutdown(cancel_futures=True)


def results(store: Store, work: Callable[[Store, Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield what `work` makes of each item, in their order.

    Raises:
        EvalHubError: the first that `work` raises; nothing is begun after it.
    """
    for _, outcome in outcomes(store, work, items):
        if isinstance(outcome, EvalHubError):
            raise outcome
        yield outcome


@dataclass(frozen=True)
class _Stoppable:
    """A store whose blobs end early once nobody wants them any more."""

    store: Store
    stopped: Event

    @property
    def place(self) -> str:
        return self.store.place

    def resolve(self, name: str) -> Descriptor:
        return self.store.resolve(name)

    def manifest(self, digest: str) -> bytes:
        return self.store.manifest(digest)

    def tags(self) -> list[str]:
        return self.store.tags()

    def blob(self, digest: str, size: int) -> Iterator[bytes]:
        for chunk in self.store.blob(digest, size):
            if self.stopped.is_set():
                raise Cancelled("interrupted")
            yield chunk
