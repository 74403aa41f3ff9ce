"""Weights from files: every wrapping that is in use, every misfit by name, and nothing in a file that runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from small_models import MODELS, Tied, conv_net
from torch import nn

from lsweep.errors import EXIT_BAD_INPUT, CheckpointError
from lsweep.models.checkpoint import check_fit, fit, read
from lsweep.tools import files


def saved(folder: Path, content: Any, name: str = "w.pt") -> Path:
    torch.save(content, folder / name)
    return folder / name


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[k], other[k]) for k in one)


WRAPPINGS = {
    "bare": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "acc": 93.0, "epoch": 7},
    "model_state_dict": lambda s: {"epoch": 3, "model_state_dict": s, "optimizer_state_dict": {"state": {}}},
    "model": lambda s: {"model": s, "args": [1]},
    "DataParallel": lambda s: {"module." + k: v for k, v in s.items()},
    "compiled": lambda s: {"_orig_mod." + k: v for k, v in s.items()},
    "compiled DDP": lambda s: {"_orig_mod.module." + k: v for k, v in s.items()},
    "DDP of compiled": lambda s: {"state_dict": {"module._orig_mod." + k: v for k, v in s.items()}},
    "parameters": lambda s: {k: nn.Parameter(v, requires_grad=v.is_floating_point()) for k, v in s.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".t7", ".th", ""])
def test_wrappings(tmp_path: Path, wrapping: str, suffix: str) -> None:
    state = conv_net().state_dict()
    assert same(read(saved(tmp_path, WRAPPINGS[wrapping](state), f"w{suffix}")), dict(state))


def test_safetensors(tmp_path: Path) -> None:
    state = {"module." + k: v for k, v in conv_net().state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    assert {"module." + k for k in read(tmp_path / "w.safetensors")} == set(state)


@pytest.mark.parametrize("name", MODELS)
def test_fit_loads_it_all(tmp_path: Path, name: str) -> None:
    trained, fresh = MODELS[name](), MODELS[name]()
    fit(fresh, read(saved(tmp_path, trained.state_dict())), "w.pt")
    assert same(fresh.state_dict(), trained.state_dict())


def test_a_network_that_is_wrapped_itself(tmp_path: Path) -> None:
    trained, fresh = nn.DataParallel(conv_net()), nn.DataParallel(conv_net())
    fit(fresh, read(saved(tmp_path, trained.state_dict())), "w.pt")
    assert same(fresh.state_dict(), trained.state_dict())


def test_counters_are_no_misfit() -> None:
    model = conv_net()
    state = {k: v for k, v in conv_net().state_dict().items() if not k.endswith("num_batches_tracked")}
    model[1].num_batches_tracked.fill_(5)
    fit(model, state, "w.pt")
    assert torch.equal(model[0].weight, state["0.weight"]) and model[1].num_batches_tracked == 5
    plain = nn.Sequential(nn.Linear(2, 2))
    fit(plain, {**plain.state_dict(), "0.num_batches_tracked": torch.tensor(1)}, "w.pt")


@pytest.mark.parametrize("kept", ["embedding.weight", "output.weight"])
def test_a_tied_tensor_may_be_there_once(kept: str) -> None:
    model, weight = Tied(), torch.randn(7, 4)
    assert set(check_fit(model, {kept: weight}, "w.pt")) == {"embedding.weight", "output.weight"}
    fit(model, {kept: weight}, "w.pt")
    assert torch.equal(model.embedding.weight, weight) and model.output.weight is model.embedding.weight


def test_misfits_are_named() -> None:
    model = conv_net()
    state = dict(model.state_dict())
    del state["0.bias"], state["1.running_mean"]
    state["head.weight"] = torch.ones(1)
    state["5.weight"] = torch.ones(10, 4)
    with pytest.raises(CheckpointError) as caught:
        fit(model, state, "other.pt")
    assert str(caught.value) == (
        "'other.pt' does not fit the network; missing: 0.bias, 1.running_mean; unexpected: head.weight; "
        "misshapen: 5.weight (10, 4) instead of (3, 4)"
    )


def test_many_misfits_are_abridged() -> None:
    with pytest.raises(CheckpointError, match=r"unexpected: a0, a1, a2, a3 and 5 more$"):
        check_fit(nn.Identity(), {f"a{i}": torch.ones(1) for i in range(9)}, "w.pt")


def test_a_misfit_changes_nothing() -> None:
    model = conv_net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointError):
        fit(model, {"0.weight": torch.zeros_like(before["0.weight"])}, "w.pt")
    assert same(before, dict(model.state_dict()))


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read(path)
    assert caught.value.exit_status == EXIT_BAD_INPUT and path.name in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    return str(caught.value)


def test_absent(tmp_path: Path) -> None:
    assert "no weights file" in refused(tmp_path / "none.pt")
    assert "no weights file" in refused(tmp_path)


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("keep", [0, 3, 100, -100])
def test_cut_short(tmp_path: Path, name: str, keep: int) -> None:
    file = tmp_path / name
    state = dict(conv_net().state_dict())
    if name.endswith(".pt"):
        torch.save(state, file)
    else:
        save_file(state, file)
    file.write_bytes(file.read_bytes()[:keep])
    assert "not a readable checkpoint" in refused(file)


@pytest.mark.parametrize(
    "content", [b"hello, this is text\n" * 9, b"\x80\x02garbage", b"PK\x03\x04" + b"\0" * 60]
)
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_not_a_checkpoint(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name)


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_pickle_beyond_tensors_does_not_run(tmp_path: Path, form: str) -> None:
    marker, file = tmp_path / "marker", tmp_path / "w.pt"
    content = {"a": torch.ones(1), "b": Bomb(marker)}
    if form == "pickle":
        file.write_bytes(pickle.dumps(Bomb(marker), protocol=2))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    assert "pickle beyond tensors" in refused(file)
    assert not marker.exists()


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    assert "save only its state_dict()" in refused(saved(tmp_path, nn.Linear(2, 2)))


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, [torch.ones(2)], torch.ones(2), {"epoch": 3}, 3])
def test_no_tensors(tmp_path: Path, content: Any) -> None:
    assert "contains no state dict" in refused(saved(tmp_path, content))


@pytest.mark.parametrize(
    ("file", "parameters"),
    [("li2018/resnet56.t7", 855_770), ("li2018/resnet56_noshort.t7", 853_018), ("resnet20/a.th", 269_722)],
)
def test_the_real_ones(shared: Path, file: str, parameters: int) -> None:
    state = read(shared / "weights" / file)
    assert not any(key.startswith("module.") for key in state)
    moving = [v for k, v in state.items() if "running" not in k and "tracked" not in k]
    assert sum(v.numel() for v in moving) == parameters


# Hostile files: nothing runs, nothing grows ------------------------------------------------------------


def repacked(source: Path, target: Path, **changes: bytes) -> Path:
    """torch's archive packed once more, deflated, with other members in it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, changes.pop(Path(name).name.replace(".", "_"), old.read(name)))
    assert not changes
    return target


