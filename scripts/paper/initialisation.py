"""[Li18] §6 on initialisation: a deep network without shortcuts, and one with, from several starts.

python scripts/paper/initialisation.py [--size small|full] [--slurm OPTIONS]

Where does the initial loss lie, and which starts end well? The loss is that of training, with each batch's statistics:
the first epoch's running statistics have seen nothing yet.
"""

from __future__ import annotations

from typing import Any

import architectures
from drawing import BLUE, RED, frame, panels
from matplotlib.ticker import LogLocator, NullFormatter
from study import Study, begin

STARTS = {"tiny": 2, "small": 3, "full": 10}
DEEP = {"tiny": "resnet20", "small": "resnet56", "full": "resnet110"}
WELL = 1.0  # a final training loss below this is a good end


def networks(study: Study) -> list[str]:
    return [DEEP[study.size], f"{DEEP[study.size]}_noshort"]


def trainings(study: Study) -> dict[str, Any]:
    """Each network from several starts: initial weights and order of the images differ."""
    found = {}
    for network in networks(study):
        for start in range(STARTS[study.size]):
            [table] = architectures.trainings(study.size, [network], seed=start).values()
            found[f"{network}_start{start}"] = table
    return found


def numbers(study: Study, run: str) -> dict[str, Any]:
    epochs = study.trail(run).epochs
    return {
        "initial loss": epochs[0].values["loss"],
        "after an epoch": epochs[1].values["running_loss"],
        **{name: epochs[-1].values[name] for name in ("loss", "accuracy", "loss_test", "accuracy_test")},
    }


def draw(study: Study) -> None:
    with panels(study.out / "starts.png", 1, 2) as axes:
        for ax, network, color in zip(axes[0], networks(study), (BLUE, RED), strict=True):
            for start in range(STARTS[study.size]):
                epochs = study.trail(f"{network}_start{start}").epochs[1:]
                losses = [epoch.values["running_loss"] for epoch in epochs]
                ax.plot([epoch.number for epoch in epochs], losses, color=color, linewidth=0.9)
            frame(ax, network.replace("_", " "), "epoch", "training loss")
            ax.axhline(WELL, color="0.5", linewidth=0.6, linestyle="--")
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter(NullFormatter())
        limits = [ax.get_ylim() for ax in axes[0]]
        for ax in axes[0]:
            ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def main() -> None:
    study = begin("initialisation", __doc__ or "")
    trained = trainings(study)
    if not study.run(trained, {}):
        return
    draw(study)
    found = {run: numbers(study, run) for run in trained}
    told = []
    for network in networks(study):
        rows = [row for run, row in found.items() if run.startswith(f"{network}_start")]
        initial, ends = [row["initial loss"] for row in rows], [row["loss"] for row in rows]
        well = sum(end < WELL for end in ends)
        told.append(
            f"{network}: initial loss {min(initial):.3g} to {max(initial):.3g}, {well} of {len(rows)} starts end below "
            f"a training loss of {WELL:g} ({', '.join(f'{end:.3g}' for end in ends)})."
        )
    size = architectures.SIZES[study.size]
    width = "" if study.size == "full" else "a quarter as wide, "
    study.write(
        drawn=f"{STARTS[study.size]} starts each, {width}{size.images or 'all'} training images, {size.epochs} epochs",
        found=told,
        numbers=found,
        names=list(trained),
    )


if __name__ == "__main__":
    main()
