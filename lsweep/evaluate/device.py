"""Choice of a rank's device and threads, and settings for bitwise reproducible arithmetic."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lsweep.comm import Comm
from lsweep.comm.cores import threads_per_rank
from lsweep.errors import ConfigError, InputError

# Examples per forward pass, by kind of device: a constant, because it affects the bits of the result.
BATCH_SIZE = {"cpu": 50, "cuda": 1000, "mps": 500}


def choose_device(name: str, comm: Comm, *, share_gpu: bool = False) -> torch.device:
    """Collective: the device of this rank.

    "auto" uses GPU `local_rank` of the host (GPU 0 if the launcher shows each rank only one), or the CPU if there is
    none. "cuda" requires a GPU; "cuda:1" names the same GPU for every rank.

    Raises:
        ConfigError: unknown or absent device.
        InputError: two ranks of a host would use one GPU, and `share_gpu` is not set.
    """
    with comm.together():
        device = _resolve(name, comm.local_rank, share_gpu)
    if device.type == "cuda":
        _refuse_sharing(device, comm, share_gpu)
        torch.cuda.set_device(device)
    return device


@contextmanager
def threads_of(comm: Comm) -> Iterator[int]:
    """Collective: set the CPU threads of this rank (`cores`) inside the block; the previous number is restored."""
    before = torch.get_num_threads()
    threads = threads_per_rank(comm)
    torch.set_num_threads(threads)
    try:
        yield threads
    finally:
        torch.set_num_threads(before)


@contextmanager
def repeatable() -> Iterator[None]:
    """Reproducible arithmetic: no TF32, no autotuning, deterministic kernels; the caller's settings are restored.

    An operation without a deterministic kernel only warns: the results are still correct.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
    deterministic = torch.get_deterministic_debug_mode()
    fresh: Any = torch.utils.deterministic  # a module whose attribute is a property: mypy cannot see it
    filling = fresh.fill_uninitialized_memory
    cudnn.benchmark = cudnn.allow_tf32 = matmul.allow_tf32 = False
    # `use_deterministic_algorithms` would do the same, but imports the whole compiler, for seconds on every rank.
    torch.set_deterministic_debug_mode("warn")
    # Filling new memory would only help programs that read it before writing; it costs 3 % for a ResNet-56.
    fresh.fill_uninitialized_memory = False
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before
        torch.set_deterministic_debug_mode(deterministic)
        fresh.fill_uninitialized_memory = filling


def describe(device: torch.device) -> str:
    """A description of the device, for provenance: the GPU's name, or the CPU's instruction set."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.backends.cpu.get_cpu_capability()})"


def _resolve(name: str, local_rank: int, share_gpu: bool) -> torch.device:
    valid = "auto, cpu, cuda, cuda:N, mps"
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"unknown device {name!r} (valid: {valid})", key="evaluate.device") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"unknown device {name!r} (valid: {valid})", key="evaluate.device")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError('device "mps" was requested, but this machine has none', key="evaluate.device")
    if device.type != "cuda":
        return device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.index is None:
        index = local_rank % count if share_gpu and count else (0 if count == 1 else local_rank)
        device = torch.device("cuda", index)
    if device.index >= count:
        raise ConfigError(
            f"rank {local_rank} of this host needs {device}, but torch sees {count} GPUs; start fewer ranks, "
            'or set schedule.share_gpu = true, or evaluate.device = "cpu"',
            key="evaluate.device",
        )
    return device


def _refuse_sharing(device: torch.device, comm: Comm, share_gpu: bool) -> None:
    # Under per-task binding every rank sees "device 0": only the UUID distinguishes the GPUs.
    uuid = str(getattr(torch.cuda.get_device_properties(device), "uuid", device))
    everyone = comm.allgather((comm.host, uuid))
    holders = [rank for rank, other in enumerate(everyone) if other == (comm.host, uuid)]
    with comm.together():
        if len(holders) > 1 and not share_gpu:
            raise InputError(
                f"ranks {holders} share one GPU on {comm.host}; give each rank its own "
                "(srun --gpus-per-task=1), start fewer ranks, or set schedule.share_gpu = true",
                key="schedule.share_gpu",
            )
