"""A model as a second grader, for what the rules cannot tell: open text that is not the gold, and unparsed replies.

It is shown the gold and the reply without being told which is which, twice, in both orders, and its verdict counts when
both times agree. Verdicts are stored under the judge's own name beside those of the rules, never in their place.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from zoomgap import prompts
from zoomgap.agents import regrade
from zoomgap.errors import ModelError, RefusedError, UsageError
from zoomgap.grading import extract
from zoomgap.models.base import VisionModel, split_reasoning
from zoomgap.models.catalog import open_model
from zoomgap.pipeline.arms import Count
from zoomgap.records import JUDGE, Grade, Message, Request, Sampling, Text, Verdict, WireName, digest
from zoomgap.storage import Graded, Store

SAMPLING = Sampling(max_tokens=1024)
"""Greedy; judges that think need many tokens."""
MAX_CHARS = 4000
"""Of a reply that a judge is shown: its end, where answers stand."""
MAX_ERRORS_IN_A_ROW = 20
SAID = {"A": "same", "B": "different", "C": "cannot say"}
VERDICTS: dict[str, Verdict] = {"same": "correct", "different": "incorrect"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A run and what its judge said. n: answers; correct_by_rules: of them, which no judge is asked about.

    asked: answers that a judge was needed for and asked about, now or earlier; new: of them, now.
    asked = correct + incorrect + undecided + errors.
    """

    run: str
    grader: str
    n: int
    correct_by_rules: int
    asked: int
    new: int
    correct: int
    incorrect: int
    undecided: int
    errors: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def grader_of(model: str) -> str:
    """The judge's name: the model's, and a hash of the prompt and all that can change a verdict."""
    return f"{JUDGE}{model}@{digest([prompts.judge_template(), asdict(SAMPLING), MAX_CHARS])[:8]}"


def judge_runs(
    store: Store,
    runs: Sequence[str],
    model: str,
    endpoint: str | None,
    *,
    concurrency: int = 32,
    wire: WireName = "chat",
    count: Count | None = None,
) -> list[Judged]:
    """Ask a judge behind an endpoint about runs, going on from what is stored; failed questions are asked again.

    The rules grade first, where they have not. Raises UsageError without an endpoint, ModelError after 20 errors in a
    row; what was judged by then is stored.
    """
    if endpoint is None:
        raise UsageError(f"judge '{model}' has no address: give --endpoint URL")
    for run in runs:
        regrade(store, run)
    grader = grader_of(model)
    pending = {run: [a for a in _asked(store, run, grader) if _is_open(a)] for run in runs}
    total = sum(map(len, pending.values()))

    async def work() -> None:
        opened = open_model(model, endpoint, store.load_image, concurrency=concurrency, wire=wire)
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            if count:
                count(done, total)

        try:
            for answers in pending.values():
                await _judge(store, answers, opened, grader, concurrency, step)
        finally:
            await opened.aclose()

    asyncio.run(work())
    return [_summary(store, run, grader, len(pending[run])) for run in runs]


def _needs_judge(answer: Graded) -> bool:
    verdict = answer.before.verdict if answer.before else "unparsed"
    unsettled = verdict == "unparsed" or (verdict == "incorrect" and answer.sample.answer_kind == "text")
    return unsettled and bool(answer.text.strip())


def _is_open(answer: Graded) -> bool:
    return _needs_judge(answer) and (answer.grade is None or answer.grade.verdict == "error")


async def _judge(
    store: Store, answers: Sequence[Graded], model: VisionModel, grader: str, concurrency: int, step: Callable[[], None]
) -> None:
    """Judge answers, so many under way at once; each verdict is stored as soon as it is there."""
    waiting, in_a_row = iter(answers), 0

    async def worker() -> None:
        nonlocal in_a_row
        for answer in waiting:
            try:
                found, in_a_row = await verdict_of(answer, model, grader), 0
            except RefusedError:
                raise
            except ModelError as error:
                found, in_a_row = (
                    Grade(verdict="error", rule="error", answer=None, span=None, grader=grader),
                    in_a_row + 1,
                )
                if in_a_row >= MAX_ERRORS_IN_A_ROW:
                    raise ModelError(f"the judge gave {in_a_row} errors in a row, the last one: {error}") from error
            store.add_grades([(answer.trajectory, found)])
            step()

    workers = [asyncio.create_task(worker()) for _ in range(min(concurrency, len(answers)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for one in workers:
            one.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def _asked(store: Store, run: str, grader: str) -> Iterator[Graded]:
    """The answers of a run, each with the question as its run asked it."""
    variant = store.run(run).variant
    for chunk in store.graded(run, grader):
        for answer in chunk:
            yield replace(answer, sample=prompts.vary(answer.sample, variant))


async def verdict_of(answer: Graded, model: VisionModel, grader: str) -> Grade:
    """What a judge says of a reply and the gold: correct or incorrect where both orders agree, else unparsed.

    Raises ModelError when the model gives no reply.
    """
    sample = answer.sample
    gold = sample.answer
    if sample.choices:
        gold = f"{gold}) {sample.choices[ord(gold) - ord('A')]}"
    texts = (gold, split_reasoning(answer.text)[1][-MAX_CHARS:])
    asked = prompts.question(sample.question, choices=sample.choices, suffix=False)
    requests = [_request(asked, first, second) for first, second in (texts, texts[::-1])]
    replies = await asyncio.gather(*(model.reply(request) for request in requests))
    read = [extract(reply.text, "choice", tuple(SAID.values())) for reply in replies]
    said = [SAID[found.answer] if found else "unreadable" for found in read]
    rule = said[0] if said[0] == said[1] and said[0] in VERDICTS else "undecided"
    return Grade(
        verdict=VERDICTS.get(rule, "unparsed"), rule=rule, answer=" / ".join(said), span=None, grader=grader
    )  # fmt: skip


def _request(question: str, first: str, second: str) -> Request:
    text = prompts.judge(*(json.dumps(part, ensure_ascii=False) for part in (question, first, second)))
    return Request(messages=(Message(role="user", content=(Text(text),)),), sampling=SAMPLING)


def _summary(store: Store, run: str, grader: str, new: int) -> Judged:
    answers = list(_asked(store, run, grader))
    said = Counter(answer.grade.verdict for answer in answers if answer.grade and _needs_judge(answer))
    right = sum(answer.before is not None and answer.before.verdict == "correct" for answer in answers)
    return Judged(
        run=run, grader=grader, n=len(answers), correct_by_rules=right, asked=said.total(), new=new,
        correct=said["correct"], incorrect=said["incorrect"], undecided=said["unparsed"], errors=said["error"],
    )  # fmt: skip
