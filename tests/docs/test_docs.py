"""The documentation: links that resolve in a checkout and in the site, a site without warnings, hooks that work."""

from __future__ import annotations

import inspect
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import launch
import pytest
from documents import PAGES, ROOT, blocks, links

import lsweep

DOCS = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve_in_a_checkout(page: Path) -> None:
    for target, _ in links(page):
        assert (page.parent / unquote(target)).exists(), f"{target} is not there"


def test_every_page_is_in_the_navigation_and_listed() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    listed = {target for target, _ in links(ROOT / "docs" / "README.md")}
    for page in DOCS:
        assert f" docs/{page.name}\n" in navigation
        assert page.name in listed | {"README.md"}


def test_every_result_is_named_on_a_page() -> None:
    """Each folder of results says what it holds: a README there or above it names every file, or its pattern."""
    listed = subprocess.run(
        ["git", "ls-files", "results"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for file in map(Path, listed.stdout.split()):
        pages = [ROOT / folder / "README.md" for folder in list(file.parents)[:-1]]
        text = "".join(page.read_text() for page in pages if page.exists())
        assert file.name in text or f"NAME{file.suffix}" in text, f"no page names {file}"


def test_every_mark_marks_a_block() -> None:
    for page in PAGES:
        marks = [
            line
            for line in page.read_text().splitlines()
            if line.startswith(("<!-- run", "<!-- file", "<!-- test"))
        ]
        assert len(marks) == len(blocks(page)), page


class Hooked:
    """Stands for a framework's class of callbacks."""


@pytest.mark.parametrize("name", ["hugging face", "lightning"])
def test_the_hooks_of_other_trainers(name: str) -> None:
    """With stand-ins for what they derive from and are called with: neither is a dependency."""
    (block,) = [b for b in blocks(ROOT / "docs" / "python.md") if b.mark == f"test: {name}"]
    frameworks = {
        "transformers": SimpleNamespace(TrainerCallback=Hooked),
        "lightning": SimpleNamespace(Callback=Hooked),
    }
    names: dict[str, Any] = dict(frameworks)
    exec(block.text, names)
    seen: list[tuple[int, str]] = []
    hook = names["LandscapeCallback"](lambda epoch, model: seen.append((epoch, model)))
    for first in (True, False):
        if name == "lightning":
            hook.on_train_epoch_end(SimpleNamespace(is_global_zero=first, current_epoch=4), "network")
        else:
            state = SimpleNamespace(is_world_process_zero=first, epoch=4.9999)
            hook.on_epoch_end(None, state, None, model="network", optimizer=None)
    assert isinstance(hook, Hooked) and seen == [(5, "network")]


@pytest.mark.slow  # its import
def test_the_hook_of_hugging_face_is_called_like_that() -> None:
    try:
        import transformers
    except ImportError:
        launch.absent("transformers is absent")
    import inspect

    given = inspect.signature(transformers.TrainerCallback.on_epoch_end).parameters
    assert list(given)[1:4] == ["args", "state", "control"]
    assert {"is_world_process_zero", "epoch"} <= set(vars(transformers.TrainerState()))


class Page(HTMLParser):
    """Collects what a page links to, what it loads, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attributes if value is not None}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in ("img", "script", "link", "iframe"):
            self.loads += [found[name] for name in ("src", "href") if name in found]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        import material  # noqa: F401
        import mkdocstrings  # noqa: F401
    except ImportError:
        launch.absent("the extra [docs] is absent")
    folder = tmp_path_factory.mktemp("site")
    run = launch.python(
        *("-m", "mkdocs", "build", "--strict", "--site-dir", folder),
        cwd=ROOT,
        timeout=300,
        env=launch.environment(NO_MKDOCS_2_WARNING="1"),
    )
    assert run.returncode == 0, run.stderr
    assert "WARNING" not in run.stderr and "ERROR" not in run.stderr
    return folder


def broken(folder: Path) -> Iterator[str]:
    pages = {path: Page(path) for path in folder.rglob("*.html")}
    for path, page in pages.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                yield f"{path.relative_to(folder)}: {link} is not there"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{path.relative_to(folder)}: {link} has no such anchor"


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "index.html").write_text(
        """<h1 id="here">x</h1> <a href="#here">1</a> <a href="#there">2</a> <a href="https://example.org/no">3</a>
        <img src="no.png"> <a href="folder/page.html#one">4</a> <a href="folder/page.html#two">5</a>
        <a href="folder/">6</a>"""
    )
    (tmp_path / "folder" / "page.html").write_text('<h2 id="one">y</h2> <a href="../index.html">7</a>')
    found = [line.split(": ")[1].split(" ")[0] for line in broken(tmp_path)]
    assert sorted(found) == ["#there", "folder/", "folder/page.html#two", "no.png"]


@pytest.mark.slow
def test_the_site_s_links_resolve(site: Path) -> None:
    assert sorted(path.stem for path in (site / "docs").glob("*.html")) == sorted(
        {"README": "index"}.get(page.stem, page.stem) for page in DOCS
    )
    assert list(broken(site)) == []


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        assert not [link for link in Page(path).loads if urlsplit(link).netloc], path


@pytest.mark.slow
def test_the_reference_has_the_docstrings(site: Path) -> None:
    text = (site / "docs" / "api.html").read_text()
    anchors = Page(site / "docs" / "api.html").anchors
    assert {"lsweep.api.sweep", "lsweep.landscape.Landscape", "lsweep.surface.Surface.plot"} <= anchors
    for documented in (lsweep.sweep, lsweep.Landscape, lsweep.Surface.plot):
        first, *_ = (inspect.getdoc(documented) or "").splitlines()
        assert first and first.split("`")[0] in text, documented
