"""Work in the midst of somebody's program that leaves no trace there: random numbers, modes, the current GPU."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch


@contextmanager
def isolated() -> Iterator[None]:
    """Neither be disturbed by the caller's modes, nor disturb the caller; a context, or a decorator.

    Inside, autocast is off and gradients are possible, whatever is on outside: a validation hook runs in inference
    mode, in which no tensor made there can become a parameter. Afterwards the global generators of Python, numpy and
    torch (CPU and CUDA) are where they were, even though a loader that is iterated draws from them, and the same
    GPU is current.
    """
    python, legacy = random.getstate(), np.random.get_state()
    # A GPU that was never used has no generator yet, and asking for it would take the memory of a context.
    cards = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(cards))
        if cards:
            stack.enter_context(torch.cuda.device(torch.cuda.current_device()))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(torch.inference_mode(False))
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
