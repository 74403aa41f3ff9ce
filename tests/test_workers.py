"""Threads side by side: results in order, few pieces ahead, errors as they are, torch's own threads as before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from lsweep.workers import Workers


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


def test_only_few_pieces_are_taken_ahead(threads: int) -> None:
    taken = []

    def pieces() -> Iterator[int]:
        for piece in range(1000):
            taken.append(piece)
            yield piece

    with Workers().side_by_side() as each:
        for count, found in enumerate(each(lambda piece: piece, pieces())):
            assert found == count
            assert len(taken) <= count + 1 + 2 * threads
            if count == 100:
                break


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
