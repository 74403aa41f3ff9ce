"""`lsweep.sweep`: sweeps a network that is already in memory."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from torch import nn

from lsweep import comm as ranks
from lsweep import config as configuration
from lsweep.comm import Comm
from lsweep.config import Config, DirectionsConfig
from lsweep.data import from_object
from lsweep.directions.build import Tensors, check_fit
from lsweep.engine import job
from lsweep.engine.plan import Options
from lsweep.errors import ConfigError
from lsweep.evaluate import objective as objectives
from lsweep.evaluate.flat_parameters import isolated
from lsweep.evaluate.objective import Objective, PerExample, Supervised
from lsweep.evaluate.problem import Problem
from lsweep.grid import Axis, Grid
from lsweep.models import parameters
from lsweep.surface import Surface
from lsweep.tools import progress

# The configuration tables whose keys `overrides` may set, and the keys of `evaluate` that are arguments of `sweep`.
OVERRIDDEN = {
    "evaluate": configuration.EvaluateConfig,
    "curvature": configuration.CurvatureConfig,
    "schedule": configuration.ScheduleConfig,
    "store": configuration.StoreConfig,
}
ARGUMENTS = (
    *("loss", "metrics", "objective", "device", "precision", "batch_size", "batchnorm"),
    *("recalibrate_examples", "certificate"),
)


@isolated()
def sweep(
    model: nn.Module,
    data: Any,
    *,
    directions: DirectionsConfig | Mapping[str, Any] | Sequence[Sequence[torch.Tensor]] | None = None,
    grid: Grid | Mapping[str, Any] | int | None = None,
    loss: str | PerExample = "cross_entropy",
    metrics: Mapping[str, PerExample] | None = None,
    objective: Objective | None = None,
    test_data: Any = None,
    output: str | Path | None = None,
    comm: Comm | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int | str | None = None,
    hessian: bool = False,
    batchnorm: str = "fixed",
    recalibrate_examples: int = 1000,
    certificate: int = 0,
    overrides: Mapping[str, Any] | None = None,
    show_progress: bool = False,
) -> Surface | None:
    """Evaluate a network's loss over a line, plane or box around its current weights.

    The model's weights, buffers, gradients, mode and device are restored, and so are the global random number
    generators. Autocast and inference mode around the call have no effect.

    Args:
        model: the trained network.
        data: a map-style dataset, a loader, a tuple of tensors (inputs, targets), or a data set of `lsweep.data`.
        directions: the recipe, as in a configuration's `[directions]` ({"seed": 3}); or one direction per
            axis as tensors shaped like the parameters, in `model.parameters()` order.
        grid: a `Grid`, or a mapping as in a configuration's `[grid]`, or n for n × n points on [−1, 1]², or on the
            range of the trail if `directions` names one. Default 51.
        loss: a name (see `lsweep.evaluate.objective.LOSSES`) or `(output, target) → (B,)`.
        metrics: name → `(output, target) → (B,)`, averaged over the examples.
        objective: instead of loss and metrics: `(model, batch) → {name: (values (B,), weights (B,))}`.
        test_data: a second data set; its metrics are called "loss_test", ….
        output: an HDF5 file to create or resume; None keeps the result in memory.
        comm: the communicator; by default that of the launcher, otherwise a single process.
        device: "auto", "cpu", "cuda", "cuda:1", ….
        precision: "fp32", "fp64", or a lower one whose error is bounded: "tf32", "bf16", "fp16", "auto".
        batch_size: examples per forward pass; by default a constant for each kind of device; "auto" measures.
        hessian: whether to compute the extreme eigenvalues of the Hessian at every point; see `Surface.curvature`.
        batchnorm: "fixed" keeps the running statistics of the centre everywhere; "recalibrate" re-estimates them at
            each point; see `lsweep.models.batchnorm`.
        recalibrate_examples: the number of examples for this, the first ones of `data`.
        certificate: the number of evaluated points, and of interpolated ones, that are evaluated again in full at the
            end. Their errors are stored in the file and in `Surface.certificate`; needs an output.
        overrides: other keys of the tables `[evaluate]`, `[curvature]`, `[schedule]` and `[store]`, named as for
            `--set`: {"evaluate.relative_error": 0.01, "store.sync_seconds": 30}.
        show_progress: show a bar in a notebook or on a terminal, otherwise occasional lines on standard error.

    Returns:
        The surface; None on ranks other than 0.

    Raises:
        InputError: the network, data or settings do not fit each other; the message says why.
    """
    comm = comm or ranks.connect()
    loss_name, measured = _objective(loss, metrics, objective)
    splits = {"train": from_object(data)}
    if test_data is not None:
        splits["test"] = from_object(test_data)
    tables = _tables(overrides or {})
    evaluate: dict[str, Any] = {"loss": loss_name, "device": device, "precision": precision}
    evaluate |= {"batchnorm": batchnorm, "recalibrate_examples": recalibrate_examples}
    evaluate |= {"certificate": certificate, **tables.pop("evaluate", {})}
    if batch_size is not None:
        evaluate["batch_size"] = batch_size
    if hessian:
        evaluate["metrics"] = ["hessian"]
    config = Config(
        output=str(output or ""),
        model=configuration.ModelConfig(source=type(model).__qualname__),
        data=configuration.DataConfig(source="in memory", split=tuple(splits)),
        directions=_directions(directions),
        grid=grid_of(grid),
        evaluate=configuration.part(configuration.EvaluateConfig, evaluate, "evaluate"),
        **{name: configuration.part(OVERRIDDEN[name], table, name) for name, table in tables.items()},
    )
    if not isinstance(grid, Grid):
        config = configuration.opened(config, grid if isinstance(grid, Mapping) else {})
    if certificate and output is None:
        raise ConfigError("a certificate is stored in the output file; give an output", key="output")
    explicit = directions if isinstance(directions, Sequence) else None
    calibration = splits["train"].head(recalibrate_examples) if batchnorm == "recalibrate" else None
    problem = Problem(model, splits, measured, loss_name, calibration)
    options = Options(progress.default() if show_progress else progress.Silent())
    tensors = _explicit(model, explicit, config) if explicit is not None else None
    if output is None:
        return job.execute(config, problem, comm, None, options, tensors)[1]
    with job.locked_output(comm, Path(output)) as lock:
        return job.execute(config, problem, comm, Path(output), options, tensors, lock)[1]


def _objective(
    loss: str | PerExample, metrics: Mapping[str, PerExample] | None, own: Objective | None
) -> tuple[str, Objective]:
    if own is not None:
        if metrics:
            raise ConfigError(
                "metrics cannot be combined with an objective, which returns its own metrics; omit one",
                key="metrics",
            )
        return _name_of(own), own
    if isinstance(loss, str):
        supervised = objectives.from_config(configuration.EvaluateConfig(loss=loss))
        assert isinstance(supervised, Supervised)
        return loss, Supervised(supervised.loss, metrics)
    return _name_of(loss), Supervised(loss, metrics)


def _name_of(function: Any) -> str:
    """A function's name and a hash of its code, so that a resume can distinguish two lambdas."""
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    code = getattr(function, "__code__", None)
    if code is None:
        return name
    constants = [c for c in code.co_consts if isinstance(c, (int, float, str, bytes, tuple, type(None)))]
    digest = hashlib.sha256(code.co_code + repr((constants, code.co_names)).encode()).hexdigest()
    return f"{name}#{digest[:12]}"


