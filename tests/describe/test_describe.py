"""The methods paragraph states what the file records, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import numpy as np
import pytest
from launch import ROOT

from lsweep import cli
from lsweep.certificate import Certificate, Kind
from lsweep.convert import surface_file
from lsweep.describe import describe
from lsweep.describe.direction_sentences import BIAS_BN, KINDS, NORMALIZED
from lsweep.describe.facts import facts
from lsweep.describe.style import STYLES
from lsweep.errors import InputError
from lsweep.store.reader import read
from lsweep.surface import Status, Surface, Trajectory

RESULT = ROOT / "results" / "figures" / "li2018_resnet56" / "resnet56.h5"


def bare(**more: Any) -> Surface:
    """A plane of 3 × 2 points of which nothing is known but its values."""
    values = {
        "axes": {"x": np.array([0.0, 1.0, 2.0]), "y": np.array([-1.0, 1.0])},
        "metrics": {"loss": np.arange(6.0).reshape(2, 3), "accuracy": np.full((2, 3), np.nan)},
        "status": np.ones((2, 3), np.uint8),
        "seconds": np.full((2, 3), np.nan, np.float32),
        "rank": np.full((2, 3), -1, np.int32),
    }
    return Surface(**(values | more))


def said(surface: Surface, format: str = "text", **more: Any) -> str:
    """The paragraph, on one line."""
    return " ".join(describe(surface, format, **more).partition("@inproceedings")[0].split())


def test_of_a_bare_surface_only_the_grid_is_said() -> None:
    assert said(bare()) == (
        "We evaluated the mean loss of a network with weights θ* on the plane θ* + α·d₁ + β·d₂ in weight space "
        "(Li et al. 2018). The grid has 3 × 2 points on [0, 2] × [-1, 1], all of which were evaluated."
    )
    assert set(facts(bare())) == {"grid", "evaluation"}


def test_the_papers_network() -> None:
    text = said(read(RESULT, trusted=True))
    for phrase in (
        "the mean loss (cross entropy) and the accuracy of resnet56 with weights θ* (file resnet56.t7, SHA-256 b145",
        "using at most the first 500 examples of the train split (SHA-256 c31ba7bb95fd) from train_*.npz",
        "Each of the directions d₁ and d₂ was drawn from a standard normal distribution (seed 2018)",
        "with each filter scaled to the norm of the corresponding filter of the weights",
        "its entries for biases and BatchNorm parameters were set to zero",
        "The grid has 41 × 41 points on [-1, 1] × [-1, 1], all of which were evaluated",
        "single precision (fp32)",
        "lsweep 0.1.0 (commit 86edf079c8b4), PyTorch 2.15.0",
        "on cpu (AVX2), AMD EPYC, using 2 MPI ranks",
    ):
        assert phrase in text
    assert "running statistics" not in text  # of a time before the file had a word on it


def test_directions_given_as_tensors_have_no_seed() -> None:
    """The configuration of such a sweep has the default recipe, which was not used."""
    text = said(bare(config='[directions]\nkind = "random"\nseed = 7\n', recipe={"kind": "explicit"}))
    assert (
        "Each of the directions d₁ and d₂ was supplied as tensors." in text
        and "seed" not in text
        and "7" not in text
    )


def test_each_axis_has_its_own_recipe() -> None:
    recipe = {
        "x": {
            "kind": "interpolate",
            "to": "runs/b.pt",
            "normalize": "filter",
            "exclude": ["fc.*"],
            "space": "states",
        },
        "y": {
            "kind": "hessian",
            "eigenvector": -2,
            "normalize": "none",
            "bias_bn": "random",
            "space": "states",
        },
    }
    text = said(bare(recipe=recipe, config='[evaluate]\nbatchnorm = "fixed"\n'))
    assert (
        "The direction d₁ points from θ* to the solution b.pt, which lies at coordinate 1; the parameters fc.* were "
        "held fixed. The direction d₂ is the eigenvector of the Hessian at θ* for eigenvalue number 2 in ascending "
        "order, without normalisation; its entries for biases and BatchNorm parameters were drawn in the same way but "
        "not normalised. The BatchNorm running statistics were displaced together with the parameters."
    ) in text
    assert "held at their values" not in text


def test_every_choice_has_words() -> None:
    from typing import get_args

    from lsweep.config import BiasBn, Kind, Normalize
    from lsweep.describe.sentences import LOSSES
    from lsweep.evaluate.objective import LOSSES as KNOWN

    assert set(NORMALIZED) == set(get_args(Normalize)) and set(BIAS_BN) == set(get_args(BiasBn))
    assert set(KINDS) == {*get_args(Kind), "explicit"} and set(LOSSES) == set(KNOWN)


def test_points_by_status() -> None:
    status = np.array([[0, 1, 2], [3, 1, 1]], np.uint8)
    loss = np.array([[np.nan, 1.0, np.nan], [np.nan, np.inf, 2.0]])
    surface = bare(status=status, metrics={"loss": loss}, identity={"refine": {"tolerance": 0.02}})
    assert (
        "of which 3 were evaluated, 1 was interpolated to a relative error of about 0.02, 1 failed and 1 is pending; "
        "the loss is not finite at 1 of them."
    ) in said(surface)
    assert "of which none was evaluated and 6 are pending" in said(bare(status=np.zeros((2, 3), np.uint8)))


def test_errors_and_estimates() -> None:
    done = np.ones((2, 3))
    surface = bare(
        metrics={"loss": 2 * done, "loss_stderr": np.array([[0.02, 0.02, 0.02], [0.02, 0.02, 0.1]])},
        columns={"examples": np.array([[100, 200, 300], [400, 500, 6000]], np.int32)},
        identity={"precision": "bf16", "tolerance": 0.01, "relative_error": 0.02, "confidence": 0.95}
        | {"absolute_error": 0.0, "curvature": {"tolerance": 0.001}},
    )
    text = said(surface)
    assert "in bf16 and corrected by" in text and "a remaining relative error above 0.01" in text
    assert (
        "until the mean loss was known to within a relative error of 0.02 at a confidence level of 0.95, which took "
        "between 100 and 6,000 examples." in text
    )
    assert "relative standard error of the loss has a median of 0.01 and a maximum of 0.05" in text
    assert (
        "eigenvalues of the Hessian of the mean loss were computed at each point, to a residual of about 0.001"
        in text
    )


def test_the_files_own_certificate() -> None:
    own = Certificate(
        points=np.array([0, 1]),
        kinds=np.array([Kind.EVALUATED, Kind.INTERPOLATED], dtype=np.uint8),
        full={"loss": np.array([1.0, 2.0])},
        stored={"loss": np.array([1.01, 2.0])},
        wanted=1,
        populations={Kind.EVALUATED: 40, Kind.INTERPOLATED: 60},
        seed=0,
        precision="fp32",
    )
    surface = dataclasses.replace(bare(), certificate=own)
    assert (
        "As a check, the loss was recomputed over all examples in fp32 at 1 of 40 evaluated points drawn at random "
        "(relative error of the loss: median 1 %, 95th percentile 1 %, maximum 1 %) and 1 of 60 interpolated points "
        "drawn at random (relative error of the loss: median 0 %, 95th percentile 0 %, maximum 0 %)."
        in " ".join(said(surface).split())
    )
    assert r"median 1 \%" in said(surface, "latex")
    facts = json.loads(describe(surface, "json"))["facts"]["certificate"]
    assert facts["errors"]["interpolated"]["largest"] == 0


def test_a_certificate_has_a_place() -> None:
    certificate = {"words": "Between the points the loss is within 3 %.", "bound": 0.03}
    assert "Between the points the loss is within 3 %." in said(bare(), certificate=certificate)
    assert r"within 3 \%." in said(bare(), "latex", certificate=certificate)
    assert (
        json.loads(describe(bare(), "json", certificate=certificate))["facts"]["certificate"] == certificate
    )


def test_a_trajectory_is_told() -> None:
    path = Trajectory(
        coordinates=np.zeros((4, 2)),
        epochs=np.arange(4, dtype=np.int32),
        learning_rates=np.full(4, 0.1),
        trails=np.zeros(4, np.int32),
        names=("a",),
        captured=0.9,
        shares=np.array([0.5, 0.4]),
        explained=np.full(2, np.nan),
    )
    assert (
        "4 checkpoints were projected onto these directions, which capture 90 % of their squared displacement."
        in said(bare(trajectory=path))
    )
    assert r"which capture 90 \% of" in said(bare(trajectory=path), "latex")
    unknown = dataclasses.replace(path, captured=float("nan"))
    assert "4 checkpoints were projected onto these directions." in said(bare(trajectory=unknown))


def test_a_sweep_of_ones_own(tmp_path) -> None:
    """From the call to the paragraph, in memory and in a file alike."""
    torch = pytest.importorskip("torch")
    import lsweep

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    data = (torch.randn(17, 3), torch.randint(0, 2, (17,)))
    texts = []
    for output in (None, tmp_path / "a.h5"):
        surface = lsweep.sweep(model, data, grid=3, output=output, test_data=data, loss="mse_softmax")
        assert surface is not None
        texts.append(said(surface).partition(" The values were computed with")[0])
    assert texts[0] == texts[1] and read(tmp_path / "a.h5").identity["loss"] == "mse_softmax"
    assert (
        "(squared error between softmax and one-hot target) and the accuracy of Sequential with weights θ* (26 par"
        in texts[0]
    )
    assert re.search(
        r"using 17 examples of the train split \(SHA-256 \w{12}\) and 17 examples of the test split", texts[0]
    )
    assert "The running statistics of any BatchNorm layers were held at their values at θ*." in texts[0]
    directions = [[torch.ones_like(p) for p in model.parameters()]]
    line = lsweep.sweep(model, data, grid={"x": {"num": 3}}, directions=directions)
    assert line is not None and "d₁ was supplied as tensors" in said(line) and "along the line" in said(line)


@pytest.mark.parametrize("format", ["text", "markdown", "latex", "json"])
def test_formats(format, capsys) -> None:
    assert cli.main(["describe", str(RESULT), "--format", format]) == 0
    out = capsys.readouterr().out
    assert "li2018visualizing" in out and "Version 0.1.0" in out
    if format == "json":
        content = json.loads(out)
        assert content["facts"]["directions"]["y"]["seed"] == 2018
        assert content["facts"]["grid"] == {
            "axes": {axis: {"min": -1.0, "max": 1.0, "num": 41} for axis in "xy"},
            "points": 1681,
            "done": 1681,
        }
    if format == "latex":
        prose = [line for line in out.splitlines() if line and not line.startswith("%")]
        text = " ".join(prose)
        assert r"\texttt{train\_*.npz}" in text and r"$\theta^* + \alpha d_1 + \beta d_2$" in text
        assert not re.search(r"(?<!\\)[%#&]", text)
    if format == "markdown":
        assert "```bibtex\n@inproceedings" in out and "`resnet56`" in out
    else:
        assert "`" not in out


def test_bibtex_is_balanced() -> None:
    surface = bare(provenance={"lsweep": "1.0}{", "commit": "}"})
    for text in (describe(surface).partition("@inproceedings")[2], describe(read(RESULT, trusted=True))):
        assert text.replace("\\{", "").replace("\\}", "").count("{") == text.replace("\\{", "").replace(
            "\\}", ""
        ).count("}")


def test_what_a_file_says_cannot_break_out() -> None:
    evil = "a`b_c{d}$e\\f%g\x1b[31m\n<script>" + "x" * 9999
    surface = bare(
        config=f"[model]\nsource = {json.dumps(evil)}\n",
        provenance={"lsweep": evil, "packages": {"torch": evil}, "device": evil, "examples": {"train": evil}},
        identity={"loss": evil, "weights": evil, "data": {evil: evil}, "refine": 3, "directions": []},
        recipe={"x": {"kind": "random", "seed": "1", "include": [3, evil]}, "y": 7},
    )
    for format in STYLES:
        text = describe(surface, format)
        assert all(line.isprintable() for line in text.split("\n")) and len(text) < 20_000
    assert r"a`b\_c\{d\}\$e\textbackslash{}f\%g\textbackslash{}x1b[31m" in said(surface, "latex")
    json.loads(describe(surface, "json"))


@pytest.mark.parametrize(
    "config",
    ["", "model = 3", "[model]\nsource = 3", "not TOML [", "[data]\nsplit = 3\n[evaluate]\nloss = []"],
)
def test_odd_configurations(config) -> None:
    assert "We evaluated the mean loss of a network with weights θ* on the plane" in said(bare(config=config))


def test_an_unknown_format() -> None:
    with pytest.raises(InputError, match="did you mean 'latex'"):
        describe(bare(), "latx")


def test_a_converted_file_says_so(tmp_path) -> None:
    surface_file.write(
        bare(provenance={"converted": {"format": "released", "file": "s.h5"}}), tmp_path / "a.h5"
    )
    text = said(read(tmp_path / "a.h5", trusted=True))
    assert (
        text.endswith("The values were converted from a file in the format released.")
        and "lsweep" not in text
    )


def test_a_file_that_is_none(tmp_path, capsys) -> None:
    (tmp_path / "a.h5").write_text("no")
    assert cli.main(["describe", str(tmp_path / "a.h5")]) == 2
    assert capsys.readouterr().err.startswith("lsweep: error: ")


def test_done_points_count(tmp_path) -> None:
    assert facts(bare(status=np.full((2, 3), Status.FAILED, np.uint8)))["grid"]["failed"] == 6
