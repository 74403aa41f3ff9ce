"""What users rely on stays: names, verbs, options, exit statuses, configuration keys, and old paths of modules."""

from __future__ import annotations

import importlib
import json
import sys

import interface
import pytest
from launch import TESTS, python

import lsweep
from lsweep.store.opening import present_path

RECORDED = json.loads((TESTS / "golden" / "interface.json").read_text())
OLD_MODULES = (TESTS / "golden" / "old_modules.txt").read_text().split()


@pytest.mark.parametrize("part", RECORDED)
def test_the_interface_is_as_recorded(part: str) -> None:
    """After an addition: python tests/support/interface.py > tests/golden/interface.json."""
    assert interface.interface()[part] == RECORDED[part]


@pytest.mark.parametrize("path", RECORDED["documented"])
def test_documented_paths_lead_somewhere(path: str) -> None:
    assert interface.resolve(path) is not None


def test_every_old_module_path_still_works() -> None:
    for name in OLD_MODULES:
        module = importlib.import_module(f"lsweep.{name}")
        assert module is sys.modules[module.__name__], f"lsweep.{name} was loaded twice"
    assert set(lsweep.MOVED) <= set(OLD_MODULES)


def test_an_old_path_gives_the_very_module() -> None:
    """In a fresh interpreter, the old path first: what a user sets there is what lsweep reads."""
    program = (
        "import lsweep.weights, lsweep.labelled.dataset\n"
        "import lsweep.models.parameters, lsweep.convert.dataset\n"
        "assert lsweep.weights.FILTER_AXIS is lsweep.models.parameters.FILTER_AXIS\n"
        "assert lsweep.labelled.dataset is lsweep.convert.dataset\n"
        "from lsweep import lending\n"
        "assert lending.__name__ == 'lsweep.evaluate.flat_parameters'\n"
    )
    done = python("-c", program)
    assert done.returncode == 0, done.stderr


def test_an_old_name_of_a_loss_is_followed_to_its_present_module() -> None:
    assert present_path("lsweep.objective.mse#1f2e") == "lsweep.evaluate.objective.mse#1f2e"
    assert present_path("lsweep.evaluate.objective.mse#1f2e") == "lsweep.evaluate.objective.mse#1f2e"
    assert present_path("lsweep.labelled.columns.f") == "lsweep.convert.columns.f"
    for name in ("cross_entropy", "losses.mse", "my.lsweep.objective.mse", "lsweep.objective"):
        assert present_path(name) == name


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'swep'"):
        _ = lsweep.swep  # type: ignore[attr-defined]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("lsweep.swep")
