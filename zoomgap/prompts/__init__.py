"""Every text that a model is shown by zoomgap. A run names all that its own model may be shown by one fingerprint.

Templates are the *.txt files here (str.format fields, the last line break left out), tools the *.json files. The
embedded model was trained on the question's exact layout: change it and the model has to be trained anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args

from zoomgap.prompts.variants import phrasing, vary
from zoomgap.records import AnswerKind, digest

__all__ = [
    "fingerprint", "judge", "judge_template", "parameters", "phrasing", "question", "render", "templates", "texts",
    "tool", "vary",
]  # fmt: skip


@cache
def templates() -> Mapping[str, str]:
    """File name -> text of every template and tool."""
    files = sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in (".txt", ".json"))
    return {path.name: path.read_text(encoding="utf-8").removesuffix("\n") for path in files}


def render(name: str, /, **values: object) -> str:
    """The template `name` with its fields filled in. Raises KeyError for an unknown template or a missing field."""
    return templates()[f"{name}.txt"].format(**values)


@cache
def tool(name: str) -> Mapping[str, Any]:
    """A tool's JSON schema in the OpenAI form."""
    schema: Mapping[str, Any] = json.loads(templates()[f"{name}.json"])
    return schema


def parameters(name: str) -> Mapping[str, Any]:
    """A tool's parameters by name, as JSON schemas; none for an unknown tool."""
    found: Mapping[str, Any] = (
        tool(name)["function"]["parameters"]["properties"] if f"{name}.json" in templates() else {}
    )
    return found


def question(
    text: str,
    *,
    choices: Sequence[str] = (),
    answer_kind: AnswerKind = "text",
    suffix: bool = True,
    variant: int = 0,
) -> str:
    """A question as every arm puts it: its choices on one line, then with `suffix` a line on the answer's form.

    variant: whose wording that line has; `choices` are in its order already (`vary`).
    """
    if choices:
        options = " ".join(f"{chr(ord('A') + place)}) {choice}" for place, choice in enumerate(choices))
        asked = render("question_choices", question=text, options=options)
    else:
        asked = render("question", question=text)
    if not suffix:
        return asked
    return f"{asked}\n{phrasing(answer_kind, variant) if variant else render(f'suffix_{answer_kind}')}"


@cache
def judge_template() -> str:
    """What a judge is asked. It changes no answer, and so is no part of a run's fingerprint."""
    return (Path(__file__).parent / "judge" / "same.txt").read_text(encoding="utf-8").removesuffix("\n")


def judge(question: str, first: str, second: str) -> str:
    """The question to a judge whether two texts say the same."""
    return judge_template().format(question=question, first=first, second=second)


def texts(variant: int = 0) -> Mapping[str, str]:
    """All that a model may be shown in runs of that variant, by name."""
    kinds = get_args(AnswerKind) if variant else ()
    return {**templates(), **{f"phrasing_{kind}": phrasing(kind, variant) for kind in kinds}}


def fingerprint(variant: int = 0) -> str:
    """sha256 (hex) over every text that a run of that variant may show."""
    return digest(dict(texts(variant)))
