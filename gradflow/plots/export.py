"""Figures as bytes: the same figure gives the same bytes."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

from gradflow.plots.style import figure_style

PNG_DPI = 160
INSIDE_DPI = 200
"""Of what is drawn as an image inside an SVG or a PDF: surfaces, and marks by the thousand."""


def figure_to_svg(figure: Figure) -> bytes:
    """Return `figure` as SVG, with text as text."""
    return _saved(figure, "svg", dpi=INSIDE_DPI, metadata={"Date": None, "Creator": "gradflow"})


def figure_to_png(figure: Figure) -> bytes:
    """Return `figure` as PNG."""
    return _saved(figure, "png", dpi=PNG_DPI, metadata={"Software": "gradflow"})


def figure_to_pdf(figure: Figure) -> bytes:
    """Return `figure` as PDF, with its fonts inside as journals want them."""
    metadata = {"CreationDate": None, "Creator": "gradflow", "Producer": None}
    return _saved(figure, "pdf", dpi=INSIDE_DPI, metadata=metadata)


def _saved(figure: Figure, kind: str, **options: object) -> bytes:
    sink = io.BytesIO()
    with figure_style():
        figure.savefig(sink, format=kind, **options)  # type: ignore[arg-type]
    return sink.getvalue()
