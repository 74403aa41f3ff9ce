"""Checkpoints: loads trained weights without running code, and fits them to a network."""

from __future__ import annotations

import mmap
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lsweep.errors import CheckpointError, MissingExtra
from lsweep.models import trail
from lsweep.tools import files

# Keys under which training scripts store the state dict, most specific first.
_NESTED = ("state_dict", "model_state_dict", "model", "net", "weights")
# Prefixes that wrappers add: DataParallel and DDP, torch.compile.
_PREFIXES = ("module.", "_orig_mod.")


def read(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict: name → tensor on the CPU.

    `.safetensors` files are read natively, all others by `torch.load(weights_only=True)`: a file that needs pickle
    beyond tensors is refused, and none of its code runs. `{"state_dict": …}` is unwrapped and the prefixes of wrappers
    are stripped. For a trail, the folder that `lsweep train` wrote, the last checkpoint is read.

    Raises:
        CheckpointError: the file does not exist, is damaged or unsafe, or has no tensors; the message names it.
    """
    path = Path(path)
    if trail.is_trail(path):
        path = trail.last_checkpoint(path)
    if not os.path.isfile(path):  # `Path.is_file` raises for a name that is too long
        raise CheckpointError(f"no weights file at {str(path)!r}", key=str(path))
    content = read_tensors(path) if path.suffix == ".safetensors" else _torch(path)
    return _strip_prefixes(_find_state(content, path))


def fit(model: nn.Module, state: dict[str, torch.Tensor], name: str) -> None:
    """Load `state` into `model` in place, after `check_fit`."""
    model.load_state_dict({**model.state_dict(), **check_fit(model, state, name)})


def check_fit(model: nn.Module, state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """Check that every tensor of `state`, read from the file `name`, fits the network.

    Integer buffers may be missing (BatchNorm's `num_batches_tracked`, which old checkpoints lack), and a tied tensor
    need only be present under one of its names.

    Returns:
        the network's keys → tensors of `state`, tied ones under all their names.

    Raises:
        CheckpointError: keys are missing, unexpected or misshapen; the message lists them.
    """
    own = model.state_dict(keep_vars=True)
    for prefix in _PREFIXES:  # `read` stripped them, but the network may itself be wrapped
        if own and all(key.startswith(prefix) for key in own) and not any(key in own for key in state):
            state = {prefix + key: value for key, value in state.items()}
    given = {id(own[key]): state[key] for key in own if key in state}
    counters = {key for key, value in own.items() if not value.is_floating_point() and not value.is_complex()}
    missing = [key for key in own if id(own[key]) not in given and key not in counters]
    unexpected = [key for key in state if key not in own and not key.endswith("num_batches_tracked")]
    misshapen = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    misshapen += [
        f"{k} is complex" for k in own if k in state and state[k].is_complex() > own[k].is_complex()
    ]
    faults = [
        f"{what}: {_abridged(keys)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
        if keys
    ]
    if faults:
        raise CheckpointError(f"{name!r} does not fit the network; {'; '.join(faults)}", key=name)
    return {key: state.get(key, given[id(own[key])]) for key in own if id(own[key]) in given}


def _torch(path: Path) -> Any:
    try:
        problem = _explosive(path)
        if problem:
            raise CheckpointError(f"{str(path)!r} is not a readable checkpoint: {problem}", key=str(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # torch raises many types for a damaged file
        text = str(error)
        if "Unsupported operand" in text:  # an opcode that tensors do not need, or an invalid one
            text = "it is damaged, or needs pickle beyond tensors"
        elif "weights_only" in text or "Unsupported" in text or "GLOBAL" in text:
            raise CheckpointError(
                f"{str(path)!r} needs pickle beyond tensors, which could run code; save only its state_dict()",
                key=str(path),
            ) from None
        reason = (text.splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(
            f"{str(path)!r} is not a readable checkpoint: {reason}", key=str(path)
        ) from None


def _explosive(path: Path) -> str:
    """The reason why loading the file could take far more memory than its size, or "".

    torch unpacks compressed archives, although it never writes them. Of the functions that it lets a pickle call, only
    `bytearray(n)` allocates memory without corresponding bytes in the file.
    """
    if files.is_zip(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            pickles = [member for member in members if member.filename.endswith(".pkl")]
            problem = files.zip_bomb(members)
            found = not problem and any(b"bytearray" in archive.read(member) for member in pickles)
    else:
        problem = ""
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = content.find(b"\nbytearray\n") >= 0
    return "it contains a bytearray, which no tensor needs" if found else problem


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read all tensors of a safetensors file: name → tensor on the CPU. Raises CheckpointError."""
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise MissingExtra(
            "reading .safetensors needs safetensors: pip install '.[torch]' in lsweep's clone", key=str(path)
        ) from None
    try:
        tensors: dict[str, torch.Tensor] = load_file(path, device="cpu")
        return tensors
    except Exception as error:  # SafetensorError, OSError, ValueError by version
        raise CheckpointError(f"{str(path)!r} is not a readable checkpoint: {error}", key=str(path)) from None


def _find_state(content: Any, path: Path) -> dict[str, torch.Tensor]:
    candidates = [content]
    if isinstance(content, dict):
        candidates += [content[key] for key in _NESTED if isinstance(content.get(key), dict)]
    for candidate in candidates:
        if isinstance(candidate, dict) and candidate:
            tensors = {k: v for k, v in candidate.items() if isinstance(k, str) and _is_plain(v)}
            if len(tensors) == len(candidate):
                return tensors
    raise CheckpointError(
        f"{str(path)!r} contains no state dict; expected a dict name → tensor, possibly under one of the keys "
        f"{', '.join(_NESTED)}",
        key=str(path),
    )


def _is_plain(value: Any) -> bool:
    """Whether it is a dense tensor on the CPU: copying invalid sparse indices could write anywhere in memory."""
    return (
        isinstance(value, torch.Tensor)
        and type(value) in (torch.Tensor, nn.Parameter)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and not value.is_nested
    )


def _strip_prefixes(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for prefix in _PREFIXES * 2:  # the wrappers may be nested in either order
        if all(key.startswith(prefix) for key in state):
            state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


def _abridged(keys: list[str], most: int = 4) -> str:
    shown = ", ".join(keys[:most])
    return shown if len(keys) <= most else f"{shown} and {len(keys) - most} more"
