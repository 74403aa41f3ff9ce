"""Batches in several threads: results in order, few pieces ahead, errors as they are, torch's own threads as before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from lsweep.evaluate.vectorized import threaded_map


@pytest.fixture(params=[1, 2, 4])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order_from_as_many_threads(threads: int) -> None:
    seen = set()

    def work(piece: int) -> tuple[int, int, bool]:
        seen.add(threading.get_ident())
        time.sleep(0.01 * (piece % 3))
        return piece, torch.get_num_threads(), torch.is_grad_enabled()

    with torch.no_grad(), threaded_map() as each:
        found = list(each(work, range(20)))
        assert torch.get_num_threads() == 1
    assert found == [(piece, 1, False) for piece in range(20)]
    assert len(seen) == threads
    assert torch.get_num_threads() == threads


def test_few_pieces_are_taken_ahead(threads: int) -> None:
    done, most = [], 0

    def pieces() -> Iterator[int]:
        nonlocal most
        for piece in range(200):
            most = max(most, piece + 1 - len(done))
            yield piece

    with threaded_map() as each:
        assert list(each(lambda piece: done.append(piece) or piece, pieces())) == list(range(200))
    assert most <= 2 * threads + 1


def test_an_iterator_that_fails_is_an_error_too(threads: int) -> None:
    def pieces() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"), threaded_map() as each:
        list(each(lambda piece: piece, pieces()))


def test_after_an_error_nothing_runs_on(threads: int) -> None:
    running = 0

    def work(piece: int) -> int:
        nonlocal running
        running += 1
        time.sleep(0.01)
        running -= 1
        if piece == 5:
            raise MemoryError("piece 5")
        return piece

    with pytest.raises(MemoryError, match="piece 5"), threaded_map() as each:
        list(each(work, range(20)))
    assert running == 0 and torch.get_num_threads() == threads
    with threaded_map() as each:
        assert list(each(work, range(3))) == [0, 1, 2]
