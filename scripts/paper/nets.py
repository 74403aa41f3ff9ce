"""The paper's networks, a quarter as wide: what the small forms train. The names are lsweep's own."""

from __future__ import annotations

from functools import partial

from lsweep.models.densenet import CifarDenseNet
from lsweep.models.resnet import CifarResNet

BASE = 4  # channels of the stem, instead of 16

resnet20 = partial(CifarResNet, 20, base=BASE)
resnet20_noshort = partial(CifarResNet, 20, base=BASE, shortcut="none")
resnet56 = partial(CifarResNet, 56, base=BASE)
resnet56_noshort = partial(CifarResNet, 56, base=BASE, shortcut="none")
resnet110 = partial(CifarResNet, 110, base=BASE)
resnet110_noshort = partial(CifarResNet, 110, base=BASE, shortcut="none")
wrn56_2 = partial(CifarResNet, 56, base=BASE, width=2)
wrn56_2_noshort = partial(CifarResNet, 56, base=BASE, width=2, shortcut="none")
wrn56_4 = partial(CifarResNet, 56, base=BASE, width=4)
wrn56_4_noshort = partial(CifarResNet, 56, base=BASE, width=4, shortcut="none")
wrn56_8 = partial(CifarResNet, 56, base=BASE, width=8)
wrn56_8_noshort = partial(CifarResNet, 56, base=BASE, width=8, shortcut="none")
densenet121 = partial(CifarDenseNet, growth=8)
