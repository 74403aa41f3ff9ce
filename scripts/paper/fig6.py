"""Figure 6 of [Li18]: ResNet-56 of width 1, 2, 4, 8 × shortcuts, on one scale with each network's test error.

python scripts/paper/fig6.py [--size small|full] [--slurm OPTIONS]
"""

from __future__ import annotations

from architectures import figure
from study import begin

WIDTHS = ("resnet56", "wrn56_2", "wrn56_4", "wrn56_8")

if __name__ == "__main__":
    figure(begin("fig6", __doc__ or ""), [WIDTHS, [f"{network}_noshort" for network in WIDTHS]])
