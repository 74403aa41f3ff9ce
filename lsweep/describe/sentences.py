"""Sentences of the methods paragraph; each is empty if its facts are unknown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from lsweep.describe.direction_sentences import INDICES, centre
from lsweep.describe.facts import NUMBER, get
from lsweep.describe.style import Style, conjunction

LOSSES = {
    "cross_entropy": "cross entropy",
    "mse": "squared error",
    "mse_softmax": "squared error between softmax and one-hot target",
}
SHAPES = {1: "along the line", 2: "on the plane", 3: "in the box"}
COORDINATES = {"x": ("α", r"\alpha"), "y": ("β", r"\beta"), "z": ("γ", r"\gamma")}
PACKAGES = {
    "torch": "PyTorch",
    "torchvision": "torchvision",
    "numpy": "NumPy",
    "h5py": "h5py",
    "mpi4py": "mpi4py",
}

Facts = Mapping[str, Any]


def what(known: Facts, style: Style) -> str:
    """Which loss of which network was evaluated, where, and on which data."""
    loss = get(known, str, "evaluation", "loss")
    metrics = get(known, list, "evaluation", "metrics") or []
    subject = "the mean loss" + (f" ({LOSSES.get(loss) or style.code(loss)})" if loss else "")
    if "accuracy" in metrics:
        subject += " and the accuracy"
    axes = get(known, dict, "grid", "axes") or {}
    terms = [
        (f"{COORDINATES[a][0]}·d{'₁₂₃'[INDICES[a] - 1]}", f"{COORDINATES[a][1]} d_{INDICES[a]}") for a in axes
    ]
    formula = style.formula(
        "θ* + " + " + ".join(plain for plain, _ in terms),
        r"\theta^* + " + " + ".join(latex for _, latex in terms),
    )
    return (
        f"We evaluated {subject}{_network(known, style)} {SHAPES[len(axes)]} {formula} in weight space ({style.cite})"
        f"{_data(known, style)}."
    )


def _network(known: Facts, style: Style) -> str:
    source = get(known, str, "network", "source")
    parameters = get(known, int, "network", "parameters")
    weights = get(known, str, "network", "weights")
    digest = get(known, str, "network", "weights_sha256")
    notes = [f"{parameters:,} parameters"] if parameters else []
    notes += [f"file {style.code(PurePath(weights).name)}"] if weights else []
    notes += [f"SHA-256 {style.hash(digest)}"] if digest else []
    beside = f" ({', '.join(notes)})" if notes else ""
    name = style.code(source.rsplit("/", 1)[-1]) if source else "a network"
    return f" of {name} with weights {centre(style)}{beside}"


def _data(known: Facts, style: Style) -> str:
    data = get(known, dict, "data") or {}
    splits = [split for split in data.get("splits", []) if isinstance(split, str)]
    examples, limit = data.get("examples", {}), data.get("limit")
    parts = []
    for split in splits:
        count = get(examples, int, split)
        some = (
            f"{count:,} examples"
            if count
            else f"at most the first {limit:,} examples"
            if limit
            else "the examples"
        )
        digest = get(data, str, "sha256", split)
        parts.append(
            f"{some} of the {style.escape(split)} split{f' (SHA-256 {style.hash(digest)})' if digest else ''}"
        )
    source = get(data, str, "source")
    origin = f" of the data set {style.code(source)}" if source and source not in ("npz", "in memory") else ""
    path = get(data, str, "path")
    origin += f" from {style.code(PurePath(path).name)}" if path else ""
    return f", using {conjunction(parts)}{origin}" if parts else ""


def batchnorm(known: Facts, style: Style) -> str:
    """How the BatchNorm running statistics were set."""
    how = get(known, str, "evaluation", "batchnorm")
    moved = any(get(d, str, "space") == "states" for d in (get(known, dict, "directions") or {}).values())
    if how == "recalibrate":
        count = get(known, int, "evaluation", "recalibrate_examples")
        some = f"the first {count:,} training examples" if count else "training examples"
        return f"The BatchNorm running statistics were re-estimated at each point from {some}."
    if how == "fixed" and not moved:
        return f"The running statistics of any BatchNorm layers were held at their values at {centre(style)}."
    return ""


def grid(known: Facts, style: Style) -> str:
    """The grid, and how many of its points were evaluated, interpolated, failed or are pending."""
    table = known["grid"]
    axes = table["axes"]
    size = " × ".join(f"{axis['num']}" for axis in axes.values())
    span = " × ".join(f"[{axis['min']:g}, {axis['max']:g}]" for axis in axes.values())
    sizes, spans = (style.formula(t, t.replace("×", r"\times")) for t in (size, span))
    text = f"The grid has {sizes} points on {spans}"
    tolerance = get(table, NUMBER, "refine_tolerance")
    counts = [
        f"{_count(table['done'], 'was', 'were')} evaluated" if "done" in table else "none was evaluated"
    ]
    if "settled" in table:
        aim = f" to a relative error of about {tolerance:g}" if tolerance else ""
        counts.append(f"{_count(table['settled'], 'was', 'were')} interpolated{aim}")
    counts += [f"{table['failed']:,} failed"] if "failed" in table else []
    counts += [f"{_count(table['pending'], 'is', 'are')} pending"] if "pending" in table else []
    text += (
        ", all of which were evaluated"
        if table.get("done") == table["points"]
        else f", of which {conjunction(counts)}"
    )
    odd = get(table, int, "loss_not_finite")
    return f"{text}; the loss is not finite at {odd:,} of them." if odd else f"{text}."


def precision(known: Facts, style: Style) -> str:
    """The arithmetic precision and the bound on its error."""
    kind = get(known, str, "evaluation", "precision")
    if kind in ("fp32", "fp64"):
        word = "single" if kind == "fp32" else "double"
        return f"All computations used {word} precision ({kind})."
    tolerance = get(known, NUMBER, "evaluation", "precision_tolerance")
    if not kind or tolerance is None:
        return ""
    return (
        f"Each point was computed in {style.escape(kind)} and corrected by the difference from single precision on a "
        f"stratified sample; points with a remaining relative error above {tolerance:g} were computed in single "
        "precision."
    )


def subset(known: Facts, style: Style) -> str:
    """How many examples were used per point, and the standard error of the mean."""
    relative = get(known, NUMBER, "evaluation", "relative_error")
    confidence = get(known, NUMBER, "evaluation", "confidence")
    absolute = get(known, NUMBER, "evaluation", "absolute_error")
    text = ""
    if relative is not None and confidence is not None:
        bound = f"a relative error of {relative:g}" + (
            f" or an absolute error of {absolute:g}" if absolute else ""
        )
        text = (
            f"At each point, examples were added until the mean loss was known to within {bound} at a confidence level "
            f"of {confidence:g}"
        )
        taken = get(known, list, "estimates", "examples")
        text += f", which took between {taken[0]:,} and {taken[1]:,} examples." if taken else "."
    largest = get(known, NUMBER, "estimates", "loss_stderr_largest")
    if largest is not None:
        median = known["estimates"]["loss_stderr_median"]
        text += f" The relative standard error of the loss has a median of {median:.2g} and a maximum of {largest:.2g}."
    return text.strip()


def curvature(known: Facts, style: Style) -> str:
    """The eigenvalues of the Hessian."""
    table = get(known, dict, "evaluation", "curvature")
    if not table:
        return ""
    tolerance = get(table, NUMBER, "tolerance")
    aim = (
        f", to a residual of about {tolerance:g} times the magnitude of the largest one"
        if tolerance is not None
        else ""
    )
    return f"The extreme eigenvalues of the Hessian of the mean loss were computed at each point{aim}."


def trajectory(known: Facts, style: Style) -> str:
    """The training trajectory."""
    table = get(known, dict, "trajectory")
    if not table:
        return ""
    trails = f" from {table['trails']} training runs" if table["trails"] > 1 else ""
    text = f"{table['checkpoints']:,} checkpoints{trails} were projected onto these directions"
    captured = get(table, NUMBER, "captured")
    return (
        f"{text}, which capture {100 * captured:.3g}{style.escape(' %')} of their squared displacement."
        if captured is not None
        else f"{text}."
    )


def certificate(known: Facts, style: Style) -> str:
    """The certificate's own sentence, or the errors recorded in the file's certificate."""
    if words := get(known, str, "certificate", "words"):
        return style.escape(words)
    errors = get(known, dict, "certificate", "errors")
    if not errors:
        return ""
    precision = get(known, str, "certificate", "precision")
    said = [
        f"{s['points']} of {s['of']} {kind} points drawn at random (relative error of the loss: median "
        f"{_percent(s['median'])}, 95th percentile {_percent(s['95 %'])}, maximum {_percent(s['largest'])})"
        for kind, s in errors.items()
    ]
    return (
        f"As a check, the loss was recomputed over all examples in {precision} at "
        + style.escape(" and ").join(style.escape(words) for words in said)
        + "."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def computed(known: Facts, style: Style) -> str:
    """Software and hardware."""
    software, hardware = get(known, dict, "software") or {}, get(known, dict, "hardware") or {}
    version, commit = get(software, str, "lsweep"), get(software, str, "commit")
    packages = get(software, dict, "packages") or {}
    tools = [f"{word} {style.escape(packages[name])}" for name, word in PACKAGES.items() if name in packages]
    origin = get(software, str, "converted_from")
    if not version:
        return (
            f"The values were converted from a file in the format {style.escape(origin)}." if origin else ""
        )
    text = f"The values were computed with lsweep {style.escape(version)}"
    text += f" (commit {style.hash(commit)})" if commit else ""
    text += f", {conjunction(tools)}" if tools else ""
    device, processor = get(hardware, str, "device"), get(hardware, str, "processor")
    where = [style.escape(part) for part in (device, processor) if part]
    text += f", on {', '.join(where)}" if where else ""
    ranks, hosts = get(hardware, list, "ranks"), get(hardware, int, "hosts")
    if ranks:
        many = " or ".join(map(str, ranks))
        text += (
            f", using {many} MPI {'rank' if ranks == [1] else 'ranks'}"
            if ranks != [1]
            else ", in one process"
        )
        text += f" on {hosts} hosts" if hosts and hosts > 1 else ""
    return f"{text}."


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
