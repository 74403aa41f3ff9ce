"""Figure 2 of [Li18]: from the small batch's solution to the large batch's; weights' norms and histograms.

python scripts/paper/fig2.py [--size small|medium|full] [--slurm OPTIONS]

Without weight decay and with it: the line between the two solutions, weights and running statistics moving together
(as the released code's dir_type states), the norm of all weights epoch by epoch, and the histogram of the last weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import vgg9
from drawing import BLUE, RED, frame, line, panels, reach
from study import Study, axis, begin, cifar10
from vgg9 import steps

LEVEL = 1.0  # of the training loss, at which a valley ends
TAIL = 1e-3  # of the weights may lie beyond the left end of the histogram


def sweep_of(decay: float) -> str:
    return f"fig2_decay{decay:g}"


def sweeps(study: Study) -> dict[str, Any]:
    size = vgg9.SIZES[study.size]
    small, large = size.batches
    return {
        sweep_of(decay): {
            "model": {
                "source": size.model,
                "weights": str(study.path(vgg9.name_of(small, decay), ".trail")),
            },
            "data": cifar10(size.evaluated, "train", "test"),
            "directions": {
                "kind": "interpolate",
                "to": str(study.path(vgg9.name_of(large, decay), ".trail")),
                "space": "states",
            },
            "grid": {"x": axis(size.line, -0.5, 1.5)},
        }
        for decay in vgg9.decays(size)
    }


def numbers(study: Study, decay: float) -> dict[str, Any]:
    """Of one row: how far the valleys reach along the line, norms, errors."""
    size = vgg9.SIZES[study.size]
    swept = study.surface(sweep_of(decay))
    inwards = {
        "small": reach(swept.x, swept.loss, 0.0, LEVEL, 1),
        "large": reach(swept.x, swept.loss, 1.0, LEVEL, -1),
    }
    outwards = {
        "small": reach(swept.x, swept.loss, 0.0, LEVEL, -1),
        "large": reach(swept.x, swept.loss, 1.0, LEVEL, 1),
    }
    ends = {}
    for word, batch in zip(("small", "large"), size.batches, strict=True):
        run = vgg9.name_of(batch, decay)
        walked = steps(study, run)
        ends[word] = {
            "batch": batch,
            **vgg9.last(study, run),
            "norm": walked["norms"][-1],
            "initial norm": walked["norms"][0],
            "inwards": inwards[word],
            "outwards": outwards[word],
        }
    inner = swept.loss[(swept.x >= 0) & (swept.x <= 1)]
    return {"ends": ends, "barrier": float(np.nanmax(inner)), "nan": int(np.isnan(swept.loss).sum())}


def wider(row: dict[str, Any]) -> str | None:
    """Which end's valley reaches further towards the other; None where both reach the other."""
    small, large = (row["ends"][word]["inwards"] for word in ("small", "large"))
    if small == large:
        return None
    return "small" if large is not None and (small is None or small > large) else "large"


def draw(study: Study) -> None:
    size = vgg9.SIZES[study.size]
    with panels(study.out / "figure.png", 2, 3) as axes:
        for row, decay in zip(axes, vgg9.decays(size), strict=True):
            title, widest = f"weight decay {decay:g}", 0.0
            line(study.surface(sweep_of(decay)), row[0], title)
            row[0].set_xlabel(f"batch {size.batches[0]} at 0, batch {size.batches[1]} at 1")
            for batch, color in zip(size.batches, (BLUE, RED), strict=True):
                walked = steps(study, vgg9.name_of(batch, decay))
                row[1].plot(walked["epochs"], walked["norms"], color=color, label=f"batch {batch}")
                edges, counts = np.array(walked["edges"]), np.array(walked["counts"][-1])
                shown = edges[:-1][counts.cumsum() > TAIL * counts.sum()]
                widest = max(widest, -float(shown[0]))
                row[2].stairs(
                    counts / counts.sum() / np.diff(edges), edges, color=color, label=f"batch {batch}"
                )
            frame(row[1], title, "epoch", r"$\|\theta\|_2$")
            frame(row[2], title, "weight", "density")
            row[2].set_yscale("log")
            row[2].set_xlim(-widest, widest)
            row[1].legend(frameon=False)
            row[2].legend(frameon=False)


def sentences(rows: dict[str, Any]) -> list[str]:
    found = []
    for decay, row in rows.items():
        small, large = row["ends"]["small"], row["ends"]["large"]
        errors = " | ".join(f"{100 * (1 - end['accuracy_test']):.1f} %" for end in (small, large))
        found.append(
            f"Decay {decay}, batch {small['batch']} | {large['batch']}: training loss {small['loss']:.3g} | "
            f"{large['loss']:.3g}, test error {errors}, norm of all parameters {small['norm']:.1f} | "
            f"{large['norm']:.1f}; towards the other solution the training loss stays below {LEVEL:g} for "
            f"{_of(small['inwards'])} | {_of(large['inwards'])} of the way; barrier {row['barrier']:.3g}."
        )
    first, second = (wider(row) for row in rows.values())
    reproduced = first == "small" and second == "large"
    ratios = [_ratio(row) for row in rows.values()]
    found.append(
        f"The reversal of sharp and flat is {'' if reproduced else 'not '}reproduced: towards the other solution the "
        f"wider valley is that of the {first or 'neither'} batch without decay and of the {second or 'neither'} batch "
        f"with it (width of the small batch's over the large batch's: {' and '.join(ratios)})."
    )
    return found


def _ratio(row: dict[str, Any]) -> str:
    small, large = (row["ends"][word]["inwards"] for word in ("small", "large"))
    return f"{small / large:.1f}" if small is not None and large else "not known"


def _of(way: float | None) -> str:
    return "all" if way is None else f"{way:.2f}"


def main() -> None:
    study = begin("fig2", __doc__ or "", tuple(vgg9.SIZES))
    trainings, lines = vgg9.trainings(study.size), sweeps(study)
    if not study.run(trainings, lines):
        return
    rows = {f"{decay:g}": numbers(study, decay) for decay in vgg9.decays(vgg9.SIZES[study.size])}
    draw(study)
    size = vgg9.SIZES[study.size]
    study.write(
        drawn=f"{size.model}, {size.images or 'all'} training images, {size.epochs} epochs, lines of {size.line} "
        f"points on {size.evaluated or 'all'} images of each split",
        found=sentences(rows),
        numbers=rows,
        names=[*trainings, *lines],
    )


if __name__ == "__main__":
    main()
