"""Beyond [Li18]'s figures: the cosine of each epoch's step with -∇L, batch size × weight decay, and train-test gaps.

python scripts/paper/steps.py [--size small|medium|full] [--slurm OPTIONS]

∇L is of the loss that training descends (BatchNorm normalises with each batch's statistics), over all training images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import vgg9
from drawing import BLUE, RED, frame, panels
from study import Study, begin, drops


def numbers(study: Study, run: str) -> dict[str, Any]:
    """Mean cosines up to the first drop of the learning rate, and after it."""
    walked = vgg9.steps(study, run)
    cosines = np.array([np.nan if c is None else c for c in walked["cosines"]])
    first = drops(vgg9.SIZES[study.size].epochs)[0]
    return {
        "cosines": cosines.tolist(),
        "before the first drop": float(np.nanmean(cosines[:first])),
        "after it": float(np.nanmean(cosines[first:])),
        "share downhill": float((cosines > 0).mean()),
        "norm": walked["norms"][-1],
    }


def draw(study: Study) -> None:
    size = vgg9.SIZES[study.size]
    with panels(study.out / "cosines.png", 1, 2) as axes:
        for ax, decay in zip(axes[0], vgg9.decays(size), strict=True):
            for batch, color in zip(size.batches, (BLUE, RED), strict=True):
                walked = vgg9.steps(study, vgg9.name_of(batch, decay))
                epochs = np.array(walked["epochs"][:-1]) + 1
                cosines = [np.nan if c is None else c for c in walked["cosines"]]
                ax.plot(
                    epochs, cosines, ".-", color=color, linewidth=0.8, markersize=3, label=f"batch {batch}"
                )
            for epoch in drops(size.epochs):
                ax.axvline(epoch + 0.5, color="0.6", linewidth=0.7, linestyle=":")
            ax.axhline(0, color="0.3", linewidth=0.7)
            frame(ax, f"weight decay {decay:g}", "epoch", r"cosine of step and $-\nabla L$")
        axes[0][0].legend(frameon=False)


def main() -> None:
    study = begin("steps", __doc__ or "", tuple(vgg9.SIZES))
    trainings = vgg9.trainings(study.size)
    if not study.run(trainings, {}):
        return
    draw(study)
    found = {run: numbers(study, run) for run in trainings}
    told = [
        f"Decay {table['train']['weight_decay']:g}, batch {table['train']['batch_size']}: mean cosine "
        f"{found[run]['before the first drop']:+.3f} before the first drop of the learning rate, "
        f"{found[run]['after it']:+.3f} after it; {100 * found[run]['share downhill']:.0f} % of the epochs go downhill."
        for run, table in trainings.items()
    ]
    study.write(
        drawn="the four trainings of figure 2, every epoch's step",
        found=told,
        numbers=found,
        names=list(trainings),
    )


if __name__ == "__main__":
    main()
