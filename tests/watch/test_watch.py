"""Following a sweep's file: its phases, what the page's server answers, and the picture in the terminal."""

from __future__ import annotations

import dataclasses
import fcntl
import http.client
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pages
import pytest
from launch import environment, python

from lsweep import cli
from lsweep.convert import surface_file
from lsweep.render.look import Look
from lsweep.surface import Status, Surface
from lsweep.tools import lock
from lsweep.watch.cell_rendering import half_blocks, plain
from lsweep.watch.cells import Kind, raster
from lsweep.watch.cli import _announce
from lsweep.watch.follow import Follower, View
from lsweep.watch.responses import Site
from lsweep.watch.server import Server
from lsweep.watch.state import state_of
from lsweep.watch.terminal import colour_depth
from lsweep.watch.text import frame

SESSION = {
    "job": "7",
    "ranks": 2,
    "hosts": "here",
    "mode": "mpio",
    "start": 1e9,
    "stop": 1e9 + 10,
    "points": 20,
}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
TRUE_COLOUR = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONUTF8": "1"}


def partial(done: int, **more) -> Surface:
    """The tilted plane, its first `done` points evaluated, as a session left it."""
    full = pages.tilted()
    status = (np.arange(full.status.size) < done).astype(np.uint8).reshape(full.shape)
    made = pages.make((pages.X, pages.Y), dict(full.metrics), status, **more)
    return dataclasses.replace(made, sessions=({**SESSION, "points": done},))


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_phases_of_a_sweep(tmp_path: Path) -> None:
    path, clock = tmp_path / "sweep.h5", Clock()
    follower = Follower(path, 1.0, clock)

    def phase(after: float = 2.0) -> str:
        clock.now += after
        return follower.look().phase

    assert (phase(), follower.look().surface) == ("waiting", None)
    held = lock.acquire(path)
    surface_file.write(partial(20), path)
    assert phase() == "running"
    surface_file.write(partial(40), path)
    assert phase(0.5) == "running" and follower.look().surface.count(Status.DONE) == 20  # type: ignore[union-attr]
    assert phase() == "running" and follower.look().surface.count(Status.DONE) == 40  # type: ignore[union-attr]
    # Somebody holds it, however long nothing is heard; and says how long that is.
    assert phase(300) == "running" and follower.look().note == "no change for 5:00"
    with subprocess.Popen(["true"]) as child:
        child.wait()
    held.path.write_text(json.dumps({**json.loads(held.path.read_text()), "pid": child.pid}))
    assert phase(100) == "killed" and f"process {child.pid} on" in follower.look().note
    held.path.unlink()
    assert phase(100) == "stopped"
    surface_file.write(partial(60), path)
    assert phase() == "running"
    path.write_bytes(b"not a sweep")
    assert phase() == "unreadable" and follower.look().surface.count(Status.DONE) == 60  # type: ignore[union-attr]
    path.unlink()
    assert phase() == "gone"
    surface_file.write(pages.tilted(), path)
    assert phase() == "complete"


def test_a_change_that_the_system_does_not_tell_is_found(tmp_path: Path) -> None:
    """As over NFS: the file's attributes are old, what was cached with them too."""
    path, clock = tmp_path / "sweep.h5", Clock()
    surface_file.write(partial(20), path)
    follower = Follower(path, 1.0, clock)
    follower.look()
    before = path.stat()
    content = (surface_file.write(partial(40), tmp_path / "b.h5"), (tmp_path / "b.h5").read_bytes())[1]
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    clock.now += 30
    assert follower.look().surface.count(Status.DONE) == 40  # type: ignore[union-attr]


