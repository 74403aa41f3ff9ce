"""Responses of the live page's server: the page, the progress and the data."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass

from lsweep.errors import InputError
from lsweep.render.look import Look
from lsweep.render.page.assemble import assemble, assemble_waiting
from lsweep.render.page.payload import payload
from lsweep.watch.follow import Follower, View
from lsweep.watch.state import State, state_of


@dataclass(frozen=True)
class Answer:
    """A body, its media type, and its entity tag, if clients should revalidate it."""

    body: bytes
    kind: str
    tag: str = ""


class Site:
    """The resources of the server by path; no other data of this machine can be requested.

    Args:
        follower: reads the file.
        look: initial display options of the page.
        pause: seconds between two requests of the page.
    """

    def __init__(self, follower: Follower, look: Look, pause: float) -> None:
        self._follower, self._look, self._pause = follower, look, pause
        self._guard = threading.Lock()
        self._kept: Answer | None = None
        self._places: dict[str, Callable[[], Answer]] = {
            "/": self._page,
            "/state": self._state,
            "/data": self._data,
        }

    def answer(self, path: str) -> Answer | None:
        """The resource at a path, or None."""
        place = self._places.get(path.partition("?")[0])
        return place() if place else None

    def check(self) -> None:
        """Check that the current contents of the file can be shown. Raises InputError."""
        view = self._follower.look()
        if view.surface is not None:
            payload([view.surface], self._look)

    def _page(self) -> Answer:
        view = self._follower.look()
        html = None
        if view.surface is not None:
            try:
                data = payload([view.surface], self._look)
                html = assemble({**data, "live": self._live(view)})
            except InputError:
                pass  # the state reports the error
        html = html or assemble_waiting(view.path.name, self._live(view))
        return Answer(html.encode("utf-8"), "text/html; charset=utf-8")

    def _live(self, view: View) -> dict[str, object]:
        return {"version": view.version, "pause": self._pause, "state": self._said(view).as_json()}

    def _state(self) -> Answer:
        return _json(self._said(self._follower.look()).as_json())

    def _said(self, view: View) -> State:
        try:
            self._packed(view)
        except InputError as error:
            # Treated like a missing file: the page waits for one that it can show.
            return state_of(View(view.path, None, "", "unreadable", str(error)))
        return state_of(view)

    def _data(self) -> Answer:
        try:
            return self._packed(self._follower.look())
        except InputError as error:
            return _json({"version": "", "error": str(error)})

    def _packed(self, view: View) -> Answer:
        """The data of a view, cached by version. Raises InputError."""
        with self._guard:
            if self._kept is None or self._kept.tag != view.version:
                data = {} if view.surface is None else payload([view.surface], self._look)
                self._kept = _json({**data, "version": view.version}, view.version)
            return self._kept


def _json(value: object, tag: str = "") -> Answer:
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Answer(text.encode("ascii"), "application/json", tag)
