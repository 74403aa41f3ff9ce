"""Threads side by side: results in order, few pieces ahead, errors as they are, torch's own threads as before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from lsweep.evaluate.kernels.workers import Workers


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

    with torch.no_grad(), Workers().side_by_side() as each:
        found = list(each(work, range(20)))
        assert torch.get_num_threads() == 1
    assert found == [(piece, 1, False) for piece in range(20)]
    assert len(seen) == threads
    assert torch.get_num_threads() == threads


def test_a_piece_is_taken_when_the_one_before_is_done(threads: int) -> None:
    done, most = [], 0

    def pieces() -> Iterator[int]:
        nonlocal most
        for piece in range(200):
            most = max(most, piece + 1 - len(done))
            yield piece

    with Workers().side_by_side() as each:
        assert list(each(lambda piece: done.append(piece) or piece, pieces())) == list(range(200))
    assert most <= threads


def test_an_iterator_that_fails_is_an_error_too(threads: int) -> None:
    def pieces() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"), Workers().side_by_side() as each:
        list(each(lambda piece: piece, pieces()))


def test_an_error_comes_through_and_threads_are_as_before(threads: int) -> None:
    def work(piece: int) -> int:
        if piece == 5:
            raise MemoryError("piece 5")
        return piece

    workers = Workers()
    with pytest.raises(MemoryError, match="piece 5"), workers.side_by_side() as each:
        list(each(work, range(20)))
    assert torch.get_num_threads() == threads
    with workers.side_by_side() as each:
        assert list(each(work, range(3))) == [0, 1, 2]


def test_threads_are_started_anew_where_their_number_changed(threads: int) -> None:
    workers = Workers()
    for number in (threads, threads + 1):
        torch.set_num_threads(number)
        names = set()

        def work(piece: int, names: set[int] = names) -> None:
            names.add(threading.get_ident())
            time.sleep(0.02)

        with workers.side_by_side() as each:
            list(each(work, range(4 * number)))
        assert len(names) == number
