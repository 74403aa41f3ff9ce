"""Draw results/figures/gallery: every kind of picture that lsweep has, and the page that shows each with its command.

python scripts/figures/plot_gallery.py                 # all pictures, then results/figures/gallery/README.md
python scripts/figures/plot_gallery.py contour scene   # those entries only, and the page
python scripts/figures/plot_gallery.py --page          # the page only

Each command is one that can be typed in that folder. Movies and scenes need the extra [movie]; the screenshot needs
chromium, ParaView's picture pvpython and xvfb-run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "results" / "figures" / "gallery"
NOSHORT, SHORT = "../li2018_resnet56/resnet56_noshort.h5", "../li2018_resnet56/resnet56.h5"
BOTH = f"{NOSHORT} {SHORT}"
TITLES = '--title "ResNet-56 without shortcuts" --title ResNet-56'
CHROMIUM = "chromium --headless=new --no-sandbox --hide-scrollbars --enable-unsafe-swiftshader --use-angle=swiftshader"


@dataclass(frozen=True)
class Entry:
    """A picture: its files, the first of which is shown, what stands above and below it, and how it is made."""

    name: str
    heading: str
    text: str
    files: tuple[str, ...]
    commands: tuple[str, ...]


def _render(files: str, options: str, out: str) -> str:
    return f"lsweep render {files} {options} -o {out}"


def _curvature(name: str, files: str, titles: str, whose: str) -> Entry:
    text = f"The smallest eigenvalue of the Hessian relative to the largest one, for {whose}."
    command = _render(files, f"--kind curvature {titles} --dpi 200", f"{name}.png")
    return Entry(name, f"Curvature of {whose}", text, (f"{name}.png",), (command,))


CURVATURES = (  # a line each: name, files, titles, of which network
    (
        "curvature_resnet56",
        "data/curvature_resnet56_noshort.h5 data/curvature_resnet56.h5",
        TITLES,
        "the paper's networks, 32 images",
    ),
    ("curvature", "data/curvature_digits.h5", '--title "Around a solution"', "the digits' network"),
)
FIGURES = (
    Entry(
        "surface",
        "3D surface",
        "Logarithmic height, both networks on one scale.",
        ("surface.png",),
        (_render(BOTH, f"--kind surface {TITLES} --dpi 200", "surface.png"),),
    ),
    Entry(
        "contour",
        "Contour lines",
        "Levels that suit both surfaces, with labels on the lines; [as PDF](contour.pdf) for a paper.",
        ("contour.png", "contour.pdf"),
        (
            _render(BOTH, f"--kind contour {TITLES} --dpi 200", "contour.png"),
            _render(BOTH, f"--kind contour {TITLES}", "contour.pdf"),
        ),
    ),
    Entry(
        "filled",
        "Filled contours",
        "Bands between the same levels.",
        ("filled.png",),
        (_render(BOTH, f"--kind filled {TITLES} --dpi 200", "filled.png"),),
    ),
    Entry(
        "heatmap",
        "Heat map",
        "Every point as it was evaluated, nothing interpolated.",
        ("heatmap.png",),
        (_render(BOTH, f"--kind heatmap {TITLES} --dpi 200", "heatmap.png"),),
    ),
    Entry(
        "accuracy",
        "Accuracy",
        "The same planes in per cent of the images that are classified correctly.",
        ("accuracy.png",),
        (_render(BOTH, f"--kind filled --metric accuracy {TITLES} --dpi 200", "accuracy.png"),),
    ),
    Entry(
        "li2018_contour",
        "Style of the study: contours",
        "Colours and levels of Li et al. 2018's figures: 0.1 to 9.6 in steps of 0.5.",
        ("li2018_contour.png",),
        (_render(BOTH, f"--kind contour --style li2018 {TITLES} --dpi 200", "li2018_contour.png"),),
    ),
    Entry(
        "li2018_surface",
        "Style of the study: surfaces",
        "As in its first figure.",
        ("li2018_surface.png",),
        (_render(BOTH, f"--kind surface --style li2018 {TITLES} --dpi 200", "li2018_surface.png"),),
    ),
    Entry(
        "line",
        "Lines",
        "Loss and accuracy along the first direction, 200 training and 200 test images; [as SVG](line.svg).",
        ("line.png", "line.svg"),
        tuple(
            _render("data/line_resnet56_noshort.h5 data/line_resnet56.h5", f"--kind line {TITLES}{more}", out)
            for more, out in ((" --dpi 200", "line.png"), ("", "line.svg"))
        ),
    ),
    Entry(
        "trajectory",
        "A training path",
        "A network of 7,514 parameters on scikit-learn's digits, in the plane of the path's principal axes. Square: "
        "the initial weights; star: the last ones; dots: an epoch each.",
        ("trajectory.png",),
        (
            _render(
                "data/trajectory_digits.h5",
                '--kind trajectory --title "The path of a training" --dpi 200',
                "trajectory.png",
            ),
        ),
    ),
    *(_curvature(*given) for given in CURVATURES),
)
SCENES = (
    Entry(
        "scene",
        "Lit scenes, side by side",
        "Smooth shading, ambient occlusion, contour lines on the surface and below it.",
        ("scene.png",),
        (_render(BOTH, f"--kind scene {TITLES} --dpi 250", "scene.png"),),
    ),
    Entry(
        "scene_noshort",
        "A scene on black",
        "For a talk.",
        ("scene_noshort.png",),
        (
            _render(
                NOSHORT,
                '--kind scene --background black --title "ResNet-56 without shortcuts" --dpi 250',
                "scene_noshort.png",
            ),
        ),
    ),
    Entry(
        "scene_resnet56",
        "A scene with a transparent background",
        "A transparent PNG, for any light background.",
        ("scene_resnet56.png",),
        (
            _render(
                SHORT,
                "--kind scene --background transparent --title ResNet-56 --dpi 250",
                "scene_resnet56.png",
            ),
        ),
    ),
    Entry(
        "scene_path",
        "The path on its surface",
        "The training path above; the larger ball marks its end.",
        ("scene_path.png",),
        (
            _render(
                "data/trajectory_digits.h5",
                '--kind scene --title "The path of a training" --dpi 250',
                "scene_path.png",
            ),
        ),
    ),
    Entry(
        "turntable",
        "Movie: turntable",
        "Once around, as a GIF that loops.",
        ("turntable.gif",),
        (f"lsweep movie {BOTH} {TITLES} --seconds 5 --fps 10 --size 560x280 --quiet -o turntable.gif",),
    ),
    Entry(
        "fly_in",
        "Movie: fly-in",
        "From above, where the surface is a map, down to the view of the pictures: [`fly_in.mp4`](fly_in.mp4).",
        ("fly_in.gif", "fly_in.mp4"),
        tuple(
            f"lsweep movie {SHORT} --title ResNet-56 --motion fly-in --background black {more} --quiet -o {out}"
            for more, out in (
                ("--seconds 4 --fps 10 --size 400x300", "fly_in.gif"),
                ("--seconds 5", "fly_in.mp4"),
            )
        ),
    ),
)
ELSEWHERE = (
    Entry(
        "page",
        "The interactive page",
        "One file that opens without a network connection, to rotate, clip and read values. Below, in Chromium.",
        ("page.png",),
        (
            f"lsweep render {BOTH} {TITLES} --html build/page.html",
            f"{CHROMIUM} --window-size=1280,900 --virtual-time-budget=5000 --screenshot=page.png build/page.html",
        ),
    ),
    Entry(
        "terminal",
        "In the terminal",
        "For ssh, during and after a sweep; in colour if the terminal supports it, otherwise as plain characters.",
        ("terminal.txt",),
        (f"lsweep watch --once {SHORT} > terminal.txt",),
    ),
    Entry(
        "paraview",
        "ParaView",
        "A script that opens the sweep there, or draws it without a window.",
        ("paraview.png",),
        (
            f"lsweep export {SHORT} -o build/resnet56.py",
            "xvfb-run -a pvpython build/resnet56.py paraview.png",
        ),
    ),
)
CHAPTERS = {"Figures for a paper": FIGURES, "Scenes and movies": SCENES, "Elsewhere": ELSEWHERE}
ENTRIES = tuple(entry for entries in CHAPTERS.values() for entry in entries)

HEAD = """# Every kind of picture

