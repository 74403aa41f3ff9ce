"""What is no sweep, wherever lsweep expects one: one line, status 2, no waiting, and nothing is touched."""

from __future__ import annotations

import json
import os
import socket
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
import project
import pytest
from fuzzing.reproducers import CRASHES
from launch import absent, python
from store_contract import GRIDS, Place, close, header, results

from lsweep import cli
from lsweep.comm import SerialComm
from lsweep.errors import FileFormatError, InputError
from lsweep.store import Header, open_store
from lsweep.store.opening import prepare_output
from lsweep.store.reader import read

NOBODY = 65534


@pytest.fixture
def here(tmp_path: Path, unlaunched: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with a finished sweep `good.h5`, the working directory."""
    project.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    store = Place("gather", SerialComm(), tmp_path).open(GRIDS["plane"], "good.h5")
    store.put(results(list(range(15))))
    close(store)
    return tmp_path


def newer(path: Path) -> None:
    path.write_bytes(Path("good.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 2


def of_another_program(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["loss"] = np.zeros(3)


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)  # relative: a socket's path is short


def good() -> bytes:
    return Path("good.h5").read_bytes()


# What is there → (how it comes there, what is said of it).
THINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "not a readable HDF5 file"),
    "zeros": (lambda p: p.write_bytes(bytes(8192)), "not a readable HDF5 file"),
    "text": (lambda p: p.write_text("a,b\n" * 999), "not a readable HDF5 file"),
    "truncated": (lambda p: p.write_bytes(good()[:-1]), "not a readable HDF5 file"),
    "truncated in its header": (lambda p: p.write_bytes(good()[:90]), "not a readable HDF5 file"),
    "of another program": (of_another_program, "not one that lsweep wrote"),
    "of a newer format": (newer, "format version 2, this lsweep reads up to 1; update lsweep"),
    "a crasher": (lambda p: p.write_bytes(CRASHES), "in a test by a child process"),
    "a folder": (lambda p: p.mkdir(), "folder"),
    "a pipe": (lambda p: os.mkfifo(p), "it is a named pipe"),
    "a socket": (bound_socket, "it is a socket"),
    "a device": (lambda p: p.symlink_to("/dev/zero"), "it is a device"),
    "a link to nothing": (lambda p: p.symlink_to("absent.h5"), "it is a broken symbolic link"),
    "a link to itself": (lambda p: p.symlink_to(p.name), "Too many levels of symbolic links"),
}
VERBS = {
    "sweep": ["sweep", "sweep.toml", "--quiet", "--set", "output=bad.h5"],
    "directions": [
        "sweep", "sweep.toml", "--quiet", "--set", "directions.kind=file", "--set", "directions.path=bad.h5"
    ],
    "status": ["status", "bad.h5"],
    "render": ["render", "bad.h5"],
    "export": ["export", "bad.h5"],
}  # fmt: skip
# The message tells the truth, but another one than elsewhere.
OTHERWISE = {
    ("directions", "of another program"): "holds no directions",
    ("directions", "of a newer format"): "contains the recipe of its directions",
    ("directions", "a crasher"): "holds no directions",
}


def state(folder: Path) -> dict[str, object]:
    """All that is there, with the content of what has one."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        if p.is_file() and not p.is_symlink()
        else p.lstat().st_mode
        for p in sorted(folder.rglob("*"))
        if "__pycache__" not in p.parts
    }


