"""What ranks can say to each other, checked on every rank: `mpiexec -n N python comm_checks.py`.

Each function runs on all ranks; rank 0 prints one JSON object at the end: check → the ranks' tracebacks.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lsweep.comm import Comm, connect
from lsweep.comm.shared_memory import share_tree
from lsweep.data import ResidentBatches, ResidentData
from lsweep.data.resident import share_examples
from lsweep.errors import ConfigError, DataError, InputError, LsweepError
from lsweep.evaluate.problem import initial


@contextmanager
def raises(kind: type[Exception], text: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        assert type(error) is kind, repr(error)
        assert text in str(error), str(error)
    else:
        raise AssertionError(f"no {kind.__name__}")


def check_storm(comm: Comm) -> None:
    """Random messages, some answered by their receiver, some answered again: each arrives once."""
    for round_ in range(5):
        rng = random.Random(100 * round_ + comm.rank)
        got: list[tuple[int, int]] = []
        answers: list[int] = []
        posted = [0] * comm.size

        def receive(source: int, message: tuple[int, int, bytes], got: list = got) -> None:
            number, depth, load = message
            assert load == b"x" * len(load)
            got.append((source, number))
            if depth:
                comm.post(source, f"answer{depth}", (number, depth - 1))

        def answer(source: int, message: tuple[int, int], answers: list = answers) -> None:
            number, depth = message
            answers.append(number)
            if depth:
                comm.post(source, f"answer{depth}", (number, depth - 1))

        comm.on("storm", receive)
        comm.on("answer2", answer)
        comm.on("answer1", answer)
        comm.barrier()
        for number in range(rng.randrange(0, 80)):
            dest = rng.randrange(comm.size)
            posted[dest] += 1
            size = rng.choice([0, 10, 100_000])  # eager and rendezvous
            comm.post(dest, "storm", (number, rng.choice([0, 1, 2]), b"x" * size))
            if rng.random() < 0.3:
                comm.poll()
        comm.quiesce()
        expected = [row[comm.rank] for row in comm.allgather(posted)]
        assert len(got) == len(set(got)) == sum(expected)
        every = comm.allgather((len(answers), got))
        assert sum(n for n, _ in every) > 0 or sum(expected) < 10
        comm.quiesce()


def check_collectives(comm: Comm) -> None:
    assert comm.allgather(comm.rank) == list(range(comm.size))
    assert comm.bcast(f"from {comm.rank}") == "from 0"
    assert comm.on_root(lambda: f"made on {comm.rank}") == "made on 0"
    assert comm.on_root_only(lambda: 7) == (7 if comm.is_root else None)
    assert comm.local_rank == comm.rank
    assert comm.all_here(30.0)


def check_one_error_is_everybodys(comm: Comm) -> None:
    last = comm.size - 1
    with raises(DataError, f"rank {last} has no data"), comm.together():
        if comm.rank == last:
            raise DataError(f"rank {last} has no data", key="data.path")
    with raises(ConfigError, "rank 0 says"), comm.together():
        raise ConfigError(f"rank {comm.rank} says no")
    with raises(InputError, "nothing on root"):
        comm.on_root(lambda: (_ for _ in ()).throw(InputError("nothing on root")))
    expected = ZeroDivisionError if comm.is_root else LsweepError
    with raises(expected, "by zero"):
        comm.on_root(lambda: 1 // 0)
    try:
        with comm.together():
            if comm.rank == last:
                raise DataError("with a key", key="data.path")
    except DataError as error:
        assert error.key == "data.path"
    comm.barrier()


def check_leaving_is_not_quiescing(comm: Comm) -> None:
    """The barrier of a rank that leaves alone must not be taken for the others' `quiesce`."""
    if comm.size == 1:
        return
    if comm.is_root:
        assert not comm.all_here(0.3)
        comm.quiesce()
        return
    comm.quiesce()
    assert comm.all_here(30.0)  # so that the barriers of all are even again


def check_shared_memory(comm: Comm) -> None:
    for size in (0, 1, 1_000_003):
        expected = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
        shared = comm.share(size, lambda memory, expected=expected: np.copyto(memory, expected))
        np.testing.assert_array_equal(shared, expected)
    # One copy: what the first rank of a host writes, the others read.
    shared = comm.share(3, lambda memory: memory.fill(0))
    if comm.is_root:
        shared[1] = 7
    comm.barrier()
    assert shared.tolist() == [0, 7, 0]
    comm.barrier()
    with raises(DataError, "no room"):
        comm.share(3, lambda memory: (_ for _ in ()).throw(DataError("no room")))


