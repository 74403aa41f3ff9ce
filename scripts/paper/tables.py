"""Tables 1 and 2 of [Li18]: losses and errors of train and test, and the gap, of every training that was made.

python scripts/paper/tables.py [--size small|full]

Trains nothing: it reads the trails that the other scripts left in --work. Was it a poor minimum, or was none reached?
A high training loss says the latter.
"""

from __future__ import annotations

import tomllib

from study import Study, begin

from lsweep.models import trail


def rows(study: Study) -> dict[str, dict[str, float]]:
    """Of each complete training: the last epoch's numbers and the gap in error."""
    found = {}
    for folder in sorted(study.work.glob("*.trail")):
        if not trail.is_trail(folder):
            continue
        walked = trail.read(folder)
        values = dict(walked.epochs[-1].values)
        complete = walked.epochs[-1].number == tomllib.loads(walked.config)["train"]["epochs"]
        if complete and "accuracy_test" in values:
            found[folder.stem] = {**values, "gap": values["accuracy"] - values["accuracy_test"]}
    return found


def table(found: dict[str, dict[str, float]]) -> str:
    lines = [
        "| training | loss, train | loss, test | error, train | error, test | gap |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        losses = f"{row['loss']:.4f} | {row['loss_test']:.4f}"
        errors = f"{100 * (1 - row['accuracy']):.2f} % | {100 * (1 - row['accuracy_test']):.2f} %"
        lines.append(f"| {name} | {losses} | {errors} | {100 * row['gap']:.2f} % |")
    return "\n".join(lines)


def main() -> None:
    study = begin("tables", __doc__ or "")
    found = rows(study)
    (study.out / "table.md").write_text(table(found) + "\n")
    reached = sum(row["accuracy"] > 0.99 for row in found.values())
    study.write(
        drawn=f"{len(found)} trainings",
        found=[
            f"{reached} of {len(found)} trainings have more than 99 % of the training images right.",
            "[table](tables/table.md)",
        ],
        numbers=found,
        names=list(found),
    )


if __name__ == "__main__":
    main()
