"""Figure 8 of [Li18]: two planes that fail to show a training's path, beside the one of its principal axes.

python scripts/paper/fig8.py [--size small|full] [--slurm OPTIONS]

VGG-9, small batch, with weight decay. BatchNorm's statistics are estimated anew at each point, since those of the last
weights belong to no other point of the path.
"""

from __future__ import annotations

from typing import Any

import vgg9
from drawing import panels, path
from study import Study, begin, cifar10

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
    with panels(study.out / "planes.png", 1, len(PLANES), width=3.4, height=3.2) as axes:
        for ax, (plane, title) in zip(axes[0], PLANES.items(), strict=True):
            # Where two random directions span the plane, the loss hardly changes: levels of its own.
            path(study.surface(f"fig8_{plane}"), ax, title, 4 if plane == "random" else LEVELS)


def main() -> None:
    study = begin("fig8", __doc__ or "")
    run, planes = trained(study), sweeps(study)
    if not study.run({run: vgg9.trainings(study.size)[run]}, planes):
        return
    draw(study)
    numbers, found = {}, []
    for plane, words in PLANES.items():
        walked = study.surface(f"fig8_{plane}").trajectory
        assert walked is not None
        numbers[plane] = {
            "captured": walked.captured,
            "shares": list(walked.shares),
            "explained": list(walked.explained),
        }
        shares = ", ".join(f"{100 * share:.2g} %" for share in walked.shares)
        found.append(f"{words}: {100 * walked.captured:.3g} % of the movement (axes alone: {shares}).")
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
