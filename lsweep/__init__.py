"""lsweep: loss landscapes of neural networks, swept in parallel.

`lsweep.open(path)` reads a sweep's file, `lsweep.sweep(model, data, …)` makes one, `lsweep.Landscape` makes one every
few epochs of a training, `lsweep.models.build(name)` builds an example network. Importing this package touches
neither torch, MPI, HDF5 nor matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsweep._version import __version__
from lsweep.tools.lazy import alias_modules, attach

if TYPE_CHECKING:
    from lsweep.api import sweep
    from lsweep.grid import Axis, Grid
    from lsweep.landscape import Landscape
    from lsweep.store.reader import read as open
    from lsweep.surface import Status, Surface

__all__ = ["Axis", "Grid", "Landscape", "Status", "Surface", "__version__", "open", "sweep"]

# Present module → old names of what it holds; imports of these still work.
_OLD_NAMES = {
    "cli.certify": "certify_cli",
    "cli.findings": "check",
    "cli.curvature": "centre.cli",
    "cli.directions": "directions_cli",
    "cli.preflight": "preflight",
    "cli.train": "train_cli",
    "cli.trajectory": "trajectory_cli",
    "comm.cores": "cores",
    "comm.shared_counter": "tickets",
    "comm.shared_memory": "sharing",
    "config.seeds": "seeds",
    "convert": "labelled",
    "convert.columns": "labelled.columns",
    "convert.dataset": "labelled.dataset",
    "convert.frame": "labelled.frame",
    "convert.netcdf": "labelled.netcdf",
    "convert.path": "labelled.path",
    "convert.recognise": "store.recognise",
    "convert.released": "store.released",
    "convert.released_paths": "store.released_paths",
    "convert.whole": "store.whole",
    "describe.notebook": "notebook",
    "directions.agreement": "agreement",
    "directions.alignment": "alignment",
    "directions.checkpoint_matrix": "checkpoint_rows",
    "directions.eigenvectors": "eigenvectors",
    "directions.pca": "trajectory",
    "directions.trail_axes": "trajectories",
    "engine": "centre",
    "engine.certify": "certification",
    "engine.choose": "accuracies tuning",
    "engine.compatibility": "compatibility",
    "engine.curvature": "centre.measure",
    "engine.exchange": "example_cache exchange",
    "engine.job": "job",
    "engine.rounds": "rounds",
    "engine.session_monitor": "books",
    "engine.setup": "preparation",
    "engine.watchdog": "watchdog",
    "evaluate.curvature.eigensolver": "eigenpairs lanczos",
    "evaluate.curvature.evaluator": "curvature",
    "evaluate.curvature.operator": "hessian",
    "evaluate.curvature.spectrum": "spectrum",
    "evaluate.determinism": "determinism",
    "evaluate.device": "device",
    "evaluate.exact": "evaluator",
    "evaluate.flat_parameters": "isolation lending",
    "evaluate.interface": "evaluation",
    "evaluate.kernels.folding": "folding",
    "evaluate.kernels.fusion": "fusion",
    "evaluate.kernels.graphs": "graphs",
    "evaluate.low_precision": "lowprecision",
    "evaluate.mlp": "perceptron",
    "evaluate.objective": "objective",
    "evaluate.out_of_memory": "memory",
    "evaluate.problem": "problem",
    "evaluate.sampled": "estimating",
    "evaluate.sampling.control_variate": "precision",
    "evaluate.sampling.design": "subset",
    "evaluate.sampling.example_losses": "example_field neighbours",
    "evaluate.sampling.importance": "importance",
    "evaluate.sampling.intervals": "intervals moments spending",
    "evaluate.sampling.stopping": "rule",
    "evaluate.sampling.strata": "strata",
    "evaluate.vectorized": "several workers",
    "grid.hierarchy": "lattice",
    "grid.refine": "refine",
    "grid.schedule": "schedule",
    "models.batchnorm": "batchnorm",
    "models.checkpoint": "checkpoint",
    "models.parameters": "weights",
    "models.rescale": "rescale",
    "models.trail": "trail",
    "store.base": "store.batch",
    "store.schema": "store.image",
    "store.validation": "store.attributes store.foreign",
    "tools.arguments": "verbs",
    "tools.files": "archives files filesystem",
    "tools.lazy": "lazy",
    "tools.lock": "store.lock",
    "tools.plugins": "plugins",
    "tools.progress": "progress",
    "tools.provenance": "provenance",
    "tools.slurm_job": "slurm_job",
    "tools.stop": "stop",
    "tools.stopwatch": "stopwatch",
    "training.batches": "augmentation label_noise training_data",
    "training.measurement": "measurement",
    "training.optimisers": "optimisers",
    "training.projections": "projections",
    "training.steps": "steps",
    "training.trail_writer": "trail_writer",
    "training.train": "train",
    "watch.status": "status",
}

MOVED = {old: new for new, names in _OLD_NAMES.items() for old in names.split()}
alias_modules(__name__, MOVED)
__getattr__, __dir__ = attach(
    __name__,
    {
        "open": "lsweep.store.reader:read",
        "sweep": "lsweep.api",
        "Landscape": "lsweep.landscape",
        "Surface": "lsweep.surface",
        "Status": "lsweep.surface",
        "Axis": "lsweep.grid",
        "Grid": "lsweep.grid",
    },
    ("models", "data", "directions", "render", "export", "convert", "describe", "config"),
    MOVED,
)
