"""The equations of He et al. 2016 (arXiv:1603.05027) as objects: what each one says, and when.

Notation: unit l computes y_l = h(x_l) + F(x_l) and x_{l+1} = f(y_l); E is the loss. D_i is the
mask of unit i's ReLU, 1 where y_i > 0; h′_i the Jacobian of h at x_i.
"""

from __future__ import annotations

from dataclasses import dataclass

_PAPER = "He et al. 2016 (arXiv:1603.05027)"


@dataclass(frozen=True)
class Equation:
    """One equation in one form that a machine can check.

    Attributes:
        number: as the paper numbers it; 'plain' for the product that it sets beside eq. 4.
        form: which of the statements that go by this number.
        left: left side, in Unicode.
        right: right side.
        latex: the whole, to be typeset.
        holds_when: what a network must be like for it to hold exactly.
        meaning: what is compared with what, in words.
        source: where it is stated, or what follows from what.
    """

    number: str
    form: str
    left: str
    right: str
    latex: str
    holds_when: str
    meaning: str
    source: str = _PAPER

    @property
    def formula(self) -> str:
        """The statement as one line."""
        return f"{self.left} = {self.right}"


_IDENTITIES = "h and f are identities, on a span inside one stage"
_LINEAR = "f is the identity and h is linear with its gates, masks and statistics held"
_MASKS = "f is ReLU; h as in eq. 7"
_CHAIN = "nothing outside the units uses what is inside the span"