def check_temporary_memory_is_given_back(comm: Comm) -> None:
    """Inner blocks give back what is theirs, and what was there before a block stays."""
    if comm.size == 1:
        return
    size = 50_000_000
    kept = comm.share(4, lambda memory: memory.fill(3))
    before = mapped()
    with comm.temporary():
        outer = comm.share(size, lambda memory: memory.fill(1))
        with comm.temporary():
            comm.share(size, lambda memory: memory.fill(2))
            assert mapped() - before >= 2 * size
        assert size <= mapped() - before < 2 * size
        assert outer[-1] == 1
    assert mapped() - before < size
    assert kept.tolist() == [3] * 4
    comm.barrier()


def mapped() -> int:
    """Bytes of this process's address space."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def tree() -> dict[str, Any]:
    base = torch.arange(24.0)
    return {
        "plain": base.view(4, 6),
        "transposed": base.view(4, 6).t(),
        "sliced": base[1:20:3],
        "expanded": base[:3].expand(2, 3),
        "channels_last": torch.arange(48.0).view(2, 3, 4, 2).contiguous(memory_format=torch.channels_last),
        "bf16": base.bfloat16(),
        "bool": base > 3,
        "complex": base.to(torch.complex64),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 3),
        "grad": torch.nn.Parameter(base.clone()),
        "nested": [(torch.tensor([1, 2]),), "text", None, 7],
    }


def check_shared_trees(comm: Comm) -> None:
    expected = tree()
    found = share_tree(comm, tree)
    assert list(found) == list(expected)
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(found[name], value), name
            assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape), name
            if name in ("plain", "transposed", "channels_last"):
                assert found[name].stride() == value.stride(), name
    assert found["nested"][1:] == ["text", None, 7]
    assert share_tree(comm, dict) == {}
    assert share_tree(comm, lambda: None) is None
    with raises(DataError, "cannot be read"):
        share_tree(comm, lambda: (_ for _ in ()).throw(DataError("it cannot be read")))
    own = tree()["plain"]
    if comm.is_root:
        share_tree(comm, lambda: own)[0, 0] = -1.0
        assert comm.size == 1 or own[0, 0] == 0.0  # the caller's own is left alone
    else:
        share_tree(comm, lambda: own)


class Unsendable:
    def __reduce__(self) -> Any:
        raise TypeError("cannot be pickled")


def check_shared_examples(comm: Comm) -> None:
    calls = []

    def resident() -> ResidentData:
        calls.append(1)
        return ResidentData((torch.arange(12.0).view(6, 2), torch.arange(6)))

    data = share_examples(comm, resident)
    assert isinstance(data, ResidentData)
    assert data.sha256() == resident().sha256()
    assert sum(comm.allgather(len(calls))) == 1 + comm.size  # read once
    ragged = ResidentBatches((({"a": torch.zeros(2, 3)}, "text"), ({"a": torch.ones(1, 3)}, "more")))
    batches = share_examples(comm, lambda: ragged)
    assert isinstance(batches, ResidentBatches)
    assert [label for _, label in batches.items] == ["text", "more"]
    assert batches.sha256() == ragged.sha256()
    stubborn = ResidentBatches(((torch.zeros(1), Unsendable()),))
    assert type(share_examples(comm, lambda: stubborn)) is ResidentBatches


def check_initial_networks_agree(comm: Comm) -> None:
    state = initial("resnet20").state_dict()
    sums = comm.allgather([float(t.double().sum()) for t in state.values()])
    assert all(other == sums[0] for other in sums)


CHECKS: dict[str, Callable[[Comm], None]] = {
    name.removeprefix("check_"): value for name, value in globals().items() if name.startswith("check_")
}


def main() -> None:
    comm = connect()
    reports = {}
    for name, check in CHECKS.items():
        print(f"{time.monotonic():.1f} {comm.rank} {name}", file=sys.stderr, flush=True)
        try:
            check(comm)
            report = ""
        except Exception:
            report = traceback.format_exc()
        reports[name] = [text for text in comm.allgather(report) if text]
    if comm.is_root:
        print(json.dumps(reports), flush=True)


if __name__ == "__main__":
    signal.alarm(90)
    main()
