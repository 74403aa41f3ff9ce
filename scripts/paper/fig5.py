"""Figure 5 of [Li18]: depth 20, 56, 110 × shortcuts, on one scale with each network's test error.

python scripts/paper/fig5.py [--size small|full] [--slurm OPTIONS]
"""

from __future__ import annotations

from architectures import figure
from study import begin

DEPTHS = ("resnet20", "resnet56", "resnet110")

if __name__ == "__main__":
    figure(begin("fig5", __doc__ or ""), [DEPTHS, [f"{network}_noshort" for network in DEPTHS]])
