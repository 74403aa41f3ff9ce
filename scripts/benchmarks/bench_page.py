"""Frames a second of the interactive page while its surface turns, in a headless Chromium; file sizes; time to open.

Without --gpu the page is drawn by software GL (SwiftShader), on the processor: what a reader without a GPU would
see. A slow machine gets fewer pixels and points in motion (assets/pace.js): the look that it came to is reported
beside the rate, which a display's 60 frames a second bound from above. Prints one JSON object.

    python scripts/benchmarks/bench_page.py --output results/bench/page.json
    python scripts/benchmarks/bench_page.py --gpu                     # with the GL that Chromium finds
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

from browser import Browser
from pages import make

from lsweep.render import save_page
from lsweep.surface import Surface
from lsweep.tools import provenance

WINDOW = {"width": 1280, "height": 800}
SIZES = (51, 101, 251)
RENDERER = """(() => {
    const gl = document.createElement("canvas").getContext("webgl2");
    return gl.getParameter(gl.getExtension("WEBGL_debug_renderer_info").UNMASKED_RENDERER_WEBGL);
})()"""


def rough(points: int) -> Surface:
    """A bowl with hills, as a network without shortcuts has: two splits' losses and accuracies."""
    rng = np.random.default_rng(0)
    axis = np.linspace(-1.0, 1.0, points)
    height = 2 * (axis[None, :] ** 2 + axis[:, None] ** 2)
    for u, v in rng.normal(size=(30, 2)) * 9:
        height = height + 0.12 * np.cos(u * axis[None, :] + v * axis[:, None] + rng.uniform(0, 6))
    loss = np.exp(height)
    metrics = {
        "loss": loss,
        "accuracy": 1 / (1 + loss),
        "loss_test": 1.2 * loss,
        "accuracy_test": 1 / (1 + 2 * loss),
    }
    return make((axis, axis), metrics)


def measure(browser: Browser, page: Path, frames: int, passes: int) -> dict[str, Any]:
    """One page's size, time to open, and rate of frames: turns until the look has settled, then counts."""
    began = time.perf_counter()
    browser.open(page, **WINDOW)
    opened = time.perf_counter() - began
    turn = "const done = arguments[1]; lsweep.turn(arguments[0]).then(done)"
    turns = [browser.driver.execute_async_script(turn, frames) for _ in range(passes + 1)][1:]
    rates = [1000 * len(found["between"]) / sum(found["between"]) for found in turns]
    return {
        "bytes": page.stat().st_size,
        "seconds_to_open": round(opened, 2),
        "frames_per_second": {"best": round(max(rates), 1), "median": round(float(np.median(rates)), 1)},
        "slowest_frame_ms": round(max(max(found["between"]) for found in turns)),
        "pixels_drawn_per_pixel_along_a_side": turns[-1]["detail"],
        "most_points_along_a_side": turns[-1]["facets"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=120, help="of one turn (default: 120)")
    parser.add_argument("--passes", type=int, default=5, help="turns that count (default: 5)")
    parser.add_argument("--gpu", action="store_true", help="the machine's own GL instead of software")
    parser.add_argument("--output", type=Path, help="write the JSON there, too")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(Path(folder), gpu=args.gpu)
        try:
            found = {}
            for points in SIZES:
                page = save_page(rough(points), Path(folder) / f"{points}.html")
                found[f"{points}x{points}"] = measure(browser, page, args.frames, args.passes)
            about = {
                "renderer": browser.ask(RENDERER),
                "chromium": browser.driver.capabilities["browserVersion"],
            }
        finally:
            browser.close()
    known = provenance.collect()
    report = {
        "window": WINDOW,
        "quantities": 4,
        **found,
        **about,
        "load_average_before": round(load, 1),
        **{key: known[key] for key in ("lsweep", "commit", "python", "processor", "cores", "command")},
    }
    text = json.dumps(report, indent=1)
    print(text)
    if args.output:
        args.output.write_text(f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
