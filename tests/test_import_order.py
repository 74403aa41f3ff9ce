"""Imports follow one order of packages; readers need little; heavy libraries are imported in few places."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lsweep

PACKAGE = Path(lsweep.__file__).parent

# Each package or module imports only those before it. Inside `evaluate`, its subpackages have places of their own.
ORDER = (
    *("_version", "errors", "tools", "grid", "config", "certificate", "surface", "comm", "models", "data"),
    *("evaluate.kernels", "evaluate.sampling", "evaluate", "evaluate.curvature"),
    *("store", "directions", "engine", "training", "slurm", "api", "landscape"),
    *("render", "export", "compare", "describe", "watch", "convert"),
    *("cli", "__main__"),
)

# Readers draw and export on a laptop: no torch, no MPI.
READERS = ("render", "export", "compare", "describe", "watch", "convert")
READERS_NEED = {"_version", "errors", "tools", "grid", "config", "surface", "certificate"}
RENDERED = ("export", "compare", "watch")  # they draw with `render`
# Of the store, readers take the reader; `convert` writes whole files too, and reads those of other programs.
STORE_NEED = {"convert": {"store.reader", "store.schema", "store.validation", "store.probe"}}

# The heavy libraries, and the packages that may import them.
LIBRARIES = {
    "mpi4py": {"comm"},
    "h5py": {"store", "convert"},
    "matplotlib": {"render", "describe"},  # of `describe`, only the picture for notebooks
    "vtk": {"export"},
    "vtkmodules": {"export", "render"},
    "torchvision": {"models", "data"},
    "sklearn": {"data"},
    "pyvista": {"render"},
    "imageio_ffmpeg": {"render"},
    "PIL": {"render"},
    "tqdm": {"tools"},
    "xarray": {"convert", "surface"},  # in `surface` for its types alone
    "pandas": {"convert", "surface"},
    "h5netcdf": {"convert"},
}


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


def imported(tree: ast.AST) -> set[str]:
    """The modules of lsweep that a tree imports, as in "store.reader"."""
    found = set()
    for name in imports(tree):
        parts = name.split(".")[1:] if name.startswith("lsweep.") else []
        while parts and ".".join(parts) not in MODULES:
            parts.pop()  # `lsweep.store.reader.read` is in the module before it
        found.add(".".join(parts))
    return found - {""}


def package(module: str) -> str:
    """The entry of `ORDER` that a module belongs to."""
    parts = module.split(".")
    return next(name for n in (2, 1) if (name := ".".join(parts[:n])) in ORDER)


def misplaced(module: str, tree: ast.AST) -> list[str]:
    """The imports of a module that are against the order."""
    own = ORDER.index(package(module))
    return [target for target in imported(tree) if ORDER.index(package(target)) > own]


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_order_of_packages(module: str) -> None:
    assert not misplaced(module, MODULES[module]), f"lsweep.{module} imports against the order"


def test_an_import_against_the_order_is_found() -> None:
    wrong = ast.parse("def late():\n    from lsweep.engine import job\n    import lsweep.evaluate.exact")
    assert sorted(misplaced("evaluate.sampling.design", wrong)) == ["engine.job", "evaluate.exact"]
    assert misplaced("cli.dispatch", wrong) == []


@pytest.mark.parametrize("module", [m for m in MODULES if package(m) in READERS])
def test_readers_need_little(module: str) -> None:
    own = package(module)
    others = {target for target in imported(MODULES[module]) if package(target) != own}
    stored = {target for target in others if package(target) == "store"}
    assert stored <= STORE_NEED.get(own, {"store.reader"})
    allowed = READERS_NEED | {"store"} | ({"render"} if own in RENDERED else set())
    assert {package(target) for target in others} <= allowed


@pytest.mark.parametrize("module", [m for m in MODULES if package(m) in {*READERS, *READERS_NEED, "store"}])
def test_what_readers_import_knows_no_networks_and_no_data(module: str) -> None:
    assert not {package(target).split(".")[0] for target in imported(MODULES[module])} & {
        "models",
        "data",
        "evaluate",
    }
    assert not {name.split(".")[0] for name in imports(MODULES[module])} & {"torch", "mpi4py"}


@pytest.mark.parametrize("library", LIBRARIES)
def test_heavy_libraries_are_imported_in_few_packages(library: str) -> None:
    users = {package(m) for m, tree in MODULES.items() if library in {n.split(".")[0] for n in imports(tree)}}
    assert users <= LIBRARIES[library]


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
def test_what_computes_loads_neither_mpi_nor_hdf5_nor_matplotlib() -> None:
    mathematics = [m for m in MODULES if ORDER.index(package(m)) < ORDER.index("store")]
    light = ", ".join(f"lsweep.{m}" for m in mathematics)
    loaded = loaded_by(f"import {light}")
    assert "torch" in loaded and not loaded & {
        "mpi4py",
        "h5py",
        "matplotlib",
        "vtk",
        "vtkmodules",
        "torchvision",
    }


@pytest.mark.slow
def test_a_sweep_starts_without_the_compiler_and_scipy() -> None:
    """Together they take longer to import than torch itself; torch's compiler brings sympy."""
    loaded = loaded_by(
        "from lsweep import comm\nfrom lsweep.engine import job\nfrom lsweep.evaluate import device\n"
        "with device.repeatable(), device.threads_of(comm.SerialComm()): pass"
    )
    assert "torch" in loaded and not loaded & {"sympy", "scipy", "torchvision"}


def test_readers_and_what_they_import_load_no_torch() -> None:
    packages = {*READERS, *READERS_NEED, "store", "slurm"}
    light = [m for m in MODULES if package(m) in packages]
    assert "torch" not in loaded_by(f"import {', '.join(f'lsweep.{m}' for m in light)}, lsweep.comm")


def test_drawing_needs_neither_torch_nor_mpi() -> None:
    loaded = loaded_by("import lsweep; lsweep.render.save, lsweep.render.save_page")
    assert "matplotlib" in loaded and not loaded & {"torch", "mpi4py"}


def test_reading_needs_neither_torch_nor_mpi() -> None:
    loaded = loaded_by(
        "import lsweep; lsweep.open, lsweep.Surface, lsweep.Axis; import lsweep.render, lsweep.export, "
        "lsweep.convert, lsweep.describe, lsweep.convert.dataset"
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
    source = PACKAGE.parent / "results" / "figures" / "li2018_resnet56" / "resnet56.h5"
    loaded = loaded_by(
        f"import lsweep; source, target = {str(source)!r}, {str(tmp_path / 'made')!r}; "
        f"surface = lsweep.open(source); {act}"
    )
    assert not loaded & {"torch", "mpi4py"}
    if "describe" in act:
        assert not loaded & {"matplotlib", "xarray", "pandas"}


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'swep'"):
        _ = lsweep.swep  # type: ignore[attr-defined]
    assert {"open", "sweep", "models", "Surface"} <= set(dir(lsweep))
