"""The words of `--data`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gradflow
from gradflow.data import open_data
from gradflow.errors import DataError


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("imagenet", {}, r"^unknown data 'imagenet'; expected synthetic, cifar10, cifar100, folder:PATH"),
        ("folder:", {}, r"unknown data 'folder:'"),
        ("", {}, r"unknown data ''; expected [^;]*$"),
        ("no_such_module:batches", {}, r"there is no module no_such_module"),
        ("synthetic", {"batch_size": 0}, r"batch size is 0; expected at least 1"),
        ("synthetic", {"seed": -1}, r"seed of the data is -1"),
        ("synthetic", {"num_classes": 0}, r"num_classes is 0"),
        ("synthetic", {"split": "validation"}, r"split 'validation' is none of train, test"),
        ("synthetic", {"input_shape": (128,)}, r"input shape is 128; for other inputs take --data package"),
        ("cifar10", {"input_shape": (3, 0, 32)}, r"input shape is 3,0,32"),
    ],
)  # fmt: skip
def test_wrong_words_are_refused(spec: str, options: dict[str, object], message: str) -> None:
    """Unknown data and impossible options are errors that say what is possible."""
    with pytest.raises(DataError, match=message):
        open_data(spec, **options)


def test_a_bare_path_is_told_about_folder(tmp_path: Path) -> None:
    """A folder given without its prefix is recognised."""
    with pytest.raises(DataError, match=r"for a folder of images, folder:/"):
        open_data(str(tmp_path))


def test_synthetic_and_folder_data_import_no_torchvision() -> None:
    """Where torchvision is broken, what does not need it works."""
    code = (
        "import sys; from gradflow.data import open_data; next(open_data('synthetic').batches(1));"
        "print('torchvision' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(gradflow.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "False"