def test_numbers_and_words() -> None:
    status = np.zeros((9, 13), np.uint8)
    status[0], status[1], status[2, :3] = Status.DONE, Status.SETTLED, Status.FAILED
    full = pages.tilted()
    surface = dataclasses.replace(
        pages.make((pages.X, pages.Y), dict(full.metrics), status), sessions=({**SESSION, "points": 13},)
    )
    state = state_of(View(Path("a.h5"), surface, "", "running"))
    assert state.percent == 24.7 and state.shares == {
        "done": 13 / 117,
        "settled": 13 / 117,
        "failed": 3 / 117,
    }
    assert state.facts[:6] == [
        "29 of 117 points",
        "1.3 points/s",
        "at most 1:08 left",
        "2 ranks on here (mpio, job 7)",
        "3 failed",
        "13 settled by interpolation",
    ]
    assert f"loss {np.nanmin(surface.loss):.6g} at" in state.facts[6]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(path: Path, host: str = "127.0.0.1") -> Server:
        server = Server(Site(Follower(path, 0.0), Look(), 0.5), host, 0)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(
    server: Server, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer, answer.read()


def test_the_servers_answers(tmp_path: Path, serve: Callable[..., Server]) -> None:
    path = tmp_path / "sweep.h5"
    server = serve(path)
    waiting = ask(server, "/")[1].decode()
    assert "sweep.h5" in waiting and json.loads(ask(server, "/state")[1])["phase"] == "waiting"
    assert json.loads(ask(server, "/data")[1]) == {"version": ""}
    surface_file.write(partial(20), path)
    page, body = ask(server, "/?again")
    assert page.status == 200 and page.getheader("X-Frame-Options") == "DENY"
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', body.decode())
    assert policy.endswith("; connect-src &#x27;self&#x27;") and policy.startswith(
        "default-src &#x27;none&#x27;"
    )
    state = json.loads(ask(server, "/state")[1])
    data, body = ask(server, "/data")
    tag = data.getheader("ETag")
    assert tag == f'"{state["version"]}"' and json.loads(body)["version"] == state["version"]
    unchanged, body = ask(server, "/data", If_None_Match=tag)
    assert unchanged.status == 304 and body == b""
    surface_file.write(partial(30), path)
    assert ask(server, "/data", If_None_Match=tag)[0].status == 200


def test_only_what_is_meant_to_be_reachable_is(tmp_path: Path, serve: Callable[..., Server]) -> None:
    path = tmp_path / "sweep.h5"
    surface_file.write(partial(20), path)
    server = serve(path)
    assert server.loopback and server.server_address[0] == "127.0.0.1"
    for there in ("/sweep.h5", "/../sweep.h5", "/%2e%2e/etc/passwd", "//etc/passwd", "/etc/passwd", "*"):
        assert ask(server, there)[0].status == 404, there
    for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS"):
        assert ask(server, "/", method)[0].status == 501, method
    for own in ("localhost:9000", "127.0.0.1", f"127.0.0.1:{server.port}", "[::1]:80", "LOCALHOST."):
        assert ask(server, "/state", Host=own)[0].status == 200, own
    # A name that somebody else has led here, and addresses at which this server does not listen.
    for other in (
        "evil.example",
        "localhost.evil.example:80",
        "192.168.0.1",
        "[::1].evil",
        "",
        "127.0.0.1.evil",
    ):
        assert ask(server, "/state", Host=other)[0].status == 421, other
    everywhere = serve(path, "0.0.0.0")
    assert not everywhere.loopback
    assert ask(everywhere, "/state", Host="192.168.0.1:80")[0].status == 200
    assert ask(everywhere, "/state", Host="evil.example")[0].status == 421


def test_what_is_said_at_the_start(
    tmp_path: Path, serve: Callable[..., Server], capsys: pytest.CaptureFixture
) -> None:
    _announce(serve(tmp_path / "a.h5"), "a.h5")
    said = capsys.readouterr()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\n", said.out) and "warning" not in said.err
    _announce(serve(tmp_path / "a.h5", "0.0.0.0"), "a.h5")
    assert "warning: anyone who can reach port" in capsys.readouterr().err


def test_what_cannot_be_shown_is_waited_for(tmp_path: Path, serve: Callable[..., Server]) -> None:
    """A file that took another one's place and has no such metric, say."""
    path = tmp_path / "sweep.h5"
    surface_file.write(partial(20), path)
    server = serve(path)
    axis = np.array([1.0, np.nextafter(1.0, 2.0)])
    surface_file.write(pages.make((axis, axis), {"loss": np.ones((2, 2))}), path)
    state = json.loads(ask(server, "/state")[1])
    assert (state["phase"], state["version"]) == ("unreadable", "") and "cannot be drawn" in state["note"]
    assert "cannot be shown yet" in ask(server, "/")[1].decode()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["absent/sweep.h5"], "no folder at 'absent'"),
        (["net.toml"], "not a readable HDF5 file"),
        (["."], "it is a folder"),
        (["absent.h5", "--once"], "omit --once to wait for it"),
        (["sweep.h5", "--metric", "loss_test"], "no metric 'loss_test'"),
        (["sweep.h5", "--once", "--port", "1"], "--port is for the page"),
        (["sweep.h5", "--port", "70000"], "--port must be 0 to 65535"),
        (["sweep.h5", "--host", "no such host"], "cannot listen on no such host"),
        (["sweep.h5", "--interval", "0"], "--interval must be"),
        (["sweep.h5", "--cmap", "viridi"], "did you mean 'viridis'?"),
    ],
)
def test_bad_requests_are_one_clear_line(tmp_path, monkeypatch, capsys, arguments, complaint) -> None:
    monkeypatch.chdir(tmp_path)
    surface_file.write(pages.tilted(), tmp_path / "sweep.h5")
    (tmp_path / "net.toml").write_text("[model]\n")
    assert cli.main(["watch", *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("lsweep: error: ") and message.count("\n") == 1
    assert complaint in message


def test_a_port_in_use(tmp_path: Path, serve: Callable[..., Server], capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "sweep.h5"
    surface_file.write(pages.tilted(), path)
    assert cli.main(["watch", str(path), "--port", str(serve(path).port)]) == 2
    message = capsys.readouterr().err
    assert "Address already in use; use --port 0 for a free one" in message and message.count("\n") == 1


def test_the_raster_shows_the_files_values() -> None:
    """One cell a point, the largest y at the top; pending, failed and NaN points as such."""
    surface = pages.rich()
    cells = raster(surface, Look(log=False), 13, 9)
    values = surface.filled("loss")
    finite = values[np.isfinite(values)]
    expected = (values - finite.min()) / (finite.max() - finite.min())
    np.testing.assert_allclose(cells.units, expected[::-1], atol=1e-12)
    assert cells.kinds[8, 2] == Kind.FAILED and cells.kinds[0, 0] == Kind.NAN
    assert cells.kinds[0, 12] == Kind.NOTHING
    np.testing.assert_array_equal(cells.kinds[::-1] == Kind.VALUE, np.isfinite(values))
    lines = plain(cells)
    assert (lines[8][2], lines[0][0], lines[0][12]) == ("x", "?", " ")
    large = raster(surface, Look(log=False), 80, 60)
    assert large.units.shape == (54, 78)  # each point takes 6 × 6 cells
    np.testing.assert_array_equal(large.units[::6, ::6], cells.units)


def test_half_blocks_have_the_maps_colours() -> None:
    cells = raster(pages.tilted(), Look(log=False), 13, 9)
    lines = half_blocks(cells, 24)
    assert len(lines) == 5 and all(len(ESCAPES.sub("", line)) == 13 for line in lines)
    r, g, b = (round(255 * c) for c in cells.scale.cmap(cells.units[0, 0])[:3])
    assert lines[0].startswith(f"\x1b[38;2;{r};{g};{b};48;2;")
    assert "\x1b[38;5;" in half_blocks(cells, 8)[0] and "▄" not in "".join(lines)


def test_pending_points_show_what_is_known_around() -> None:
    full, status = pages.tilted(n=17), np.zeros((17, 17), np.uint8)
    status[::4, ::4] = Status.DONE
    axis = np.linspace(-1, 1, 17)
    cells = raster(pages.make((axis, axis), {"loss": full.loss}, status), Look(log=False), 17, 17)
    assert (cells.kinds == Kind.VALUE).all() and len(np.unique(cells.units)) == len(
        np.unique(full.loss[::4, ::4])
    )


def test_a_line_is_a_curve() -> None:
    surface = pages.line()
    cells = raster(surface, Look(log=False), 21, 40)
    values = (surface.loss - surface.loss.min()) / np.ptp(surface.loss)
    for column, value in enumerate(values):
        assert cells.kinds[round((1 - value) * 39), column] == Kind.VALUE
    assert (cells.kinds == Kind.VALUE).any(axis=0).all()


@pytest.mark.parametrize("depth", [0, 8, 24])
@pytest.mark.parametrize("size", [(79, 23), (200, 60), (40, 12), (10, 3), (1, 1)])
def test_frames_fit(depth: int, size: tuple[int, int]) -> None:
    columns, lines = size
    for surface in (pages.rich(), pages.line(), partial(5), None):
        shown = frame(View(Path("a.h5"), surface, "", "running"), Look(), columns, lines, depth)
        assert len(shown) <= lines and all(len(ESCAPES.sub("", line)) <= columns for line in shown)
        assert depth or "\x1b" not in "".join(shown)


class Screen:
    """`lsweep watch` on a pseudo terminal."""

    def __init__(
        self, folder: Path, *arguments: str, columns: int = 80, lines: int = 24, **more: str
    ) -> None:
        self._master, slave = pty.openpty()
        self.resize(columns, lines)
        command = [sys.executable, "-m", "lsweep", "watch", "sweep.h5", *arguments]
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=slave, stdout=slave, stderr=slave, env=environment(**more)
        )
        os.close(slave)
        self._bytes, self.said = b"", ""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, wanted: Callable[[str], bool], seconds: float = 40) -> str:
        """What was said until it is as wanted, or all of it when the process has ended."""
        until = time.monotonic() + seconds
        while not wanted(self.said):
            assert time.monotonic() < until, self.said
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    self._bytes += os.read(self._master, 1 << 16)
                    self.said = self._bytes.decode(errors="ignore")  # it may end within a letter
                except OSError:  # the other end is closed
                    break
        return self.said

    def end(self) -> int:
        self.read(lambda said: False)
        os.close(self._master)
        return self.process.wait(20)


@pytest.mark.slow
def test_a_terminal_follows_a_sweep_to_its_end(tmp_path: Path) -> None:
    """Painted in place on the other screen, at the terminal's size; at the end it stands on the first one."""
    screen = Screen(tmp_path, "--text", "--interval", "0.1", **TRUE_COLOUR)
    screen.read(lambda said: "waiting" in said)
    surface_file.write(partial(20), tmp_path / "sweep.h5")
    screen.read(lambda said: "17.0 %" in said and "stopped" in said)
    wide = max(map(len, ESCAPES.sub("", screen.said).splitlines()))
    assert wide <= 79
    screen.resize(50, 20)
    before = len(screen.said)
    screen.read(lambda said: "17.0 %" in said[before:])
    surface_file.write(pages.tilted(), tmp_path / "sweep.h5")
    assert screen.end() == 0
    _, last = screen.said.rsplit("\x1b[?1049l", 1)
    assert screen.said.startswith("\x1b[?1049h\x1b[?25l") and screen.said.count("\x1b[?25h") == 1
    assert "100.0 %  complete" in last and "▀" in last and "\x1b[38;2;" in last and "\x1b[H" not in last


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_terminal_is_as_it_was_after_a_signal(tmp_path: Path, number: int, status: int) -> None:
    screen = Screen(tmp_path, "--text", **TRUE_COLOUR)
    screen.read(lambda said: "waiting" in said)
    screen.process.send_signal(number)
    assert screen.end() == status
    assert screen.said.endswith("\x1b[?25h\x1b[?1049l") and "Traceback" not in screen.said


@pytest.mark.slow
def test_once_without_colours(tmp_path: Path) -> None:
    surface_file.write(partial(20), tmp_path / "sweep.h5")
    screen = Screen(tmp_path, "--once", NO_COLOR="1", **TRUE_COLOUR)
    assert screen.end() == 0
    assert "\x1b" not in screen.said and "17.0 %" in screen.said
    piped = python(
        "-m", "lsweep", "watch", "sweep.h5", "--once", cwd=tmp_path, env=environment(PYTHONIOENCODING="ascii")
    )
    assert piped.returncode == 0 and "\x1b" not in piped.stdout and piped.stdout.isascii()
    assert [line for line in piped.stdout.splitlines() if line.strip(" .:-=+*#%@") == ""]


@pytest.mark.parametrize(
    ("term", "more", "depth"),
    [
        ("xterm-256color", {}, 8),
        ("xterm-256color", {"COLORTERM": "truecolor"}, 24),
        ("xterm-256color", {"NO_COLOR": "1", "COLORTERM": "truecolor"}, 0),
        ("dumb", {"COLORTERM": "truecolor"}, 0),
        ("linux", {}, 0),
    ],
)
def test_what_a_terminal_can_show(term: str, more: dict[str, str], depth: int) -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        assert colour_depth(stream, {"TERM": term, **more}) == depth
    os.close(master)
    with open(os.devnull, "w", encoding="utf-8") as stream:
        assert colour_depth(stream, {"TERM": term, **more}) == 0


def test_neither_torch_nor_mpi(tmp_path: Path) -> None:
    surface_file.write(pages.tilted(), tmp_path / "sweep.h5")
    code = (
        "import sys; from lsweep import cli; cli.main(['watch', 'sweep.h5', '--once']);"
        "import lsweep.watch.server; print(*{'torch', 'mpi4py'} & set(sys.modules), 'loaded')"
    )
    assert python("-c", code, cwd=tmp_path).stdout.splitlines()[-1] == "loaded"


def test_the_end_waits_for_a_reader_and_lets_no_other_one_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread within HDF5 when the interpreter ends would keep h5py's lock, and the process would not end."""
    follower = Follower(tmp_path / "to_come.h5", 0.0)
    within, on = threading.Event(), threading.Event()
    view = follower.look()

    def reading() -> View:
        within.set()
        on.wait(10)
        return view

    monkeypatch.setattr(follower, "_now", reading)
    reader = threading.Thread(target=follower.look, daemon=True)
    reader.start()
    assert within.wait(10)
    end = threading.Thread(target=follower.close, daemon=True)
    end.start()
    end.join(0.2)
    assert end.is_alive()
    on.set()
    end.join(10)
    assert not end.is_alive()
    late = threading.Thread(target=follower.look, daemon=True)
    late.start()
    late.join(0.2)
    assert late.is_alive()
