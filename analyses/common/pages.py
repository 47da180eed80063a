"""Pages in Markdown, from templates that stand beside the module that fills them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from common.tables import with_interval
from gradflow.plots import format_number


def render(template: Path, **values: Any) -> str:
    """Return the page that `template` makes of `values`.

    Templates have `number` and `interval` as filters: `x | number`, `row | interval("column")`.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters.update(number=lambda value, digits=3: format_number(float(value), digits))
    environment.filters.update(interval=with_interval)
    return environment.get_template(template.name).render(**values)
