"""Figure 4 of [Li18]: the surfaces of ResNet-110 without shortcuts and of DenseNet-121.

python scripts/paper/fig4.py [--size small|full] [--slurm OPTIONS]
"""

from __future__ import annotations

from architectures import figure
from study import begin

if __name__ == "__main__":
    figure(begin("fig4", __doc__ or ""), [["resnet110_noshort", "densenet121"]])
