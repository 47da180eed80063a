"""What should be: the literature's predictions as pure functions, and verdicts on measurements. No torch."""

from gradflow.theory.comparing import compare, predicted_branch_share
from gradflow.theory.laws import Condition, Law, Setting
from gradflow.theory.preactivation import UNIT_KINDS, R, UnitKind, branch_share
from gradflow.theory.published import LAWS
from gradflow.theory.states import r_squared, slope, stage_states
from gradflow.theory.verdicts import (
    AGREES,
    CLOSE,
    DISAGREES,
    LEAST_SEEDS,
    NEAR,
    OUTSIDE,
    UNDECIDED,
    UNPREDICTED,
    judge,
)

__all__ = [
    "AGREES",
    "CLOSE",
    "DISAGREES",
    "LAWS",
    "LEAST_SEEDS",
    "NEAR",
    "OUTSIDE",
    "UNDECIDED",
    "UNIT_KINDS",
    "UNPREDICTED",
    "Condition",
    "Law",
    "R",
    "Setting",
    "UnitKind",
    "branch_share",
    "compare",
    "judge",
    "predicted_branch_share",
    "r_squared",
    "slope",
    "stage_states",
]
