"""Timing: named spans per rank, and a table over all ranks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

T = TypeVar("T")


class Stopwatch:
    """Adds up the seconds of named spans. The time of a nested span is not counted for the span around it.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._made = clock()
        self.seconds: dict[str, float] = {}
        self._inner = [0.0]

    def span(self, name: str) -> AbstractContextManager[None]:
        """Count the block's time under `name`, without that of spans inside it."""
        return _Span(self, name)

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Yield the items; the time to obtain each of them counts under `name`."""
        iterator = iter(items)
        while True:
            with self.span(name):
                item = next(iterator, None)
            if item is None:
                return
            yield item

    def account(self) -> dict[str, float]:
        """All seconds since the watch was created, by span, and the time outside all spans."""
        rest = self._clock() - self._made - sum(self.seconds.values())
        return {**self.seconds, "everything else": rest}


class _Span:
    """A timed block. A class, because every point has several and a generator takes longer to create."""

    def __init__(self, watch: Stopwatch, name: str) -> None:
        self._watch, self._name = watch, name

    def __enter__(self) -> None:
        self._watch.seconds.setdefault(self._name, 0.0)
        self._watch._inner.append(0.0)
        self._start = self._watch._clock()

    def __exit__(self, *_: object) -> None:
        watch = self._watch
        whole = watch._clock() - self._start
        watch.seconds[self._name] += whole - watch._inner.pop()
        watch._inner[-1] += whole


def table(ranks: Sequence[dict[str, float]]) -> list[str]:
    """Lines of a table: each span, its share of all ranks' time, its mean and maximum over the ranks.

    Args:
        ranks: `Stopwatch.account` of each rank, in rank order.
    """
    names = list(dict.fromkeys(name for seconds in ranks for name in seconds))
    every = {name: [seconds.get(name, 0.0) for seconds in ranks] for name in names}
    total = sum(map(sum, every.values())) or 1.0
    lines = [f"{'where the time goes':<26} {'share':>7} {'mean s':>10} {'longest s':>10}  rank"]
    for name, values in every.items():
        slowest = max(range(len(values)), key=values.__getitem__)
        lines.append(
            f"{name:<26} {100 * sum(values) / total:6.2f}% {sum(values) / len(values):10.3f} "
            f"{values[slowest]:10.3f}  {slowest}"
        )
    return lines
