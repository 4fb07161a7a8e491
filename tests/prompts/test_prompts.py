from __future__ import annotations

import json
import string

import pytest

from zoomgap import prompts


def test_question_as_the_embedded_model_was_trained_on_it():
    assert prompts.question("What color?", suffix=False) == "What color?"
    asked = prompts.question("What color?", choices=("red", "blue"), answer_kind="choice", suffix=False)
    assert asked == "What color?\nA) red B) blue"


@pytest.mark.parametrize(("kind", "word"), [("choice", "letter"), ("integer", "number"), ("text", "phrase")])
def test_suffix_names_the_form_of_the_answer(kind, word):
    asked = prompts.question("How many?", answer_kind=kind, suffix=True)
    first, last = asked.split("\n")
    assert first == "How many?"
    assert word in last


def test_braces_in_a_question_stay():
    assert prompts.question("What is {x}?", choices=("{0}", "b"), suffix=False) == "What is {x}?\nA) {0} B) b"


def test_a_missing_field_is_an_error():
    with pytest.raises(KeyError):
        prompts.render("image")


def test_every_template_is_well_formed():
    for name, text in prompts.templates().items():
        assert text == text.strip(), name
        if name.endswith(".json"):
            assert json.loads(text)["type"] == "function"
        else:
            list(string.Formatter().parse(text))


def test_fingerprint_covers_every_template(monkeypatch):
    before = prompts.fingerprint()
    for name in prompts.templates():
        changed = {**prompts.templates(), name: prompts.templates()[name] + " "}
        with monkeypatch.context() as patch:
            patch.setattr(prompts, "templates", lambda changed=changed: changed)
            assert prompts.fingerprint() != before, name
    assert prompts.fingerprint() == before
