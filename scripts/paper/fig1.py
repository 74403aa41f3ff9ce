"""Figure 1 of [Li18]: ResNet-56 with and without shortcuts, the paper's own weights.

python scripts/paper/fig1.py [--size small|full] [--slurm OPTIONS]

The small form is results/figures/li2018_resnet56/, 41 × 41 points on 500 images, which is only written up here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from study import SHARED, Study, axis, begin, cifar10, counted

import lsweep
from lsweep import render
from lsweep.compare import local_minima, share_below

NETWORKS = {"resnet56_noshort": "ResNet-56 without shortcuts", "resnet56": "ResNet-56"}
SWEPT = Path("results/figures/li2018_resnet56")
POINTS, IMAGES = {"tiny": 3, "full": 251}, {"tiny": 16, "full": None}


def released(network: str) -> dict[str, Any]:
    """The paper's own weights."""
    return {"source": network, "weights": str(SHARED / "weights/li2018" / f"{network}.t7")}


def sweeps(study: Study) -> dict[str, Any]:
    if study.size == "small":
        return {}
    points = POINTS[study.size]
    return {
        f"fig1_{network}": {
            "model": released(network),
            "data": cifar10(IMAGES[study.size], "train"),
            "directions": {"seed": 2018},
            "grid": {"x": axis(points), "y": axis(points)},
        }
        for network in NETWORKS
    }


def main() -> None:
    study = begin("fig1", __doc__ or "")
    planes = sweeps(study)
    if not study.run({}, planes):
        return
    surfaces = {
        network: study.surface(f"fig1_{network}") if planes else lsweep.open(SWEPT / f"{network}.h5")
        for network in NETWORKS
    }
    titles = list(NETWORKS.values())
    render.save(list(surfaces.values()), study.out / "surface.png", kind="surface", titles=titles, dpi=150)
    numbers = {
        network: {
            "largest": float(np.nanmax(surface.loss)),
            "share below 1": share_below(surface, 1.0),
            "minima": len(local_minima(np.log(surface.loss), depth=0.1)),
        }
        for network, surface in surfaces.items()
    }
    first = next(iter(surfaces.values()))
    study.write(
        drawn=f"the paper's own networks, {len(first.x)} × {len(first.y)} points, "
        f"{IMAGES.get(study.size, 500) or 'all'} training images",
        found=[
            f"{NETWORKS[network]}: {counted(row['minima'], 'minimum', 'minima')} deeper than 0.1 in ln(loss), "
            f"{100 * row['share below 1']:.1f} % of the plane below loss 1, largest loss {row['largest']:.3g}."
            for network, row in numbers.items()
        ],
        numbers=numbers,
        names=list(planes),
        origins=[surface.provenance for surface in surfaces.values()],
    )


if __name__ == "__main__":
    main()
