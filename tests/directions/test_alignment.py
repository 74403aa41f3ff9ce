"""Expected cosines against many drawn directions."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import project
import pytest
import torch
from small_models import MODELS

from lsweep import cli
from lsweep.config import DirectionsConfig
from lsweep.directions import alignment, normalize, random
from lsweep.models.parameters import tensors_of, weight_space


@pytest.mark.parametrize("mode", ["filter", "layer", "weight", "dfilter", "dlayer", "none"])
@pytest.mark.parametrize("name, bias_bn", [("conv", "zero"), ("transposed", "random")])
def test_the_mean_cosine_of_many_pairs_is_the_expected_one(name: str, bias_bn: str, mode: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]()
    space = weight_space(model)
    theta = [t.detach() for t in tensors_of(model, space)]
    recipe = DirectionsConfig(normalize=mode, bias_bn=bias_bn)  # type: ignore[arg-type]
    found = alignment.blocks(theta, space, recipe)
    assert found is not None
    generator = torch.Generator().manual_seed(1)
    drawn = [
        torch.cat([d.reshape(-1) for d in normalize(random(space, generator), theta, space, mode, bias_bn)])
        for _ in range(120)
    ]
    flat = torch.stack(drawn).double()
    flat /= flat.norm(dim=1, keepdim=True)
    pairs = (flat @ flat.T)[np.triu_indices(120, 1)].abs()
    # Filters that are few and of unequal weight are not quite normal; 7,140 pairs leave less than 2 % of chance.
    assert alignment.expected_cosine(*found) == pytest.approx(float(pairs.mean()), rel=0.12)


def test_one_block_of_n_elements_is_the_plain_formula() -> None:
    n = 1234
    assert alignment.expected_cosine(np.array([7.0]), np.array([float(n)])) == pytest.approx(
        math.sqrt(2 / (math.pi * n))
    )


def test_copied_biases_are_not_random() -> None:
    model = MODELS["linear"]()
    space = weight_space(model)
    theta = [t.detach() for t in tensors_of(model, space)]
    assert alignment.blocks(theta, space, DirectionsConfig(bias_bn="copy")) is None


def test_cosines_and_norms_of_plain_vectors() -> None:
    one = [torch.tensor([3.0, 0.0]), torch.tensor([4.0])]
    other = [torch.tensor([0.0, 5.0]), torch.tensor([5.0])]
    np.testing.assert_allclose(
        alignment.cosines([one, other]), [[1, 4 / math.sqrt(50)], [4 / math.sqrt(50), 1]]
    )
    assert alignment.norms(one) == [3.0, 4.0]


def test_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["directions", "sweep.toml"]) == 0
    out = capsys.readouterr().out
    assert "cosine of x and y: " in out and "random directions: 0." in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line}
    assert rows["1.weight"][0] == "96" and rows["1.weight"][1] == rows["1.weight"][2] == rows["1.weight"][3]
    assert rows["1.bias"][2:] == ["0", "0"] and rows["whole"][0] == "123"
    assert cli.main(["directions", "sweep.toml", "--set", "directions.kind=pca"]) == 2
    assert "needs directions.trail" in capsys.readouterr().err
