"""Small valid files, to be spoiled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from store_contract import GRIDS, Place, close, results

from lsweep.certificate import Certificate, Kind
from lsweep.comm import SerialComm
from lsweep.store import certificate


@dataclass(frozen=True)
class Sample:
    """A valid file's bytes, and where it is worth spoiling: not in the middle of its numbers."""

    name: str
    content: bytes
    spots: tuple[int, ...]


def hdf5(folder: Path) -> list[Sample]:
    """A sweep, the same in HDF5's newest structures, and directions as the released code keeps them."""
    folder.mkdir(exist_ok=True)
    return [_sample(write(folder)) for write in (sweep, newest, directions)]


def sweep(folder: Path) -> Path:
    """A 3 × 5 sweep, all done, and certified."""
    store = Place("gather", SerialComm(), folder).open(GRIDS["plane"], "sweep.h5")
    store.begin_session("1", "here")
    store.put(results(list(range(15))))
    close(store)
    losses, kinds = {"loss": np.array([3.25, 4.0])}, np.array([0, 1], np.uint8)
    populations = {Kind.EVALUATED: 14, Kind.INTERPOLATED: 1}
    made = Certificate(np.array([3, 4]), kinds, losses, losses, 1, populations, 0, "fp32", {"commit": "a"})
    certificate.write(folder / "sweep.h5", made)
    return folder / "sweep.h5"


def newest(folder: Path) -> Path:
    """The sweep once more, with `libver="latest"`, chunks, filters and many attributes."""
    path = folder / "newest.h5"
    with h5py.File(folder / "sweep.h5") as old, h5py.File(path, "w", libver="latest") as file:
        for name in old:
            old.copy(name, file)
        file.attrs.update(old.attrs)
        file.attrs.update({f"note{i}": "x" * 50 for i in range(20)})
        file["xdirection/0"] = np.zeros((3, 4))
        options = {"chunks": (5, 5), "maxshape": (None, None), "compression": "gzip"}
        file.create_dataset("xdirection/1", data=np.zeros((30, 40)), **options)
    return path


def directions(folder: Path) -> Path:
    """Directions for a small network, as the released code writes them; one tensor is compressed."""
    path = folder / "directions.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for axis in "xy":
            for index, shape in enumerate([(4, 3), (4,), (2, 2, 3, 3), ()]):
                file[f"{axis}direction/{index}"] = np.asarray(rng.normal(size=shape), "f4")
            group = file[f"{axis}direction"]
            group.create_dataset("4", data=np.eye(10), compression="gzip", chunks=(5, 5), shuffle=True)
    return path


def _sample(path: Path) -> Sample:
    content = path.read_bytes()
    raw = np.zeros(len(content), bool)

    def mark(_: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.id.get_offset() is not None:
            raw[item.id.get_offset() :][: item.id.get_storage_size()] = True

    with h5py.File(path) as file:
        file.visititems(mark)
    used = np.flatnonzero(~raw & (np.frombuffer(content, np.uint8) != 0))
    # The zeros before a byte that is used belong to its number, most of the time.
    return Sample(path.stem, content, tuple(sorted({int(s) for i in used for s in (i, max(0, i - 1))})))


def foreign(folder: Path) -> list[Sample]:
    """A surface and a projected trajectory as the released code keeps them, and plain arrays."""
    folder.mkdir(exist_ok=True)
    x, y, values = np.linspace(-1, 1, 5), np.linspace(0, 1, 3), np.arange(15.0)
    files = {
        "surface": {
            "xcoordinates": x,
            "ycoordinates": y,
            "dir_file": "d.h5",
            **{
                f"{split}_{name}": values.reshape(5, 3)
                for split in ("train", "test")
                for name in ("loss", "acc")
            },
            "min_eig": -values.reshape(5, 3),
            "max_eig": values.reshape(5, 3),
        },
        "projection": {"proj_xcoord": x, "proj_ycoord": x},
        "plain": {"x": x, "y": y, "loss": values.reshape(3, 5), "margin": values.reshape(3, 5)},
    }
    for name, datasets in files.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            for key, data in datasets.items():
                file[key] = data
            file.attrs["note"] = name
    return [_sample(folder / f"{name}.h5") for name in files]


def table(folder: Path) -> list[Sample]:
    """A few points with what else a row may say."""
    folder.mkdir(exist_ok=True)
    rows = [f"{x},{y},{x + y},done,0.5,{x}" for y in (0, 1, 2) for x in (-1.5, 2e3)]
    (folder / "table.csv").write_text(
        "\n".join(["x,y,loss,status,accuracy,rank", *rows[:5], "2e3,2,,pending,,", ""])
    )
    return [_whole(folder / "table.csv")]


def npz(folder: Path) -> list[Sample]:
    """Two images and labels, stored and compressed."""
    folder.mkdir(exist_ok=True)
    content = {"images": np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 1), "labels": np.arange(2)}
    np.savez(folder / "stored.npz", **content)
    np.savez_compressed(folder / "compressed.npz", **content)
    return [_whole(folder / name) for name in ("stored.npz", "compressed.npz")]


def checkpoints(folder: Path) -> list[Sample]:
    """A small network's weights: torch's zip and its older format, and safetensors."""
    import torch
    from safetensors.torch import save_file
    from small_models import conv_net

    folder.mkdir(exist_ok=True)
    state = {name: value.clone() for name, value in conv_net().state_dict().items()}
    torch.save(state, folder / "w.pt")
    torch.save(state, folder / "w.t7", _use_new_zipfile_serialization=False)
    save_file(state, folder / "w.safetensors")
    return [_whole(folder / name) for name in ("w.pt", "w.t7", "w.safetensors")]


def _whole(path: Path) -> Sample:
    content = path.read_bytes()
    return Sample(path.name, content, tuple(range(len(content))))
