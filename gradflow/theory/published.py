"""The literature's predictions, each with its source and the conditions under which it is made."""

from __future__ import annotations

from gradflow.theory.laws import Condition, Law

COUPLED = "the prediction takes BN's statistics for constants"
"""Said where BN couples the samples of the batch."""

FROZEN = Condition("bn", ("frozen",), COUPLED)
_UNPADDED = Condition("padded_channels", (False,), "zero-padded channels, which the prediction sets apart")
_TRAINED = Condition("trained", (True,), "the prediction is about training")
_UNTRAINED = Condition("trained", (False,), "the prediction is about networks at initialisation")
_PREACT = Condition("architecture", ("preact",), "the prediction is about pre-activation networks with BN")
_PLAIN = Condition("architecture", ("plain",), "the prediction is about plain networks with BN")
_IDENTITY = Condition("shortcut", ("identity",), "the prediction is about identity shortcuts")
_AT_START = (_PREACT, _IDENTITY, _UNTRAINED)
_NO_BN = Condition("normalised", (False,), "the prediction is about networks without normalisation")
_UNCORRELATED = Condition(
    "co_active", (True,), "the inputs are not uncorrelated: pairs share more than a quarter of the rectifiers"
)

_GATES_CLOSED = Condition(
    "gate_weights", ("near zero",), "the gates' weights are not near 0: they start as He's rule draws them"
)

_SHORTCUTS = "He et al. 2016, eq. 7 and 8"
_PREACTIVATION = "pre-activation BN nets, infinite width"
_BALDUZZI = "Balduzzi et al. 2017 (arXiv:1702.08591)"
_XIONG = "Xiong et al. 2020 (arXiv:2002.04745)"

