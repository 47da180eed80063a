"""The table of public architectures: what each one's units are by its own source, and how that is read.

Units are found in a small network of each architecture and counted in the one that people use, which is
built on the meta device. `docs/architectures.md` is this table.
"""

from architectures import (
    aggregating,
    decoders,
    encoder_decoders,
    encoders,
    hybrids,
    lookalikes,
    mixers,
    mobile,
    reparametrised,
    resnets,
    vision_transformers,
)
from architectures.row import Architecture

FAMILIES: dict[str, list[Architecture]] = {
    "ResNets": resnets.RESIDUAL,
    "Inverted and depthwise units": mobile.RESIDUAL,
    "Other convolutional networks": aggregating.RESIDUAL,
    "Re-parametrised after training": reparametrised.RESIDUAL,
    "Vision transformers": vision_transformers.RESIDUAL,
    "Convolutions with attention, attention with pooling": hybrids.RESIDUAL,
    "In the place of attention": mixers.RESIDUAL,
    "Encoders": encoders.RESIDUAL,
    "Decoders": decoders.RESIDUAL,
    "Encoders with decoders, speech, detection": encoder_decoders.RESIDUAL,
    "More than one stream": lookalikes.STREAMS,
    "Networks that only look residual": lookalikes.LOOKALIKES,
}
"""The table, in the order in which it is shown."""

ARCHITECTURES = [row for rows in FAMILIES.values() for row in rows]

WITH_UNITS = [row for row in ARCHITECTURES if row.units]
