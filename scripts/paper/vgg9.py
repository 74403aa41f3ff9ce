"""The trainings of the paper's VGG-9: small and large batch, without and with weight decay. Several figures use them.

python scripts/paper/vgg9.py [--size small|medium|full]

Small: a VGG-9 an eighth as wide, a share of the images, no augmentation. Weight decay acts by learning rate × decay ×
steps / (1 - momentum): 0.55 for the paper's large batch. Since a short training takes fewer steps, the small form takes
ten times the paper's decay, which makes that 0.53. Medium: twice as wide, five times the images, 20 steps of the small
batch for each of the large one's, where the small form has 4 and the paper 56; it takes two cores hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from study import Study, begin, cifar10, drops


@dataclass(frozen=True)
class Size:
    """What the sizes differ in; `evaluated` images of each split are what lines and planes see."""

    model: str
    images: int | None
    evaluated: int | None
    epochs: int
    batches: tuple[int, int]
    decay: float
    line: int
    plane: int
    augment: str = "none"


SIZES = {
    "tiny": Size("vgg9_8", 64, 32, 2, (16, 32), 5e-3, 5, 3),
    "small": Size("vgg9_8", 2048, 1024, 50, (128, 512), 5e-3, 41, 11),
    "medium": Size("vgg9_16", 10000, 2000, 60, (128, 2500), 4e-3, 41, 21),
    "full": Size("vgg9", None, None, 300, (128, 8192), 5e-4, 401, 51, "crop_flip"),
}


def decays(size: Size) -> tuple[float, float]:
    return 0.0, size.decay


def name_of(batch: int, decay: float, optimizer: str = "sgd") -> str:
    return f"vgg9_{'' if optimizer == 'sgd' else optimizer + '_'}batch{batch}_decay{decay:g}"


def trainings(name: str, optimizer: str = "sgd") -> dict[str, dict[str, Any]]:
    """Four of them, small batch first, without weight decay first."""
    size = SIZES[name]
    own = {"optimizer": "adam", "lr": 0.001} if optimizer == "adam" else {}
    return {
        name_of(batch, decay, optimizer): {
            "model": {"source": size.model},
            "data": cifar10(size.images, "train", "test"),
            "train": {
                "epochs": size.epochs,
                "batch_size": batch,
                "weight_decay": decay,
                "drops": drops(size.epochs),
                "augment": size.augment,
                **own,
            },
        }
        for decay in decays(size)
        for batch in size.batches
    }


def last(study: Study, run: str) -> dict[str, float]:
    """Loss and accuracy at the end, of both splits."""
    return dict(study.trail(run).epochs[-1].values)


def steps(study: Study, run: str) -> dict[str, Any]:
    """Norms and histograms along a trail, and each step beside the gradient of the loss that training descends."""
    trail = str(study.path(run, ".trail"))
    sets = [f'directions.trail=["{trail}"]', "evaluate.batchnorm=recalibrate"]
    found = study.report("trajectory", run, "--steps", *(part for pair in sets for part in ("--set", pair)))
    return dict(found["steps"][trail])


if __name__ == "__main__":
    chosen = begin("vgg9", __doc__ or "", tuple(SIZES))
    chosen.run(trainings(chosen.size), {})
