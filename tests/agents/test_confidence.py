from __future__ import annotations

import math
from dataclasses import replace

import pytest

from zoomgap.agents.confidence import MAX_MARGIN, confidence_of, margin_of
from zoomgap.records import Reply, TokenChoice


def token(text, *likeliest):
    """Likeliest as (text, probability)."""
    return TokenChoice(text, tuple((other, math.log(p) if p else -math.inf) for other, p in likeliest))


def margin(sample, text, *tokens):
    value = margin_of(Reply(text=text, token_choices=tokens), sample)
    return None if value is None else math.exp(value)


def test_confidence_is_mean_and_least_of_the_probabilities():
    reply = Reply(text="B", token_logprobs=(math.log(0.5), math.log(0.125)))
    assert confidence_of(reply) == pytest.approx((0.25, 0.125))
    assert confidence_of(Reply(text="B")) == (None, None)
    assert confidence_of(Reply(text="B", token_logprobs=())) == (None, None)
    assert confidence_of(Reply(text="B", token_logprobs=(-math.inf,))) == (0.0, 0.0)


def test_rivals_of_a_letter_are_the_other_letters(world):
    """'the' is likelier than any other letter and no rival; " B" and "B" are one answer."""
    found = token("B", (" B", 0.4), ("B", 0.3), ("the", 0.2), ("C", 0.08), ("Z", 0.02))
    assert margin(world.sample, "B", found) == pytest.approx(0.4 / 0.08)
    assert margin(world.sample, "B", token("B", ("B", 0.9), ("the", 0.06))) == pytest.approx(0.9 / 0.06)


def test_rivals_of_a_letter_that_was_drawn_against_the_odds(world):
    assert margin(world.sample, "B", token("B", ("C", 0.6), ("B", 0.3))) == pytest.approx(0.5)
    assert margin(world.sample, "B", token("B", ("C", 0.6), ("D", 0.3))) <= 1


def test_the_deciding_token_is_where_the_answer_was_nearest_to_being_another(world):
    """Of an answer of several tokens the closest; what stands around it does not count."""
    sample = replace(world.sample, choices=("dark red", "dark blue", "green", "grey"))
    tokens = (
        token("It ", ("It ", 0.5), ("The ", 0.49)), token("is ", ("is ", 0.9), ("was ", 0.1)),
        token("dark", ("dark", 0.9), ("green", 0.05)), token(" red", (" red", 0.6), (" blue", 0.3)),
    )  # fmt: skip
    assert margin(sample, "It is dark red", *tokens) == pytest.approx(2)


def test_a_reply_that_cannot_be_read_is_judged_as_a_whole(world):
    unread = (token("no", ("no", 0.5), ("B", 0.25)), token(" idea", (" idea", 0.9), (".", 0.01)))
    assert margin(world.sample, "no idea", *unread) == pytest.approx(2)
    # The tokens are not those of the text, as where a character is in two of them.
    apart = (token("�", ("�", 0.5), ("B", 0.1)), token("�", ("�", 0.9), ("B", 0.1)))
    assert margin(world.sample, "B", *apart) == pytest.approx(5)


def test_what_cannot_be_known_is_none_and_what_is_certain_is_bounded(world):
    assert margin(world.sample, "B") is None
    assert margin(world.sample, "B", token("B", ("B", 0.9))) is None
    assert margin_of(Reply(text="B"), world.sample) is None
    certain = Reply(text="B", token_choices=(token("B", ("B", 1.0), ("C", 0.0)),))
    assert margin_of(certain, world.sample) == MAX_MARGIN
