"""Assembles the interactive page from template, style, scripts and data."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from lsweep.errors import InputError, printable
from lsweep.render.look import Log, Look
from lsweep.render.page.payload import payload
from lsweep.surface import Surface
from lsweep.tools.files import write_bytes

# The order matters: each part is a constant that uses earlier ones.
PARTS = (
    "data",
    "scale",
    "isolines",
    "camera",
    "relief",
    "filling",
    "shader",
    "pen",
    "box",
    "pace",
    "plane",
    "path",
    "curves",
    "bar",
    "panel",
    "gestures",
    "controls",
    "keys",
    "picture",
    "page",
    "script",
)
# Additional parts of a page that follows a running sweep, and all parts of a page that waits for its file.
LIVE_PARTS = ("strip", "follow", "live")
WAITING_PARTS = ("strip", "follow", "waiting")
SUFFIXES = (".html", ".htm")
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def save_page(
    surfaces: Surface | Sequence[Surface],
    path: str | Path,
    *,
    metric: str = "loss",
    log: Log = "auto",
    clip: float | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    levels: int | Sequence[float] | None = None,
    cmap: str | None = None,
    titles: Sequence[str] | None = None,
    index: int | None = None,
    show_evaluated: bool = False,
) -> Path:
    """Write an interactive page with linked 3D surface and map of each sweep, and the values under the pointer.

    The page is one file, with the data as float64. It can be opened from disk in a browser with WebGL 2; without
    WebGL 2 it shows only the maps.

    Args:
        surfaces: the surfaces, left to right; all lines or all planes.
        path: the output file, ending in .html. Folders are created; the file is written atomically.
        metric, log, clip, vmin, vmax, levels, cmap, index, show_evaluated: initial display options, see
            `look.LookOptions`; `index` cannot be changed in the page.
        titles: one per surface; by default the networks' names.

    Returns:
        The path.

    Raises:
        InputError: the surfaces cannot be shown with these options, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"cannot write a page to {path}: expected a name that ends in .html", key="html")
    several = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    look = Look(metric, log, clip, vmin, vmax, levels, cmap, index, None, None, show_evaluated)
    write_bytes(path, assemble(payload(several, look, titles)).encode("utf-8"))
    return path


def assemble(data: Mapping[str, Any]) -> str:
    """The text of the page. Data are escaped, so that no string can close its HTML element.

    If the data have "live", the page follows a running sweep and polls the server that it came from.
    """
    names = [sweep["title"] or sweep["file"] for sweep in data["sweeps"]]
    live = "live" in data
    return _joined("page.html", " · ".join(names), PARTS + (LIVE_PARTS if live else ()), data, live)


def assemble_waiting(name: str, live: Mapping[str, Any]) -> str:
    """The text of a page that waits for the file of a sweep; `live` as in `assemble`."""
    return _joined("waiting.html", printable(name), WAITING_PARTS, live, True)


def _joined(template: str, title: str, parts: Sequence[str], data: Mapping[str, Any], live: bool) -> str:
    script = "\n".join(['(() => {\n"use strict";', *(_asset(f"{part}.js") for part in parts), "})();\n"])
    style = _asset("page.css") + (_asset("live.css") if live else "")
    policy = f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data: blob:"
    return _fill(
        _asset(template),
        {
            "title": html.escape(title, quote=False),
            "policy": html.escape(policy + ("; connect-src 'self'" if live else "")),
            "style": style,
            "data": embedded(data),
            "script": script,
        },
    )


def embedded(data: Mapping[str, Any]) -> str:
    """JSON for a script element; characters that HTML could read as markup are replaced by JSON escapes."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return files("lsweep.render.page").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The hash source with which a content security policy allows an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def _fill(template: str, parts: Mapping[str, str]) -> str:
    """Insert each part at its placeholder, in one pass: placeholders inside parts are not replaced."""
    return _PLACE.sub(lambda place: parts[place[1]], template)