def test_a_checkpoint_that_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = repacked(saved(tmp_path, {"a": torch.zeros(1_000_000)}), tmp_path / "bomb.pt")
    assert read(file)["a"].shape == (1_000_000,)
    monkeypatch.setattr(files, "FREE_BYTES", 1 << 20)
    assert "would unpack to 4,000," in refused(file)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_fills_the_memory(tmp_path: Path, zipped: bool) -> None:
    """torch.load(weights_only=True) lets it: bytearray(n) is n bytes of zeros, each of them touched."""
    torch.save({"a": bytearray(b"x" * 9)}, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    assert "contains a bytearray, which no tensor needs" in refused(tmp_path / "w.pt")


def claims(numel: int) -> bytes:
    """The older format, with a storage of so many floats and the bytes of four."""
    torch.save({"a": torch.ones(4)}, buffer := io.BytesIO(), _use_new_zipfile_serialization=False)
    content = buffer.getvalue()
    # The storage's device (its length, itself, BINPUT), then BININT1: the number of elements.
    (before,) = re.findall(rb"cpuq.K\x04", content, re.S)
    return content.replace(before, before[:-2] + b"\x8a\x08" + numel.to_bytes(8, "little"))


@pytest.mark.parametrize("numel", [5, 10**9, 10**12, 2**62])
def test_a_storage_that_claims_more_than_there_is(tmp_path: Path, numel: int) -> None:
    (tmp_path / "w.t7").write_bytes(claims(numel))
    assert "not a readable checkpoint" in refused(tmp_path / "w.t7")


@pytest.mark.parametrize(
    "tensors",
    [
        {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [2**63, 2], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F99", "shape": [4], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}},
    ],
)
def test_safetensors_whose_header_lies(tmp_path: Path, tensors: dict[str, Any]) -> None:
    header = json.dumps(tensors).encode()
    file = tmp_path / "w.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    assert "not a readable checkpoint" in refused(file)
    file.write_bytes((2**63).to_bytes(8, "little") + header + bytes(16))
    assert "not a readable checkpoint" in refused(file)


def test_the_oldest_format_and_torchscript_are_refused(tmp_path: Path) -> None:
    """A tar of pickles, from before 2017, which torch would unpack into files; and an archive of code."""
    with tarfile.open(tmp_path / "old.t7", "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    refused(tmp_path / "old.t7")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still around
        torch.jit.save(torch.jit.script(nn.ReLU()), tmp_path / "script.pt")
    refused(tmp_path / "script.pt")


def odd_tensors() -> dict[str, torch.Tensor]:
    sparse = torch.sparse_coo_tensor(torch.tensor([[0, 3]]), torch.ones(2), (4,))
    return {
        "sparse": sparse,
        "meta": torch.empty(4, device="meta"),
        "quantized": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.quint8),
    }


@pytest.mark.parametrize("kind", ["sparse", "meta", "quantized"])
def test_tensors_that_are_not_dense_are_no_weights(tmp_path: Path, kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = saved(tmp_path, {"a": odd_tensors()[kind]})
    assert "contains no state dict" in refused(file)


def test_complex_weights_do_not_fit() -> None:
    state = {
        k: v.to(torch.complex64) if v.is_floating_point() else v for k, v in conv_net().state_dict().items()
    }
    with pytest.raises(CheckpointError, match=r"misshapen: 0\.weight is complex"):
        check_fit(conv_net(), state, "w.pt")


@pytest.mark.parametrize("name", ["x" * 300 + ".pt", "a\0b.pt", "loop.pt", "\x1b[2J.pt", "line\nbreak.pt"])
def test_names_that_name_nothing(tmp_path: Path, name: str) -> None:
    os.symlink("loop.pt", tmp_path / "loop.pt")
    with pytest.raises(CheckpointError, match="no weights file at") as caught:
        read(tmp_path / name)
    assert str(caught.value).isprintable()
