"""Figure 6 of [Li18]: ResNet-56 of width 1, 2, 4, 8 × shortcuts, on one scale with each network's test error.

python scripts/paper/fig6.py [--size small|full] [--slurm OPTIONS]

The small form leaves out width 8: its trainings cost four times those of width 4, more than all others together.
"""

from __future__ import annotations

from architectures import figure
from study import begin

WIDTHS = ("resnet56", "wrn56_2", "wrn56_4", "wrn56_8")

if __name__ == "__main__":
    study = begin("fig6", __doc__ or "")
    widths = WIDTHS[:-1] if study.size == "small" else WIDTHS
    figure(study, [widths, [f"{network}_noshort" for network in widths]])
