"""When an endpoint is asked again, how long that may take, and how many requests are under way at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import openai
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from zoomgap.errors import UsageError
from zoomgap.models.wire import BadAnswerError

RETRIED = frozenset({408, 409, 429})
"""Statuses under 500 that are tried again; of the others, all from 500 up."""
OVERLOADED = frozenset({429, 503})
"""Statuses that say: fewer requests at once."""
NO_CREDIT = "insufficient_quota"
"""A 429 of this type or code stays until somebody pays."""
BAD_ANSWERS = 3
"""How many answers that are no reply end a request."""
_BACKOFF = wait_random_exponential(multiplier=0.5, max=20)


class PausedError(Exception):
    """The endpoint wants to be left alone for longer than a request can wait. seconds: how long still."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(slots=True)
class Tries:
    """What one request has cost so far: its failures, seconds on the wire, and seconds between tries.

    Waiting for a slot is in neither. budget_s: for both together, the last try included. enough_s: when no further try
    is begun, where that is less.
    """

    budget_s: float
    enough_s: float = math.inf
    failures: list[BaseException] = field(default_factory=list)
    wire_s: float = 0.0
    between_s: float = 0.0

    @property
    def spent_s(self) -> float:
        return self.wire_s + self.between_s

    @property
    def left_s(self) -> float:
        return max(self.budget_s - self.spent_s, 0.0)

    def retrying(self) -> AsyncRetrying:
        """The one place where an endpoint's failures are tried again."""
        return AsyncRetrying(
            retry=retry_if_exception(self._can_be_mended),
            wait=_wait,
            stop=lambda state: self.spent_s + state.upcoming_sleep >= min(self.budget_s, self.enough_s),
            before_sleep=self._count_sleep,
            reraise=True,
        )

    def _can_be_mended(self, error: BaseException) -> bool:
        self.failures.append(error)
        if isinstance(error, BadAnswerError):
            return sum(isinstance(failure, BadAnswerError) for failure in self.failures) < BAD_ANSWERS
        return is_transient(error)

    def _count_sleep(self, state: RetryCallState) -> None:
        self.between_s += state.upcoming_sleep


def is_transient(error: BaseException) -> bool:
    """Whether a failure may pass by itself: no connection, one cut short, silence, a busy or broken server."""
    if isinstance(error, openai.APIStatusError):
        return (error.status_code in RETRIED or error.status_code >= 500) and not is_out_of_credit(error)
    return isinstance(error, (openai.APIConnectionError, TimeoutError))


def is_out_of_credit(error: openai.APIStatusError) -> bool:
    return error.status_code == 402 or NO_CREDIT in (error.type, error.code)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait; None where it does not say, or cannot be understood.

    `retry-after-ms` (OpenAI, Azure) wins over Retry-After, a number or an HTTP date (RFC 9110 10.2.3).
    """
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        value = headers.get(name)
        seconds = None if value is None else _seconds(value, unit)
        if seconds is not None and math.isfinite(seconds):
            return max(seconds, 0.0)
    return None


def _seconds(value: str, unit: int) -> float | None:
    try:
        return float(value) / unit
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    # A date of zone -0000 is UTC without saying so.
    return (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _wait(state: RetryCallState) -> float:
    """Seconds that the server asks for, else a random exponential wait."""
    error = state.outcome.exception() if state.outcome else None
    asked = retry_after(error.response.headers) if isinstance(error, openai.APIStatusError) else None
    return asked or _BACKOFF(state)


class AdaptiveLimit:
    """How many requests may be under way at once: what the endpoint bears, at most `most`.

    Additive increase, multiplicative decrease, as in TCP (Chiu and Jain 1989): a full round of successes allows one
    more, an overload halves what is under way, once for all requests that were sent before it was heard of.
    Those that wait are served in order.
    """

    def __init__(
        self,
        most: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if most < 1:
            raise UsageError(f"concurrency {most} is under 1: give the number of requests to send at once")
        self.most = most
        self.allowed = float(most)
        self.busy = 0
        self._clock, self._sleep = clock, sleep
        self._cuts = 0
        self._quiet_until = -math.inf
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def slot(self, patience_s: float = math.inf) -> AsyncIterator[Slot]:
        """Wait for a slot and for the end of a pause, and hold it. Raises PausedError for a pause beyond patience."""
        while True:
            await self._quiet(patience_s)
            await self._take()
            if self._quiet_until <= self._clock():
                break
            self._leave()  # a pause came while this request stood in line
        try:
            yield Slot(self, self._cuts)
        finally:
            self._leave()

    def succeeded(self) -> None:
        self.allowed = min(self.allowed + 1 / self.allowed, self.most)

    def overloaded(self, cuts: int, pause_s: float | None) -> None:
        """`cuts`: how often the limit had been cut when the request that failed was sent."""
        if cuts == self._cuts:
            self._cuts += 1
            self.allowed = max(min(self.allowed, self.busy) / 2, 1.0)
        if pause_s:
            self._quiet_until = max(self._quiet_until, self._clock() + pause_s)

    async def _quiet(self, patience_s: float) -> None:
        while (left := self._quiet_until - self._clock()) > 0:
            if left > patience_s:
                raise PausedError(left)
            await self._sleep(left)

    async def _take(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the slot came together with the cancellation
                self._leave()
            raise

    def _leave(self) -> None:
        self.busy -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.busy < int(self.allowed):
            turn = self._waiting.popleft()
            if not turn.done():
                self.busy += 1
                turn.set_result(None)


@dataclass(frozen=True, slots=True)
class Slot:
    """The right to have one request under way; tells the limit how that went."""

    limit: AdaptiveLimit
    cuts: int

    def succeeded(self) -> None:
        self.limit.succeeded()

    def overloaded(self, pause_s: float | None) -> None:
        """The endpoint has too much to do, and wants to be left alone for that many seconds if it says so."""
        self.limit.overloaded(self.cuts, pause_s)
