"""Provenance of a result: versions, commit, machine, command."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lsweep._version import __version__

_PACKAGES = ("torch", "torchvision", "numpy", "scipy", "h5py", "mpi4py")


def collect() -> dict[str, Any]:
    """Describe this process in JSON types, without importing large packages."""
    return {
        "lsweep": __version__,
        "commit": commit(Path(__file__).resolve().parent),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def commit(folder: Path) -> str:
    """The commit checked out in `folder`, with "-dirty" appended if files have changed; "" outside a repository.

    The repository must track this package: an installed copy may lie inside an unrelated repository.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        # Only tracked files count as changes, except results: this run may be writing them.
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)results")
        dirty = "-dirty" if changed else ""
        return git("rev-parse", "HEAD") + dirty
    except (OSError, subprocess.SubprocessError):
        return ""


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
