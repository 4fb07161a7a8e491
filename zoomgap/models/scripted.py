"""A model that answers from a script: for tests of everything above a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zoomgap.errors import ModelError
from zoomgap.records import Reply, Request


class ScriptedModel:
    """Answers with the script's replies in turn, or with what a function makes of each request.

    An exception in the script is raised at its turn. A script that has run out raises ModelError. `history` holds
    every request in the order asked.
    """

    def __init__(
        self, script: Sequence[Reply | str | Exception] | Callable[[Request], Reply | str], *, name: str = "scripted"
    ) -> None:
        self.name = name
        self.history: list[Request] = []
        self._script = script

    async def reply(self, request: Request) -> Reply:
        turn = len(self.history)
        self.history.append(request)
        if callable(self._script):
            answer: Reply | str | Exception = self._script(request)
        elif turn < len(self._script):
            answer = self._script[turn]
        else:
            raise ModelError(f"the script of {len(self._script)} replies has none for request {turn + 1}: lengthen it")
        if isinstance(answer, Exception):
            raise answer
        return Reply(text=answer) if isinstance(answer, str) else answer

    async def aclose(self) -> None:
        """Nothing to free."""
