"""Zoo names: which depths there are, which unit a depth stands for, and how names fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradflow.errors import UnknownModelError
from gradflow.models.specification import LAYERS, MAX_DEPTH, default_unit, make_spec, parse_name


@pytest.mark.parametrize(
    ("name", "unit", "units_per_stage"),
    [
        ("preact20", "basic", 3),
        ("resnet32", "basic", 5),
        ("plain44", "basic", 7),
        ("resnet56", "basic", 9),
        ("preact110", "basic", 18),
        ("resnet1202", "basic", 200),
        ("preact164", "bottleneck", 18),
        ("preact1001", "bottleneck", 111),
        ("preact20-bottleneck", "bottleneck", 2),
        ("resnet164-basic", "basic", 27),
        ("resnet110-single", "single", 36),
    ],
)
def test_names_mean_the_papers_networks(name: str, unit: str, units_per_stage: int) -> None:
    """Names stand for the units and depths that the papers give them."""
    spec = make_spec(name)
    assert (spec.unit, spec.units_per_stage, spec.name) == (unit, units_per_stage, name)


@given(st.sampled_from(["preact", "resnet", "plain"]), st.sampled_from(sorted(LAYERS)), st.integers(1, 400))
def test_every_legal_depth_is_a_name_that_reads_back(family: str, unit: str, n: int) -> None:
    """N = 3kn + 2 up to 1202 is legal with its suffix, and the shortest name means the same."""
    depth = 3 * LAYERS[unit] * n + 2
    name = f"{family}{depth}-{unit}"
    if depth > MAX_DEPTH:
        with pytest.raises(UnknownModelError, match="up to 1202"):
            parse_name(name)
    else:
        assert parse_name(name) == (family, depth, unit)
        assert parse_name(make_spec(name).name) == (family, depth, unit)


@given(st.integers(0, 5000).filter(lambda depth: default_unit(depth) is None))
def test_an_illegal_depth_names_the_nearest_legal_ones(depth: int) -> None:
    """The names in the message are legal, and none is nearer on their side."""
    with pytest.raises(UnknownModelError, match="nearest preact") as caught:
        parse_name(f"preact{depth}")
    nearest = [
        parse_name(word)[1] for word in str(caught.value).split("nearest ")[1].split() if "preact" in word
    ]
    between = range(min(nearest[0], depth), max(nearest[-1], depth) + 1)
    legal_between = [N for N in between if N not in nearest and default_unit(N)]
    assert legal_between == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("preact165", r"^preact165: no network has depth 165; legal are 6n\+2 \(basic\) or 9n\+2 \(bottle"),
        ("preact165", r"\(bottleneck\) up to 1202, nearest preact164 and preact170$"),
        ("preact20-single-x", r"unknown model"),
        ("resnet30-bottleneck", r"legal are 9n\+2 \(bottleneck\) up to 1202, nearest resnet29-bottleneck"),
        ("resnet20-wide", r"its unit 'wide' is none of single, basic, bottleneck"),
        ("preat164", r"did you mean 'preact164'\?"),
        ("ResNet-56", r"did you mean 'resnet56'\?"),
        ("vgg", r"^unknown model 'vgg'; expected preact\{N\}, resnet\{N\} or plain\{N\}, torchvision:NAME"),
        ("", r"unknown model ''"),
        ("preact", r"did you mean 'preact164'\?"),
    ],
)  # fmt: skip
def test_a_wrong_name_is_refused_with_a_way_out(name: str, message: str) -> None:
    """Each message says what came, what is possible, and what is near."""
    with pytest.raises(UnknownModelError, match=message):
        parse_name(name)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("preact20", {"activation": "original"}, r"take resnet20 --activation original"),
        ("plain20", {"shortcut": "conv"}, r"plain20 has no shortcut.*resnet20 --shortcut conv"),
        (
            "resnet20",
            {"activation": "gelu"},
            r"unknown activation 'gelu'; expected one of original, bn-after",
        ),
        ("resnet20", {"shortcut": "ident"}, r"unknown shortcut 'ident'"),
    ],
)
def test_contradictions_are_refused(name: str, options: dict[str, str], message: str) -> None:
    """Options that contradict the name are errors that say which name to take."""
    with pytest.raises(UnknownModelError, match=message):
        make_spec(name, **options)


def test_a_unit_that_the_depth_says_is_left_out_of_the_name() -> None:
    """The interface's own example, preact29-bottleneck, can only be a bottleneck."""
    assert make_spec("preact29-bottleneck") == make_spec("preact29")
    assert make_spec("preact29-bottleneck").name == "preact29"


def test_options_are_the_words_of_the_command_line() -> None:
    """A specification says how to ask for it."""
    spec = make_spec("resnet20", shortcut="scale:0.5", activation="bn-after", num_classes=100, width=8)
    assert spec.options() == (
        "resnet20 --shortcut scale:0.5 --activation bn-after --num-classes 100 --width 8"
    )
    assert make_spec("plain20").options() == "plain20"
