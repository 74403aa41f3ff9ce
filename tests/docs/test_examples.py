"""The examples, as a user runs them: no network, a figure, and the trained network's own loss at the centre."""

from __future__ import annotations

import re
from pathlib import Path

import launch
import numpy as np
import pytest
from launch import ROOT
from PIL import Image

import lsweep

EXAMPLES = ROOT / "examples"
# The script, the file of its last sweep, its figure.
CASES = {
    "regression.py": ("epoch_0080.h5", "regression.png"),
    "torchvision_model.py": ("torchvision.h5", "torchvision.png"),
    "hugging_face_text.py": ("hugging_face.h5", "hugging_face.png"),
}
# Whatever asks for another machine fails.
OFFLINE = """
import runpy, socket, sys
def refuse(*_, **__): raise OSError("an example went on the network")
socket.getaddrinfo = socket.create_connection = refuse
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("script", CASES)
def test_example(script: str, tmp_path: Path) -> None:
    if script.startswith("hugging"):
        try:
            import transformers  # noqa: F401
        except ImportError:
            launch.absent("transformers is absent")
    file, figure = CASES[script]
    run = launch.python(
        "-c",
        OFFLINE,
        EXAMPLES / script,
        tmp_path / "out",
        timeout=300,
        env=launch.environment(HF_HUB_OFFLINE="1"),
    )
    assert run.returncode == 0, run.stderr
    surface = lsweep.open(tmp_path / "out" / file)
    assert surface.complete and np.isfinite(surface.loss).all()
    printed = re.search(r"^loss (\S+)$", run.stdout, re.MULTILINE)
    assert printed is not None
    centre = surface.loss[len(surface.y) // 2, len(surface.x) // 2]
    assert centre == pytest.approx(float(printed[1]), rel=1e-3, abs=2e-6)
    assert centre < 0.1 * surface.loss.max()  # a trained network is in a valley
    with Image.open(tmp_path / "out" / figure) as picture:
        assert min(picture.size) > 400 and len(picture.convert("RGB").getcolors(10**7) or ()) > 20
