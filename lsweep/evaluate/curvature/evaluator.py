"""Evaluator of the Hessian's smallest and largest eigenvalue at the points of a sweep ([Li18] §6).

|λmin/λmax| is small where the loss is nearly convex. A surface that looks convex may hide directions of strong negative
curvature: the curvature along a random direction d of unit norm is dᵀHd = Σ λᵢ(vᵢ·d)², an average of all eigenvalues
with random weights. Where a random plane curves downwards some eigenvalue is negative, but the converse does not hold.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

import numpy as np

from lsweep.evaluate.curvature.eigensolver import SolverSettings, extremes
from lsweep.evaluate.curvature.operator import Hessian, NotFinite, moved_by
from lsweep.evaluate.flat_parameters import FlatNetwork
from lsweep.evaluate.interface import Evaluation, Evaluator
from lsweep.surface import Column

COLUMNS: dict[str, Column] = {
    "curvature/eig_min": ("<f8", np.nan),
    "curvature/eig_max": ("<f8", np.nan),
    "curvature/residual_min": ("<f8", np.nan),
    "curvature/residual_max": ("<f8", np.nan),
    "curvature/products": ("<i4", 0),
}


class CurvatureEvaluator(Evaluator):
    """Adds to another evaluator the extreme eigenvalues of the Hessian of the first split's mean loss.

    The Hessian is over the parameters that any direction moves. Where the loss or a derivative is not finite, the
    eigenvalues are NaN, and the point counts as done. The start vector is the same at every point, so that the bits of
    a point depend neither on other points nor on the rank.

    Args:
        inner: the evaluator of loss and metrics.
        net: the network, with BatchNorm not folded; may be the one that `inner` uses.
        effort: settings of the eigensolver.
        batch_size: examples per pass.

    Attributes:
        names: those of `inner`.
        columns: those of `inner`, and `COLUMNS`: eigenvalues, residuals ‖Hv − λv‖, products with the Hessian.
        notes: those of `inner`, and the number of points at which the iteration did not converge.
    """

    def __init__(self, inner: Evaluator, net: FlatNetwork, effort: SolverSettings, batch_size: int) -> None:
        super().__init__()
        self._inner, self._net, self._effort = inner, net, effort
        self.names = inner.names
        self.columns: Mapping[str, Column] = {**inner.columns, **COLUMNS}
        self._hessian = Hessian(
            net, moved_by([net.space.views(d) for d in net.directions], net.space.entries), batch_size
        )

    @property
    def notes(self) -> Counter[str]:
        """See `Evaluator`."""
        return self._inner.notes + self._notes

    def evaluate(self, coordinates: np.ndarray) -> Evaluation:
        """Evaluate points given as (k, ndim) coordinates, x first; see `Evaluator`."""
        plain = self._inner.evaluate(coordinates)
        rows, seconds, sizes = [], [], []
        for point in coordinates:
            start = time.perf_counter()
            self._net.move(point)
            rows.append(self._at_this_point())
            seconds.append(time.perf_counter() - start)
            sizes.append(self._hessian.batch_size)
        columns = dict(plain.columns)
        for name, values in zip(COLUMNS, np.array(rows).reshape(-1, len(COLUMNS)).T, strict=True):
            columns[name] = values.astype(COLUMNS[name][0])
        if "batch_size" in columns:  # smaller than requested if either ran out of memory
            columns["batch_size"] = np.minimum(columns["batch_size"], np.array(sizes, dtype=np.int32))
        return Evaluation(plain.values, plain.seconds + np.array(seconds), columns)

    def _at_this_point(self) -> tuple[float, ...]:
        before = self._hessian.products
        try:
            found = extremes(self._hessian, self._effort)
        except NotFinite:
            self._notes["the loss has no finite Hessian: its eigenvalues are NaN"] += 1
            return (np.nan,) * 4 + (float(self._hessian.products - before),)
        if not found.converged:
            self._notes[
                "the Lanczos iteration did not converge within curvature.max_products: the eigenvalues are the best "
                "so far, see their residuals"
            ] += 1
        return (
            float(found.values[-1]),
            float(found.values[0]),
            float(found.residuals[-1]),
            float(found.residuals[0]),
            float(found.products),
        )
