"""What [Li18] shows, row by row: figure or table, script, and what the paper reports.

Numbering is that of arXiv:1712.09913v3 (7 November 2018), the camera-ready version for NeurIPS 2018.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One row of the gallery.

    Attributes:
        name: of the script and of the folder with its results.
        where: in the paper; "-" for what this project adds.
        what: is drawn there.
        reports: the paper's numbers and sentences, with their place.
    """

    name: str
    where: str
    what: str
    reports: tuple[str, ...]


ROWS = (
    Row(
        "fig1",
        "figure 1",
        "the surfaces of ResNet-56 with and without shortcuts",
        ("Chaotic without shortcuts, smooth with them; test errors 13.31 % and 5.89 % (figure 5).",),
    ),
    Row(
        "fig2",
        "figure 2",
        "VGG-9 between a small and a large batch's solution: lines, weights' norms and histograms",
        (
            "Test error without weight decay 7.37 % (batch 128) | 11.07 % (8192); with 5e-4 6.0 % | 10.19 %.",
            "Without decay the small batch's solution is the wide one, with it the large batch's is considerably "
            "flatter; the norms of the weights reverse as well (§5).",
        ),
    ),
    Row(
        "fig3",
        "figure 3",
        "the same four solutions along filter-normalised directions, lines and planes",
        (
            "The differences are much more subtle than without normalisation; large batches give visually sharper "
            "minima, not dramatically so, and a higher test error (§5).",
        ),
    ),
    Row(
        "fig4",
        "figure 4",
        "the surfaces of ResNet-110 without shortcuts and DenseNet-121",
        (
            "DenseNet-121 has no noticeable non-convexity, ResNet-110 without shortcuts is steep all around (§6).",
        ),
    ),
    Row(
        "fig5",
        "figure 5",
        "depth × shortcuts",
        (
            "Test error of ResNet-20, 56, 110: 7.37 %, 5.89 %, 5.79 %; without shortcuts 8.18 %, 13.31 %, 16.44 %.",
            "From nearly convex to chaotic with depth, without shortcuts only (§6).",
        ),
    ),
    Row(
        "fig6",
        "figure 6",
        "width × shortcuts",
        (
            "Test error for k = 1, 2, 4, 8: 5.89 %, 5.07 %, 4.34 %, 3.93 %; without shortcuts 13.31 %, 10.26 %, "
            "9.69 %, 8.70 %.",
        ),
    ),
    Row(
        "fig7",
        "figure 7",
        "|λmin/λmax| of the Hessian over the planes",
        (
            "Convex-looking regions have insignificant negative eigenvalues, chaotic ones large ones; for DenseNet "
            "they stay below 1 % of the positive ones over a large region (§6).",
        ),
    ),
    Row(
        "fig8",
        "figure 8",
        "planes that fail to show a training's path",
        (
            "Two random directions capture almost none of the motion; (initial to final, random) shows a line (§7).",
        ),
    ),
    Row(
        "fig9",
        "figure 9",
        "paths in the planes of their principal axes: SGD and Adam, batch size × weight decay",
        ("Between 40 % and 90 % of the variation lies in two dimensions (§7).",),
    ),
    Row(
        "tables",
        "tables 1 and 2 (appendix)",
        "losses and errors of all trainings",
        (
            "Those of figures 2, 5 and 6; ResNet-56 without shortcuts 13.31 % with a learning rate of 0.1 and 10.83 % "
            "with 0.01 (table 2).",
        ),
    ),
    Row(
        "appendix_normalisation",
        "appendix, comparison of normalisations and repeatability",
        "the four VGG-9 along unnormalised, layer- and filter-normalised directions, several seeds",
        (
            "Without normalisation flatness does not go with the test error; filter normalisation is more accurate "
            "than layer normalisation; ten filter-normalised lines are very close to each other.",
        ),
    ),
    Row(
        "appendix_resnet56_batch",
        "appendix, small and large batch for ResNet-56",
        "filter-normalised planes",
        ("Test error 5.89 % (batch 128) and 10.59 % (4096), weight decay 5e-4.",),
    ),
    Row(
        "initialisation",
        "§6, implications for initialisation",
        "a network with and without shortcuts from several starts",
        (
            "Normalised random initialisation has losses below 2.5; SGD could not train a network of 156 layers "
            "without shortcuts.",
        ),
    ),
    Row(
        "steps",
        "-",
        "the cosine of each epoch's step with -∇L, batch size × weight decay",
        (
            "In words only: paths first follow the gradient; with decay and small batches they later turn nearly "
            "parallel to the contours (§7).",
        ),
    ),
    Row(
        "between_solutions",
        "-",
        "BatchNorm's statistics on a line between two ResNet-20, three ways",
        ("The released code's example of such a line moves the statistics with the weights.",),
    ),
)
