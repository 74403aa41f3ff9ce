"""[Li18], appendix: VGG-9 along unnormalised and layer-normalised random directions, beside filter-normalised ones.

python scripts/paper/appendix_normalisation.py [--size small|medium|full] [--slurm OPTIONS]

Does the width of a valley order the four solutions by their test error? Several seeds' directions each, which is also
the paper's look at how repeatable such lines are.
"""

from __future__ import annotations

from typing import Any

import fig3
import vgg9
from drawing import BLUE, frame, panels
from study import Study, begin

from lsweep.compare.separation import rank_correlation

# Half the lines' length. An unnormalised direction is √n long, far longer than the weights.
HALF = {"none": 0.1, "layer": 1.0, "filter": 1.0}
NAMES = {"none": "unnormalised", "layer": "layer-normalised", "filter": "filter-normalised"}


def draw(study: Study, seeds: int) -> None:
    runs = list(vgg9.trainings(study.size))
    with panels(study.out / "lines.png", len(HALF), len(runs), width=2.6, height=2.1) as axes:
        for row, normalize in zip(axes, HALF, strict=True):
            for ax, run in zip(row, runs, strict=True):
                for seed in range(seeds):
                    line = study.surface(fig3.line_of(run, seed, normalize))
                    ax.plot(line.x, line.loss, color=BLUE, linewidth=0.9)
                frame(ax, fig3.title_of(study, run), r"$\alpha$", f"loss, {NAMES[normalize]}")
                ax.set_ylim(0, 5)


def correlation(study: Study, seeds: int, normalize: str) -> dict[str, Any]:
    """The mean widths, and Spearman's rank correlation with the test error; None where a valley outruns its line."""
    runs = list(vgg9.trainings(study.size))
    widths = {run: fig3.spread(fig3.widths(study, run, seeds, normalize)) for run in runs}
    errors = [1.0 - vgg9.last(study, run)["accuracy_test"] for run in runs]
    known = [found[0] for found in widths.values() if found]
    rho = rank_correlation(known, errors) if len(known) == len(runs) else None
    return {"widths": widths, "test errors": errors, "rank correlation": rho}


def main() -> None:
    study = begin("appendix_normalisation", __doc__ or "", tuple(vgg9.SIZES))
    seeds = fig3.SEEDS[study.size]
    trainings, sweeps = vgg9.trainings(study.size), {}
    for normalize, half in HALF.items():
        sweeps |= fig3.lines(study, seeds, normalize, half)
    if not study.run(trainings, sweeps):
        return
    draw(study, seeds)
    numbers = {normalize: correlation(study, seeds, normalize) for normalize in HALF}
    told = []
    for normalize, found in numbers.items():
        words = ", ".join(fig3.in_words(spread) for spread in found["widths"].values())
        rho = found["rank correlation"]
        said = "not known" if rho is None else f"{rho:+.2f}"
        told.append(f"{NAMES[normalize]}: widths {words}; rank correlation with the test error {said}.")
    study.write(
        drawn=f"the four networks of figure 2, {seeds} seeds each; widths in the order of figure 3",
        found=told,
        numbers=numbers,
        names=[*trainings, *sweeps],
    )


if __name__ == "__main__":
    main()
