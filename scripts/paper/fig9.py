"""Figure 9 of [Li18]: trainings' paths in the planes of their principal axes, SGD and Adam, batch size × weight decay.

python scripts/paper/fig9.py [--size small|full] [--slurm OPTIONS]
"""

from __future__ import annotations

from typing import Any

import vgg9
from drawing import panels, path
from fig8 import LEVELS, along
from study import Study, begin

POINTS = {"tiny": 3, "small": 9, "full": 51}
IMAGES = {"tiny": 32, "small": 256, "full": None}
OPTIMIZERS = ("sgd", "adam")


def sweeps(study: Study) -> dict[str, Any]:
    return {
        f"fig9_{run}": along(study, run, POINTS[study.size], IMAGES[study.size], kind="pca")
        for optimizer in OPTIMIZERS
        for run in vgg9.trainings(study.size, optimizer)
    }


def draw(study: Study) -> None:
    for optimizer in OPTIMIZERS:
        tables = vgg9.trainings(study.size, optimizer)
        with panels(study.out / f"{optimizer}.png", 2, 2, width=3.6, height=2.9) as axes:
            for ax, (run, table) in zip(axes.flat, tables.items(), strict=True):
                recipe = table["train"]
                title = f"decay {recipe['weight_decay']:g}, batch {recipe['batch_size']}"
                path(study.surface(f"fig9_{run}"), ax, title, LEVELS, name=optimizer)


def main() -> None:
    study = begin("fig9", __doc__ or "")
    trainings: dict[str, Any] = {}
    for optimizer in OPTIMIZERS:
        trainings |= vgg9.trainings(study.size, optimizer)
    planes = sweeps(study)
    if not study.run(trainings, planes):
        return
    draw(study)
    numbers, found = {}, []
    for run, table in trainings.items():
        walked = study.surface(f"fig9_{run}").trajectory
        assert walked is not None
        numbers[run] = {
            "explained": list(walked.explained),
            "captured": walked.captured,
            **vgg9.last(study, run),
        }
        recipe = table["train"]
        first, second = (100 * share for share in walked.explained)
        found.append(
            f"{recipe.get('optimizer', 'sgd')}, decay {recipe['weight_decay']:g}, batch {recipe['batch_size']}: "
            f"{first:.1f} % + {second:.1f} % of the variance."
        )
    points, images = POINTS[study.size], IMAGES[study.size]
    study.write(
        drawn=f"eight trainings as in figure 2 (Adam with a learning rate of 0.001), planes of {points} × {points} "
        f"points, {images or 'all'} images",
        found=found,
        numbers=numbers,
        names=[*trainings, *planes],
    )


if __name__ == "__main__":
    main()
