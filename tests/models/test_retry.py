from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoomgap.errors import UsageError
from zoomgap.models.retry import AdaptiveLimit, PausedError, retry_after


class Time:
    """A clock that goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Crowd:
    """Tasks that take a slot each and hold it until told."""

    def __init__(self, limit: AdaptiveLimit) -> None:
        self.limit = limit
        self.inside: list[int] = []
        self.doors: dict[int, asyncio.Future[str]] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}

    async def enter(self, *names: int) -> None:
        for name in names:
            self.doors[name] = asyncio.get_running_loop().create_future()
            self.tasks[name] = asyncio.create_task(self._stay(name))
        await settle()

    async def leave(self, *names: int, how: str = "succeeded", pause_s: float | None = None) -> None:
        for name in names:
            self.doors[name].set_result((how, pause_s))
        await settle()

    async def _stay(self, name: int) -> None:
        async with self.limit.slot() as slot:
            self.inside.append(name)
            try:
                how, pause_s = await self.doors[name]
                if how == "succeeded":
                    slot.succeeded()
                elif how == "overloaded":
                    slot.overloaded(pause_s)
            finally:
                self.inside.remove(name)


@pytest.fixture
def time() -> Time:
    return Time()


def limit_of(most: int, time: Time) -> AdaptiveLimit:
    return AdaptiveLimit(most, clock=time.clock, sleep=time.sleep)


async def test_no_more_than_allowed_and_in_order(time):
    crowd = Crowd(limit_of(3, time))
    await crowd.enter(*range(6))
    assert crowd.inside == [0, 1, 2]
    await crowd.leave(1)
    assert crowd.inside == [0, 2, 3]
    await crowd.leave(0, 2, 3)
    assert crowd.inside == [4, 5]


async def test_an_overload_halves_once_for_all_that_were_under_way(time):
    limit = limit_of(8, time)
    crowd = Crowd(limit)
    await crowd.enter(*range(8))
    await crowd.leave(*range(7), how="overloaded")
    assert limit.allowed == 4
    await crowd.enter(*range(10, 16))
    assert crowd.inside == [7, 10, 11, 12]
    await crowd.leave(7, how="overloaded")  # sent before the first was heard of
    assert limit.allowed == 4
    await crowd.leave(10, how="overloaded")
    assert limit.allowed == 2


async def test_an_overload_halves_what_was_under_way_not_what_might_be(time):
    limit = limit_of(256, time)
    crowd = Crowd(limit)
    await crowd.enter(*range(8))
    await crowd.leave(0, how="overloaded")
    assert limit.allowed == 4


async def test_one_is_always_allowed(time):
    limit = limit_of(4, time)
    crowd = Crowd(limit)
    for name in range(5):
        await crowd.enter(name)
        await crowd.leave(name, how="overloaded")
    assert limit.allowed == 1
    await crowd.enter(9)
    assert crowd.inside == [9]


async def test_a_round_of_successes_allows_about_one_more_up_to_most(time):
    limit = limit_of(6, time)
    crowd = Crowd(limit)
    await crowd.enter(*range(6))
    await crowd.leave(*range(6), how="overloaded")
    assert limit.allowed == 3
    await crowd.enter(*range(10, 13))
    await crowd.leave(*range(10, 13))
    assert 3.7 < limit.allowed <= 4
    for name in range(100, 160):
        await crowd.enter(name)
        await crowd.leave(name)
    assert limit.allowed == 6


async def test_other_failures_change_nothing(time):
    limit = limit_of(4, time)
    crowd = Crowd(limit)
    await crowd.enter(0, 1)
    await crowd.leave(0, how="failed")
    assert (limit.allowed, limit.busy) == (4, 1)


async def test_a_pause_holds_all_back_those_in_line_too(time):
    limit = limit_of(1, time)
    crowd = Crowd(limit)
    entered: list[float] = []

    async def enter() -> None:
        async with limit.slot():
            entered.append(time.now)

    await crowd.enter(0)
    waiting = [asyncio.create_task(enter()) for _ in range(2)]
    await settle()
    await crowd.leave(0, how="overloaded", pause_s=5.0)
    await asyncio.gather(*waiting, enter())
    assert len(entered) == 3
    assert min(entered) >= 5
    assert limit.busy == 0


async def test_the_longest_pause_counts(time):
    limit = limit_of(4, time)
    crowd = Crowd(limit)
    await crowd.enter(0, 1)
    await crowd.leave(0, how="overloaded", pause_s=9.0)
    await crowd.leave(1, how="overloaded", pause_s=2.0)
    async with limit.slot():
        assert time.now == 9


async def test_a_pause_beyond_patience_is_an_error(time):
    limit = limit_of(1, time)
    crowd = Crowd(limit)
    await crowd.enter(0)
    in_line = asyncio.create_task(limit.slot(patience_s=10).__aenter__())
    await settle()
    await crowd.leave(0, how="overloaded", pause_s=60.0)
    with pytest.raises(PausedError) as raised:
        await in_line
    assert raised.value.seconds == 60
    assert (time.now, limit.busy) == (0, 0)


async def test_cancelled_in_line_or_inside_frees_what_was_taken(time):
    limit = limit_of(1, time)
    crowd = Crowd(limit)
    await crowd.enter(0, 1, 2)
    crowd.tasks[1].cancel()
    await settle()
    crowd.tasks[0].cancel()
    await settle()
    assert crowd.inside == [2]
    await crowd.leave(2)
    assert limit.busy == 0


async def test_cancelled_as_the_slot_comes_hands_it_on(time):
    limit = limit_of(1, time)
    crowd = Crowd(limit)
    await crowd.enter(0, 1, 2)
    crowd.doors[0].set_result(("failed", None))
    while limit.busy and 0 in crowd.inside:
        await asyncio.sleep(0)
    crowd.tasks[1].cancel()  # its slot is granted, its task has not run since
    await settle()
    assert crowd.inside == [2]


@settings(max_examples=40, deadline=None)
@given(
    most=st.integers(1, 12),
    steps=st.lists(
        st.tuples(st.sampled_from(["enter", "succeeded", "overloaded", "cancel"]), st.integers(0, 99)), max_size=40
    ),
)
def test_the_limit_holds_whatever_happens(most, steps):
    async def play() -> None:
        time = Time()
        limit = limit_of(most, time)
        crowd = Crowd(limit)
        for name, (what, pick) in enumerate(steps):
            allowed = limit.allowed
            before = set(crowd.inside)
            if what == "enter":
                await crowd.enter(name)
            elif what == "cancel" and crowd.tasks:
                crowd.tasks.pop(list(crowd.tasks)[pick % len(crowd.tasks)]).cancel()
                await settle()
            elif what != "cancel" and crowd.inside:
                await crowd.leave(crowd.inside[pick % len(crowd.inside)], how=what)
            assert 1 <= limit.allowed <= most
            assert limit.busy == len(crowd.inside)
            assert not set(crowd.inside) - before or len(crowd.inside) <= max(allowed, limit.allowed)
        for task in crowd.tasks.values():
            task.cancel()
        await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)
        assert limit.busy == 0

    asyncio.run(play())


def test_none_at_all_is_refused():
    with pytest.raises(UsageError, match="concurrency 0"):
        AdaptiveLimit(0)


def test_retry_after_forms():
    assert retry_after({}) is None
    assert retry_after({"retry-after": "1.5"}) == 1.5
    assert retry_after({"retry-after": "-4"}) == 0
    assert retry_after({"retry-after": "inf"}) is None
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after({"retry-after-ms": "?", "retry-after": "9"}) == 9
    date = datetime.now(UTC) + timedelta(seconds=90)
    for written in (format_datetime(date, usegmt=True), date.strftime("%a, %d %b %Y %H:%M:%S -0000")):
        assert 30 < retry_after({"retry-after": written}) <= 90
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


@settings(deadline=None)
@given(st.text())
def test_retry_after_never_raises(value):
    seconds = retry_after({"retry-after": value})
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))
