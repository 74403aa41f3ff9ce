"""Lit scenes: what is built is the data, what is drawn is where it should be, and movies decode."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import pixels
from launch import absent

from lsweep import cli
from lsweep.errors import InputError, MissingExtra
from lsweep.render import save, save_movie
from lsweep.render.field import extract
from lsweep.render.look import Look
from lsweep.render.scale import choose
from lsweep.render.scene import frames, opengl
from lsweep.render.scene.camera import MOTIONS, View, framed, still
from lsweep.render.scene.height_field import HEIGHT, build, draped
from lsweep.render.scene.movie import Film
from lsweep.render.scene.occlusion import visibility
from lsweep.render.scene.smooth import refined, subdivided
from lsweep.surface import Status, Surface, Trajectory

X, Y = np.linspace(-1.0, 1.0, 11), np.linspace(-0.5, 1.0, 9)
BOWL = 0.01 + (X[None, :] - 0.2) ** 2 + 2 * Y[:, None] ** 2


def plane(loss: np.ndarray = BOWL, status: np.ndarray | None = None, source: str = "bowl", **more) -> Surface:
    status = np.ones(loss.shape, np.uint8) if status is None else status.astype(np.uint8)
    loss = np.where(status == Status.DONE, loss, np.nan)
    metrics = {"loss": loss, "accuracy": np.exp(-loss)}
    seconds, rank = np.zeros(loss.shape, np.float32), np.zeros(loss.shape, np.int32)
    config = f'[model]\nsource = "{source}"\n'
    return Surface({"x": X, "y": Y}, metrics, status, seconds, rank, config, **more)


def path(*corners: tuple[float, float]) -> Trajectory:
    n = len(corners)
    return Trajectory(
        np.array(corners, float),
        np.arange(n, dtype=np.int32),
        np.full(n, 0.1),
        np.zeros(n, np.int32),
        ("run",),
        0.9,
        np.array([0.5, 0.4]),
        np.array([np.nan, np.nan]),
    )


@pytest.fixture(scope="module", autouse=True)
def stage() -> None:
    try:
        opengl.require()
    except (InputError, MissingExtra) as error:
        absent(str(error))


# The relief ------------------------------------------------------------------------------------------------


def test_a_finer_grid_keeps_the_values_and_stays_between_them() -> None:
    values = np.random.default_rng(0).normal(size=(6, 8))
    fine = refined(values, 5)
    assert fine.shape == (26, 36)
    np.testing.assert_array_equal(fine[::5, ::5], values)
    for j, i in np.ndindex(5, 7):
        cell = fine[5 * j : 5 * j + 6, 5 * i : 5 * i + 6]
        corners = values[j : j + 2, i : i + 2]
        assert corners.min() - 1e-12 <= cell.min() and cell.max() <= corners.max() + 1e-12


def test_a_finer_grid_of_a_plane_is_that_plane_and_near_a_parabola() -> None:
    j, i = np.mgrid[:6, :8].astype(float)
    fine_j, fine_i = subdivided(np.arange(6.0), 4), subdivided(np.arange(8.0), 4)
    np.testing.assert_allclose(refined(2 * i - j, 4), 2 * fine_i - fine_j[:, None], atol=1e-12)
    away = np.abs(refined((i + 1) ** 2, 4) - (fine_i + 1) ** 2)
    assert away[:, 4:-4].max() < 0.1  # where linear interpolation is off by 0.25


def test_a_nan_leaves_a_hole_of_the_cells_around_it() -> None:
    values = np.ones((5, 5))
    values[2, 2] = np.nan
    fine = refined(values, 3)
    hole = np.isnan(fine)
    assert hole[4:9, 4:9].all() and not hole[:4].any() and not hole[9:].any() and not hole[:, 9:].any()


def test_the_sky_over_a_plain_is_whole_and_over_a_wall_half() -> None:
    np.testing.assert_array_equal(visibility(np.zeros((5, 7)), 0.1, 0.1), 1.0)
    wall = np.zeros((41, 81))
    wall[:, 40:] = 1e3
    sky = visibility(wall, 0.01, 0.01)
    assert sky[20, 39] == pytest.approx(9 / 16, abs=0.01)  # 7 of 16 directions meet the wall
    assert sky[20, 80] == 1.0
    assert np.isfinite(visibility(np.where(wall > 0, np.nan, wall), 0.01, 0.01)).all()


def test_heights_are_logarithms_on_the_scale() -> None:
    field = extract(plane(), "loss", 2)
    scale = choose([field], Look(clip=1.0))
    relief = build(field, scale, 40)
    parts = (len(relief.x) - 1) // 10
    assert parts > 1
    logs = np.log10(np.minimum(BOWL, 1.0))
    expected = (logs - logs.min()) / (logs.max() - logs.min()) * HEIGHT
    np.testing.assert_allclose(relief.height[::parts, ::parts], expected, atol=1e-12)
    np.testing.assert_allclose(relief.x[::parts], X, atol=1e-12)
    np.testing.assert_allclose(relief.y[::parts], (Y - 0.25), atol=1e-12)
    assert relief.colors.min() >= 0 and relief.colors.max() <= 1


def test_a_path_lies_on_the_relief_between_its_checkpoints_too() -> None:
    field = extract(plane(), "loss", 2)
    relief = build(field, choose([field], Look(log=False)), 200)
    points = draped(relief, np.array([-0.8, 0.8, 3.0]), np.array([0.3, 0.3, 0.3]))
    inside = points[~np.isnan(points[:, 2])]
    assert len(inside) > 50 and inside[-1, 0] <= 1.0 < points[-1, 0]
    low, high = BOWL.min(), BOWL.max()
    loss = 0.01 + (inside[:, 0] - 0.2) ** 2 + 2 * 0.3**2
    np.testing.assert_allclose(inside[:, 2], (loss - low) / (high - low) * HEIGHT, atol=0.006)


# The camera ------------------------------------------------------------------------------------------------


def test_what_is_framed_is_in_sight_all_the_way_and_touches_the_margin() -> None:
    points = np.random.default_rng(1).uniform([-1, -0.7, -0.2], [1, 0.7, 0.9], size=(60, 3))
    for motion in (still, *MOTIONS.values()):
        start = framed(View(-62, 33, 1.0, (0.0, 0.0, 0.0)), motion, points, 1.5, 0.1)
        seen = [motion(start, t).project(points, 300, 200) for t in np.linspace(0, 1, 49)]
        share = np.abs(np.array(seen) - [150, 100]) / [150, 100]
        assert share.max() == pytest.approx(0.9, abs=0.03)


def test_a_turntable_ends_where_it_began_and_a_flight_at_the_picture() -> None:
    view = View(-62.0, 33.0, 5.0, (0.0, 0.0, 0.3))
    assert MOTIONS["turntable"](view, 0.0) == MOTIONS["turntable"](view, 1.0) == view
    end = MOTIONS["fly-in"](view, 1.0)
    np.testing.assert_allclose(end.eye, view.eye)
    assert MOTIONS["fly-in"](view, 0.0).elevation > 80


# Pictures --------------------------------------------------------------------------------------------------


def test_pictures_over_one_another() -> None:
    below = np.full((4, 4, 4), 255, np.uint8)
    ink = np.zeros((2, 2, 4), np.uint8)
    ink[...] = (64, 0, 0, 128)
    frames.over(below, ink, 3, -1)
    assert below[0, 3].tolist() == [191, 127, 127, 255]
    assert (np.delete(below.reshape(-1, 4), 3, axis=0) == 255).all()
    frames.over(below, ink, 9, 9)  # beside
    assert frames.unmultiplied(ink)[0, 0].tolist() == [128, 0, 0, 128]


def drawn(tmp_path: Path, surfaces, **options) -> np.ndarray:
    made = save(surfaces, tmp_path / "a.png", kind="scene", dpi=60, **options)
    return pixels(made.read_bytes()).astype(int)


def test_a_scene_is_drawn_where_the_surface_is(tmp_path: Path) -> None:
    picture = drawn(tmp_path, plane())
    assert picture.shape[1] == 276
    colourful = np.ptp(picture, axis=2) > 40
    assert 0.15 < colourful.mean() < 0.7
    rows, columns = np.nonzero(colourful[:, :230])
    assert rows.min() > 8 and columns.min() > 3  # nothing is cut off
    assert (picture[0, 0] == 255).all()


def test_the_path_is_on_the_surface(tmp_path: Path) -> None:
    without = drawn(tmp_path, plane())
    picture = drawn(tmp_path, plane(trajectory=path((-0.7, -0.3), (0.0, 0.3), (0.2, 0.0))))
    orange = (picture[..., 0] > 120) & (picture[..., 2] < 60) & (picture[..., 1] < 0.62 * picture[..., 0])
    assert orange.sum() > 30
    changed = np.abs(picture - without).max(axis=2) > 30
    assert orange[changed].sum() > 0.9 * orange.sum() and changed.mean() < 0.1


def test_two_networks_share_a_scale(tmp_path: Path) -> None:
    """The flatter one lies lower than alone, and its colours are those of its values on the common scale."""
    wild = plane(100 * BOWL**1.5, source="wild")
    both = drawn(tmp_path, [plane(), wild])
    swapped = drawn(tmp_path, [wild, plane()])
    half = (both.shape[1] - round(0.13 * 1.35 * both.shape[0])) // 2
    top = both.shape[0] // 6  # below the titles
    np.testing.assert_allclose(both[top:, :half], swapped[top:, half : 2 * half], atol=40)
    assert np.abs(both[top:, :half] - both[top:, half : 2 * half]).max() > 100


def test_the_background(tmp_path: Path) -> None:
    from PIL import Image

    save(plane(), tmp_path / "t.png", kind="scene", dpi=60, background="transparent")
    picture = np.asarray(Image.open(tmp_path / "t.png"))
    assert picture.shape[2] == 4
    assert picture[0, 0, 3] == 0 and (picture[..., 3] == 255).mean() > 0.2
    on_white = drawn(tmp_path, plane())
    alpha = picture[..., 3:] / 255
    np.testing.assert_allclose(picture[..., :3] * alpha + 255 * (1 - alpha), on_white, atol=4)
    assert drawn(tmp_path, plane(), background="black")[0, 0].max() < 30


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1.0])
def test_odd_surfaces_are_drawn(tmp_path: Path, value: float) -> None:
    assert drawn(tmp_path, plane(np.full(BOWL.shape, value))).shape[2] == 3


def test_pending_points_are_holes(tmp_path: Path) -> None:
    status = np.ones(BOWL.shape)
    status[4, 5] = Status.FAILED
    assert (
        np.abs(drawn(tmp_path, plane(status=status)) - drawn(tmp_path, plane())).max(axis=2) > 60
    ).sum() > 20
    assert drawn(tmp_path, plane(status=np.zeros(BOWL.shape))).shape[2] == 3


@pytest.mark.parametrize(
    "name,options,complaint",
    [
        ("a.pdf", {}, "ends in .png"),
        ("a.png", {"metric": "acc"}, "no metric 'acc'"),
        ("a.png", {"background": "red"}, "unknown background 'red'"),
        ("a.png", {"titles": ["a", "b"]}, "expected one title for each of the 1 surfaces"),
        ("a.png", {"dpi": 5.0}, "size must be 64 to 16384 pixels"),
        ("a.png", {"show_evaluated": True}, "only in flat figures and line plots"),
        ("a.png", {"kind": "contour", "background": "black"}, "only for scenes"),
    ],
)
def test_bad_requests_are_one_clear_line(tmp_path: Path, name: str, options: dict, complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        save(plane(), tmp_path / name, **{"kind": "scene", "dpi": 60, **options})
    assert complaint in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_without_opengl_it_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opengl, "PROBE", "import os; os.abort()")
    opengl.require.cache_clear()
    try:
        with pytest.raises(InputError, match="scenes need OpenGL"):
            save(plane(), tmp_path / "a.png", kind="scene")
    finally:
        opengl.require.cache_clear()


# Movies ----------------------------------------------------------------------------------------------------


def decoded(movie: Path, width: int, height: int) -> np.ndarray:
    """All frames through ffmpeg, (frames, height, width, 3)."""
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(movie)]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-fps_mode", "passthrough", "-"]
    run = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert run.stderr == b""
    return np.frombuffer(run.stdout, np.uint8).reshape(-1, height, width, 3).astype(int)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_turntable_decodes_and_goes_around(tmp_path: Path, suffix: str) -> None:
    made = save_movie(
        plane(), tmp_path / "new" / f"a{suffix}", film=Film(seconds=1.2, fps=10), size=(160, 120)
    )
    frames = decoded(made, 160, 120)
    assert len(frames) == 12
    assert all(np.ptp(frame, axis=2).max() > 60 for frame in frames)  # none is blank
    steps = [np.abs(a - b).mean() for a, b in zip(frames, np.roll(frames, -1, axis=0), strict=True)]
    apart = np.abs(frames[0] - frames[6]).mean()
    # From the last frame to the first is a step like any other.
    assert min(steps) > 0.5 and steps[-1] < 1.5 * max(steps[:-1]) and steps[-1] < apart
    assert [p.name for p in made.parent.iterdir()] == [made.name]


@pytest.mark.slow
def test_a_flight_ends_at_the_picture(tmp_path: Path) -> None:
    film = Film("fly-in", 0.5, 10, "black")
    frames = decoded(save_movie([plane(), plane()], tmp_path / "a.mp4", film=film, size=(240, 120)), 240, 120)
    assert len(frames) == 5 and frames[0][0, 0].max() < 30
    assert np.abs(frames[0] - frames[-1]).mean() > 3
    half = (240 - round(0.13 * 120 * 1.35)) // 2
    assert np.abs(frames[-1][20:, :half] - frames[-1][20:, half : 2 * half]).mean() < 3  # chroma is halved


def test_a_movie_without_room_is_not_there(tmp_path: Path) -> None:
    """So few frames are written at the end, when no frame would tell of it any more."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(InputError, match="wrote no playable movie"):
            save_movie(plane(), tmp_path / "a.mp4", film=Film(seconds=0.2, fps=10), size=(64, 64))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_a_gif_takes_as_long_as_it_should(tmp_path: Path) -> None:
    from PIL import Image

    film = Film(seconds=1.0, fps=15)
    made = Image.open(save_movie(plane(), tmp_path / "a.gif", film=film, size=(64, 64)))
    total = 0
    for k in range(made.n_frames):
        made.seek(k)
        total += made.info["duration"]
    assert made.n_frames == 15 and total == 1000


