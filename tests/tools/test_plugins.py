"""The user's own functions, named by text."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsweep.errors import ConfigError
from lsweep.tools.plugins import resolve

NETS = """
from dataclasses import dataclass
import neighbour

@dataclass
class Net:
    width: int = neighbour.WIDTH
    class Inner:
        pass

def make_net():
    import late
    return Net(late.WIDTH)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with modules in it; what is imported is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    (tmp_path / "neighbour.py").write_text("WIDTH = 7\n")
    (tmp_path / "late.py").write_text("WIDTH = 9\n")
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "nets.py").write_text("from neighbour import WIDTH\n")
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_dotted_name_is_found_in_the_working_directory(folder: Path) -> None:
    assert resolve("pack.nets:WIDTH", what="model.source") == 7


def test_dotted_name_of_an_installed_module() -> None:
    assert resolve("pickle:dumps", what="x") is pickle.dumps


def test_file_gives_attributes_with_dots(folder: Path) -> None:
    assert resolve("nets.py:Net.Inner", what="x").__name__ == "Inner"


def test_file_outside_the_working_directory_finds_its_neighbours(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = folder / "with space: and colon"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert resolve("../nets.py:Net", what="x")().width == 7


def test_objects_of_a_file_survive_pickling(folder: Path) -> None:
    net = resolve("nets.py:Net", what="x")(3)
    assert pickle.loads(pickle.dumps(net)) == net


def test_a_file_named_twice_is_one_module_and_an_edited_one_another(folder: Path) -> None:
    first = resolve("nets.py:Net", what="x")
    assert resolve(f"{folder}/nets.py:Net", what="x") is first
    (folder / "nets.py").write_text(NETS + "\n")
    assert resolve("nets.py:Net", what="x") is not first


def test_imports_inside_functions_work_when_they_are_called(folder: Path) -> None:
    assert resolve("nets.py:make_net", what="x")().width == 9


def test_the_working_directory_hides_no_library_afterwards(folder: Path) -> None:
    resolve("nets.py:Net", what="x")
    assert sys.path[0] != str(folder) and sys.path[-1] == str(folder)


def test_a_module_may_change_the_path_itself(folder: Path) -> None:
    (folder / "changes.py").write_text("import sys\nsys.path.insert(0, 'src')\nX = 1\n")
    resolve("changes:X", what="x")
    assert "src" in sys.path


@pytest.mark.parametrize(
    "spec", ["", "nets", "nets.py", "nets.py:", ":make", "a b:c", "nets:1x", "pack..nets:f"]
)
def test_other_forms_are_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match=r'model\.source must be "package\.module:name"') as caught:
        resolve(spec, what="model.source")
    assert caught.value.key == "model.source"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere.nets:f", "there is no module 'nowhere'"),
        ("pack.absent:f", "there is no module 'pack.absent'"),
        ("absent.py:f", "cannot read 'absent.py': No such file"),
        ("nets.py:make_ned", r"no 'make_ned' in it \(did you mean 'make_net'\?\)"),
        ("pack.nets:zzz", r"no 'zzz' in it \(valid: WIDTH\)"),
    ],
)
def test_what_is_absent_is_named(folder: Path, spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(spec, what="model.source")


@pytest.mark.parametrize("spec", ["broken:f", "broken.py:f"])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import not_installed", "ModuleNotFoundError: No module named 'not_installed'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def f(:", "SyntaxError: invalid syntax"),
    ],
)
def test_errors_while_importing_are_shown_on_one_line(
    folder: Path, spec: str, code: str, message: str
) -> None:
    (folder / "broken.py").write_text(code)
    with pytest.raises(ConfigError, match=f"importing 'broken.*' failed: {message}") as caught:
        resolve(spec, what="x")
    assert "\n" not in str(caught.value)
    assert not any(name == "broken" or name.startswith("lsweep_user_broken") for name in sys.modules)
