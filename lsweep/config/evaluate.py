"""The tables `[evaluate]` and `[curvature]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lsweep.config.seeds import check_seed
from lsweep.errors import ConfigError


@dataclass(frozen=True)
class EvaluateConfig:
    """What is computed at each point, and how."""

    loss: str = "cross_entropy"
    objective: str | None = None
    metrics: tuple[str, ...] = ()
    precision: Literal["fp32", "fp64", "tf32", "bf16", "fp16", "auto"] = "fp32"
    tolerance: float = 0.01  # largest relative error of the loss that a lower precision may add
    relative_error: float | None = (
        None  # target for the loss, from as few examples as possible; None: all examples
    )
    absolute_error: float = 0.0  # this error also suffices where the loss is near zero
    confidence: float = 0.95
    least_examples: int = 100
    # With relative_error on a refined grid: importance sampling by the per-example losses of neighbouring points.
    neighbours: bool = True
    device: str = "auto"
    batch_size: int | Literal["auto"] | None = (
        None  # None: a constant for each kind of device; auto: measured
    )
    points_at_once: int | Literal["auto"] = 1
    fold_batchnorm: bool = True
    batchnorm: Literal["fixed", "recalibrate"] = "fixed"  # running statistics away from the centre
    recalibrate_examples: int = 1000  # the first examples of the train split, regardless of data.limit
    max_failures: int = 5
    # Number of evaluated points, and of interpolated ones, that are evaluated again in full at the end of a sweep.
    certificate: int = 0

    @property
    def own_metrics(self) -> tuple[str, ...]:
        """The metrics that are functions of output and target: all except "hessian"."""
        return tuple(metric for metric in self.metrics if metric.strip() != "hessian")

    @property
    def hessian(self) -> bool:
        """Whether the extreme eigenvalues of the Hessian are wanted at every point."""
        return self.own_metrics != self.metrics

    def __post_init__(self) -> None:
        if len(self.metrics) - len(self.own_metrics) > 1:
            raise ConfigError("the metric 'hessian' is given twice; give it once", key="evaluate.metrics")
        if isinstance(self.batch_size, int) and self.batch_size < 1:
            raise ConfigError(
                f"evaluate.batch_size must be >= 1, got {self.batch_size}", key="evaluate.batch_size"
            )
        if not 0 < self.tolerance < 1:
            raise ConfigError(
                f"evaluate.tolerance must be > 0 and < 1, got {self.tolerance}", key="evaluate.tolerance"
            )
        self._check_subset()
        if isinstance(self.points_at_once, int) and self.points_at_once < 1:
            raise ConfigError(
                f"evaluate.points_at_once must be >= 1, got {self.points_at_once}",
                key="evaluate.points_at_once",
            )
        if self.recalibrate_examples < 2:
            raise ConfigError(
                f"evaluate.recalibrate_examples must be >= 2, got {self.recalibrate_examples}",
                key="evaluate.recalibrate_examples",
            )
        for key in ("max_failures", "certificate"):
            if getattr(self, key) < 0:
                raise ConfigError(
                    f"evaluate.{key} must be >= 0, got {getattr(self, key)}", key=f"evaluate.{key}"
                )

    def _check_subset(self) -> None:
        for name, low, high in (
            ("relative_error", 0.0, 1.0),
            ("absolute_error", -1.0, float("inf")),
            ("confidence", 0.5, 1.0),
            ("least_examples", 19, float("inf")),
        ):
            value = getattr(self, name)
            if value is not None and not (low < value < high and value >= 0):
                raise ConfigError(
                    f"evaluate.{name} must be > {max(low, 0)} and < {high}, got {value}",
                    key=f"evaluate.{name}",
                )
        if self.absolute_error and self.relative_error is None:
            raise ConfigError(
                "evaluate.absolute_error needs evaluate.relative_error; set both",
                key="evaluate.absolute_error",
            )


@dataclass(frozen=True)
class CurvatureConfig:
    """How the eigenvalues of the Hessian are computed, for the metric "hessian" and for directions."""

    tolerance: float = 1e-3  # approximate bound on the residual ‖Hv − λv‖, relative to the largest |λ|
    max_products: int = 400  # approximate number of Hessian-vector products after which the iteration ends
    seed: int = 0
    batch_size: int | None = None  # None: a constant for each kind of device

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not 0 < self.tolerance <= 0.1:
            raise ConfigError(
                f"curvature.tolerance must be > 0 and <= 0.1, got {self.tolerance}", key="curvature.tolerance"
            )
        for key in ("max_products", "batch_size"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"curvature.{key} must be >= 1, got {value}", key=f"curvature.{key}")
