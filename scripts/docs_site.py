"""MkDocs' hook: the site is laid out like the repository, so that relative links work in both.

Pages of docs/ stay at docs/…; every other file of the repository comes in at its own path if a page links to it:
the README and other Markdown as pages, pictures, configurations and modules as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

START = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:)[^)#\s]+")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Move the pages of docs/ to docs/…, and add what they link to."""
    root = Path(config.config_file_path).resolve().parent
    kept = [file for file in files if file.src_dir != config.docs_dir]
    own = [Path(config.docs_dir) / file.src_uri for file in files if file.src_dir == config.docs_dir]
    for path in _reachable(root, {*own, *(root / name for name in START)}):
        kept.append(File.generated(config, path.relative_to(root).as_posix(), abs_src_path=str(path)))
    return Files(kept)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let a link to a folder, which GitHub shows with its README, lead to that README's page."""
    here = Path(str(page.file.abs_src_path)).parent
    return _LINK.sub(lambda link: _to_page(here, link[0]), markdown)


def _to_page(here: Path, link: str) -> str:
    return f"{link.rstrip('/')}/README.md" if (here / link / "README.md").is_file() else link


def _reachable(root: Path, pages: set[Path]) -> Iterator[Path]:
    """The pages and all files of the repository that links lead to from them, each once."""
    waiting, seen = sorted(pages), set(pages)
    while waiting:
        path = waiting.pop(0)
        yield path
        if path.suffix != ".md":
            continue
        for link in _LINK.findall(path.read_text(encoding="utf-8")):
            target = (path.parent / _to_page(path.parent, link)).resolve()
            if target.is_file() and target.is_relative_to(root) and target not in seen:
                seen.add(target)
                waiting.append(target)
