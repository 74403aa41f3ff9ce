"""The interactive page in a real Chromium, without a network: what a reader sees against what the file holds."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pages
import pytest
from browser import Browser, pixels
from launch import ROOT, TESTS

from lsweep.errors import printable
from lsweep.render import save_page
from lsweep.render.field import extract
from lsweep.render.levels import plain, round_levels, shared_levels
from lsweep.render.look import Look
from lsweep.render.scale import choose
from lsweep.store.reader import read
from lsweep.surface import Status, Surface

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RECORDED = ROOT / "results" / "figures" / "li2018_resnet56"
EVIL = """</script><script>window.evil = 1</script><img src=x onerror="window.evil=1">'&"<b>$x$"""


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def chromium(downloads: Path) -> Iterator[Browser]:
    started = Browser(downloads)
    yield started
    started.close()


@pytest.fixture
def show(chromium: Browser, tmp_path: Path):
    """Write a page of surfaces and open it; afterwards nothing may stand in the console, nothing was fetched."""

    def opened(
        *surfaces: Surface, width: int = 1000, height: int = 700, dark: bool = False, **look
    ) -> Browser:
        page = save_page(surfaces, tmp_path / "page.html", **look)
        chromium.open(page, width=width, height=height, dark=dark)
        return chromium

    yield opened
    assert chromium.complaints() == []
    fetched = [url for url in chromium.requests() if not url.startswith(("data:", "blob:"))]
    assert fetched == [(tmp_path / "page.html").as_uri()]


@pytest.fixture(scope="module")
def recorded() -> list[Surface]:
    return [read(RECORDED / f"{name}.h5", trusted=True) for name in ("resnet56_noshort", "resnet56")]


def number(words: str) -> float:
    """A number as the page writes it."""
    words = words.replace("−", "-").replace("%", "").split("±")[0].strip()
    factor, _, power = words.partition("×10") if "×" in words else ("1", "", words[2:])
    if not any(c in "⁻⁰¹²³⁴⁵⁶⁷⁸⁹" for c in words):
        return float(words)
    return float(f"{factor}e{power.translate(str.maketrans('⁻⁰¹²³⁴⁵⁶⁷⁸⁹', '-0123456789'))}")


def point_at(browser: Browser, panel: int, view: str, i: int, j: int = 0) -> list[dict[str, str]]:
    """Put the pointer on a point of the grid as a view shows it; the readouts of all panels."""
    browser.move(*browser.ask(f"lsweep.place({panel}, '{view}', {i}, {j})"))
    browser.settle()
    return browser.ask("lsweep.readouts()")


def spread(picture: np.ndarray) -> float:
    return float(picture.astype(float).std(axis=(0, 1)).mean())


