"""The paper's equations, as statements that a machine checks on a real network."""

from gradflow.equations.checking import check
from gradflow.equations.gains import shortcut_gains
from gradflow.statements import EQUATIONS, Equation

__all__ = ["EQUATIONS", "Equation", "check", "shortcut_gains"]
