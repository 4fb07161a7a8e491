"""Which split of a set a file or a row belongs to, by the words that it has for it itself."""

from __future__ import annotations

import re
from typing import Literal, get_args

Split = Literal["train", "validation", "test"]
SPLITS: tuple[str, ...] = get_args(Split)
_WORD = re.compile(
    r"""(?x) (?<![a-z]) (?: (?P<train>train(?:ing|set)?) | (?P<validation>val(?:id|idation)?|dev)
    | (?P<test>test(?:ing|set)?) ) (?![a-z])"""
)


def split_named(text: str) -> str:
    """The split that a path or a word names, the last where it names several; "" for none.

    "data/train-00000-of-00002.parquet" and "instances_train2017.json" name train, "trains.jsonl" none.
    """
    found = [match.lastgroup or "" for match in _WORD.finditer(text.lower())]
    return found[-1] if found else ""