@pytest.mark.parametrize("view", ["relief", "plane"])
def test_the_readout_is_the_files_value(show, recorded, view):
    browser = show(*recorded, width=1400, height=1000)
    ny, nx = recorded[0].shape
    seen = 0
    for i, j in [(3, 2), (nx // 2, ny - 4), (nx - 6, 12), (8, ny - 7), (25, 30), (20, 26)]:
        if view == "relief" and browser.ask(f"lsweep.hidden(0, {i}, {j})"):
            continue
        seen += 1
        for readout, surface in zip(point_at(browser, 0, view, i, j), recorded, strict=True):
            assert number(readout["α"]) == pytest.approx(surface.x[i], abs=1e-6)
            assert number(readout["β"]) == pytest.approx(surface.y[j], abs=1e-6)
            assert number(readout["loss"]) == pytest.approx(surface.loss[j, i], rel=1e-5)
            assert number(readout["accuracy"]) == pytest.approx(100 * surface.accuracy[j, i], rel=1e-5)
            assert readout["status"] == "evaluated"
    assert seen >= 4


def test_a_plane_is_not_transposed(show):
    surface = pages.tilted()
    browser = show(surface)
    for view in ("plane", "relief"):
        for i, j in [(1, 7), (11, 1), (6, 4), (2, 2), (10, 6)]:
            (readout,) = point_at(browser, 0, view, i, j)
            assert number(readout["loss"]) == pytest.approx(surface.loss[j, i], rel=1e-5), (view, i, j)


def test_status_and_standard_errors(show):
    surface = pages.rich()
    browser = show(surface)
    (done,) = point_at(browser, 0, "plane", 4, 6)
    assert done["status"] == "evaluated"
    error = float(done["loss"].split("±")[1])
    assert error == pytest.approx(surface.metrics["loss_stderr"][6, 4], rel=0.05)
    assert "±" in done["accuracy"] and "±" in done["loss, test"] and "±" not in done["accuracy, test"]
    assert number(done["|λmin/λmax|"]) == 0.25
    (settled,) = point_at(browser, 0, "plane", 5, 5)
    assert settled["status"] == "interpolated" and "±" not in settled["loss"]
    assert number(settled["loss"]) == pytest.approx(surface.filled("loss")[5, 5], rel=1e-5)
    (failed,) = point_at(browser, 0, "plane", 2, 0)
    assert failed["status"] == "failed" and "loss" not in failed
    (pending,) = point_at(browser, 0, "plane", 12, 8)
    assert pending["status"] == "pending" and "loss" not in pending
    (nan,) = point_at(browser, 0, "plane", 0, 8)
    assert nan["status"] == "evaluated" and nan["loss"] == "NaN"
    browser.move(500, 5)
    browser.settle()
    assert list(browser.ask("lsweep.readouts()")[0]) == ["hint"]


@pytest.mark.parametrize(("metric", "log"), [("loss", True), ("loss", False), ("accuracy", False)])
def test_cells_have_the_figures_colours(show, metric, log):
    surface = pages.rich()
    browser = show(surface, metric=metric, log=log)
    browser.click("#cells")
    field = extract(surface, metric, 2)
    scale = choose([field], Look(metric=metric, log=log))
    picture = browser.picture()
    for i, j in [(4, 6), (5, 5), (12, 0), (0, 6), (10, 2)]:
        x, y = browser.ask(f"lsweep.place(0, 'plane', {i}, {j})")
        expected = 255 * np.array(scale.cmap(scale.norm()(field.values[j, i]))[:3])
        np.testing.assert_allclose(picture[round(y), round(x) + 4], expected, atol=4)


def test_levels_and_numbers_are_the_figures(show):
    browser = show(pages.tilted())
    rng = np.random.default_rng(5)
    cases = [
        (float(lo), float(lo * (1 + wide)), int(count), bool(log))
        for lo, wide, count, log in zip(
            10.0 ** rng.uniform(-12, 9, 300),
            10.0 ** rng.uniform(-7, 12, 300),
            rng.integers(2, 15, 300),
            rng.integers(0, 2, 300),
            strict=True,
        )
    ]
    cases += [(-3.5, 7.25, 6, False), (-2e9, -1e9, 4, False), (1.0, 1.0, 5, True)]
    found = browser.ask("arguments[0].map((given) => lsweep.roundLevels(...given))", cases)
    for (lo, hi, count, log), levels in zip(cases, found, strict=True):
        np.testing.assert_allclose(
            levels, round_levels(lo, hi, count, log=log), rtol=1e-13, err_msg=f"{lo} {hi}"
        )
    ranges = [
        [(0.05, 10.0), (0.5, 1e6)],
        [(1.0, 3.0), (2.0, 2.0)],
        [(1e-3, 2.0), (0.9, 1.1), (5.0, 80.0)],
        [(6e-4, 28.0), (0.1, 390.0)],
    ]
    for given in ranges:
        for log in (True, False):
            levels = browser.ask("lsweep.sharedLevels(...arguments)", given, 8, log)
            np.testing.assert_allclose(levels, shared_levels(given, 8, log=log), rtol=1e-13)
    for value in (0.0, 1.0, -2.5, 0.001234, 99999.0, 123456.0, 1e-7, -3e20):
        written = browser.ask("lsweep.write(arguments[0])", value)
        assert number(written) == figures_number(plain(value))


def figures_number(text: str) -> float:
    """A number as `plain` writes it, with mathtext where that is needed."""
    bare = text.translate(str.maketrans("", "", "${}")).replace(r"\times", "×")
    return float(bare.replace("×10^", "e").replace("10^", "1e"))


def test_controls(show, recorded):
    browser = show(*recorded, width=1200)
    first, before = browser.ask("lsweep.state()"), browser.picture()
    assert first["scales"][0]["log"] and first["scales"][0] == first["scales"][1]
    finite = np.concatenate([surface.loss.ravel() for surface in recorded])
    assert first["scales"][0]["low"] == finite.min() and first["scales"][0]["high"] == finite.max()

    browser.click("#log")
    assert not browser.ask("lsweep.state().scales[0].log")
    assert np.abs(browser.picture().astype(int) - before).mean() > 1
    browser.click("#log")

    browser.type("#high", "50")
    clipped = browser.ask("lsweep.state().scales")
    assert {s["high"] for s in clipped} == {50} and max(clipped[0]["levels"]) < 50
    notes = browser.ask("[...document.querySelectorAll('.notes')].map((n) => n.textContent)")
    assert notes == ["clipped at 50", ""]
    browser.type("#high", "nonsense")
    assert browser.ask("document.querySelector('#high').getAttribute('aria-invalid')") == "true"
    assert browser.ask("lsweep.state().scales[0].high") == 50
    browser.type("#high", "")
    assert browser.ask("lsweep.state().scales[0].high") == finite.max()

    browser.click("#own")
    own = browser.ask("lsweep.state().scales")
    assert [s["high"] for s in own] == [surface.loss.max() for surface in recorded]
    browser.click("#own")

    browser.click("#cells")
    browser.driver.find_element("css selector", "#map option[value=cividis]").click()
    browser.driver.find_element("css selector", "#quantity option[value=accuracy]").click()
    browser.settle()
    state = browser.ask("lsweep.state()")
    assert (state["cells"], state["map"], state["quantity"]) == (True, "cividis", "accuracy")
    assert state["scales"][0]["high"] == 100 * max(surface.accuracy.max() for surface in recorded)
    browser.click("#reset")
    assert browser.ask("lsweep.state()") == first
    browser.move(0, 0)
    browser.driver.execute_script("document.activeElement.blur()")
    browser.settle()
    assert np.abs(browser.picture().astype(int) - before).mean() < 0.2


def test_the_keyboard(show, recorded):
    browser = show(*recorded, width=1200)
    first = browser.ask("lsweep.state()")

    def after(*keys: str, shift: bool = False) -> dict:
        browser.keys(*keys, shift=shift)
        return browser.ask("lsweep.state()")

    assert after("q")["quantity"] == "accuracy"
    assert after("Q", shift=True)["quantity"] == "loss"
    assert not after("l")["scales"][0]["log"] and after("l")["scales"][0]["log"]
    assert after("[")["scales"][0]["high"] < first["scales"][0]["high"]
    assert after("]")["scales"][0]["high"] == first["scales"][0]["high"]
    assert after("}")["scales"][0]["low"] > first["scales"][0]["low"]
    assert (
        after("m")["map"] == "cividis"
        and after("c")["cells"]
        and after("o")["own"]
        and after("e")["evaluated"]
    )
    turned = after("ArrowRight", "ArrowUp", "+")["camera"]
    assert turned["azimuth"] == -52 and turned["elevation"] == 38 and turned["zoom"] > 1
    ny, nx = recorded[0].shape
    middle = [recorded[0].x[nx // 2], recorded[0].y[ny // 2]]
    assert after("ArrowUp", shift=True)["cursor"] == pytest.approx(middle)
    moved = after("ArrowUp", "ArrowUp", "ArrowLeft", shift=True)["cursor"]
    assert moved == [recorded[0].x[nx // 2 - 1], recorded[0].y[ny // 2 + 2]]
    said = browser.ask("document.getElementById('said').textContent")
    assert "resnet56_noshort: " in said and "evaluated" in said
    assert after("Escape")["cursor"] is None
    browser.keys("?")
    assert browser.ask("document.getElementById('keys').open")
    assert "without interpolation" in browser.ask("document.getElementById('keys').innerText")
    browser.click("#keys button")
    assert not browser.ask("document.getElementById('keys').open")
    assert after("r") == first


def test_cameras_are_linked(show, recorded):
    browser = show(*recorded, width=1200)
    before = browser.picture()
    x, y = browser.ask("lsweep.place(0, 'relief', 20, 20)")
    browser.press(x, y, to=(x + 100, y + 20))
    camera = browser.ask("lsweep.state().camera")
    assert camera["azimuth"] < -70 and camera["elevation"] > 34
    browser.wheel(x, y, -300)
    assert browser.ask("lsweep.state().camera.zoom") > 1.2
    time.sleep(0.6)  # until it has come to rest
    changed = np.abs(browser.picture().astype(int) - before).mean(axis=2)
    top = slice(110, 330)
    assert changed[top, :600].mean() > 2 and changed[top, 600:].mean() > 2
    assert changed[480:640].mean() < 0.5  # the maps stay


def test_a_point_is_held_by_a_click(show):
    browser = show(pages.tilted())
    x, y = browser.ask("lsweep.place(0, 'plane', 3, 5)")
    browser.press(x, y)
    (held,) = point_at(browser, 0, "plane", 9, 2)
    assert number(held["α"]) == pytest.approx(pages.X[3], abs=1e-6) and browser.ask("lsweep.state().held")
    browser.press(x, y)
    (free,) = point_at(browser, 0, "plane", 9, 2)
    assert number(free["α"]) == pytest.approx(pages.X[9], abs=1e-6)


def test_the_png_button(show, downloads):
    browser = show(pages.tilted(), pages.tilted(3.0, config='[model]\nsource = "vgg9"\n'))
    browser.click("#shot")
    deadline = time.monotonic() + 20
    while not list(downloads.glob("*.png")):
        assert time.monotonic() < deadline, "no picture was saved"
        time.sleep(0.1)
    (saved,) = downloads.glob("*.png")
    assert saved.name == "resnet56_vgg9.png"
    picture = pixels(saved.read_bytes())
    width = browser.ask("document.getElementById('panels').getBoundingClientRect().width")
    assert picture.shape[1] == round(2 * width) and spread(picture) > 20
    shown = pixels(base64.b64decode(browser.ask("lsweep.picture()").split(",")[1]))
    assert np.abs(shown.astype(int) - picture).mean() < 0.5


def test_hostile_names_are_shown_as_they_are(show):
    browser = show(pages.tilted(), titles=[EVIL])
    assert browser.ask("document.querySelector('h2').textContent") == printable(EVIL)
    assert browser.ask("document.title") == printable(EVIL)
    assert browser.ask("typeof window.evil") == "undefined"


def test_lines(show):
    surfaces = [pages.line(), pages.line(3.0, config='[model]\nsource = "vgg9"\n')]
    browser = show(*surfaces)
    blank = browser.picture()
    for k, readout in enumerate(point_at(browser, 1, "curves", 7)):
        assert number(readout["α"]) == pytest.approx(surfaces[k].x[7], abs=1e-6)
        for name, metric, factor in (("loss", "loss", 1), ("accuracy, test", "accuracy_test", 100)):
            assert number(readout[name]) == pytest.approx(factor * surfaces[k].metrics[metric][7], rel=1e-5)
    assert np.abs(browser.picture().astype(int) - blank).mean() > 0.2
    browser.keys("ArrowRight")
    assert browser.ask("lsweep.state().cursor")[0] == surfaces[0].x[8]
    assert browser.ask("document.getElementById('spin').hidden")


def test_without_webgl_the_maps_are_there(show, chromium):
    source = """const real = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
          return kind === "webgl2" ? null : real.call(this, kind, ...more);
        };"""
    added = chromium.command("Page.addScriptToEvaluateOnNewDocument", source=source)
    try:
        browser = show(pages.tilted())
        assert browser.ask("document.querySelector('.relief')") is None
        assert "no WebGL 2" in browser.ask("document.querySelector('.note').textContent")
        (readout,) = point_at(browser, 0, "plane", 3, 5)
        assert number(readout["loss"]) == pytest.approx(pages.tilted().loss[5, 3], rel=1e-5)
    finally:
        chromium.command("Page.removeScriptToEvaluateOnNewDocument", **added)


def test_a_lost_context_comes_back(show, chromium):
    source = """const real = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
          const made = real.call(this, kind, ...more);
          if (kind === "webgl2") window.loser = made.getExtension("WEBGL_lose_context");
          return made;
        };"""
    added = chromium.command("Page.addScriptToEvaluateOnNewDocument", source=source)
    try:
        browser = show(pages.tilted())
        before = browser.picture()
        browser.ask("window.loser.loseContext()")
        browser.keys("ArrowRight", "ArrowLeft")
        time.sleep(0.5)
        assert np.abs(browser.picture().astype(int) - before).mean() > 1
        browser.ask("window.loser.restoreContext()")
        time.sleep(0.5)
        browser.settle()
        assert np.abs(browser.picture().astype(int) - before).mean() < 0.2
    finally:
        chromium.command("Page.removeScriptToEvaluateOnNewDocument", **added)


ODD = {
    "constant": np.full((4, 5), 2.0),
    "zero": np.zeros((4, 5)),
    "all NaN": np.full((4, 5), np.nan),
    "all infinite": np.full((4, 5), np.inf),
    "one finite": np.where(np.arange(20).reshape(4, 5) == 7, 1.0, np.nan),
    "negative": -np.arange(20.0).reshape(4, 5),
    "zero and more": np.arange(20.0).reshape(4, 5) ** 8,
    "huge": np.logspace(-300, 149, 20).reshape(4, 5),
    "beyond": np.logspace(0, 308, 20).reshape(4, 5),
    "smallest": np.array([[1.0, 2.0], [3.0, 5.0]]),
    "a line of infinities": np.array([1.0, np.inf, -np.inf, np.nan, 2.0]),
    "a point": np.array([3.0]),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_values_are_shown(show, odd):
    """Nothing complains, in either scale, and what is not finite is named."""
    values = ODD[odd]
    axes = [np.arange(float(n)) for n in reversed(values.shape)]
    browser = show(pages.make(axes, {"loss": values, "my_metric": values}))
    view = "curves" if values.ndim == 1 else "plane"
    for keys in ([], ["l"], ["q", "c", "o"]):
        browser.keys(*keys)
        at = tuple(n - 1 for n in values.shape) if keys else (0,) * values.ndim
        (readout,) = point_at(browser, 0, view, *reversed(at))
        expected = values[at]
        if np.isfinite(expected) and abs(expected) <= 1e150:
            assert number(readout["loss"]) == pytest.approx(expected, rel=1e-5)
        else:
            assert readout["loss"] == ("NaN" if np.isnan(expected) else "∞" if expected > 0 else "−∞")


def test_a_phone(show, recorded):
    browser = show(*recorded, width=390, height=844, dark=True)
    assert browser.ask("document.documentElement.scrollWidth") == 390
    assert browser.picture()[0, 0].max() < 60  # dark
    browser.driver.execute_script("document.querySelector('.plane').scrollIntoView({block: 'center'})")
    browser.tap(*browser.ask("lsweep.place(0, 'plane', 10, 30)"))
    readout = browser.ask("lsweep.readouts()")[0]
    assert number(readout["loss"]) == pytest.approx(recorded[0].loss[30, 10], rel=1e-5)


def test_everything_that_can_be_used_has_a_name(show, recorded):
    browser = show(*recorded)
    nodes = browser.command("Accessibility.getFullAXTree")["nodes"]
    kinds = ("button", "combobox", "slider", "textbox", "image")
    named = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]]
    used = [(role, name) for role, name in named if role in kinds]
    assert {role for role, _ in used} == set(kinds)
    assert all(name for _, name in used), used


def test_a_path_lies_on_both_views(show):
    browser = show(pages.tilted(n=41, trajectory=pages.descent()))
    with_path = browser.picture().astype(int)
    browser.keys("p")
    without = browser.picture().astype(int)
    for view in ("plane", "relief"):
        i, j = 10, 32  # (−0.5, 0.6), halfway between two checkpoints
        x, y = (round(at) for at in browser.ask(f"lsweep.place(0, '{view}', {i}, {j})"))
        around = slice(y - 3, y + 4), slice(x - 3, x + 4)
        vermilion = np.abs(with_path[around] - [213, 94, 0]).sum(axis=2).min()
        assert vermilion < 60 < np.abs(without[around] - [213, 94, 0]).sum(axis=2).min(), view


def test_holes_stay_holes(show):
    status = np.ones((9, 13), np.uint8)
    status[3:6, 5:8] = Status.FAILED
    full = pages.tilted()
    browser = show(pages.make((pages.X, pages.Y), dict(full.metrics), status))
    x, y = browser.ask("lsweep.place(0, 'plane', 6, 4)")
    picture = browser.picture()
    np.testing.assert_array_equal(picture[round(y) + 9, round(x) + 9], [255, 255, 255])  # the card
    (readout,) = point_at(browser, 0, "plane", 6, 4)
    assert readout["status"] == "failed"
    for i, j in [(2, 4), (10, 4), (6, 1)]:
        (readout,) = point_at(browser, 0, "relief", i, j)
        assert number(readout["loss"]) == pytest.approx(full.loss[j, i], rel=1e-5)


SCENES = {
    "plane": dict(surfaces=lambda: [pages.tilted(4.0)]),
    "several_dark": dict(surfaces=lambda: [pages.rich(), pages.tilted(6.0)], dark=True, titles=["a", "b"]),
    "line": dict(surfaces=lambda: [pages.line()]),
}
GOLDEN = TESTS / "golden"
BLOCK = 8  # pixels of the screen along a side for each of a reference's


@pytest.mark.parametrize("scene", SCENES)
def test_it_looks_like_its_reference(show, scene):
    """Fonts and GL differ from machine to machine, shapes and colours do not: compared in blocks.

    With LSWEEP_WRITE_GOLDEN set the references are written anew.
    """
    options = dict(SCENES[scene])
    browser = show(*options.pop("surfaces")(), width=800, height=520, **options)
    time.sleep(0.3)
    seen = blocks(browser.picture())
    if os.environ.get("LSWEEP_WRITE_GOLDEN"):
        from PIL import Image

        Image.fromarray(seen.round().astype(np.uint8)).save(GOLDEN / f"page_{scene}.png", optimize=True)
    references = {name: pixels((GOLDEN / f"page_{name}.png").read_bytes()) for name in SCENES}
    likeness = {name: alike(seen, reference) for name, reference in references.items()}
    assert likeness.pop(scene) > 0.97
    assert max(likeness.values()) < 0.9
    assert alike(seen, references[scene][:, ::-1]) < 0.9  # a mirrored one is another


def blocks(picture: np.ndarray) -> np.ndarray:
    """Means over blocks, (height / BLOCK, width / BLOCK, 3)."""
    height, width, _ = picture.shape
    return picture.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3).mean(axis=(1, 3))


def alike(a: np.ndarray, b: np.ndarray) -> float:
    """The correlation of two pictures, over places and colours."""
    return float(np.corrcoef(a.astype(float).ravel(), b.astype(float).ravel())[0, 1])
