"""Progress of a sweep in words, from its file alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from lsweep.errors import printable
from lsweep.surface import Status, Surface
from lsweep.tools.progress import duration

# A session that has not reported for this many seconds counts as ended; running ones report every few seconds.
_SILENT = 120.0


def describe(surface: Surface) -> str:
    """Points by status, rate and time left, the loss at the centre and at the best point, and the sessions.

    Unprintable characters from the file are escaped.
    """
    total = surface.status.size
    done, failed, pending = (surface.count(s) for s in (Status.DONE, Status.FAILED, Status.PENDING))
    lines = [
        f"{surface.path}",
        f"  grid      {' × '.join(f'{n} {len(v)}' for n, v in surface.axes.items())} = {total} points",
        f"  done      {done} ({100 * done / total:.1f} %)",
        f"  failed    {failed}",
        f"  pending   {pending}",
    ]
    if surface.settled.any():
        settled = surface.count(Status.SETTLED)
        lines.append(
            f"  settled   {settled} ({100 * settled / total:.1f} %), interpolated; --complete evaluates them"
        )
    lines += [
        f"  {name:<9} {text}"
        for name, text in (
            ("rate", _pace(surface, pending)),
            ("centre", centre(surface)),
            ("best", best(surface)),
            ("halved", _halved(surface)),
        )
        if text
    ]
    if surface.certificate is not None:
        lines += [f"  certified {line}" for line in surface.certificate.lines()]
    lines += [f"  session   {_session(s)}" for s in surface.sessions]
    return "\n".join(map(printable, lines))


def rate(surface: Surface) -> float | None:
    """Points per second of the last session, from its start to its last report; None if unknown."""
    if not surface.sessions:
        return None
    last = surface.sessions[-1]
    elapsed = last["stop"] - last["start"]
    return last["points"] / elapsed if last["points"] >= 1 and elapsed > 0 else None


def _pace(surface: Surface, pending: int) -> str:
    pace = rate(surface)
    if pace is None:
        return ""
    if not pending:
        return f"{pace:.3g} points/s"
    running = time.time() - surface.sessions[-1]["stop"] < max(_SILENT, 5 / pace)
    return (
        f"{pace:.3g} points/s, {duration(pending / pace)} {'left' if running else 'left once it is resumed'}"
    )


def best(surface: Surface) -> str:
    """The point with the lowest finite loss, as text; "" if there is none."""
    finite = np.where(np.isfinite(surface.loss), surface.loss, np.nan)
    if np.isnan(finite).all():
        return ""
    index = np.unravel_index(np.nanargmin(finite), surface.shape)
    place = ", ".join(
        f"{n} = {v[i]:g}" for (n, v), i in zip(surface.axes.items(), reversed(index), strict=True)
    )
    return f"loss {surface.loss[index]:.6g} at {place}"


def centre(surface: Surface) -> str:
    """The metrics at the trained weights, as text; "" if these are not a grid point, or the point is not done.

    Comparing them with the known test error of the network shows whether the data are preprocessed as in its training.
    """
    at = [np.flatnonzero(values == 0) for values in [*surface.axes.values()][::-1]]
    if not all(len(found) for found in at):
        return ""
    index = tuple(int(found[0]) for found in at)
    if surface.status[index] != Status.DONE:
        return ""
    return ", ".join(
        f"{name} {100 * values[index]:.4g} %"
        if name.startswith("accuracy")
        else f"{name} {values[index]:.6g}"
        for name, values in surface.metrics.items()
    )


def _halved(surface: Surface) -> str:
    """Points computed in smaller batches for lack of memory, as text; the same bits are not guaranteed there."""
    size, asked = surface.columns.get("batch_size"), surface.provenance.get("batch_size")
    if size is None or not isinstance(asked, int):
        return ""
    points = int((surface.done & (size < asked)).sum())
    return f"{points} points used batches smaller than {asked} for lack of memory" if points else ""


def _session(session: Mapping[str, Any]) -> str:
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(session["start"]))
    job = f", job {session['job']}" if session["job"] else ""
    return (
        f"{began}  {duration(session['stop'] - session['start'])}  {session['points']} points, "
        f"{session['ranks']} ranks on {session['hosts']} ({session['mode']}{job})"
    )
