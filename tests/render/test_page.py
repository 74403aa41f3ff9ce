"""The interactive page as a file: what is in it, and what is refused. Its life is in test_page_browser.py."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib.resources import files

import numpy as np
import pages
import pytest
from launch import ROOT

from lsweep import cli
from lsweep.errors import InputError, printable
from lsweep.render import save_page
from lsweep.render.look import Look
from lsweep.render.page.assemble import LIVE_PARTS, PARTS, WAITING_PARTS, assemble, embedded
from lsweep.render.page.payload import errors_of, label, payload
from lsweep.surface import Status

RECORDED = ROOT / "results" / "figures" / "li2018_resnet56"
HOSTILE = """</script><script>alert(1)</script><!-- "quoted' & {{data}} <b> $x$ \u2028 \u202e \udcff"""


def doubles(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f8")


def data_of(page: str) -> dict:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(found)


def test_every_number_is_in_the_page_bit_for_bit(tmp_path):
    surface = pages.rich()
    page = save_page(surface, tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    (sweep,) = data_of(page)["sweeps"]
    np.testing.assert_array_equal(doubles(sweep["axes"][0]["at"]), pages.X)
    np.testing.assert_array_equal(doubles(sweep["axes"][1]["at"]), pages.Y)
    np.testing.assert_array_equal(
        np.frombuffer(base64.b64decode(sweep["status"]), "u1"), surface.status.ravel()
    )
    for name, factor in {
        "loss": 1,
        "loss_test": 1,
        "eig_min": 1,
        "accuracy": 100,
        "accuracy_test": 100,
    }.items():
        expected = np.where(surface.status == Status.PENDING, np.nan, surface.filled(name)) * factor
        np.testing.assert_array_equal(doubles(sweep["values"][name]), expected.ravel(), err_msg=name)
    assert set(sweep["values"]) == {n for n in surface.metrics if "stderr" not in n}
    np.testing.assert_array_equal(
        doubles(sweep["errors"]["accuracy"]), surface.metrics["accuracy_stderr"].ravel() * 100
    )
    np.testing.assert_array_equal(
        doubles(sweep["errors"]["loss_test"]), surface.metrics["loss_stderr_test"].ravel()
    )


def test_names():
    assert errors_of(pages.rich().metrics) == {
        "loss": "loss_stderr",
        "accuracy": "accuracy_stderr",
        "loss_test": "loss_stderr_test",
    }
    assert [label(n) for n in ("loss", "loss_test", "eig_ratio", "my_own")] == [
        "loss",
        "loss, test",
        "|λmin/λmax|",
        "my_own",
    ]


def test_hostile_names_stay_text(tmp_path):
    page = save_page(pages.tilted(), tmp_path / "a.html", titles=[HOSTILE]).read_text(encoding="utf-8")
    shown = printable(HOSTILE)
    assert data_of(page)["sweeps"][0]["title"] == shown
    assert page.count("</script>") == 2 and page.count("<script") == 2
    assert f"<title>{html.escape(shown, quote=False)}</title>" in page
    assert json.loads(embedded({"a": HOSTILE})) == {"a": HOSTILE}


def test_nothing_is_fetched_and_no_other_script_runs():
    page = assemble(payload([pages.tilted()], Look()))
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", page)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    for kind, text in {"script": page.split("<script>")[1], "style": page.split("<style>")[1]}.items():
        digest = hashlib.sha256(text.split(f"</{kind}>")[0].encode()).digest()
        assert f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'" in html.unescape(policy)
    assert "default-src 'none'" in html.unescape(policy)


def test_every_part_is_used():
    names = {entry.name for entry in files("lsweep.render.page").joinpath("assets").iterdir()}
    parts = {f"{part}.js" for part in (*PARTS, *LIVE_PARTS, *WAITING_PARTS)}
    assert names == parts | {"page.html", "page.css", "waiting.html", "live.css"}


def test_pages_are_small(tmp_path):
    rng = np.random.default_rng(0)
    for points, most in ((51, 1_000_000), (251, 6_000_000)):
        axis = np.linspace(-1, 1, points)
        metrics = {
            n: rng.random((points, points)) for n in ("loss", "accuracy", "loss_test", "accuracy_test")
        }
        page = save_page(pages.make((axis, axis), metrics), tmp_path / "a.html")
        assert page.stat().st_size < most


def test_a_partial_sweep_is_drawn_coarsely():
    status = np.zeros((17, 17), np.uint8)
    status[::4, ::4] = Status.DONE
    axis = np.linspace(-1, 1, 17)
    surface = pages.make((axis, axis), {"loss": np.ones((17, 17))}, status)
    assert payload([surface], Look())["sweeps"][0]["stride"] == 4
    assert payload([pages.rich()], Look())["sweeps"][0]["stride"] == 1


def test_the_command(tmp_path, capsys):
    names = [str(RECORDED / f"{name}.h5") for name in ("resnet56_noshort", "resnet56")]
    page = tmp_path / "two.html"
    look = [
        "--metric",
        "accuracy",
        "--clip",
        "90",
        "--no-log",
        "--cmap",
        "cividis",
        "--title",
        "a",
        "--title",
        "b",
    ]
    assert cli.main(["render", *names, "--html", str(page), *look]) == 0
    assert capsys.readouterr().out == f"{page}\n"
    data = data_of(page.read_text(encoding="utf-8"))
    assert [sweep["title"] for sweep in data["sweeps"]] == ["a", "b"]
    assert data["start"] == {
        "quantity": "accuracy",
        "log": False,
        "low": None,
        "high": 90.0,
        "evaluated": False,
    }
    assert next(iter(data["maps"])) == "cividis"
    assert page.stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--html", "page.pdf"], "a name that ends in .html"),
        (["--html", "p.html", "--kind", "surface"], "--kind is for figures"),
        (["--html", "p.html", "-o", "a.png"], "--output is for figures"),
        (["--html", "p.html", "--dpi", "100"], "--dpi is for figures"),
        (["--html", "p.html", "--metric", "loss_test"], "no metric 'loss_test'"),
        (["--html", "p.html", "--title", "a", "--title", "b"], "expected one title for each"),
        (["--html", "p.html", "--cmap", "viridi"], "did you mean 'viridis'?"),
        (["--html", "/dev/null/p.html"], "cannot write /dev/null/p.html"),
    ],
)
def test_bad_requests_are_one_clear_line(tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["render", str(RECORDED / "resnet56.h5"), *arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("lsweep: error: ") and message.count("\n") == 1
    assert complaint in message
    assert not list(tmp_path.iterdir())


def test_lines_and_planes_do_not_mix():
    with pytest.raises(InputError, match="lines and planes"):
        payload([pages.line(), pages.tilted()], Look())
    with pytest.raises(InputError, match="nothing to draw"):
        payload([], Look())


def test_a_trainings_path():
    surface = pages.tilted(trajectory=pages.descent())
    (sweep,) = payload([surface], Look())["sweeps"]
    (path,) = sweep["paths"]
    np.testing.assert_array_equal(doubles(path["x"]), pages.descent().coordinates[:, 0])
    np.testing.assert_array_equal(doubles(path["y"]), pages.descent().coordinates[:, 1])
    assert (path["name"], path["drops"]) == ("a.trail", [5])
    assert [axis["meaning"] for axis in sweep["axes"]] == [
        "1st PCA component, 75.00 % of the variance",
        "along d₂, 30.00 % of the movement",
    ]


def test_a_slice_of_a_box_and_a_row_of_a_thin_plane():
    box = pages.make((pages.X, pages.Y, np.arange(3.0)), {"loss": np.arange(3 * 9 * 13.0).reshape(3, 9, 13)})
    (sweep,) = payload([box], Look(index=2))["sweeps"]
    np.testing.assert_array_equal(doubles(sweep["values"]["loss"]), box.loss[2].ravel())
    assert sweep["notes"] == ["γ = 2"]
    thin = pages.make((pages.X, np.zeros(1)), {"loss": pages.tilted().loss[:1]})
    assert payload([thin], Look())["kind"] == "line"
