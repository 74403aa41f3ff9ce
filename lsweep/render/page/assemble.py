"""Assembles the interactive page from template, style, script and data."""

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

# In this order: each part is a constant that uses those before it.
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
# A page that follows a running sweep has these too; one that waits for its file these alone.
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
    """Write an interactive page: 3D surface and map of each sweep, linked, with the values under the pointer.

    Everything is in the one file, the data as float64; it opens from a disk and needs a browser with WebGL 2
    (without, the maps are still there).

    Args:
        surfaces: what to show, left to right; all lines or all planes.
        path: where to; a name that ends in .html. Folders are made; the file appears whole or not at all.
        metric, log, clip, vmin, vmax, levels, cmap, index, show_evaluated: how the page looks when it opens,
            see `look.LookOptions`; `index` is for good.
        titles: one per surface; by default the networks' names.

    Returns:
        The path.

    Raises:
        InputError: nothing can be shown like that, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"cannot write a page into {path}: expected a name that ends in .html", key="html")
    several = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    look = Look(metric, log, clip, vmin, vmax, levels, cmap, index, None, None, show_evaluated)
    write_bytes(path, assemble(payload(several, look, titles)).encode("utf-8"))
    return path


def assemble(data: Mapping[str, Any]) -> str:
    """The page's text. No string of the data can end the element it lies in.

    With "live" among the data the page follows a running sweep: it asks the server that it came from for more.
    """
    names = [sweep["title"] or sweep["file"] for sweep in data["sweeps"]]
    live = "live" in data
    return _joined("page.html", " · ".join(names), PARTS + (LIVE_PARTS if live else ()), data, live)


def assemble_waiting(name: str, live: Mapping[str, Any]) -> str:
    """The text of a page that waits for a sweep's file of that name; `live` as `assemble` has it."""
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
    """JSON for a script element: whatever HTML could read as markup is written as an escape of JSON's."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return files("lsweep.render.page").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What a content security policy calls an inline script or style that it lets in."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def _fill(template: str, parts: Mapping[str, str]) -> str:
    """Put each part in its place, once: a place that a part itself brings along is left as it is."""
    return _PLACE.sub(lambda place: parts[place[1]], template)
