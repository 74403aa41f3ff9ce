"""Figure 8 of [Li18]: two planes that fail to show a training's path, beside the one of its principal axes.

python scripts/paper/fig8.py [--size small|full] [--slurm OPTIONS]

VGG-9, small batch, with weight decay. BatchNorm's statistics are estimated anew at each point, since those of the last
weights belong to no other point of the path.
"""

from __future__ import annotations

from typing import Any

import vgg9
from study import Study, begin, cifar10

from lsweep import render

LEVELS = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]
POINTS = {"tiny": 3, "small": 11, "full": 51}
IMAGES = {"tiny": 32, "small": 512, "full": None}
PLANES = {"pca": "principal axes", "straight": "initial to final, random", "random": "two random directions"}


def trained(study: Study) -> str:
    size = vgg9.SIZES[study.size]
    return vgg9.name_of(size.batches[0], size.decay)


def along(study: Study, run: str, points: int, images: int | None, **directions: Any) -> dict[str, Any]:
    """A sweep of a plane through a trail's end, its ranges from the trail."""
    size = vgg9.SIZES[study.size]
    return {
        "model": {"source": size.model},
        "data": cifar10(images, "train"),
        "directions": {"trail": [str(study.path(run, ".trail"))], **directions},
        "grid": {"x": {"num": points}, "y": {"num": points}},
        "evaluate": {"batchnorm": "recalibrate", "recalibrate_examples": min(images or 1000, 1000)},
    }


def sweeps(study: Study) -> dict[str, Any]:
    run, points, images = trained(study), POINTS[study.size], IMAGES[study.size]
    start = str(study.path(run, ".trail") / "epoch_0000.safetensors")
    return {
        "fig8_pca": along(study, run, points, images, kind="pca"),
        "fig8_straight": along(
            study, run, points, images, x={"kind": "interpolate", "to": start}, y={"kind": "random"}
        ),
        "fig8_random": along(study, run, points, images, kind="random"),
    }


def draw(study: Study) -> None:
    surfaces = [study.surface(f"fig8_{plane}") for plane in PLANES]
    titles = list(PLANES.values())
    render.save(surfaces, study.out / "planes.png", kind="trajectory", levels=LEVELS, titles=titles, dpi=150)


def main() -> None:
    study = begin("fig8", __doc__ or "")
    run, planes = trained(study), sweeps(study)
    if not study.run({run: vgg9.trainings(study.size)[run]}, planes):
        return
    draw(study)
    numbers, found = {}, []
    for plane, words in PLANES.items():
        path = study.surface(f"fig8_{plane}").trajectory
        assert path is not None
        numbers[plane] = {
            "captured": path.captured,
            "shares": list(path.shares),
            "explained": list(path.explained),
        }
        shares = ", ".join(f"{100 * share:.2g} %" for share in path.shares)
        found.append(f"{words}: {100 * path.captured:.3g} % of the movement (axes alone: {shares}).")
    points = POINTS[study.size]
    study.write(
        drawn=f"one training of figure 2 (batch {vgg9.SIZES[study.size].batches[0]}, with weight decay), its "
        f"{len(study.trail(run).checkpoints)} checkpoints, planes of {points} × {points} points",
        found=found,
        numbers=numbers,
        names=[run, *planes],
    )


if __name__ == "__main__":
    main()
