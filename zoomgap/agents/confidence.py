"""How sure a model was of a reply, from its own token probabilities. No gold and no evidence box is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from zoomgap.grading import extract
from zoomgap.records import Reply, Sample, TokenChoice

ALTERNATIVES = 5
"""Likeliest tokens that are asked for beside each token: what servers allow at the least."""
MAX_MARGIN = 30.0
"""A rival that cannot come at all counts as that much less likely, in natural log."""


class Confidence(NamedTuple):
    """mean: geometric mean of the tokens' probabilities; least: the smallest of them; None where they are not known."""

    mean: float | None
    least: float | None


def confidence_of(reply: Reply) -> Confidence:
    """Of all tokens of a reply."""
    logprobs = reply.token_logprobs
    if not logprobs:
        return Confidence(None, None)
    return Confidence(math.exp(sum(logprobs) / len(logprobs)), math.exp(min(logprobs)))


def margin_of(reply: Reply, sample: Sample) -> float | None:
    """Natural log of how many times likelier the answer's deciding token was than its rival; negative where it was
    drawn against the odds. None where the reply says no alternatives.

    The deciding token is the one, of those of the answer that the grading rules read, where the rival comes nearest.
    Where the answer is an option's letter, rivals are the other letters alone.
    """
    tokens = reply.token_choices
    if not tokens or any(len(token.likeliest) < 2 for token in tokens):
        return None
    read = extract(reply.text, sample.answer_kind, sample.choices)
    # What the rules cannot read or place is judged by the whole reply.
    deciding = (_within(tokens, reply.text, *read.span) if read else ()) or tokens
    by_letter = read is not None and sample.answer_kind == "choice" and _bare(reply.text[slice(*read.span)])
    letters = [chr(ord("A") + k) for k in range(len(sample.choices))] if by_letter else []
    return max(-MAX_MARGIN, min(MAX_MARGIN, *(_margin(token, letters) for token in deciding)))


def _within(tokens: Sequence[TokenChoice], text: str, start: int, end: int) -> list[TokenChoice]:
    """The tokens that wrote text[start:end]; none where the tokens are not those of the text."""
    offset = "".join(token.text for token in tokens).rfind(text)
    if offset < 0:
        return []
    found, at = [], -offset
    for token in tokens:
        if token.text and at < end and start < at + len(token.text):
            found.append(token)
        at += len(token.text)
    return found


def _bare(written: str) -> str:
    """An option's letter as a token or a span has it, in brackets or not; "" for anything else."""
    letter = written.strip(" ().:*").upper()
    return letter if len(letter) == 1 and letter.isascii() and letter.isalpha() else ""


def _margin(token: TokenChoice, letters: Sequence[str]) -> float:
    own = next((value for text, value in token.likeliest if text == token.text), -math.inf)
    rivals = [value for text, value in token.likeliest if text != token.text]
    # Nothing that is not listed is likelier than the last that is.
    unlisted = token.likeliest[-1][1]
    if _bare(token.text) in letters and letters:
        same = [value for text, value in token.likeliest if _bare(text) == _bare(token.text)]
        own = max(same, default=-math.inf)
        rivals = [v for text, v in token.likeliest if _bare(text) in letters and _bare(text) != _bare(token.text)]
    own = own if own > -math.inf else unlisted
    rival = max(rivals, default=unlisted)
    return own - rival if rival > -math.inf else MAX_MARGIN
