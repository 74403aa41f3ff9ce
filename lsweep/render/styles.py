"""Named styles: defaults for options that the user leaves open."""

from __future__ import annotations

from dataclasses import replace

from lsweep.errors import InputError, nearest
from lsweep.render.look import Look

STYLES = ("lsweep", "li2018")
# What the released code of [Li18] draws with: the colour map of each kind, and contours of 0.1 to 10 in steps of 0.5.
LI2018_MAPS = {
    "contour": "summer",
    "filled": "summer",
    "heatmap": "viridis",
    "surface": "coolwarm",
    "scene": "coolwarm",
    "trajectory": "summer",
}
LI2018_LEVELS = tuple(0.1 + 0.5 * k for k in range(20))


def styled(look: Look, style: str | None, kind: str) -> Look:
    """A look in a style: what it leaves open is filled in. Raises InputError for a style that does not exist.

    Args:
        look: what was asked for, which stands.
        style: one of `STYLES`, or None for lsweep's own.
        kind: of figure, as `look.KINDS`, "auto" resolved.
    """
    if style is not None and style not in STYLES:
        raise InputError(f"unknown style {style!r}{nearest(style, STYLES)}", key="style")
    if style != "li2018":
        return look
    if kind not in LI2018_MAPS:
        raise InputError(f"style li2018 is for planes, not for the kind {kind}", key="style")
    look = replace(look, cmap=look.cmap or LI2018_MAPS[kind])
    lined = kind in ("contour", "filled", "trajectory") and look.metric.startswith("loss")
    if not lined or look.levels is not None or look.log is True:
        return look
    if (look.vmin, look.vmax, look.clip) == (None, None, None):
        look = replace(look, vmin=LI2018_LEVELS[0], vmax=LI2018_LEVELS[-1])
    return replace(look, levels=LI2018_LEVELS, log=False)
