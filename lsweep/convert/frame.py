"""Surfaces as pandas data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lsweep.convert.columns import flat_columns, missing
from lsweep.surface import Status, Surface

if TYPE_CHECKING:
    import pandas


def to_frame(surface: Surface) -> pandas.DataFrame:
    """A surface as a `pandas.DataFrame` in long form: one row per point, x fastest; see `flat_columns`.

    `status` is categorical. Raises MissingExtra if pandas is not installed.
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise missing("a data frame", "pandas", error) from None
    table: dict[str, Any] = flat_columns(surface)
    words = [status.name.lower() for status in Status]
    table["status"] = pandas.Categorical.from_codes(surface.status.reshape(-1).astype(np.int8), words)
    return pandas.DataFrame(table)
