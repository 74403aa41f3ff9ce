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

# Package: old name of a module=its name in that package. Imports of the old names still work.
_MOVED = """
: centre=engine labelled=convert
cli: centre.cli=curvature certify_cli=certify check=findings directions_cli=directions preflight train_cli=train
cli: trajectory_cli=directions
comm: comm.serial=base cores sharing=shared_memory tickets=shared_counter
compare: compare.numbers=measures compare.verdicts=separation
config: config.checks=seeds seeds
convert: labelled.columns=columns labelled.dataset=dataset labelled.frame=columns labelled.netcdf=netcdf
convert: labelled.path=dataset store.recognise=recognise store.released=released
convert: store.released_paths=released_paths store.whole=surface_file
describe: describe.bibtex=paragraph describe.recipes=direction_sentences notebook
directions: agreement alignment checkpoint_rows=checkpoint_matrix eigenvectors trajectories=trail_axes
directions: trajectory=pca
engine: accuracies=choose books=session_monitor centre.measure=curvature certification=certify compatibility
engine: example_cache=exchange exchange job preparation=setup rounds tuning=choose watchdog
evaluate: determinism device estimating=sampled evaluation=interface evaluator=exact isolation=flat_parameters
evaluate: lending=flat_parameters lowprecision=low_precision memory=out_of_memory objective perceptron=mlp
evaluate: problem several=vectorized workers=vectorized
evaluate.curvature: curvature=evaluator eigenpairs=eigensolver hessian=operator lanczos=eigensolver spectrum
evaluate.kernels: folding fusion graphs
evaluate.sampling: example_field=example_losses importance intervals moments=intervals neighbours=example_losses
evaluate.sampling: precision=control_variate rule=stopping spending=intervals strata subset=design
grid: lattice=hierarchy refine schedule
models: batchnorm checkpoint rescale trail weights=parameters
store: store.attributes=validation store.batch=base store.foreign=validation store.image=schema
tools: archives=files files filesystem=files lazy plugins progress provenance slurm_job stop stopwatch
tools: store.lock=lock verbs=arguments
training: augmentation=batches label_noise=batches measurement=loop optimisers projections steps trail_writer
training: train training_data=batches
export: export.tube=gltf export.xml=grids
render: render.relief=surface_plots render.sizes=figure
render.scene: render.scene.letters=labels render.scene.relief=height_field render.scene.show=frames
render.scene: render.scene.compose=frames render.scene.stage=plotter
slurm: slurm.lead=lead_time
watch: status watch.paint=cell_rendering watch.pulse=follow watch.site=responses
"""
MOVED = {
    old: ".".join(filter(None, (package, name or old)))
    for package, _, words in (line.partition(":") for line in _MOVED.split("\n"))
    for old, _, name in (word.partition("=") for word in words.split())
}
alias_modules(__name__, MOVED)
__getattr__, __dir__, _ = attach(
    __name__,
    {
        "api": "sweep",
        "grid": "Axis Grid",
        "landscape": "Landscape",
        "store.reader": "open=read",
        "surface": "Status Surface",
    },
    ("models", "data", "directions", "render", "export", "convert", "describe", "config"),
    MOVED,
)
