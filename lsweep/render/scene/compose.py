"""Alpha compositing of images: uint8, (height, width, 4), premultiplied."""

from __future__ import annotations

import numpy as np


def over(below: np.ndarray, above: np.ndarray, left: int = 0, top: int = 0) -> None:
    """Composite `above` over `below` in place, with its upper left corner at (left, top), cropped to `below`."""
    rows, columns = slice(max(top, 0), top + above.shape[0]), slice(max(left, 0), left + above.shape[1])
    target = below[rows, columns]
    if not target.size:
        return
    part = above[max(-top, 0) :, max(-left, 0) :][: target.shape[0], : target.shape[1]]
    here = np.flatnonzero(part[..., 3].any(axis=1))
    if not len(here):
        return
    band = slice(here[0], here[-1] + 1)  # most of a text layer is empty
    kept = target[band] * (255 - part[band][..., 3:].astype(np.uint16)) // 255
    target[band] = np.minimum(kept + part[band], 255)


def shrunk(picture: np.ndarray, by: int) -> np.ndarray:
    """The picture reduced by averaging squares of by² pixels."""
    rows, columns = picture.shape[0] // by, picture.shape[1] // by
    return np.rint(picture.reshape(rows, by, columns, by, 4).mean(axis=(1, 3))).astype(np.uint8)


def unmultiplied(picture: np.ndarray) -> np.ndarray:
    """Straight (not premultiplied) colours, as in PNG."""
    alpha = picture[..., 3:].astype(np.float32)
    straight = picture.copy()
    straight[..., :3] = np.rint(np.clip(picture[..., :3] * (255 / np.maximum(alpha, 1)), 0, 255))
    return straight
