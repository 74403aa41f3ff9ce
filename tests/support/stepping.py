"""The interposer (interposer.c) from Python: build it, tell it what to do, read what it saw."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
WRITES = ("write", "writev", "pwrite", "pwritev")


@dataclass(frozen=True)
class Step:
    """One call that changed something below the folder, or would have.

    Attributes:
        number: from 1, in this process; 0 for one that was only noted.
        rank: whose.
        call: "write", "fsync", "rename", …
        result: what it returned; -2 where the process was killed before, or in its midst.
        offset: of a write; the new size of a truncation; 1 for an open that truncates.
        size: of a write.
        path, second: the files; `second` is the new name.
        data: what was to be written.
    """

    number: int
    rank: int
    call: str
    result: int
    offset: int
    size: int
    path: str
    second: str
    data: bytes

    def __str__(self) -> str:
        return f"{self.call} {Path(self.path).name}" + (f" at {self.offset}" if self.size else "")


def build(folder: Path) -> Path:
    """Compile the interposer into `folder`."""
    library = folder / "interposer.so"
    flags = ["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O1"]
    subprocess.run(["cc", *flags, "-o", str(library), str(HERE / "interposer.c"), "-ldl"], check=True)
    return library


def variables(library: Path, folder: Path, **options: object) -> dict[str, str]:
    """The environment that makes a process take its steps below `folder`; options as STEP_… in interposer.c."""
    chosen = {f"STEP_{name.upper()}": str(value) for name, value in options.items() if value is not None}
    return {"LD_PRELOAD": str(library), "STEP_FOLDER": str(folder.resolve()), **chosen}


def wrapper(settings: Mapping[str, str]) -> list[str]:
    """The words before a command under mpiexec: the ranks alone are disturbed, not their launcher."""
    return ["env", *(f"{name}={value}" for name, value in settings.items())] if settings else []


def read_log(prefix: Path, rank: int = 0) -> list[Step]:
    """What one rank did, in order."""
    path = prefix.with_name(f"{prefix.name}.{rank}")
    lines = path.read_text().splitlines() if path.exists() else []
    return [_step(line.split("\t")) for line in lines]


def _step(words: list[str]) -> Step:
    number, rank, call, result, offset, size, path, second, data = words
    step = Step(
        int(number), int(rank), call, int(result), int(offset), int(size), path, second, bytes.fromhex(data)
    )
    assert len(step.data) == step.size
    return step


def replay(steps: Iterable[Step]) -> dict[str, bytes]:
    """The files that these steps alone would have made: path → content."""
    files: dict[str, bytearray] = {}
    for step in steps:
        if step.result >= 0:
            apply(files, step)
    return {path: bytes(content) for path, content in files.items()}


def apply(files: dict[str, bytearray], step: Step) -> None:
    """One step that succeeded."""
    if step.call == "open":
        if step.offset or step.path not in files:
            files[step.path] = bytearray()
    elif step.call in WRITES:
        patch(files[step.path], step.offset, step.data[: step.result])
    elif step.call == "ftruncate":
        content = files[step.path]
        content[:] = bytes(content[: step.offset]).ljust(step.offset, b"\0")
    elif step.call == "rename":
        files[step.second] = files.pop(step.path)
    elif step.call == "link":
        files[step.second] = files[step.path]
    elif step.call == "unlink":
        del files[step.path]
    else:
        assert step.call in ("fsync", "fdatasync", "chmod"), f"{step.call} changes files in ways unknown here"


def patch(content: bytearray, offset: int, data: bytes) -> None:
    """Write into a file's content, beyond its end too."""
    content.extend(bytes(max(0, offset + len(data) - len(content))))
    content[offset : offset + len(data)] = data
