"""The table `[directions]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lsweep.config.seeds import check_seed
from lsweep.errors import ConfigError

Kind = Literal["random", "interpolate", "pca", "file", "hessian"]
Normalize = Literal["filter", "layer", "weight", "dfilter", "dlayer", "none"]
BiasBn = Literal["zero", "copy", "random"]


def _check_eigenvector(number: int | None) -> None:
    if number == 0:
        raise ConfigError(
            "eigenvector counts from the largest eigenvalue (1, 2, …) or from the smallest (-1, -2, …); got 0",
            key="eigenvector",
        )


@dataclass(frozen=True)
class AxisDirection:
    """Settings of one axis that override `DirectionsConfig`; None means no override."""

    kind: Kind | None = None
    seed: int | None = None
    normalize: Normalize | None = None
    bias_bn: BiasBn | None = None
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None
    to: str | None = None
    path: str | None = None
    eigenvector: int | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed)
        _check_eigenvector(self.eigenvector)


@dataclass(frozen=True)
class DirectionsConfig:
    """How the directions d₁, d₂, … are made ([Li18] §4)."""

    kind: Kind = "random"
    seed: int = 0
    normalize: Normalize = "filter"
    bias_bn: BiasBn = "zero"
    space: Literal["weights", "states"] = "weights"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    to: str | None = None
    to_y: str | None = None
    to_z: str | None = None
    path: str | None = None
    # Which eigenvector of the Hessian at the centre: 1 is that of the largest eigenvalue, 2 the next, -1 that of the
    # smallest. None: x 1, y 2, z 3.
    eigenvector: int | None = None
    keep: bool = False
    trail: tuple[
        str, ...
    ] = ()  # trails whose paths are projected onto the plane; "pca" computes the axes from them
    centred: bool = True
    margin: float = 0.25
    x: AxisDirection = AxisDirection()
    y: AxisDirection = AxisDirection()
    z: AxisDirection = AxisDirection()

    def __post_init__(self) -> None:
        check_seed(self.seed)
        _check_eigenvector(self.eigenvector)
        if "pca" in (self.kind, self.x.kind, self.y.kind, self.z.kind) and not self.trail:
            raise ConfigError(
                'directions.kind = "pca" needs directions.trail; set it to the folder that `lsweep train` wrote',
                key="directions.trail",
            )
        if not 0 <= self.margin < float("inf"):
            raise ConfigError(
                f"directions.margin must be finite and >= 0, got {self.margin}", key="directions.margin"
            )
