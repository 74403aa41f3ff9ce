"""Named styles: defaults for options that the user does not set."""

from __future__ import annotations

from dataclasses import replace

from lsweep.errors import InputError, nearest
from lsweep.render.look import Look

STYLES = ("lsweep", "li2018")
# Settings of the released code of [Li18]: the colour map of each kind, and contours from 0.1 to 10 in steps of 0.5.
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
    """A look with unset options filled in from a style. Raises InputError for an unknown style.

    Args:
        look: the options set by the user, which take precedence.
        style: one of `STYLES`, or None for the default style.
        kind: kind of figure, one of `look.KINDS` except "auto".
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
