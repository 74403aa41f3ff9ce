"""Figure 7 of [Li18]: |smallest / largest eigenvalue of the Hessian| over the planes of figures 1 and 4.

python scripts/paper/fig7.py [--size small|full] [--slurm OPTIONS]

Small: the paper's two ResNet-56, 5 × 5 points, 32 images. DenseNet-121 takes figure 4's training, in the full form.
"""

from __future__ import annotations

from typing import Any

import architectures
import numpy as np
from fig1 import NETWORKS, released
from study import Study, axis, begin, cifar10

from lsweep import render

POINTS, IMAGES = {"tiny": 1, "small": 5, "full": 51}, {"tiny": 2, "small": 32, "full": None}
DENSE = "densenet121"


def sweeps(study: Study) -> dict[str, Any]:
    points, images = POINTS[study.size], IMAGES[study.size]
    half = 0.0 if points == 1 else 1.0  # a single point is the centre
    common = {
        "data": cifar10(images, "train"),
        "directions": {"seed": 2018},
        "grid": {"x": axis(points, -half, half), "y": axis(points, -half, half)},
        "evaluate": {"metrics": ["hessian"]},
    }
    if study.size == "tiny":
        common["curvature"] = {"max_products": 20}
    if study.size == "small":  # a map's colours show no more
        common["curvature"] = {"tolerance": 0.01}
    found = {f"fig7_{network}": {"model": released(network), **common} for network in NETWORKS}
    if study.size == "full":
        weights = str(study.path(DENSE, ".trail"))
        found[f"fig7_{DENSE}"] = {"model": {"source": DENSE, "weights": weights}, **common}
    return found


def numbers(study: Study, name: str) -> dict[str, Any]:
    surface = study.surface(name)
    ratio, loss = surface.metrics["eig_ratio"], surface.loss
    near = loss <= np.nanquantile(loss, 0.25)  # the lowest quarter of the points
    return {
        "centre": float(ratio[surface.y == 0, surface.x == 0][0]),
        "median": float(np.nanmedian(ratio)),
        "median of the lowest quarter": float(np.nanmedian(ratio[near])),
        "largest": float(np.nanmax(ratio)),
        "eig_min": surface.metrics["eig_min"].tolist(),
        "eig_max": surface.metrics["eig_max"].tolist(),
    }


def main() -> None:
    study = begin("fig7", __doc__ or "")
    trained = architectures.trainings(study.size, [DENSE]) if study.size == "full" else {}
    maps = sweeps(study)
    if not study.run(trained, maps):
        return
    titles = [name.removeprefix("fig7_").replace("_", " ") for name in maps]
    surfaces = [study.surface(name) for name in maps]
    if POINTS[study.size] > 1:
        render.save(surfaces, study.out / "ratio.png", kind="curvature", titles=titles, dpi=150)
    found = {name.removeprefix("fig7_"): numbers(study, name) for name in maps}
    points = POINTS[study.size]
    study.write(
        drawn=f"{len(maps)} networks, {points} × {points} points, {IMAGES[study.size] or 'all'} training images",
        found=[
            f"{network}: |λmin/λmax| {row['centre']:.3g} at the centre, median {row['median']:.3g} over the plane and "
            f"{row['median of the lowest quarter']:.3g} over the quarter of points with the lowest loss."
            for network, row in found.items()
        ],
        numbers=found,
        names=[*trained, *maps],
    )


if __name__ == "__main__":
    main()
