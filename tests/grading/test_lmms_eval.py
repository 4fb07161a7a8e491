"""Compared with `extract_mcq_answer` of lmms-eval 0.7.3, letter by letter: each disagreement is a known fault of it.

Its wheel is fetched by pip, never vendored, and two files of it are loaded alone. It is asked as its own pipeline does:
thoughts stripped, the valid letters given.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from .table import FAULTS, ROWS

WHEEL = "lmms-eval==0.7.3"
CHOICES = [row for row in ROWS if row["answer_kind"] == "choice"]


def test_every_disagreement_has_its_reason():
    assert [row["id"] for row in CHOICES if ("fault" in row) != (row["lmms_eval"] != (row["read"] or ""))] == []
    assert {row["fault"] for row in CHOICES if "fault" in row} == set(FAULTS)
    assert not any("lmms_eval" in row for row in ROWS if row["answer_kind"] != "choice")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, list[str]], str]:
    """Their reading of a reply: a letter or ""."""
    folder = tmp_path_factory.mktemp("lmms_eval")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and os.environ.get("CI") != "true":
        pytest.skip(f"{WHEEL} cannot be fetched: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    extract = loaded(wheel, "lmms_eval/tasks/_task_utils/mcq_extract.py", folder).extract_mcq_answer
    strip = loaded(wheel, "lmms_eval/api/reasoning.py", folder).strip_reasoning_tags
    return lambda reply, letters: extract(strip(reply, [["<think>", "</think>"]]), letters)


def loaded(wheel: Path, name: str, folder: Path):
    """One file of the wheel as a module of its own."""
    with zipfile.ZipFile(wheel) as archive:
        path = Path(archive.extract(name, folder))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_table_says_what_lmms_eval_reads(theirs):
    read = {row["id"]: theirs(row["reply"], list("ABCDEFGH"[: len(row["choices"]) or 8])) for row in CHOICES}
    assert read == {row["id"]: row["lmms_eval"] for row in CHOICES}