LAWS: dict[str, Law] = {
    "energy_growth": Law(
        "growth of E[y²] a unit",
        "a unit adds a = fan-in / fan-out of its last convolution: 1 (basic), ¼ (bottleneck)",
        _PREACTIVATION,
        conditions=_AT_START,
    ),
    "variance_growth": Law(
        "growth of the channel variance v a unit",
        "a / r, with r = π / (π − 1) = 1.467",
        _PREACTIVATION,
        conditions=_AT_START,
    ),
    "exponent": Law(
        "exponent of ‖g_l‖² against 1 / v_l",
        "r^K for K convolutions a unit: 2.15 (basic), 3.16 (bottleneck)",
        _PREACTIVATION,
        conditions=(FROZEN, _UNPADDED, *_AT_START),
    ),
    "exponent_by_energy": Law(
        "exponent of ‖g_l‖² against 1 / E[y_l²]",
        "r^K for K convolutions a unit, since v_l = E[y_l²] / r: 2.15 (basic), 3.16 (bottleneck)",
        _PREACTIVATION,
        conditions=(FROZEN, _UNPADDED, *_AT_START),
    ),
    "polynomial": Law(
        "R² of the power law in v_l less R² of an exponential in l",
        "above 0: within a stage gradients grow polynomially, not exponentially",
        _PREACTIVATION,
        ">",
        _AT_START,
    ),
    "earlier_larger": Law(
        "decades from ‖g‖ at a stage's end to ‖g‖ at its first state",
        "above 0: earlier units have the larger gradients",
        _PREACTIVATION,
        ">",
        _AT_START,
    ),
    "branch_share": Law(
        "branch share Var(F) / Var(y) over a / (v_0 + a l)",
        "1, with v_0 from the initialisation alone",
        "De & Smith 2020 (arXiv:2002.10444)",
        conditions=_AT_START,
    ),
    "gain_nears_one": Law(
        "slope of ln |‖g_l‖ / ‖g_{l+1}‖ − 1| against ln depth",
        "below 0: the ratio tends to 1 as units are added",
        "Zaeemzadeh et al. 2020 (arXiv:1805.07477)",
        "<",
        (_TRAINED, _IDENTITY),
    ),
    "identity_gain": Law(
        "median ‖g_l‖ / ‖g_{l+1}‖ of identity units",
        "near 1, nearer with depth",
        "Zaeemzadeh et al. 2020 (arXiv:1805.07477)",
        conditions=(_TRAINED, _IDENTITY),
    ),
    "plain_growth": Law(
        "growth of ‖g‖ a unit in plain networks",
        "r^(K/2): 1.467 (basic), 1.777 (bottleneck)",
        "the same argument without a shortcut (cf. Yang et al. 2019, arXiv:1902.08129)",
        conditions=(FROZEN, _PLAIN, _UNTRAINED),
    ),
    "plain_exponential": Law(
        "R² of an exponential in l less R² of a power law",
        "above 0: plain networks' gradients grow exponentially",
        "theory of plain networks",
        ">",
        (_PLAIN, _UNTRAINED),
    ),
    "not_all_cancel": Law(
        "least over units of the largest ρ of a batch",
        "above −1: in no unit does the branch cancel the shortcut for all samples",
        "He et al. 2016, after eq. 5",
        ">",
    ),
    "scale_rate": Law(
        "slope of ln(gain of the shortcuts alone) against k units, constant scale",
        "ln λ: the gain is λ^k",
        _SHORTCUTS,
    ),
    "gate_rate": Law(
        "slope of ln(gain of the shortcuts alone) against k units, gates",
        "ln(1 − σ(b_g)), as if g(x) were σ(b_g) everywhere",
        _SHORTCUTS,
        conditions=(_GATES_CLOSED,),
    ),
    "dropout_rate": Law(
        "slope of ln(gain of the shortcuts alone) against k units, dropout ½",
        "−½ ln 2 unscaled, ½ ln 2 rescaled, in the root mean square",
        _SHORTCUTS,
    ),
    "convolution_rate": Law(
        "slope of ln(gain of the shortcuts alone) against k units, 1×1 convolutions",
        "nothing is predicted",
        _SHORTCUTS,
    ),
    "whole_rate": Law(
        "slope of ln(gain of the whole gradient) against k units",
        "what the branches add is not predicted",
        "He et al. 2016, eq. 8",
    ),
    "correlation_plain": Law(
        "slope of log₂ of the gradients' correlation against L, plain networks",
        "−1: the correlation between two inputs is 2^−L",
        _BALDUZZI,
        conditions=(_UNTRAINED, _UNCORRELATED),
    ),
    "correlation_residual": Law(
        "slope of log₂ of the gradients' correlation against L, residual networks without BN",
        "log₂ ¾ = −0.415: the correlation is (3/4)^L",
        _BALDUZZI,
        conditions=(_UNTRAINED, _NO_BN, _UNCORRELATED),
    ),
    "correlation_slope": Law(
        "slope of ln of the gradients' correlation against ln L, residual networks with BN",
        "−½: the correlation is about 1 / (β √L)",
        _BALDUZZI,
        conditions=(_UNTRAINED, _UNCORRELATED),
    ),
    "correlation_size": Law(
        "the gradients' correlation in the deepest residual network with BN, times β √L",
        "1: the correlation is about 1 / (β √L)",
        _BALDUZZI,
        conditions=(_UNTRAINED, _UNCORRELATED),
    ),
    "signal_doubles": Law(
        "growth of log₂ E[x²] a unit, without normalisation",
        "1: Var(x_l) = 2^l",
        "De & Smith 2020 (arXiv:2002.10444)",
        conditions=(_UNTRAINED, _NO_BN),
    ),
    "gradient_exponential": Law(
        "growth of log₂ ‖g‖² a unit towards the input, without normalisation",
        "1: activation gradients grow exponentially, twofold a unit",
        "Yang & Schoenholz 2017 (arXiv:1712.08969)",
        conditions=(_UNTRAINED, _NO_BN),
    ),
    "parameter_gradient_flat": Law(
        "growth of log₂ ‖∂E/∂W‖² a unit towards the input, without normalisation",
        "0: the parameters' gradients are O(1) along depth",
        "Yang & Schoenholz 2017 (arXiv:1712.08969)",
        conditions=(_UNTRAINED, _NO_BN),
    ),
    "bounded_length": Law(
        "E[x_L²] / E[x_0²] over Π (1 + η_l²), branches scaled by η_l = 0.9^l",
        "1, and so bounded: Σ η_l is finite",
        "Hanin & Rolnick 2018 (arXiv:1803.01719)",
        conditions=(_UNTRAINED, _NO_BN),
    ),
    "post_norm_slope": Law(
        "slope of ln ‖∂E/∂W₂ of the last layer‖ against ln L, post-LN",
        "0: it does not depend on the depth",
        _XIONG,
        conditions=(_UNTRAINED,),
    ),
    "pre_norm_slope": Law(
        "slope of ln ‖∂E/∂W₂ of the last layer‖ against ln L, pre-LN",
        "−½: it falls as 1 / √L",
        _XIONG,
        conditions=(_UNTRAINED,),
    ),
    "post_norm_decay": Law(
        "ln of ‖∂E/∂W₂‖ a layer towards the input, post-LN",
        "½ ln ⅔ = −0.203: it falls as (2/3)^((L−l)/2)",
        _XIONG,
        conditions=(_UNTRAINED,),
    ),
}
"""Every prediction that gradflow holds measurements against, by name."""
