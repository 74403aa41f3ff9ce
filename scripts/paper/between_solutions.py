"""BatchNorm between two solutions: the line from one ResNet-20 to another, three ways ([Li18] §3 draws such lines).

python scripts/paper/between_solutions.py [--size small|full]

Running statistics kept as at one end, moved along the line like weights, or estimated anew at each point. The two
trained networks are expected in ../shared/weights/resnet20.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from drawing import line, panels
from study import SHARED, Study, axis, begin, cifar10

POINTS = {"tiny": 3, "small": 13, "full": 121}
IMAGES = {"tiny": 8, "small": 500, "full": None}
WAYS = {
    "fixed": ("statistics of one end", {}, {}),
    "states": ("statistics move along", {"space": "states"}, {}),
    "recalibrated": ("statistics estimated anew", {}, {"batchnorm": "recalibrate"}),
}


def sweeps(study: Study) -> dict[str, Any]:
    weights = SHARED / "weights/resnet20"
    images = IMAGES[study.size]
    data = cifar10(images, "train", "test")
    data |= {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}  # as these two were trained
    ends = (0.0, 1.0) if study.size == "tiny" else (-0.25, 1.25)
    return {
        f"between_{way}": {
            "model": {"source": "resnet20_a", "weights": str(weights / "a.th")},
            "data": data,
            "directions": {"kind": "interpolate", "to": str(weights / "b.th"), **space},
            "grid": {"x": axis(POINTS[study.size], *ends)},
            "evaluate": {"recalibrate_examples": min(images or 1000, 1000), **batchnorm},
        }
        for way, (_, space, batchnorm) in WAYS.items()
    }


def numbers(study: Study, way: str) -> dict[str, Any]:
    line = study.surface(f"between_{way}")
    inner = (line.x >= 0) & (line.x <= 1)
    return {
        "x": line.x.tolist(),
        "loss": line.loss.tolist(),
        "ends": [float(line.loss[line.x == end][0]) for end in (0.0, 1.0)],
        "barrier": float(np.nanmax(line.loss[inner])),
        "finite": bool(np.isfinite(line.loss).all()),
        "nan": int(np.isnan(line.loss).sum()),
    }


def main() -> None:
    study = begin("between_solutions", __doc__ or "")
    lines = sweeps(study)
    if not study.run({}, lines):
        return
    with panels(study.out / "lines.png", 1, len(WAYS), width=3.4) as axes:
        for ax, (way, (title, _, _)) in zip(axes[0], WAYS.items(), strict=True):
            line(study.surface(f"between_{way}"), ax, title)
            ax.set_xlabel("a at 0, b at 1")
    found = {way: numbers(study, way) for way in WAYS}
    study.write(
        drawn=f"two ResNet-20, {POINTS[study.size]} points, {IMAGES[study.size] or 'all'} images of each split",
        found=[
            f"{WAYS[way][0]}: training loss {row['ends'][0]:.3g} and {row['ends'][1]:.3g} at the ends, "
            f"{row['barrier']:.3g} at most between them, {row['nan']} points NaN."
            for way, row in found.items()
        ],
        numbers=found,
        names=list(lines),
    )


if __name__ == "__main__":
    main()
