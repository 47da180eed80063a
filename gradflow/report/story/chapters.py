"""The story's chapters, in the paper's order, and the analyses that they are told from."""

from __future__ import annotations

from gradflow.report.story.measured import (
    cancelling,
    costs,
    deep,
    lesioned,
    powers,
    ratios,
    spectra,
    tables,
    trained,
    verdicts,
)
from gradflow.report.story.parts import Chapter
from gradflow.report.story.sources import Source

_IMAGES = "--data folder:IMAGES"

SOURCES = (
    Source(
        "table2_at_initialisation",
        "The activations of Table 2, untrained",
        f"python analyses/tables_at_initialisation.py --table 2 {_IMAGES}",
    ),
    Source("minus_one", "The −1 argument, sample by sample", f"python analyses/minus_one.py {_IMAGES}"),
    Source("shortcut_powers", "λ^k, predicted and measured", f"python analyses/shortcut_powers.py {_IMAGES}"),
    Source(
        "table1_at_initialisation",
        "The shortcuts of Table 1, untrained",
        f"python analyses/tables_at_initialisation.py --table 1 {_IMAGES}",
    ),
    Source(
        "initial_gradients",
        "Gradient norm by depth, from 20 to 1001 layers",
        f"python analyses/initial_gradients.py {_IMAGES}",
    ),
    Source("training_runs", "Short training runs", f"python analyses/training_runs.py {_IMAGES}"),
    Source(
        "ratios_in_training",
        "Gradient ratios in training, over seeds",
        f"python analyses/ratios_in_training.py {_IMAGES}",
    ),
    Source("paths_and_lesions", "Paths and lesions", f"python analyses/paths_and_lesions.py {_IMAGES}"),
    Source(
        "jacobian_spectra", "Singular values of Jacobians", f"python analyses/jacobian_spectra.py {_IMAGES}"
    ),
    Source(
        "theory_elsewhere",
        "Theory of other networks",
        f"python analyses/theory_elsewhere.py {_IMAGES}",
    ),
    *(
        Source(f"{what}_benchmark", title, f"python analyses/{what}_benchmark.py", inside="numbers.json")
        for what, title in (
            ("probe", "What a probe costs"),
            ("check", "What checking the equations costs"),
            ("training", "What a training step costs"),
            ("jacobian", "What singular values cost in memory"),
        )
    ),
)
"""Every analysis that the story knows."""

CHAPTERS = (
    Chapter("sum", "A unit, and the sum", "sum.html.j2", (tables.EQUATIONS,)),
    Chapter("minus-one", "Can the branch cancel the shortcut?", "minus_one.html.j2", (cancelling.PART,)),
    Chapter(
        "shortcuts", "Shortcuts that are not identities", "shortcuts.html.j2", (powers.PART, tables.TABLE_1)
    ),
    Chapter("activations", "What comes after the addition", "activations.html.j2", (tables.TABLE_2,)),
    Chapter("depth", "A thousand layers", "depth.html.j2", (deep.PART,)),
    Chapter(
        "training",
        "After some training",
        "training.html.j2",
        (trained.PART, ratios.PART, lesioned.PART),
    ),
    Chapter(
        "theory",
        "Theory beside measurement",
        "theory.html.j2",
        (verdicts.INITIAL, spectra.PART, verdicts.ELSEWHERE),
    ),
    Chapter("cost", "What it costs to look", "cost.html.j2", costs.PARTS),
)
"""The story."""
