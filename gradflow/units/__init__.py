"""Residual units in any `nn.Module`: where they are, and what they consist of."""

from gradflow.units.calling import Inputs
from gradflow.units.explaining import Explanation
from gradflow.units.finding import FoundUnits, ResidualUnit, UnitSelection, find_units
from gradflow.units.tracing import PassedOver

__all__ = ["Explanation", "FoundUnits", "Inputs", "PassedOver", "ResidualUnit", "UnitSelection", "find_units"]
