"""`gradflow models`: the networks that `--model` can name."""

from __future__ import annotations

import dataclasses
import json

import click

from gradflow.cli.options import FORMATS
from gradflow.importing import import_dependency

OTHER_SOURCES = (
    "Any other legal depth works too: 6n+2 with basic units, 9n+2 with bottlenecks, to 1202; a suffix "
    "-basic, -bottleneck or -single says the unit outright. From elsewhere: torchvision:NAME, timm:NAME, "
    "package.module:callable."
)


@click.command("models")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="What to print.",
)
def command(form: str) -> None:
    """List the networks of the two papers that the zoo builds, with their number of parameters.

    Parameters are for 32 × 32 images and 10 classes, those of batch normalisation included.
    """
    import_dependency("torch")
    from gradflow.models import describe_model, model_names

    rows = [dataclasses.asdict(describe_model(name)) for name in model_names()]
    if form == "json":
        click.echo(json.dumps({"models": rows}, indent=1))
    elif form == "csv":
        click.echo(_csv(rows), nl=False)
    else:
        _print_table(rows)


def _csv(rows: list[dict[str, object]]) -> str:
    import pandas as pd

    return pd.DataFrame(rows).to_csv(index=False)


def _print_table(rows: list[dict[str, object]]) -> None:
    from rich.text import Text

    from gradflow.cli.tables import plain_table, print_blocks

    table = plain_table()
    for heading in ("name", "unit", "source"):
        table.add_column(heading)
    for heading in ("units", "parameters"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            *(str(row[key]) for key in ("name", "unit", "source", "units")), f"{row['parameters']:,}"
        )
    print_blocks(table, Text(f"\n{OTHER_SOURCES}"))
