"""The equations as objects: each has its formula, source and conditions."""

from __future__ import annotations

import pytest

from gradflow.equations import EQUATIONS
from gradflow.statements import NUMBERS, Equation


def test_numbers() -> None:
    """Equations 1 to 9 and the plain network's product are what `--equations` takes."""
    assert NUMBERS == ("1", "2", "3", "4", "5", "6", "7", "8", "9", "plain")


def test_each_form_is_there_once() -> None:
    """A row of the `checks` table finds its statement by number and form."""
    keys = [(equation.number, equation.form) for equation in EQUATIONS]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("equation", EQUATIONS, ids=lambda equation: f"{equation.number} {equation.form}")
def test_equations_say_what_they_are(equation: Equation) -> None:
    """Both sides, a form to typeset, conditions, meaning and source are there."""
    assert equation.formula == f"{equation.left} = {equation.right}"
    assert equation.holds_when
    assert equation.meaning
    assert "He et al. 2016" in equation.source or "eq." in equation.source


@pytest.mark.parametrize("equation", EQUATIONS, ids=lambda equation: f"{equation.number} {equation.form}")
def test_formulas_can_be_typeset(equation: Equation) -> None:
    """Brackets of the form to typeset are balanced, and every left one that grows has its right one."""
    assert equation.latex.count("{") == equation.latex.count("}")
    assert equation.latex.count(r"\left") == equation.latex.count(r"\right")