EQUATIONS = (
    Equation(
        "1",
        "forward",
        "y_l",
        "h(x_l) + F(x_l)",
        r"y_l = h(x_l) + F(x_l, W_l)",
        "always, in a unit with a shortcut",
        "what the addition made of its two operands",
    ),
    Equation(
        "2",
        "forward",
        "x_{l+1}",
        "f(y_l)",
        r"x_{l+1} = f(y_l)",
        "always",
        "what the next unit reads, and f evaluated again on what this unit added up",
    ),
    Equation(
        "3",
        "forward",
        "x_{l+1}",
        "x_l + F(x_l)",
        r"x_{l+1} = x_l + F(x_l, W_l)",
        "h and f are identities",
        "one unit's signal",
    ),
    Equation(
        "4",
        "forward",
        "x_L",
        "x_l + Σ_{i=l}^{L−1} F(x_i)",
        r"x_L = x_l + \sum_{i=l}^{L-1} F(x_i, W_i)",
        _IDENTITIES,
        "the signal of a span",
    ),
    Equation(
        "4",
        "masked",
        "x_L",
        "∏_{i=l}^{L−1} D_i x_l + Σ_{i=l}^{L−1} ∏_{j=i}^{L−1} D_j F(x_i)",
        r"x_L = \prod_{i=l}^{L-1} D_i\, x_l + \sum_{i=l}^{L-1} \prod_{j=i}^{L-1} D_j\, F(x_i, W_i)",
        "h is the identity and f is ReLU, on a span inside one stage",
        "the same with the ReLU masks in place, a unit's own included",
        "eq. 1 and 2 with f = ReLU, unrolled",
    ),
    Equation(
        "5",
        "telescoped",
        "∂E/∂x_l",
        "∂E/∂x_L + Σ_{i=l}^{L−1} (∂F_i/∂x_i)ᵀ ∂E/∂x_{i+1}",
        r"\frac{\partial E}{\partial x_l} = \frac{\partial E}{\partial x_L} + \sum_{i=l}^{L-1} "
        r"\left(\frac{\partial F_i}{\partial x_i}\right)^{\!\top} \frac{\partial E}{\partial x_{i+1}}",
        f"{_IDENTITIES}; {_CHAIN}",
        "the gradient of a span, by the branch parts that were measured",
        "eq. 3 differentiated and unrolled",
    ),
    Equation(
        "5",
        "vjp",
        "∂E/∂x_l",
        "∂E/∂x_L (1 + ∂/∂x_l Σ_{i=l}^{L−1} F(x_i))",
        r"\frac{\partial E}{\partial x_l} = \frac{\partial E}{\partial x_L} "
        r"\left(1 + \frac{\partial}{\partial x_l} \sum_{i=l}^{L-1} F(x_i, W_i)\right)",
        f"{_IDENTITIES}; {_CHAIN}",
        "the gradient of a span, by one vector-Jacobian product of ΣF",
    ),
    Equation(
        "5",
        "masked telescoped",
        "∂E/∂x_l",
        "∏_{i=l}^{L−1} D_i ∂E/∂x_L + Σ_{i=l}^{L−1} ∏_{j=l}^{i−1} D_j (∂F_i/∂x_i)ᵀ D_i ∂E/∂x_{i+1}",
        r"\frac{\partial E}{\partial x_l} = \prod_{i=l}^{L-1} D_i \frac{\partial E}{\partial x_L} "
        r"+ \sum_{i=l}^{L-1} \prod_{j=l}^{i-1} D_j "
        r"\left(\frac{\partial F_i}{\partial x_i}\right)^{\!\top} D_i \frac{\partial E}{\partial x_{i+1}}",
        f"h is the identity and f is ReLU, on a span inside one stage; {_CHAIN}",
        "the gradient of a span with the ReLU masks in place, by the measured branch parts",
        "eq. 1 and 2 with f = ReLU, differentiated and unrolled",
    ),
    Equation(
        "5",
        "masked vjp",
        "∂E/∂x_l",
        "∂E/∂x_L (∏_{i=l}^{L−1} D_i + ∂/∂x_l Σ_{i=l}^{L−1} ∏_{j=i}^{L−1} D_j F(x_i))",
        r"\frac{\partial E}{\partial x_l} = \frac{\partial E}{\partial x_L} \left(\prod_{i=l}^{L-1} D_i "
        r"+ \frac{\partial}{\partial x_l} \sum_{i=l}^{L-1} \prod_{j=i}^{L-1} D_j\, F(x_i, W_i)\right)",
        f"h is the identity and f is ReLU, on a span inside one stage; {_CHAIN}",
        "the gradient of a span with the ReLU masks in place, by one vector-Jacobian product",
        "the masked form of eq. 4, differentiated with the masks held",
    ),
    Equation(
        "6",
        "forward",
        "x_{l+1}",
        "λ_l x_l + F(x_l)",
        r"x_{l+1} = \lambda_l x_l + F(x_l, W_l)",
        _LINEAR,
        "one unit's signal; λ_l is a constant, a mask, 1 − g(x_l), or a 1×1 convolution",
    ),
    Equation(
        "7",
        "forward",
        "x_L",
        "∏_{i=l}^{L−1} λ_i x_l + Σ_{i=l}^{L−1} F̂(x_i),  F̂_i = ∏_{j=i+1}^{L−1} λ_j F_i",
        r"x_L = \prod_{i=l}^{L-1} \lambda_i\, x_l + \sum_{i=l}^{L-1} \hat F(x_i, W_i),\quad "
        r"\hat F_i = \prod_{j=i+1}^{L-1} \lambda_j\, F_i",
        f"{_LINEAR}, on a span inside one stage",
        "the signal of a span, carried by the shortcuts",
    ),
    Equation(
        "7",
        "masked",
        "x_L",
        "∏_{i=l}^{L−1} D_i λ_i x_l + Σ_{i=l}^{L−1} ∏_{j=i+1}^{L−1} (D_j λ_j) D_i F(x_i)",
        r"x_L = \prod_{i=l}^{L-1} D_i \lambda_i\, x_l + \sum_{i=l}^{L-1} "
        r"\prod_{j=i+1}^{L-1} (D_j \lambda_j)\, D_i F(x_i, W_i)",
        f"{_MASKS}, on a span inside one stage",
        "the same with the ReLU masks in place, a unit's own included",
        "eq. 1 and 2 with f = ReLU, unrolled",
    ),
    Equation(
        "8",
        "telescoped",
        "∂E/∂x_l",
        "∏_{i=l}^{L−1} h′_i ∂E/∂x_L + Σ_{i=l}^{L−1} ∏_{j=l}^{i−1} h′_j (∂F_i/∂x_i)ᵀ ∂E/∂x_{i+1}",
        r"\frac{\partial E}{\partial x_l} = \prod_{i=l}^{L-1} h'_i \frac{\partial E}{\partial x_L} "
        r"+ \sum_{i=l}^{L-1} \prod_{j=l}^{i-1} h'_j "
        r"\left(\frac{\partial F_i}{\partial x_i}\right)^{\!\top} \frac{\partial E}{\partial x_{i+1}}",
        f"f is the identity, on a span inside one stage; {_CHAIN}",
        "the gradient of a span, by the measured branch parts carried by the shortcuts; a gate's h′ has "
        "its g′(x)·x term",
        "eq. 6 differentiated and unrolled",
    ),
    Equation(
        "8",
        "vjp",
        "∂E/∂x_l",
        "∂E/∂x_L (∏_{i=l}^{L−1} h′_i + ∂/∂x_l Σ_{i=l}^{L−1} F̂(x_i))",
        r"\frac{\partial E}{\partial x_l} = \frac{\partial E}{\partial x_L} \left(\prod_{i=l}^{L-1} h'_i "
        r"+ \frac{\partial}{\partial x_l} \sum_{i=l}^{L-1} \hat F(x_i, W_i)\right)",
        f"f is the identity, on a span inside one stage; {_CHAIN}",
        "the gradient of a span, by one vector-Jacobian product of ΣF̂ with the factors of F̂ held",
    ),
    Equation(
        "8",
        "blocked",
        "∂E/∂x_l |_{∂F=0}",
        "∏_{i=l}^{L−1} h′_i ∂E/∂x_L",
        r"\left.\frac{\partial E}{\partial x_l}\right|_{\partial F = 0} "
        r"= \prod_{i=l}^{L-1} h'_i \frac{\partial E}{\partial x_L}",
        "f is the identity, on a span inside one stage",
        "what arrives when a backward pass of the network has its branches blocked, and the product",
        "the first term of eq. 8",
    ),
    Equation(
        "8",
        "masked telescoped",
        "∂E/∂x_l",
        "∏_{i=l}^{L−1} h′_i D_i ∂E/∂x_L + Σ_{i=l}^{L−1} ∏_{j=l}^{i−1} h′_j D_j (∂F_i/∂x_i)ᵀ D_i ∂E/∂x_{i+1}",
        r"\frac{\partial E}{\partial x_l} = \prod_{i=l}^{L-1} h'_i D_i \frac{\partial E}{\partial x_L} "
        r"+ \sum_{i=l}^{L-1} \prod_{j=l}^{i-1} h'_j D_j "
        r"\left(\frac{\partial F_i}{\partial x_i}\right)^{\!\top} D_i \frac{\partial E}{\partial x_{i+1}}",
        f"f is ReLU, on a span inside one stage; {_CHAIN}",
        "the same with the ReLU masks in place",
        "eq. 1 and 2 with f = ReLU, differentiated and unrolled",
    ),
    Equation(
        "8",
        "masked vjp",
        "∂E/∂x_l",
        "∂E/∂x_L (∏_{i=l}^{L−1} h′_i D_i + ∂/∂x_l Σ_{i=l}^{L−1} ∏_{j=i+1}^{L−1} (D_j h′_j) D_i F(x_i))",
        r"\frac{\partial E}{\partial x_l} = \frac{\partial E}{\partial x_L} "
        r"\left(\prod_{i=l}^{L-1} h'_i D_i + \frac{\partial}{\partial x_l} \sum_{i=l}^{L-1} "
        r"\prod_{j=i+1}^{L-1} (D_j h'_j)\, D_i F(x_i, W_i)\right)",
        f"f is ReLU, on a span inside one stage; {_CHAIN}",
        "the same with the ReLU masks in place, by one vector-Jacobian product",
        "the masked form of eq. 7, differentiated with its factors held",
    ),
    Equation(
        "8",
        "masked blocked",
        "∂E/∂x_l |_{∂F=0}",
        "∏_{i=l}^{L−1} h′_i D_i ∂E/∂x_L",
        r"\left.\frac{\partial E}{\partial x_l}\right|_{\partial F = 0} "
        r"= \prod_{i=l}^{L-1} h'_i D_i \frac{\partial E}{\partial x_L}",
        "f is ReLU, on a span inside one stage",
        "what arrives with the branches blocked, with the ReLU masks in place",
        "the first term of the masked form of eq. 8",
    ),
    Equation(
        "9",
        "outputs",
        "N_asymmetric(x)",
        "N_preactivation(x),  x_{l+1} = x_l + F(f̂(x_l))",
        r"x_{l+1} = x_l + F(\hat f(x_l), W_l)",
        "the network is a pre-activation network of the zoo",
        "the outputs of the asymmetric post-activation writing and of the network, on the same weights",
    ),
    Equation(
        "9",
        "gradients",
        "∂E/∂W of N_asymmetric",
        "∂E/∂W of N_preactivation",
        r"\frac{\partial E}{\partial W}\Big|_{\text{asymmetric}} = "
        r"\frac{\partial E}{\partial W}\Big|_{\text{pre-activation}}",
        "the network is a pre-activation network of the zoo",
        "the gradients of all weights and of the input, of the two writings",
        "eq. 9, differentiated",
    ),
    Equation(
        "plain",
        "product",
        "x_L",
        "∏_{i=l}^{L−1} W_i x_l",
        r"x_L = \prod_{i=l}^{L-1} W_i\, x_l",
        "the blocks have no shortcut and are linear: no BN, no ReLU",
        "the signal of a plain network, as a product of its weights",
        f"{_PAPER}, after eq. 4",
    ),
    Equation(
        "plain",
        "jacobians",
        "∂E/∂x_l",
        "∏_{i=l}^{L−1} (∂F_i/∂x_i)ᵀ ∂E/∂x_L",
        r"\frac{\partial E}{\partial x_l} = \prod_{i=l}^{L-1} "
        r"\left(\frac{\partial F_i}{\partial x_i}\right)^{\!\top} \frac{\partial E}{\partial x_L}",
        f"the blocks have no shortcut; {_CHAIN}",
        "the gradient of a plain network, as a product of its blocks' Jacobians, one block at a time",
        "what stands after eq. 4, differentiated, with BN and ReLU",
    ),
)

NUMBERS = tuple(dict.fromkeys(equation.number for equation in EQUATIONS))
"""The numbers that can be asked for."""