Of the two networks of [Li et al. 2018](https://arxiv.org/abs/1712.09913), figure 1
([how they were swept](../li2018_resnet56/README.md)), and of a small network for the training path and the Hessian.
Each command is run in this folder; `python scripts/figures/plot_gallery.py` runs them all and writes this page.
"""
TAIL = """
## The sweeps of this folder

The lines, the path and the curvature are small sweeps of their own, made by the configurations in `data/`, from the
repository's root; path and curvature begin with the [digits' training](../trajectory_digits/README.md):

```
lsweep train results/figures/trajectory_digits/digits.toml
mpirun -n 2 lsweep sweep results/figures/gallery/data/NAME.toml
```
"""


def page() -> str:
    """The text of results/figures/gallery/README.md."""
    parts = [HEAD]
    for chapter, entries in CHAPTERS.items():
        parts.append(f"\n## {chapter}\n")
        parts += map(_section, entries)
    return "".join([*parts, TAIL])


def _section(entry: Entry) -> str:
    shown = entry.files[0]
    if shown.endswith(".txt"):
        picture = f"```\n{(FOLDER / shown).read_text(encoding='utf-8').rstrip()}\n```"
    else:
        picture = f"![{entry.heading}]({shown})"
    commands = "\n".join(entry.commands)
    return f"\n### {entry.heading}\n\n{entry.text}\n\n{picture}\n\n```\n{commands}\n```\n"


def draw(entry: Entry) -> None:
    """Run an entry's commands in the gallery's folder. Raises CalledProcessError where one fails."""
    (FOLDER / "build").mkdir(exist_ok=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in entry.commands:
        print(command, flush=True)
        subprocess.run(
            ["bash", "-c", command], cwd=FOLDER, env=os.environ | {"PATH": path}, check=True, timeout=600
        )
    for file in entry.files:
        print(f"  {file}: {(FOLDER / file).stat().st_size / 1024:.0f} kB")


def main() -> None:
    names = [entry.name for entry in ENTRIES]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="ENTRY", help=f"among {', '.join(names)} (default: all)")
    parser.add_argument("--page", action="store_true", help="write the page only")
    args = parser.parse_args()
    if unknown := set(args.names) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    wanted = [] if args.page else [entry for entry in ENTRIES if entry.name in (args.names or names)]
    for entry in wanted:
        draw(entry)
    (FOLDER / "README.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
