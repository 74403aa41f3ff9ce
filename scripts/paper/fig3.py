"""Figure 3 of [Li18]: filter-normalised lines and planes around VGG-9's solutions, batch size × weight decay.

python scripts/paper/fig3.py [--size small|medium|full] [--slurm OPTIONS]

Lines along several seeds' directions, so that a difference can be told from the directions' spread; one plane each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import vgg9
from drawing import BLUE, frame, panels, reach
from study import Study, axis, begin, cifar10

from lsweep import render

LEVEL = 1.0  # of the training loss, at which a valley ends
SEEDS = {"tiny": 2, "small": 5, "medium": 5, "full": 10}


def around(study: Study, run: str, images: int | None, *splits: str) -> dict[str, Any]:
    """A sweep around a training's last weights, its directions and grid still to be said."""
    size = vgg9.SIZES[study.size]
    return {
        "model": {"source": size.model, "weights": str(study.path(run, ".trail"))},
        "data": cifar10(images, *splits),
    }


def line_of(run: str, seed: int, normalize: str = "filter") -> str:
    return f"line_{normalize}_{run}_seed{seed}"


def lines(study: Study, seeds: int, normalize: str = "filter", half: float = 1.0) -> dict[str, Any]:
    """Each training's lines along several seeds' directions, from -half to half."""
    size = vgg9.SIZES[study.size]
    num = size.line // 2 | 1  # odd: 0 is a point
    return {
        line_of(run, seed, normalize): {
            **around(study, run, size.evaluated, "train", "test"),
            "directions": {"seed": seed, "normalize": normalize},
            "grid": {"x": axis(num, -half, half)},
        }
        for run in vgg9.trainings(study.size)
        for seed in range(seeds)
    }


def planes(study: Study) -> dict[str, Any]:
    size = vgg9.SIZES[study.size]
    return {
        f"fig3_{run}": {
            **around(study, run, size.evaluated, "train"),
            "grid": {"x": axis(size.plane), "y": axis(size.plane)},
        }
        for run in vgg9.trainings(study.size)
    }


def widths(study: Study, run: str, seeds: int, normalize: str = "filter") -> list[float | None]:
    """How far the training loss stays below LEVEL along each seed's line, both ways together."""
    found = []
    for seed in range(seeds):
        line = study.surface(line_of(run, seed, normalize))
        ways = [reach(line.x, line.loss, 0.0, LEVEL, step) for step in (-1, 1)]
        found.append(None if None in ways else float(sum(way or 0.0 for way in ways)))
    return found


def spread(values: list[float | None]) -> tuple[float, float] | None:
    """Mean and standard deviation; None where a valley is wider than the line."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else 0.0


def in_words(found: tuple[float, float] | None) -> str:
    return "wider than the line" if found is None else f"{found[0]:.3g} ± {found[1]:.2g}"


def title_of(study: Study, run: str) -> str:
    table = vgg9.trainings(study.size)[run]["train"]
    error = 100 * (1 - vgg9.last(study, run)["accuracy_test"])
    return f"decay {table['weight_decay']:g}, batch {table['batch_size']}, {error:.1f} %"


def draw(study: Study) -> None:
    runs = list(vgg9.trainings(study.size))
    flat = [study.surface(f"fig3_{run}") for run in runs]
    levels = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
    titles = [title_of(study, run) for run in runs]
    render.save(flat, study.out / "planes.png", kind="contour", titles=titles, levels=levels, dpi=150)
    with panels(study.out / "lines.png", 1, len(runs), width=2.6, height=2.3) as axes:
        for ax, run, title in zip(axes[0], runs, titles, strict=True):
            for seed in range(SEEDS[study.size]):
                line = study.surface(line_of(run, seed))
                ax.plot(line.x, line.loss, color=BLUE, linewidth=1, label="train" if not seed else None)
                test = line.metrics["loss_test"]
                ax.plot(line.x, test, color=BLUE, linewidth=1, linestyle="--", label=None if seed else "test")
            frame(ax, title, r"$\alpha$", "loss")
            ax.set_ylim(0, 5)
        axes[0][0].figure.legend(loc="outside lower center", ncols=2, frameon=False)


def sentences(study: Study, found: dict[str, Any]) -> list[str]:
    told = []
    for run, row in found.items():
        told.append(
            f"{title_of(study, run)} test error: the training loss stays below {LEVEL:g} for {row['words']}."
        )
    return told


def main() -> None:
    study = begin("fig3", __doc__ or "", tuple(vgg9.SIZES))
    seeds = SEEDS[study.size]
    trainings, sweeps = vgg9.trainings(study.size), {**lines(study, seeds), **planes(study)}
    if not study.run(trainings, sweeps):
        return
    draw(study)
    found = {}
    for run in trainings:
        each = widths(study, run, seeds)
        found[run] = {"widths": each, "words": in_words(spread(each)), **vgg9.last(study, run)}
    size = vgg9.SIZES[study.size]
    study.write(
        drawn=f"the four networks of figure 2; {seeds} lines each and a plane of {size.plane} × {size.plane} points, "
        f"{size.evaluated or 'all'} images",
        found=sentences(study, found),
        numbers=found,
        names=[*trainings, *sweeps],
    )


if __name__ == "__main__":
    main()
