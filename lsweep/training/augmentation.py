"""Random crops and flips of whole batches, on the device where the images lie."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class CropFlip:
    """What happens to each image of a batch.

    Attributes:
        top, left: int64 (B,), the corner of the crop in the padded image, 0 … 2·padding.
        flip: bool (B,), whether it is mirrored left to right.
        padding: pixels of zero around an image.
    """

    top: torch.Tensor
    left: torch.Tensor
    flip: torch.Tensor
    padding: int

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Crop and flip images (B, C, H, W), any dtype; the result lies in memory as (B, H, W, C).

        One gather per batch: a loop over images costs a kernel for each.
        """
        device, (count, _, height, width) = images.device, images.shape
        padded = F.pad(images, [self.padding] * 4)
        across = torch.arange(width, device=device).expand(count, -1)
        mirrored = torch.where(self.flip.to(device)[:, None], width - 1 - across, across)
        columns = self.left.to(device)[:, None] + mirrored
        rows = self.top.to(device)[:, None] + torch.arange(height, device=device)
        batch = torch.arange(count, device=device)[:, None, None]
        return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def draw(count: int, padding: int, generator: torch.Generator) -> CropFlip:
    """Draw crops and flips for `count` images from a CPU generator: the same ones for every device."""
    corners = torch.randint(2 * padding + 1, (2, count), generator=generator)
    flip = torch.randint(2, (count,), generator=generator).bool()
    return CropFlip(corners[0], corners[1], flip, padding)
