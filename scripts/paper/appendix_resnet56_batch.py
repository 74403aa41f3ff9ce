"""[Li18], appendix: filter-normalised planes of ResNet-56 trained with a small and with a large batch.

python scripts/paper/appendix_resnet56_batch.py [--size small|full] [--slurm OPTIONS]
"""

from __future__ import annotations

from typing import Any

import architectures
from study import begin

LARGE = {"tiny": 32, "small": 256, "full": 4096}
NETWORK = "resnet56"


def main() -> None:
    study = begin("appendix_resnet56_batch", __doc__ or "")
    size = architectures.SIZES[study.size]
    trainings: dict[str, Any] = {}
    sweeps: dict[str, Any] = {}
    for batch in (size.batch, LARGE[study.size]):
        name = NETWORK if batch == size.batch else f"{NETWORK}_batch{batch}"
        [table] = architectures.trainings(study.size, [NETWORK], batch_size=batch).values()
        [plane] = architectures.planes(study, [NETWORK]).values()
        plane["model"]["weights"] = str(study.path(name, ".trail"))
        trainings[name], sweeps[f"plane_{name}"] = table, plane
    if not study.run(trainings, sweeps):
        return
    architectures.draw(study, [list(trainings)])
    found = architectures.numbers(study, list(trainings))
    study.write(
        drawn=f"batch {size.batch} and {LARGE[study.size]}; sizes as in figure 5",
        found=architectures.sentences(found),
        numbers=found,
        names=[*trainings, *sweeps],
    )


if __name__ == "__main__":
    main()
