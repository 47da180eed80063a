"""Names of networks and variants as people write them."""

from __future__ import annotations

_ACTIVATIONS = {
    "original": "original (post-activation)",
    "bn-after": "BN after addition",
    "relu-before": "ReLU before addition",
    "relu-only": "ReLU-only pre-activation",
    "full-preact": "full pre-activation",
}

FAMILIES = {"preact": "pre-activation", "resnet": "post-activation", "plain": "plain (no shortcut)"}
"""The zoo's families."""


def name_shortcut(spec: str) -> str:
    r"""Return a shortcut variant of the zoo in words; what is none, as it is.

    >>> name_shortcut("scale:0.5,0.5"), name_shortcut("gate:exclusive,-6"), name_shortcut("what:else")
    ('shortcut ×\xa00.5, branch ×\xa00.5', 'exclusive gate, b_g\xa0=\xa0−6', 'what:else')

    The bias of a gate is typeset where the page shows the name.
    """
    kind, _, rest = spec.partition(":")
    words = rest.split(",") if rest else []
    if kind == "scale" and words:
        return f"shortcut ×\u00a0{words[0]}" + (f", branch ×\u00a0{words[1]}" if len(words) > 1 else "")
    if kind == "gate" and len(words) == 2:
        named = {"exclusive": "exclusive", "shortcut": "shortcut-only"}.get(words[0], words[0])
        return f"{named} gate, b_g\u00a0=\u00a0{words[1].replace('-', '−')}"
    if kind == "dropout" and words:
        scaled = "unscaled, as the paper’s" if "unscaled" in words[1:] else "rescaled, as torch’s"
        return f"dropout {words[0]} ({scaled})"
    return {"identity": "identity", "none": "none (plain)", "conv": "1×1 convolution"}.get(spec, spec)


def name_case(case: str) -> str:
    """Return a case of the paper's tables in words: the network, and what stands in it."""
    network, _, variant = case.partition(" ")
    return f"{network}, {_ACTIVATIONS.get(variant, name_shortcut(variant))}" if variant else case
