"""What this analysis holds measurements against: the literature's predictions, and its own refinements."""

from __future__ import annotations

from gradflow.theory import LAWS as PUBLISHED
from gradflow.theory import Law
from gradflow.theory.published import FROZEN

_HERE = "this analysis"

LAWS = {
    "energy_growth": PUBLISHED["energy_growth"],
    "energy_growth_padded": Law(
        "growth of E[y²] a unit, zero padding counted",
        "a p, p = ((3H − 2) / 3H)² being the share of a 3×3 convolution's taps inside H × H pixels",
        _HERE,
    ),
    "variance_growth": PUBLISHED["variance_growth"],
    "variance_growth_padded": Law(
        "growth of v a unit, zero padding counted",
        "a p (1 − p / π), p of the last convolution",
        _HERE,
    ),
    "exponent": PUBLISHED["exponent"],
    "exponent_by_units": Law(
        "the same exponent, without going to the continuum",
        "fitted to Π (1 + a r^(K−1) / v_l) with the measured v_l (harmonic mean over channels)",
        _HERE,
        conditions=(FROZEN,),
    ),
    "exponent_padded": Law(
        "the same exponent, unit by unit, zero padding counted",
        "as before, with a p for a and 1 / (1 − p / π) for r, by convolution",
        _HERE,
        conditions=(FROZEN,),
    ),
    "polynomial": PUBLISHED["polynomial"],
    "earlier_larger": PUBLISHED["earlier_larger"],
    "branch_share": PUBLISHED["branch_share"],
    "gain_nears_one": PUBLISHED["gain_nears_one"],
    "identity_gain": PUBLISHED["identity_gain"],
    "transition_gain": Law(
        "median ‖g_l‖ / ‖g_{l+1}‖ of transition units",
        "the exception: not near 1",
        PUBLISHED["identity_gain"].source,
    ),
    "plain_growth": PUBLISHED["plain_growth"],
    "plain_growth_padded": Law(
        "the same growth, zero padding counted",
        "the product over the K convolutions of (1 − p / π)^(−1/2)",
        _HERE,
        conditions=PUBLISHED["plain_growth"].conditions,
    ),
    "plain_exponential": PUBLISHED["plain_exponential"],
    "not_all_cancel": PUBLISHED["not_all_cancel"],
    "least_cancellation": Law("least ρ of any sample in any unit", "", ""),
}
