"""The house: imports point downwards, the readers need little, and the ground floor is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lsweep

PACKAGE = Path(lsweep.__file__).parent


def modules() -> dict[str, ast.Module]:
    """Dotted name below lsweep → syntax tree; packages by their `__init__`, lsweep itself left out."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def imports(tree: ast.AST) -> Iterator[str]:
    """What is imported anywhere in a module, also inside functions; `from a import b` gives a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(tree: ast.AST) -> set[str]:
    """The modules of lsweep that a tree imports, below lsweep: "store.reader"."""
    found = set()
    for name in imports(tree):
        parts = name.split(".")[1:] if name.startswith("lsweep.") else []
        while parts and ".".join(parts) not in MODULES:
            parts.pop()  # `lsweep.store.reader.read` is of the module before it
        found.add(".".join(parts))
    return found - {""}


def room(module: str) -> str:
    return module.split(".")[0]


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return set(run.stdout.split())


def test_the_package_itself_is_light() -> None:
    heavy = {
        "numpy",
        "torch",
        "mpi4py",
        "h5py",
        "matplotlib",
        "vtk",
        "vtkmodules",
        "tqdm",
        "scipy",
        "xarray",
        "pandas",
        "pyvista",
    }
    assert not loaded_by("import lsweep, lsweep.cli") & heavy


@pytest.mark.slow
def test_a_sweep_starts_without_the_compiler_and_scipy() -> None:
    """Together they take longer to import than torch itself; torch's compiler brings sympy."""
    loaded = loaded_by(
        "from lsweep import comm\nfrom lsweep.engine import job\nfrom lsweep.evaluate import device\nwith device.repeatable(), device.threads_of(comm.SerialComm()): pass"
    )
    assert "torch" in loaded and not loaded & {"sympy", "scipy", "torchvision"}


def test_values_that_travel_need_no_torch() -> None:
    light = """errors config grid surface certificate tools.plugins tools.progress tools.stop tools.slurm_job
        grid.schedule tools.provenance watch.status compare compare.comparison compare.report compare.cli config.seeds slurm.cli slurm.header slurm.lead
        slurm.script"""
    assert "torch" not in loaded_by(f"import {', '.join(f'lsweep.{m}' for m in light.split())}")


def test_drawing_needs_neither_torch_nor_mpi() -> None:
    loaded = loaded_by("import lsweep; lsweep.render.save, lsweep.render.save_page")
    assert "matplotlib" in loaded and not loaded & {"torch", "mpi4py"}


def test_reading_needs_neither_torch_nor_mpi() -> None:
    loaded = loaded_by(
        "import lsweep; lsweep.open, lsweep.Surface, lsweep.Axis; import lsweep.render, lsweep.export, "
        "lsweep.convert, lsweep.describe, lsweep.convert.dataset, lsweep.describe.notebook"
    )
    assert "h5py" in loaded and not loaded & {"torch", "mpi4py", "xarray", "pandas", "matplotlib"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "act",
    [
        "surface._repr_html_()",
        "lsweep.describe.describe(surface)",
        "lsweep.convert.convert(source, target + '.csv')",
        "lsweep.convert.convert(source, target + '.h5')",
        "lsweep.convert.convert(source, target + '.nc')",
        "surface.to_dataframe()",
    ],
)
def test_what_is_done_with_a_surface_needs_neither_torch_nor_mpi(act: str, tmp_path: Path) -> None:
    source = PACKAGE.parent / "results" / "li2018_resnet56" / "resnet56.h5"
    loaded = loaded_by(
        f"import lsweep; source, target = {str(source)!r}, {str(tmp_path / 'made')!r}; "
        f"surface = lsweep.open(source); {act}"
    )
    assert not loaded & {"torch", "mpi4py"}
    if "html" in act or "describe" in act:
        assert not loaded & {"matplotlib", "xarray", "pandas"}


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'swep'"):
        _ = lsweep.swep  # type: ignore[attr-defined]
    assert {"open", "sweep", "models", "Surface"} <= set(dir(lsweep))
