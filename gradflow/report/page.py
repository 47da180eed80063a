"""The page: runs and figures into one HTML file that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from gradflow import __version__
from gradflow.comparison import compact
from gradflow.report.comparability import explain_bn, explain_notes, find_differences
from gradflow.report.exploration import embed_json, explore
from gradflow.report.figures import DrawnFigure
from gradflow.report.findings import compare_runs, describe_run
from gradflow.report.glossary import glossary_key, make_glossary, typeset
from gradflow.report.runs import Run, describe_model, describe_training
from gradflow.report.scripts import own_script, packed_library, security_policy
from gradflow.report.tables import (
    Table,
    check_table,
    comparison_table,
    other_tables,
    parameter_table,
    stage_table,
    unit_table,
)
from gradflow.report.training_table import training_table
from gradflow.wording import format_number


@dataclass(frozen=True)
class RunSection:
    """What the page shows of one run."""

    run: Run
    colour: str
    facts: Sequence[tuple[str, str]]
    bn: str
    notes: Sequence[str]
    sentences: Sequence[str]
    stages: Table
    checks: Table
    units: Table
    parameters: Table
    others: Sequence[tuple[str, Table]]


def render_page(
    runs: Sequence[Run],
    figures: Sequence[DrawnFigure],
    compared: Sequence[str] = (),
    problems: Sequence[str] = (),
) -> str:
    """Return the page's HTML; the same runs give the same page.

    Args:
        runs: what is shown.
        figures: drawn of them.
        compared: sentences about runs that were measured alike, and why others are not compared.
        problems: what was asked for and cannot be shown, in words.
    """
    sections = [_section(run, index) for index, run in enumerate(runs)]
    side_by_side = comparison_table(runs)
    tables = [*(one for section in sections for one in _tables(section)), ("Stages", side_by_side)]
    page: str = _template().render(
        title=f"Gradient flow: {', '.join(dict.fromkeys(describe_model(run.meta) for run in runs))}",
        version=__version__,
        sections=sections,
        glossary=make_glossary(tables),
        glossary_key=glossary_key,
        typeset=typeset,
        comparison=[*compare_runs(runs), *compared],
        side_by_side=side_by_side,
        differences=find_differences(runs),
        problems=problems,
        figures=[(figure, Markup(figure.inline)) for figure in figures],
        policy=security_policy(),
        exploration=embed_json(explore(runs)),
        library=packed_library(),
        script=own_script(),
    )
    return page


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("gradflow.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def _section(run: Run, index: int) -> RunSection:
    return RunSection(
        run=run,
        colour=f"var(--network-{index % 8})",
        facts=_facts(run),
        bn=explain_bn(run.meta),
        notes=explain_notes(run.meta),
        sentences=describe_run(run),
        stages=stage_table(run),
        checks=check_table(run),
        units=unit_table(run),
        parameters=parameter_table(run),
        others=[*_trained(run), *other_tables(run)],
    )


def _trained(run: Run) -> list[tuple[str, Table]]:
    table = training_table(run)
    return [("Training steps", table)] if len(table) else []


def _tables(section: RunSection) -> Iterator[tuple[str, Table]]:
    """Yield the section's tables, each with the title of its kind."""
    yield "Stages", section.stages
    yield "Equation checks", section.checks
    yield "Units", section.units
    yield "Parameters", section.parameters
    yield from section.others


def _facts(run: Run) -> list[tuple[str, str]]:
    meta = run.meta
    model, loss, data, checkpoint = meta["model"], meta["loss"], meta["data"], meta["checkpoint"]
    value = "not finite, or not kept" if loss.get("value") is None else format_number(loss["value"], 4)
    weights = describe_training(meta)
    if checkpoint is not None and checkpoint.get("name") is not None:
        weights += f"; {checkpoint.get('name')}, SHA-256 {str(checkpoint.get('sha256'))[:12]}…"
    facts = [
        ("Model", f"{describe_model(meta)}, {model['parameters']:,} parameters ({model['class']})"),
        ("Weights", weights),
        ("Data", _listed(f"{key} {compact(item)}" for key, item in data.items() if item is not None)),
        ("Batch", f"{meta['batch_size']} samples; {meta['batches']} a seed"),
        ("Loss", f"{loss['name']}: {value}"),
        ("Batch normalisation", meta["bn"]),
        ("Numbers", f"{meta['dtype']} on {meta['device']}, {meta['threads']} threads"),
        ("Seeds", _listed(map(str, meta["seeds"]))),
        ("Measured", f"{meta['created']} by gradflow {meta['gradflow_version']}"),
        ("Versions", _listed(f"{name} {version}" for name, version in meta["versions"].items())),
        ("Folder", run.folder),
    ]
    if meta["command"] is not None:
        facts.append(("Command", meta["command"]))
    return facts


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "not said"
