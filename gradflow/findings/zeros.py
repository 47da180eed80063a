"""Parameters of zeros, told apart by whether a gradient gets past them."""

from __future__ import annotations

import pandas as pd


def zero_factors(parameters: pd.DataFrame) -> pd.DataFrame:
    """Return the parameters that are 0 and that a value is multiplied by: nothing goes back through them.

    Through a summand of 0, a bias that is not trained yet, everything does. Where a record does not tell how
    a parameter enters, its name does: a bias is called one.

    Args:
        parameters: rows of a record's `parameters`.
    """
    enters = parameters["enters"]
    called_bias = parameters["name"].str.contains("bias", case=False).fillna(value=False)
    factor = (enters == "multiplies").fillna(value=False) | (enters.isna() & ~called_bias)
    rows: pd.DataFrame = parameters[(parameters["norm"] == 0) & factor.astype(bool)]
    return rows
