"""Surfaces for the tests of the interactive page."""

from __future__ import annotations

import numpy as np

from lsweep.surface import Status, Surface, Trajectory

CONFIG = '[model]\nsource = "resnet56"\n'
X, Y = np.linspace(-1.0, 1.0, 13), np.linspace(-0.5, 1.0, 9)  # non-square, so that a transposition shows


def make(axes, metrics, status=None, config: str = CONFIG, **more) -> Surface:
    """A surface of those metrics, NaN where the status is not done."""
    shape = next(iter(metrics.values())).shape
    status = np.ones(shape, np.uint8) if status is None else status
    known = {name: np.where(status == Status.DONE, values, np.nan) for name, values in metrics.items()}
    seconds, rank = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    return Surface(dict(zip("xyz", axes, strict=False)), known, status, seconds, rank, config, **more)


def tilted(factor: float = 1.0, n: int | None = None, **more) -> Surface:
    """A bowl off the centre, low enough in front that nothing hides anything at the first view."""
    x, y = (X, Y) if n is None else (np.linspace(-1, 1, n), np.linspace(-1, 1, n))
    loss = factor * (0.2 + 0.3 * (x[None, :] - 0.4) ** 2 + 0.2 * (y[:, None] + 0.1) ** 2 + 0.1 * y[:, None])
    return make((x, y), {"loss": loss, "accuracy": 1 / (1 + loss)}, **more)


def rich() -> Surface:
    """A plane with everything: standard errors, splits, curvature, NaN results, failed, settled and pending points."""
    plain = tilted()
    loss, status = plain.loss.copy(), np.ones(plain.shape, np.uint8)
    status[1::2, :] = status[:, 1::2] = Status.SETTLED
    status[0, 2], status[8, 12] = Status.FAILED, Status.PENDING
    loss[8, 0] = np.nan
    metrics = {
        "loss": loss,
        "accuracy": plain.accuracy,
        "loss_test": loss * 1.25,
        "accuracy_test": plain.accuracy * 0.875,
        "loss_stderr": loss / 64,
        "accuracy_stderr": plain.accuracy / 128,
        "loss_stderr_test": loss / 32,
        "eig_min": -loss,
        "eig_max": 4 * loss,
        "eig_ratio": np.full(plain.shape, 0.25),
    }
    return make((X, Y), metrics, status)


def line(factor: float = 1.0, **more) -> Surface:
    """A line between two minima with a barrier, train and test."""
    x = np.linspace(-0.5, 1.5, 21)
    loss = factor * (0.02 + x**2 * (1 - x) ** 2 + 0.05 * x)
    metrics = {
        "loss": loss,
        "accuracy": 1 / (1 + loss),
        "loss_test": 1.5 * loss,
        "accuracy_test": 1 / (1 + 2 * loss),
    }
    return make((x,), metrics, **more)


def descent(n: int = 11) -> Trajectory:
    """A straight path from (−0.8, 0.9) to (0.4, −0.3), whose learning rate drops after the sixth checkpoint."""
    along = np.linspace(0, 1, n)[:, None]
    rates = np.where(np.arange(n) < 6, 0.1, 0.01)
    return Trajectory(
        coordinates=np.array([[-0.8, 0.9]]) * (1 - along) + np.array([[0.4, -0.3]]) * along,
        epochs=np.arange(n, dtype=np.int32),
        learning_rates=rates,
        trails=np.zeros(n, np.int32),
        names=("a.trail",),
        captured=0.9,
        shares=np.array([0.6, 0.3]),
        explained=np.array([0.75, np.nan]),
    )
