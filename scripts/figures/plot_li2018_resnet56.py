"""Draw the paper's first figure from the two sweeps in results/figures/li2018_resnet56/, and count what the eye sees.

mpirun -n 2 lsweep sweep results/figures/li2018_resnet56/resnet56.toml
mpirun -n 2 lsweep sweep results/figures/li2018_resnet56/resnet56_noshort.toml
python scripts/figures/plot_li2018_resnet56.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

import lsweep
from lsweep import compare, render

FOLDER = Path(__file__).resolve().parents[2] / "results" / "figures" / "li2018_resnet56"
NETWORKS = {"resnet56_noshort": "ResNet-56 without shortcuts", "resnet56": "ResNet-56"}


def numbers(surface: lsweep.Surface) -> dict:
    log_loss = np.log(surface.loss)
    minima = compare.local_minima(log_loss, depth=0.1)
    return {
        "points": int(surface.status.size),
        "loss at the centre": float(surface.loss[surface.y == 0, surface.x == 0][0]),
        "largest loss": float(np.nanmax(surface.loss)),
        "share of the plane below loss 1": compare.share_below(surface, 1.0),
        "local minima of ln(loss) deeper than 0.1": len(minima),
        "the same with log10(loss)": len(compare.local_minima(log_loss / np.log(10), depth=0.1)),
        "NaN": int(np.isnan(surface.loss[surface.done]).sum()),
        "lsweep commit": surface.provenance["commit"],
        "processor": surface.provenance["processor"],
        "sessions": [
            {
                "ranks": s["ranks"],
                "mode": s["mode"],
                "points": s["points"],
                "seconds": round(s["stop"] - s["start"]),
            }
            for s in surface.sessions
        ],
    }


def main() -> None:
    surfaces = {name: lsweep.open(FOLDER / f"{name}.h5") for name in NETWORKS}
    titles = list(NETWORKS.values())
    for kind in ("contour", "surface", "filled"):
        print(render.save(list(surfaces.values()), FOLDER / f"{kind}.png", kind=kind, titles=titles, dpi=200))
    render.save(list(surfaces.values()), FOLDER / "contour.pdf", kind="contour", titles=titles)
    found = {name: numbers(surface) for name, surface in surfaces.items()}
    text = json.dumps(found, indent=2)
    (FOLDER / "numbers.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