class Counter:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.total = self.frames = 0

    def start(self, total: int, done: int) -> None:
        self.total = total

    def advance(self, points: int) -> None:
        self.frames += points

    def settle(self, points: int) -> None:
        raise AssertionError

    def stop(self) -> None:
        self.total -= self.frames


def test_progress_hears_of_every_frame(tmp_path: Path) -> None:
    counter = Counter()
    save_movie(plane(), tmp_path / "a.gif", film=Film(seconds=0.3, fps=10), size=(64, 64), progress=counter)
    assert (counter.total, counter.frames) == (0, 3)


@pytest.mark.parametrize(
    "arguments,complaint",
    [
        (["-o", "a.avi"], "ends in .mp4 or .gif"),
        (["-o", "a.mp4", "--size", "101x100"], "width and height of an MP4 must be even, got 101x100"),
        (["-o", "a.gif", "--size", "100x1000"], "too few for 1 panels and a colour bar"),
        (["-o", "a.gif", "--fps", "60"], "supports at most 50 frames per second, got 60"),
        (["-o", "a.mp4", "--size", "big"], "--size must be width x height"),
        (["-o", "a.mp4", "--seconds", "nan"], "seconds must be a number above 0"),
        (["-o", "a.mp4", "--fps", "-1"], "fps must be a number above 0"),
        (["-o", "a.mp4", "--seconds", "1e9"], "expected 2 to 20000 frames"),
        (["-o", "a.mp4", "--seconds", "0.01"], "expected 2 to 20000 frames"),
        (["-o", "file/a.gif", "--size", "64x64", "--seconds", "0.1"], "cannot write"),
        (["-o", "a.gif", "--title", "a", "--title", "b"], "expected one title for each of the 1 surfaces"),
    ],
)
def test_bad_movies_are_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments, complaint
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    monkeypatch.setattr("lsweep.store.reader.read", lambda path: plane())
    assert cli.main(["movie", "a.h5", *arguments]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "lsweep: error" in line]
    assert complaint in line
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_command_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lsweep.store.reader.read", lambda path: replace(plane(), path=Path(path)))
    source, made = str(tmp_path / "a.h5"), str(tmp_path / "a.mp4")
    command = ["movie", source, "-o", made, "--seconds", "0.2", "--fps", "10", "--size", "96x64"]
    assert cli.main([*command, "--motion", "fly-in", "--clip", "1", "--quiet"]) == 0
    assert cli.main(["render", source, "--kind", "scene", "--background", "black", "--dpi", "60"]) == 0
    out, err = capfd.readouterr()
    assert out.split() == [made, str(tmp_path / "a_scene.png")] and err == ""
    assert len(decoded(Path(made), 96, 64)) == 2


@pytest.mark.slow
def test_a_movie_of_five_seconds(tmp_path: Path) -> None:
    """The size and length that are promised to take less than three minutes on two cores."""
    frames = decoded(save_movie([plane(), plane(50 * BOWL)], tmp_path / "a.mp4"), 1280, 720)
    assert len(frames) == 150
