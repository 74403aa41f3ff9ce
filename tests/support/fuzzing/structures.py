"""Files that are well formed and yet wrong: HDF5 changed through its library, npz archives made by hand."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

NAMES = (
    "x", "y", "z", "loss", "accuracy", "status", "seconds", "rank", "loss_test", "extra", "a\x1b[31mb", "\u202eevil",
    "sessions", "sessions/table", "directions", "directions/x", "directions/x/0", "xdirection", "xdirection/0",
    "xdirection/1", "ydirection/0", "directions/fingerprint_x", "format", "format_version", "config", "provenance",
    "identity", "metrics", "recipe", "sha256_x",
)  # fmt: skip
TEXTS = (
    "", "lsweep", "{}", "[]", '["loss"]', '["x", "status"]', '["../a", "\\u001b"]', "null", "[" * 900, "{" * 5000,
    "9" * 5000, "1e999", '{"a": NaN}', "\x1b]0;owned\x07", "\x9b31m", "a\nb\r\nc", "\x00",
    "\ud800".encode("utf-8", "surrogatepass"),
    '[model]\nsource = "\\u001b[2J$x^"', "a.b." * 9000 + "c = 1", "x" * 60000, b"\xff\xfe", "ä" * 99,
)  # fmt: skip
TYPES: tuple[Any, ...] = (
    "u1", "<i4", ">f4", "<f2", "<f8", "g", "?", "S3", "c8", "V7", h5py.string_dtype(), h5py.ref_dtype,
    h5py.regionref_dtype, h5py.vlen_dtype("i4"), h5py.enum_dtype({"a": 1}), [("a", "f8"), ("b", "S99")],
    np.dtype(("f8", (3,))), h5py.opaque_dtype(np.dtype("M8[s]")),
)  # fmt: skip
SHAPES: tuple[Any, ...] = (
    (),
    (0,),
    (1,),
    (3,),
    (5,),
    (3, 5),
    (5, 3),
    (2, 3, 5),
    (10**9,),
    (2**40, 2**20),
    (1,) * 32,
    None,
)
NUMBERS = (0.0, -1.0, 1e300, -1e308, 1e15, 253402300799.0, float("nan"), float("inf"), -float("inf"), 5e-324)


def change(path: Path, steps: list[tuple[int, int, int]]) -> str:
    """Make some changes to an HDF5 file in place; what cannot be changed so stays. Return ""."""
    with h5py.File(path, "r+", locking=False) as file:
        for kind, name, seed in steps:
            with contextlib.suppress(Exception):
                _CHANGES[kind % len(_CHANGES)](file, NAMES[name % len(NAMES)], random.Random(seed))
    return ""


def _delete(file: h5py.File, name: str, rng: random.Random) -> None:
    del file[name]


def _link(file: h5py.File, name: str, rng: random.Random) -> None:
    target = "/" + rng.choice(NAMES)
    links = (
        h5py.SoftLink(target),
        h5py.SoftLink("/nothing"),
        h5py.ExternalLink("/dev/zero", target),
        file["/"],
    )
    _put(file, name, rng.choice(links))


def _alias(file: h5py.File, name: str, rng: random.Random) -> None:
    _put(file, name, file[rng.choice(NAMES)])


def _dataset(file: h5py.File, name: str, rng: random.Random) -> None:
    dtype, shape = rng.choice(TYPES), rng.choice(SHAPES)
    options: dict[str, Any] = {}
    if shape and rng.random() < 0.4:
        options = {
            "chunks": tuple(min(n, 64) or 1 for n in shape),
            "compression": rng.choice(("gzip", "lzf", None)),
        }
        options["fletcher32"] = rng.random() < 0.2
    if shape and rng.random() < 0.1:
        options = {"external": [("/dev/zero", 0, h5py.h5f.UNLIMITED)]}
    _put(file, name, None)
    dataset = file.create_dataset(name, shape, h5py.Empty("f8").dtype if shape is None else dtype, **options)
    if shape is not None and np.prod(shape) < 1000 and dataset.dtype.kind in "fiu":
        dataset[...] = np.resize(np.asarray(rng.choices(NUMBERS, k=9)), shape)


def _virtual(file: h5py.File, name: str, rng: random.Random) -> None:
    layout = h5py.VirtualLayout((3, 5), "<f8", maxshape=(None, 5))
    layout[:3] = h5py.VirtualSource("/dev/zero", "loss", shape=(3, 5))
    _put(file, name, None)
    file.create_virtual_dataset(name, layout)


def _type(file: h5py.File, name: str, rng: random.Random) -> None:
    _put(file, name, np.dtype(rng.choice(TYPES[:8])))


def _group(file: h5py.File, name: str, rng: random.Random) -> None:
    _put(file, name, None)
    group = file.create_group(name)
    for index in range(rng.choice((0, 1, 3, 300))):
        group[str(index)] = np.zeros(rng.choice(((), (0,), (4, 3), (4,))), "f4")


def _values(file: h5py.File, name: str, rng: random.Random) -> None:
    dataset = file[name]
    if dataset.dtype.names:
        for field in dataset.dtype.names:
            row = dataset[...]
            fits = row.dtype[field].kind in "fi"
            row[field][:9] = rng.choice(NUMBERS if fits else TEXTS[1:20])
            dataset[...] = row
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            numbers = np.asarray(rng.choices(NUMBERS, k=7)).astype(dataset.dtype)
        dataset[...] = np.resize(numbers, dataset.shape)


def _text(file: h5py.File, name: str, rng: random.Random) -> None:
    value = rng.choice(TEXTS)
    if rng.random() < 0.3:
        value = np.bytes_(value.encode("utf-8", "replace") if isinstance(value, str) else value)
    _holder(file, rng).attrs[name] = value


def _attribute(file: h5py.File, name: str, rng: random.Random) -> None:
    shape = rng.choice(SHAPES[:8])
    _holder(file, rng).attrs.create(name, np.zeros(shape or (), "f8"), shape, rng.choice(TYPES))


def _number(file: h5py.File, name: str, rng: random.Random) -> None:
    value = rng.choice(
        (0, 1, 2, -1, 2**63 - 1, 1.0, float("nan"), True, h5py.Empty("i8"), np.ones(3, "i8"), 1j)
    )
    _holder(file, rng).attrs[name] = value


def _holder(file: h5py.File, rng: random.Random) -> Any:
    return file["directions"] if rng.random() < 0.3 else file


def _put(file: h5py.File, name: str, value: Any) -> None:
    if name in file:
        del file[name]
    if value is not None:
        file[name] = value


_CHANGES: tuple[Callable[[h5py.File, str, random.Random], None], ...] = (
    _delete, _link, _alias, _dataset, _dataset, _virtual, _type, _group, _values, _values, _text, _text, _attribute,
    _number,
)  # fmt: skip

DESCRIPTIONS = (
    "'|u1'", "'<f4'", "'>f4'", "'<i8'", "'|O'", "'<U9'", "'|V0'", "[('a', '<f4')]", "('|u1', (1000000000,))", "'M8[s]'",
    "'<f8" + "0" * 50 + "'",
    "-" * 5000 + "1", "(" * 150 + "1" + ")" * 150, "{" * 150, "'|u1', 'x': 1if 1else 2", "None", "[]",
    "'" + "a" * 70000 + "'", "'\x1b[31m'", "'|u1'  # \x00",
)  # fmt: skip
FORMS = (
    "(2, 3, 3, 1)", "(2,)", "(2, 3, 3)", "()", "(0, 3, 3, 1)", "(-1, 3, 3, 1)", "(-2, -3, 3, 1)", "(1000000000000,)",
    "(2, 3, 3, 1000000000)", "(9" + "9" * 5000 + ",)", "(2.0,)", "(True, True)", "2",
    "'a'", "(2L, 3L, 3L, 1L)", "(" + "1, " * 70 + ")",
)  # fmt: skip


METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


@dataclass
class _Member:
    """What a member of an npz archive says of itself, and how many bytes follow."""

    name: str
    description: str
    shape: str
    size: int
    order: str = "False"
    version: tuple[int, int] = (1, 0)
    declared: int | None = None
    method: int = zipfile.ZIP_STORED

    def content(self) -> bytes:
        header = f"{{'descr': {self.description}, 'fortran_order': {self.order}, 'shape': {self.shape}, }}\n"
        short = self.version == (1, 0)
        length = len(header) if self.declared is None else self.declared
        prefix = struct.pack("<H" if short else "<I", length % (1 << 16 if short else 1 << 32))
        return b"\x93NUMPY" + bytes(self.version) + prefix + header.encode("latin-1") + bytes(self.size)


def archive(steps: list[tuple[int, int, int]]) -> bytes:
    """An npz file of images and labels, with something else in it at each step."""
    members = [_Member("images.npy", "'|u1'", "(2, 3, 3, 1)", 18), _Member("labels.npy", "'<i8'", "(2,)", 16)]
    for kind, which, seed in steps:
        _change_member(members, members[which % len(members)], kind, random.Random(seed))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two of one name are meant
        for member in members:
            file.writestr(zipfile.ZipInfo(member.name), member.content(), member.method)
    return buffer.getvalue()


def _change_member(members: list[_Member], member: _Member, kind: int, rng: random.Random) -> None:
    match kind % 8:
        case 0:
            member.description = rng.choice(DESCRIPTIONS)
        case 1:
            member.shape = rng.choice(FORMS)
        case 2:
            member.size = rng.choice((0, 1, 2, 16, 18, 72, 144, 10**6))
        case 3:
            member.order = rng.choice(("True", "9", "None", "x", "'\x1b'"))
        case 4:
            member.version = rng.choice(((2, 0), (3, 0), (9, 9), (0, 0)))
        case 5:
            member.declared = rng.randrange(1 << 20)
        case 6:
            member.method = rng.choice(METHODS)
        case _:
            name = rng.choice(("images.npy", "images", "labels", "\x1b[31m.npy", "../../a.npy", "a" * 300))
            members.append(replace(member, name=name))