@pytest.mark.timeout(120)  # a pipe or a device would be waited for for ever
@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize(
    "verb", ["sweep", "status", *(pytest.param(v, marks=pytest.mark.slow) for v in VERBS)]
)
def test_what_is_no_sweep(verb: str, thing: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make, said = THINGS[thing]
    make(here / "bad.h5")
    before = state(here)
    assert cli.main(VERBS[verb]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("lsweep: error: ") and len(err.splitlines()) == 1, err
    if h5py.version.hdf5_version == "1.10.8" or thing != "a crasher":
        assert OTHERWISE.get((verb, thing), said) in err
    assert state(here) == before or (verb == "directions" and set(state(here)) - set(before) <= {"out"})


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read and write everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_or_written(here: Path) -> None:
    folder = here
    while folder != folder.parent:  # pytest's folders are its user's alone
        if not folder.stat().st_mode & 0o001:
            if folder.stat().st_uid != os.geteuid():
                absent(f"{folder} cannot be opened to others")
            folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent
    here.chmod(0o777)
    sweep = here / "good.h5"
    sweep.chmod(0o444)
    with (
        as_nobody(),
        pytest.raises(InputError, match=r"cannot write to '.*good\.h5': Permission denied"),
    ):
        prepare_output(sweep)
    sweep.chmod(0o000)
    with as_nobody(), pytest.raises(FileFormatError, match=r"cannot read '.*good\.h5': Permission denied"):
        read(sweep)
    here.chmod(0o555)
    with as_nobody(), pytest.raises(InputError, match=r"cannot write to the folder .*: Permission denied"):
        prepare_output(here / "new.h5")


def quoted(name: str) -> str:
    """As a TOML string; what is no text at all goes without quotes."""
    return name if "\udcff" in name else json.dumps(name)


NAMES = [
    "a b.h5",
    "quo'te\"s.h5",
    "new\nline.h5",
    "\x1b[31mred.h5",
    "$(touch i_was_here).h5",
    "*.h5",
    "é\u202e.h5",
    "\udcff.h5",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_shells_and_terminals_stumble_over(
    name: str, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / name).write_bytes(good())
    for arguments in (["status", name], ["export", name], ["render", name, "--dpi", "20"]):
        assert cli.main(arguments) == 0
        out, err = capfd.readouterr()
        assert err == "" and all(line.isprintable() for line in out.splitlines())
    assert {p.suffix for p in here.glob("*") if p.name.startswith(name[:-3])} >= {".vts", ".png", ".h5"}
    (here / name).write_bytes(b"")
    for arguments in (["status", name], ["sweep", "sweep.toml", "--set", f"output={quoted(name)}"]):
        assert cli.main(arguments) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert line.isprintable()
    assert not (here / "i_was_here").exists()


@pytest.mark.parametrize("name", ["x" * 300 + ".h5", "x" * 250, "a\0b.h5", "good.h5/x.h5"])
def test_names_that_cannot_be(name: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (["status", name], ["sweep", "sweep.toml", "--set", f"output={quoted(name)}"]):
        assert cli.main(arguments) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("lsweep: error: ") and line.isprintable()


# Texts in a valid file ------------------------------------------------------------------------------------

EVIL = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\x00\r\nlsweep: error: not at all"


def evil_sweep(folder: Path) -> Path:
    """A valid sweep whose every text is made for the terminal."""
    source = f'model.source = "{EVIL.encode("unicode_escape").decode()}"'.replace("\\x", "\\u00")
    assert tomllib.loads(source)["model"]["source"] == EVIL
    plain = header(GRIDS["plane"])
    store = open_store(
        folder / "evil.h5",
        "gather",
        SerialComm(),
        Header(plain.grid, plain.names, {"weights": EVIL}, source, {EVIL: EVIL}),
    )
    store.begin_session(EVIL.replace("\0", ""), EVIL.replace("\0", ""))
    store.put(results(list(range(15))))
    close(store)
    return folder / "evil.h5"


def test_no_text_of_a_file_reaches_the_terminal_as_it_is(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    evil_sweep(here)
    assert cli.main(["status", "evil.h5"]) == 0
    out, err = capfd.readouterr()
    assert r"\x1b]0;owned\x07" in out and err == ""
    assert all(line.isprintable() for line in out.split("\n"))
    (session,) = (line for line in out.splitlines() if line.startswith("  session"))
    assert r"\r\nlsweep: error" in session
    assert cli.main(["sweep", "sweep.toml", "--quiet", "--set", "output=evil.h5"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "is another sweep: its weights is" in line and line.isprintable()


def test_figures_and_exports_of_such_a_file_are_well_formed(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    evil_sweep(here)
    for kind in ("contour", "line"):
        assert cli.main(["render", "evil.h5", "-o", f"{kind}.svg", "--kind", kind]) == 0
        ElementTree.parse(here / f"{kind}.svg")
        assert (
            r"\x1b]0;owned\x07" in (here / f"{kind}.svg").read_text()
        )  # in a comment beside the drawn letters
    assert cli.main(["export", "evil.h5", "--format", "vts", "--format", "vtp", "--format", "vti"]) == 0
    for suffix in ("vts", "vtp", "vti"):
        ElementTree.parse(here / f"evil.{suffix}")
    out, err = capfd.readouterr()
    assert err == "" and out.isascii()


@pytest.mark.slow
def test_a_configuration_made_to_keep_the_parser_is_no_title(here: Path) -> None:
    for text in ("a." * 90_000 + "b = 1", "a = " + "[" * 9000):
        with h5py.File("good.h5", "r+", libver=("v108", "v108")) as file:
            del file.attrs["config"]
            file.attrs["config"] = np.bytes_(text[:60_000])
        assert cli.main(["render", "good.h5", "--dpi", "20"]) == 0


# Configurations -------------------------------------------------------------------------------------------

CONFIGURATIONS: dict[str, tuple[bytes | None, list[str], str]] = {
    "a zero byte in a path": (None, ["--set", 'model.weights="a\\u0000b"'], "no weights file"),
    "escapes in a key": (b'"\\u001b[31m" = 1', [], r"unknown key '\x1b[31m'"),
    "escapes in a value": (None, ["--set", 'store.mode="\\u001b[31m"'], r"got '\x1b[31m'"),
    "a number of 5000 digits": (b"a = " + b"9" * 5000, [], "is not valid TOML"),
    "a hexadecimal number of 5000 digits": (
        None,
        ["--set", "grid.x.num=0x" + "f" * 5000],
        "fit into 64 bits",
    ),
    "a large number for a float": (None, ["--set", "grid.x.max=1" + "0" * 400], "fit into 64 bits"),
    "a deep value": (None, ["--set", "output." + "a." * 3000 + "b=1"], "output"),
    "a deep table": (
        b"output." + b"a." * 900 + b"b = 1\nmodel.source='a'\ndata.source='b'",
        [],
        "output must be",
    ),
    "a megabyte": (b"#" * 1_000_000, [], "has more than 65536 bytes"),
    "an axis longer than a number": (
        None,
        ["--set", "grid.x={min=-1e308,max=1e308}"],
        "needs a finite length",
    ),
    "too many seeds": (None, ["--seeds", "0-99999999999"], "names more than 10000 seeds"),
    "a seed of 5000 digits": (None, ["--seeds", "9" * 5000], "--seeds takes numbers"),
    "a time limit of 400 digits": (None, ["--time-limit", "9" * 400], "a time limit is"),
    "seeds without an output": (None, ["--set", "output=", "--seeds", "1"], "--seeds needs an output"),
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_hostile_configurations(case: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content, arguments, said = CONFIGURATIONS[case]
    if content is not None:
        (here / "sweep.toml").write_bytes(content)
    assert cli.main(["sweep", "sweep.toml", "--quiet", *arguments]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("lsweep: error: ") and said in line and line.isprintable() and len(line) < 2200


@pytest.mark.parametrize("name", ["/dev/zero", "a\0b", "x" * 300, "\x1b[31m"])
def test_what_is_no_configuration(name: str, here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sweep", name]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("lsweep: error: ") and line.isprintable()


@pytest.mark.slow
def test_a_configuration_may_come_through_a_pipe(here: Path) -> None:
    done = python("-m", "lsweep", "sweep", "/dev/stdin", "--quiet", cwd=here, input=project.CONFIG)
    assert (done.returncode, done.stderr) == (0, "")