def _tables(overrides: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{"store.mode": "gather"} → {"store": {"mode": "gather"}}."""
    tables: dict[str, dict[str, Any]] = {}
    for key, value in overrides.items():
        table, dot, name = key.partition(".")
        if table == "evaluate" and name in ARGUMENTS:
            raise ConfigError(f"overrides: {key} is an argument of sweep; pass {name} instead", key=key)
        if not dot or table not in OVERRIDDEN:
            raise ConfigError(
                f"overrides: a key is TABLE.NAME with a table of {', '.join(OVERRIDDEN)}; got {key!r}",
                key=key,
            )
        tables.setdefault(table, {})[name] = value
    return tables


def _directions(given: Any) -> DirectionsConfig:
    if isinstance(given, DirectionsConfig):
        return given
    if given is not None and (isinstance(given, str) or not isinstance(given, (Mapping, Sequence))):
        raise ConfigError(
            f"directions must be a recipe or one list of tensors per axis; got {given!r:.80}",
            key="directions",
        )
    table = dict(given) if isinstance(given, Mapping) else {}
    made: DirectionsConfig = configuration.part(DirectionsConfig, table, "directions")
    return made


def grid_of(given: Grid | Mapping[str, Any] | int | None) -> Grid:
    """Convert the `grid` argument of `sweep` to a `Grid`.

    Raises:
        ConfigError: the argument does not describe a grid.
    """
    if isinstance(given, Grid):
        return given
    if given is None or isinstance(given, SupportsIndex):
        num = 51 if given is None else operator.index(given)
        return Grid(Axis(num=num), Axis(num=num))
    made: Grid = configuration.part(Grid, dict(given), "grid")
    return made


def _explicit(model: nn.Module, given: Sequence[Sequence[torch.Tensor]], config: Config) -> list[Tensors]:
    space = parameters.weight_space(model, config.directions.space)
    if len(given) != len(config.grid.axes):
        raise ConfigError(
            f"a grid of {len(config.grid.axes)} axes needs as many directions, got {len(given)}"
        )
    return [
        check_fit([t.detach().cpu() for t in direction], space, f"directions[{index}]")
        for index, direction in enumerate(given)
    ]
