"""Augmentation and label noise against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lsweep.config import TrainConfig
from lsweep.data import ResidentData
from lsweep.data.images import ImageTransform
from lsweep.errors import DataError
from lsweep.training import batches
from lsweep.training.batches import CropFlip, TrainingBatches, seed_of, with_noise


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crop_and_flip_is_what_a_loop_over_images_does(dtype: torch.dtype) -> None:
    images = torch.randint(1, 255, (50, 3, 6, 5)).to(dtype)
    change = batches.draw(50, 2, torch.Generator().manual_seed(3))
    changed = change(images)
    assert changed.shape == images.shape and changed.dtype == dtype
    for k in range(50):
        padded = np.zeros((3, 10, 9), dtype=images.numpy().dtype)
        padded[:, 2:8, 2:7] = images[k].numpy()
        top, left = int(change.top[k]), int(change.left[k])
        cut = padded[:, top : top + 6, left : left + 5]
        np.testing.assert_array_equal(changed[k].numpy(), cut[:, :, ::-1] if change.flip[k] else cut)


def test_no_shift_and_no_flip_leave_an_image_as_it_is() -> None:
    images = torch.randn(2, 1, 4, 4)
    stays = CropFlip(torch.tensor([3, 3]), torch.tensor([3, 3]), torch.tensor([False, True]), 3)
    assert torch.equal(stays(images)[0], images[0]) and torch.equal(stays(images)[1], images[1].flip(-1))


def test_all_crops_and_both_flips_occur() -> None:
    change = batches.draw(4000, 4, torch.Generator().manual_seed(0))
    assert set(change.top.tolist()) == set(change.left.tolist()) == set(range(9))
    assert 0.45 < change.flip.double().mean() < 0.55
    assert abs(np.corrcoef(change.top, change.left)[0, 1]) < 0.06


def test_images_are_padded_black_before_mean_and_std() -> None:
    """As in torchvision's recipes: normalised padding is (0 − mean) / std."""
    images = torch.full((64, 4, 4, 1), 255, dtype=torch.uint8)
    data = ResidentData((images, torch.zeros(64, dtype=torch.int64)), ImageTransform((0.5,), (0.25,)))
    batches = TrainingBatches(data, TrainConfig(batch_size=64))
    values = set(batches.batch(0, 0)[0].unique().tolist())
    assert values == {-2.0, 2.0}


def test_every_epoch_has_every_example_once_in_another_order() -> None:
    data = ResidentData((torch.arange(23), torch.arange(23)))
    batches = TrainingBatches(data, TrainConfig(batch_size=5, augment="none"))
    assert batches.steps == 5
    orders = [torch.cat([batches.batch(epoch, step)[0] for step in range(5)]).tolist() for epoch in (0, 1, 0)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(23))
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_exactly_that_share_of_labels_is_wrong(share: float) -> None:
    labels = torch.randint(10, (1000,), generator=torch.Generator().manual_seed(0))
    noisy = batches.corrupt(labels, share, seed=1)
    assert int((noisy != labels).sum()) == round(1000 * share)
    assert noisy.min() >= 0 and noisy.max() <= 9
    assert torch.equal(noisy, batches.corrupt(labels, share, seed=1))
    if share == 1.0:  # wrong classes are uniform: 111 of each step in expectation
        steps = torch.bincount((noisy - labels) % 10, minlength=10)
        assert steps[0] == 0 and steps[1:].min() > 70 and steps[1:].max() < 155
    elif share:
        assert not torch.equal(noisy, batches.corrupt(labels, share, seed=2))


def test_what_cannot_be_augmented_or_corrupted_is_named() -> None:
    flat = ResidentData((torch.randn(8, 5), torch.arange(8)))
    with pytest.raises(DataError, match=r'set train\.augment = "none"'):
        TrainingBatches(flat, TrainConfig()).batch(0, 0)
    with pytest.raises(DataError, match="needs one class index per example"):
        with_noise(ResidentData((torch.randn(8, 5), torch.randn(8))), TrainConfig(label_noise=0.1))
    with pytest.raises(DataError, match="pairs"):
        with_noise(ResidentData(torch.randn(8, 5)), TrainConfig(label_noise=0.1))
    with pytest.raises(DataError, match="two classes"):
        batches.corrupt(torch.zeros(5, dtype=torch.int64), 0.5, 0)


def test_seeds_differ_where_any_number_does() -> None:
    seeds = {seed_of(a, b, c) for a in range(5) for b in range(5) for c in range(5)}
    assert len(seeds) == 125 and all(0 <= seed < 2**63 for seed in seeds)
