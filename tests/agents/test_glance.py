"""The arm `router`: what it asks of whom, and what it keeps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.routers import router
from zoomgap.agents import answer
from zoomgap.agents.context import Context, Routing
from zoomgap.errors import ModelError, RefusedError, UsageError
from zoomgap.models.scripted import ScriptedModel
from zoomgap.records import Reply, Sampling, TokenChoice, Usage


def said(text, probability, tokens=3):
    choices = (TokenChoice(text, ((text, math.log(probability)), ("x", math.log(0.01)))),)
    return Reply(
        text=text, token_logprobs=(math.log(probability),), token_choices=choices, usage=Usage(prompt_tokens=tokens)
    )


def routing(world, glance, agent=None, decided_by=None, **settings) -> Context:
    model = ScriptedModel(glance, name="glance")
    settings = {"logprobs": 5, **settings}
    context = world.context(model, **settings)
    zoomer = context if agent is None else world.context(ScriptedModel(agent, name="agent"), **settings)
    return replace(context, routing=Routing(decided_by or router(), replace(zoomer, routing=None)))


async def ask(world, context, attempt=0):
    return await answer("router", world.sample, context, run="r", attempt=attempt, invocation="i")


async def test_a_sure_answer_costs_one_call(world):
    context = routing(world, [said("B", 0.9)], [])
    found = await ask(world, context)
    assert (found.text, found.stop_reason, found.turns, found.zooms) == ("B", "answered", 1, 0)
    assert found.steps[0].margin == pytest.approx(math.log(90))
    assert not context.model.history[0].tools


async def test_an_unsure_one_is_asked_again_of_the_agent(world, call):
    context = routing(world, [said("C", 0.3)], [said(call(500, 500, 600, 600), 0.9), said("B", 0.9)])
    seen = []
    found = await ask(world, replace(context, on_step=seen.append))
    assert (found.text, found.stop_reason, found.turns, found.zooms) == ("B", "answered", 3, 1)
    assert [step.index for step in found.steps] == [0, 1, 2]
    assert [step.model for step in found.steps] == [None, "agent", "agent"]
    assert found.prompt_tokens == 9
    assert [step.index for step in seen] == [0, 1, 2]
    assert context.routing.agent.model.history[0].tools


async def test_one_model_may_do_both(world, call):
    context = routing(world, [said("C", 0.3), said(call(500, 500, 600, 600), 0.9), said("B", 0.9)])
    found = await ask(world, context)
    assert (found.text, found.turns) == ("B", 3)
    assert {step.model for step in found.steps} == {None}


async def test_an_answer_that_cannot_be_read_is_asked_again(world):
    found = await ask(world, routing(world, [said("no idea", 0.99)], [said("D", 0.9)]))
    assert (found.text, found.turns) == ("D", 2)


async def test_agreement_asks_several_times_with_seeds_of_their_own(world):
    agreed = router(0.6, features=("agreement",), coefficients={"agreement": 1.0}, calls=3)
    sampling = Sampling(temperature=1.0, seed=7)
    context = routing(world, ["B", "B", "B"], [], agreed, sampling=sampling, logprobs=None)
    found = await ask(world, context)
    assert (found.text, found.turns) == ("B", 3)
    assert sorted(request.sampling.seed for request in context.model.history) == [7, 8, 9]
    context = routing(world, ["B", "C", "B"], ["D"], agreed, sampling=sampling, logprobs=None)
    found = await ask(world, context, attempt=2)
    assert (found.text, found.turns) == ("D", 4)
    assert sorted(request.sampling.seed for request in context.model.history) == [13, 14, 15]
    assert [step.index for step in found.steps] == [0, 1, 2, 3]


async def test_a_direct_answer_that_fails_is_an_error(world):
    found = await ask(world, routing(world, [ModelError("it is down")], ["B"]))
    assert (found.stop_reason, found.error, found.text) == ("endpoint_error", "it is down", "")


async def test_an_agent_that_fails_is_an_error_with_the_steps_before_it(world):
    found = await ask(world, routing(world, [said("C", 0.3)], [ModelError("it is down")]))
    assert (found.stop_reason, found.error, found.turns) == ("endpoint_error", "it is down", 2)


async def test_replies_without_what_the_router_reads_end_the_run_in_one_line(world):
    with pytest.raises(RefusedError, match="glance answers without log-probabilities"):
        await ask(world, routing(world, ["B"], []))
    by_margin = router(features=("margin",), coefficients={"margin": 1.0})
    bare = Reply(text="B", token_logprobs=(-0.1,))
    with pytest.raises(RefusedError, match="reads the margin of direct answers, and replies of glance have none"):
        await ask(world, routing(world, [bare], [], by_margin))
    with pytest.raises(UsageError, match="has nothing to decide by"):
        await ask(world, world.context(ScriptedModel(["B"])))
