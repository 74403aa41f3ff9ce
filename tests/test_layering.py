"""The house: imports point downwards, the readers need little, and the ground floor is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import lsweep

PACKAGE = Path(lsweep.__file__).parent

# A room is a module of lsweep, or a package with all that is in it.
FLOORS = {
    0: """_version lazy verbs errors config grid surface certificate weights checkpoint directions objective determinism
        evaluation lending evaluator several strata precision fusion lowprecision estimating folding lattice refine
        plugins progress stop seeds slurm_job filesystem files stopwatch watchdog archives moments spending intervals
        subset trail trajectory checkpoint_rows augmentation label_noise optimisers measurement alignment graphs
        perceptron batchnorm rescale memory isolation hessian lanczos eigenpairs spectrum curvature importance
        example_field neighbours rule workers""",
    1: "example_cache comm tickets cores tuning sharing device schedule store provenance models data",
    2: """engine exchange books rounds problem agreement accuracies preparation certification job preflight
        compatibility eigenvectors train training training_data trail_writer trajectories projections steps""",
    3: """api landscape centre check status render export compare watch slurm train_cli trajectory_cli directions_cli
        certify_cli convert describe labelled notebook""",
    4: "cli __main__",
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms.split()}

# What one floor's rooms may import of each other; a new line here is a decision.
DRAWN = {
    "alignment": "config directions weights",
    "batchnorm": "errors",
    "certificate": "refine",
    "checkpoint": "archives errors trail",
    "checkpoint_rows": "checkpoint errors weights",
    "config": "errors grid",
    "determinism": "errors weights",
    "curvature": "eigenpairs evaluation hessian lending",
    "directions": "config errors grid weights",
    "eigenpairs": "lanczos",
    "example_field": "importance lattice strata",
    "evaluator": "batchnorm determinism errors evaluation fusion graphs lending memory objective weights",
    "files": "errors",
    "folding": "fusion weights",
    "grid": "errors",
    "hessian": "errors lending memory objective weights",
    "importance": "intervals spending subset",
    "intervals": "moments spending",
    "label_noise": "errors",
    "lending": "objective weights",
    "measurement": "lending objective",
    "neighbours": "example_field grid importance lattice strata",
    "objective": "config errors plugins",
    "optimisers": "config errors",
    "plugins": "errors",
    "estimating": """errors evaluation evaluator example_field graphs lending lowprecision neighbours objective
        precision rule subset""",
    "lowprecision": "fusion lending precision weights",
    "perceptron": "lending weights",
    "precision": "subset",
    "spectrum": "lanczos",
    "rescale": "errors",
    "rule": "importance intervals precision subset",
    "several": "errors evaluation evaluator lending objective perceptron workers",
    "seeds": "errors",
    "stop": "errors slurm_job",
    "subset": "errors intervals spending strata",
    "refine": "grid lattice",
    "surface": "certificate grid lattice refine",
    "trajectory": "errors",
    "trail": "errors",
    "verbs": "errors",
    "watchdog": "progress",
    "weights": "errors",
    "engine": "books exchange rounds",
    "rounds": "exchange",
    "comm": "tickets",
    "cores": "comm",
    "tuning": "comm",
    "device": "comm cores",
    "sharing": "comm data",
    "store": "comm",
    "accuracies": "problem",
    "preparation": "problem agreement accuracies compatibility eigenvectors trajectories",
    "projections": "trajectories",
    "compatibility": "problem",
    "eigenvectors": "problem",
    "centre": "render",
    "certification": "books preparation",
    "compare": "render",
    "convert": "labelled",
    "export": "render",
    "job": "certification engine exchange problem preparation",
    "landscape": "api",
    "train": "preparation trail_writer training training_data",
    "steps": "eigenvectors problem",
    "training": "trail_writer training_data",
    "watch": "render status",
}

READERS = ("render", "export", "compare", "status", "watch", "describe", "notebook")
READERS_NEED = {"errors", "grid", "lazy", "surface", "progress", "files", "store.reader"}
# Who follows a running sweep looks at its lock too, and tells browsers its version.
WATCHERS_NEED = {"watch": {"_version", "store.lock"}}
# What reads and writes other programs' files needs the store's way with them, and neither torch nor MPI.
CONVERTERS = ("convert", "labelled")
CONVERTERS_NEED = READERS_NEED | {
    "_version",
    "labelled.columns",
    "labelled.netcdf",
    "store.foreign",
    "store.probe",
    "store.recognise",
    "store.released",
    "store.released_paths",
    "store.whole",
    "store",
}

# The heavy libraries, and where each may be imported at all.
HOMES = {
    "mpi4py": {"comm"},
    "h5py": {"store"},
    "matplotlib": {"render"},
    "vtk": {"export"},
    "vtkmodules": {"export", "render"},
    "torchvision": {"models", "data"},
    "sklearn": {"data"},
    "pyvista": {"render"},
    "imageio_ffmpeg": {"render"},
    "PIL": {"render"},
    "tqdm": {"progress"},
    "xarray": {"labelled", "surface"},  # of `surface` for its types alone
    "pandas": {"labelled", "surface"},
    "h5netcdf": {"labelled"},
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


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    own = room(module)
    assert own in FLOOR, f"{own} has no place in the house yet"
    for target in {room(target) for target in within(MODULES[module])} - {own}:
        drawn = target in DRAWN.get(own, "").split() or own in ("cli", "__main__")
        assert FLOOR[target] < FLOOR[own] or (FLOOR[target] == FLOOR[own] and drawn), (
            f"{module} imports {target}"
        )


def test_what_is_drawn_is_there() -> None:
    there: dict[str, set[str]] = {}
    for module, tree in MODULES.items():
        there.setdefault(room(module), set()).update(room(target) for target in within(tree))
    assert all(set(rooms.split()) <= there[own] for own, rooms in DRAWN.items())


def test_no_circles() -> None:
    graph: dict[str, set[str]] = {}
    for module, tree in MODULES.items():
        graph.setdefault(room(module), set()).update({room(t) for t in within(tree)} - {room(module)})
    list(TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) in READERS])
def test_readers_need_little(module: str) -> None:
    drawn = {room(module), *DRAWN.get(room(module), "").split()}
    others = {target for target in within(MODULES[module]) if room(target) not in drawn}
    assert others <= READERS_NEED | WATCHERS_NEED.get(room(module), set())
    assert not {name.split(".")[0] for name in imports(MODULES[module])} & {"torch", "mpi4py", "h5py"}


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) in CONVERTERS])
def test_converters_need_little(module: str) -> None:
    others = {target for target in within(MODULES[module]) if room(target) != room(module)}
    assert others <= CONVERTERS_NEED
    assert not {name.split(".")[0] for name in imports(MODULES[module])} & {"torch", "mpi4py", "h5py"}


@pytest.mark.parametrize("library", HOMES)
def test_heavy_libraries_have_a_home(library: str) -> None:
    users = {room(m) for m, tree in MODULES.items() if library in {n.split(".")[0] for n in imports(tree)}}
    assert users <= HOMES[library]


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
def test_the_ground_floor_needs_neither_mpi_nor_hdf5_nor_matplotlib() -> None:
    ground = ", ".join(f"lsweep.{room}" for room, floor in FLOOR.items() if floor == 0)
    loaded = loaded_by(f"import {ground}, lsweep.schedule, lsweep.provenance")
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
        "from lsweep import comm, device, job\nwith device.repeatable(), device.threads_of(comm.SerialComm()): pass"
    )
    assert "torch" in loaded and not loaded & {"sympy", "scipy", "torchvision"}


def test_values_that_travel_need_no_torch() -> None:
    light = """errors config grid surface certificate plugins progress stop slurm_job evaluation schedule provenance
        status compare compare.comparison compare.report compare.cli seeds slurm.cli slurm.header slurm.lead
        slurm.script"""
    assert "torch" not in loaded_by(f"import {', '.join(f'lsweep.{m}' for m in light.split())}")


def test_drawing_needs_neither_torch_nor_mpi() -> None:
    loaded = loaded_by("import lsweep; lsweep.render.save, lsweep.render.save_page")
    assert "matplotlib" in loaded and not loaded & {"torch", "mpi4py"}


def test_reading_needs_neither_torch_nor_mpi() -> None:
    loaded = loaded_by(
        "import lsweep; lsweep.open, lsweep.Surface, lsweep.Axis; import lsweep.render, lsweep.export, "
        "lsweep.convert, lsweep.describe, lsweep.labelled.dataset, lsweep.notebook"
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
