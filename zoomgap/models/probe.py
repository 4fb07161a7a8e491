"""What can be found out about a model by asking it, over the VisionModel interface alone.

Every question has an answer that cannot be guessed: random numbers in pictures, a tool with a random name, marks whose
place tells the coordinate conventions apart. What the replies do not settle is `unknown`.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from zoomgap import imaging
from zoomgap.errors import ModelError
from zoomgap.geometry import Box, Size
from zoomgap.models.base import VisionModel
from zoomgap.models.families import UNKNOWN as UNKNOWN_FAMILY
from zoomgap.models.families import Dialect
from zoomgap.models.grounding import MARK_SIZES, MARKS, Sighting, decide, read_box
from zoomgap.records import Image, Message, Reply, Request, Sampling, Text, ToolCall

Progress = Callable[[int, int, str], None]
"""How many steps are done, of how many, and what is asked next."""
UNKNOWN = "unknown"
STEPS = ("an answer", "a picture", "tools", "pictures in tool turns", "many pictures", "large pictures",
         "log-probabilities", "places")  # fmt: skip
FIRST_SIDE = 512
TRIES = 2
"""How often a picture is asked about: a number may be misread."""

YES = "Reply with the one word yes."
NUMBER = "Which number does the picture show? Reply with the number only."
NUMBERS = "Each picture shows one number. Reply with all the numbers, in the order of the pictures."
PLACE = "Where is the red rectangle in this picture? Reply with its bounding box, as four numbers in brackets."
CALL = "Call the tool {name} with the word {word}."
WHICH = "What is the name of the tool that you can call? Reply with its name only."
SHOW = "Call the tool show_picture, then reply with the number that the picture shows, and nothing else."
IN_TEXT: dict[Dialect, str] = {
    "hermes": '<tool_call>\n{{"name": "{name}", "arguments": {{"word": "..."}}}}\n</tool_call>',
    "json": '```json\n{{"name": "{name}", "arguments": {{"word": "..."}}}}\n```',
}
TOLD = "You have a tool named {name}. To call it, write\n{form}"


class Pictures:
    """The probe's drawings by hash: `load` is what the model loads images with, `shows` says what is on each."""

    def __init__(self) -> None:
        self.shows: dict[str, str] = {}
        self._data: dict[str, bytes] = {}

    def load(self, sha256: str) -> bytes:
        """The encoded bytes of a drawing."""
        return self._data[sha256]

    def number(self, text: str, width: int = 448, height: int = 224) -> Image:
        """A number in black on white, across the picture; sides in pixels."""
        drawn = PILImage.new("RGB", (width, height), "white")
        font = ImageFont.load_default(min(height * 0.6, width * 0.3))
        ImageDraw.Draw(drawn).text((width / 2, height / 2), text, fill="black", font=font, anchor="mm")
        return self._keep(drawn, text)

    def mark(self, box: Box, size: Size = MARK_SIZES[0]) -> Image:
        """A red rectangle on grey. box: in pixels of the picture."""
        drawn = PILImage.new("RGB", (size.width, size.height), (225, 225, 225))
        ImageDraw.Draw(drawn).rectangle((box.x1, box.y1, box.x2 - 1, box.y2 - 1), fill=(220, 20, 20))
        return self._keep(drawn, f"a red rectangle at {box.as_list()}")

    def _keep(self, drawn: PILImage.Image, shows: str) -> Image:
        data = imaging.encode(drawn, "image/png")
        sha256 = imaging.sha256(data)
        self._data[sha256], self.shows[sha256] = data, shows
        return Image(sha256, *drawn.size)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for. value: `unknown` where it could not be told. evidence: sent and said, in short."""

    name: str
    value: bool | int | str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """What was found. entry: the fields of a Family that follow from it."""

    model: str
    findings: tuple[Finding, ...]
    entry: Mapping[str, bool | int | str]

    def value(self, name: str) -> bool | int | str:
        return next((finding.value for finding in self.findings if finding.name == name), UNKNOWN)

    def to_json(self) -> dict[str, Any]:
        findings = [{"name": f.name, "value": f.value, "evidence": f.evidence} for f in self.findings]
        return {"model": self.model, "findings": findings, "entry": dict(self.entry), "toml": self.toml()}

    def toml(self) -> str:
        """The entry for the configuration file, the findings above it as comments."""
        lines = [f"# found by `zoomgap models probe` of {self.model}"]
        lines += [f"# {finding.name}: {_toml(finding.value)}; {finding.evidence}" for finding in self.findings]
        lines = [_plain(line) for line in lines]
        lines += [f"[models.{_toml(self.model)}]"] + [f"{key} = {_toml(value)}" for key, value in self.entry.items()]
        return "\n".join(lines) + "\n"


async def probe(
    model: VisionModel,
    pictures: Pictures,
    *,
    max_images: int = 16,
    max_side: int = 4096,
    max_tokens: int = 1024,
    timeout_s: float = 60,
    seed: int | None = None,
    progress: Progress | None = None,
) -> ProbeReport:
    """Ask a model what it can do, one request at a time, and report; errors of the model are findings.

    pictures: what the model loads its images from. max_images, max_side: pictures of one request, and pixels of a
    picture's side, at which the doubling ends. max_tokens, timeout_s: of each reply. seed: of names, numbers and
    places; None draws one. About 30 requests.
    """
    prober = _Prober(model, pictures, random.Random(seed), max_tokens, timeout_s)
    steps = (
        prober.answers, prober.reads, prober.tools, prober.tool_images, lambda: prober.many(max_images),
        lambda: prober.large(max_side), prober.logprobs, prober.places,
    )  # fmt: skip
    for done, (step, what) in enumerate(zip(steps, STEPS, strict=True)):
        if progress:
            progress(done, len(steps), what)
        await step()
        if prober.value("answers") is not True:
            break
    if progress:
        progress(len(steps), len(steps), "")
    return ProbeReport(model=model.name, findings=tuple(prober.findings), entry=prober.entry)


class _Answer(NamedTuple):
    """reply is None where there was none: then error says why, and refused whether the model was there to refuse."""

    reply: Reply | None
    error: str = ""
    refused: bool = False

    def said(self) -> str:
        """In short: text, calls, or the error."""
        if self.reply is None:
            return f"{'refused' if self.refused else 'failed'}: {_short(self.error, 90)}"
        calls = " ".join(f"{call.name}({call.arguments})" for call in self.reply.tool_calls)
        cut = "" if self.reply.finish_reason != "length" else " (cut short: raise max_tokens)"
        return f"said '{_short(f'{self.reply.text} {calls}', 60)}'{cut}"

    def shows(self, number: str) -> bool:
        return self.reply is not None and number in re.sub(r"[\s,.]", "", self.reply.text)

    @property
    def tokens(self) -> int | None:
        return self.reply.usage.prompt_tokens if self.reply else None


@dataclass(slots=True)
class _Prober:
    """The steps and what they have found so far. side_limit: the largest side where a larger one was refused, px."""

    model: VisionModel
    pictures: Pictures
    rng: random.Random
    max_tokens: int
    timeout_s: float
    findings: list[Finding] = field(default_factory=list)
    entry: dict[str, bool | int | str] = field(default_factory=dict)
    side_limit: int | None = None

    def value(self, name: str) -> bool | int | str:
        return next((finding.value for finding in self.findings if finding.name == name), UNKNOWN)

    def found(self, name: str, value: bool | int | str | None, evidence: str) -> None:
        self.findings.append(Finding(name, UNKNOWN if value is None else value, _plain(evidence)))

    async def ask(self, *messages: Message, **request: Any) -> _Answer:
        """One request. A refusal counts only where a plain question is answered right after it."""
        answer = await self._send(messages, request)
        if answer.reply is None and answer.refused:
            alive = await self._send((_user(YES),), {})
            answer = answer._replace(refused=alive.reply is not None)
        return answer

    async def _send(self, messages: Sequence[Message], request: Mapping[str, Any]) -> _Answer:
        sampling = Sampling(max_tokens=self.max_tokens)
        try:
            async with asyncio.timeout(self.timeout_s):
                return _Answer(await self.model.reply(Request(messages=tuple(messages), sampling=sampling, **request)))
        except ModelError as error:
            return _Answer(None, str(error), refused=True)
        except TimeoutError:
            return _Answer(None, f"no reply within {self.timeout_s:g} s")

    def new_number(self) -> str:
        return str(self.rng.randint(1000, 9999))

    async def answers(self) -> None:
        answer = await self._send((_user(YES),), {})
        self.found("answers", answer.reply is not None, f"asked '{YES}', {answer.said()}")

    async def reads(self) -> None:
        """Whether a number in a picture of a user turn is read: what later findings are told by."""
        value: bool | None = None
        for _ in range(TRIES):
            number = self.new_number()
            answer = await self.ask(_user(self.pictures.number(number), NUMBER))
            value = True if answer.shows(number) else False if answer.refused else None
            if value is not None:
                break
        self.found("reads_pictures", value, f"sent a picture of {number}, {answer.said()}")

    async def tools(self) -> None:
        name = f"note_{self.new_number()}"
        schema = _schema(name, "word")
        call = _user(CALL.format(name=name, word="blue"))
        answer = await self.ask(call, tools=(schema,))
        accepted = True if answer.reply else False if answer.refused else None
        self.found("tools_accepted", accepted, f"sent the tool {name}, {answer.said()}")
        await self._renders(accepted, schema, name)
        evidence = [f"with tools {answer.said()}"]
        dialect = _dialect(answer.reply, name)
        if dialect is None:
            for form, text in IN_TEXT.items():
                told = _system(TOLD.format(name=name, form=text.format(name=name)))
                answer = await self.ask(told, call)
                evidence.append(f"told of {form} in the system text {answer.said()}")
                dialect = _dialect(answer.reply, name)
                if dialect is not None:
                    break
        self.found("dialect", dialect, "; ".join(evidence))
        if dialect is not None:
            self.entry["dialect"] = dialect

    async def _renders(self, accepted: bool | None, schema: Mapping[str, Any], name: str) -> None:
        """Whether `tools` reach the model: by the length of the prompt, else by whether it can name its tool."""
        renders: bool | None
        if accepted is not True:
            renders, evidence = accepted, "tools are refused" if accepted is False else "no reply to tools"
        else:
            bare, with_tools = await self.ask(_user(WHICH)), await self.ask(_user(WHICH), tools=(schema,))
            told = await self.ask(_system(TOLD.format(name=name, form=f"{name}(word)")), _user(WHICH))
            evidence = f"asked for its tool {name}, {with_tools.said()}; told of it in the system text {told.said()}"
            named, would_name = _names(with_tools.reply, name), _names(told.reply, name)
            renders = True if named else False if would_name and with_tools.reply else None
            if bare.tokens and with_tools.tokens:
                renders = renders or with_tools.tokens > bare.tokens
                evidence = f"a prompt of {bare.tokens} tokens has {with_tools.tokens} with tools"
        self.found("renders_tools", renders, evidence)
        if renders is not None:
            self.entry["renders_tools"] = renders

    async def tool_images(self) -> None:
        """A picture in a tool turn, against the same turns without it."""
        value: bool | None = None
        for _ in range(TRIES):
            number = self.new_number()
            answer = await self._tool_turn(self.pictures.number(number), Text("the picture"))
            control = await self._tool_turn(Text("the picture"))
            evidence = f"a tool turn with a picture of {number}, {answer.said()}; without it, {control.said()}"
            if answer.shows(number) and not control.shows(number):
                value = True
                break
            unread = answer.reply is not None and control.reply is not None and self.value("reads_pictures") is True
            value = False if answer.refused or unread else None
        self.found("tool_pictures", value, evidence)
        if value is False:
            self.entry["image_return"] = "user"

    async def _tool_turn(self, *content: Text | Image) -> _Answer:
        call = ToolCall("call_1", "show_picture", "{}")
        tools = (_schema("show_picture"),) if self.value("tools_accepted") is True else ()
        return await self.ask(
            _user(SHOW),
            Message(role="assistant", tool_calls=(call,)),
            Message(role="tool", content=content, tool_call_id="call_1"),
            tools=tools,
        )

    async def many(self, most: int) -> None:
        """Pictures of one request, doubled until one is refused or `most` are reached."""
        accepted, read, count = 0, 0, 1
        unread, dropped = "", False
        end: _Answer | None = None
        while count <= most:
            answer, named = await self._numbers(count)
            if answer.reply is None:
                end = answer
                break
            accepted = count
            if len(named) < count and self.value("reads_pictures") is True:
                _, again = await self._numbers(count)
                # The first or the last ones only, twice: the others were not misread, they never came.
                dropped |= named == again and _is_end(named, count)
                named |= again
            if len(named) == count:
                read = count
            else:
                unread = unread or f"of {count} it names {_listed(named)}"
            count *= 2
        limit = f"{count} {end.said()}" if end else "the most that was tried"
        refused = end is not None and end.refused
        self.found("pictures_accepted", accepted if accepted or refused else None, f"{accepted} accepted; {limit}")
        said = [f"all of {read} named"] if read else [] if accepted else ["none was accepted"]
        self.found("pictures_read", read or None, "; ".join([*said, *([unread] if unread else [])]))
        if read and dropped:
            self.entry["max_images"] = read
        elif accepted and refused:
            self.entry["max_images"] = accepted

    async def _numbers(self, count: int) -> tuple[_Answer, set[int]]:
        """Ask about `count` pictures; which of them, from 1, the reply names."""
        numbers = [str(number) for number in self.rng.sample(range(1000, 10_000), count)]
        answer = await self.ask(_user(*(self.pictures.number(number) for number in numbers), NUMBERS))
        words = set(re.findall(r"\d{4}", answer.reply.text)) if answer.reply else set()
        return answer, {place for place, number in enumerate(numbers, start=1) if number in words}

    async def large(self, most: int) -> None:
        """A square picture, its side doubled until it is refused or `most` pixels are reached."""
        accepted, read, side = 0, 0, min(FIRST_SIDE, most)
        end: _Answer | None = None
        while side <= most:
            number = self.new_number()
            answer = await self.ask(_user(self.pictures.number(number, side, side), NUMBER))
            if answer.reply is None:
                end = answer
                break
            accepted, read = side, side if answer.shows(number) else read
            side *= 2
        limit = f"{side} {end.said()}" if end else "the largest that was tried"
        refused = end is not None and end.refused
        evidence = f"a side of {accepted} px accepted, read up to {read}; {limit}"
        self.found("largest_side", accepted if accepted or refused else None, evidence)
        if accepted and refused:
            self.side_limit = accepted
            if UNKNOWN_FAMILY.view_pixels > accepted**2:
                self.entry["view_pixels"] = accepted**2

    async def logprobs(self) -> None:
        answer = await self.ask(_user(YES), logprobs=0)
        given = answer.reply is not None and answer.reply.token_logprobs is not None
        value = given if answer.reply else False if answer.refused else None
        self.found("logprobs", value, f"asked for them, {answer.said()}" + (", with them" if given else ""))

    async def places(self) -> None:
        """Which coordinate convention it writes when nobody tells it one."""
        sightings, evidence = [], []
        fitting = [size for size in MARK_SIZES if self.side_limit is None or size.width <= self.side_limit]
        size = fitting[0] if fitting else MARK_SIZES[-1]
        for x1, y1, x2, y2 in MARKS:
            dx, dy = self.rng.uniform(-0.02, 0.02), self.rng.uniform(-0.02, 0.02)
            place = Box(x1 + dx, y1 + dy, x2 + dx, y2 + dy).scaled(size.width, size.height)
            box = Box(*(round(value) for value in place.as_list()))
            answer = await self.ask(_user(self.pictures.mark(box, size), PLACE))
            evidence.append(f"at {box.as_list()} {answer.said()}")
            written = read_box(answer.reply.text) if answer.reply else None
            if written is not None and answer.reply is not None:
                received = answer.reply.image_sizes[0] if answer.reply.image_sizes else size
                sightings.append(Sighting(written, box.scaled(1 / size.width, 1 / size.height), received))
        verdict = decide(sightings)
        self.found("convention", verdict, f"marks in {size.width} x {size.height} px: " + "; ".join(evidence))
        if verdict is not None and verdict != "undecided":
            self.entry["convention"] = verdict


def _user(*content: Image | str) -> Message:
    parts = tuple(Text(part) if isinstance(part, str) else part for part in content)
    return Message(role="user", content=parts)


def _system(text: str) -> Message:
    return Message(role="system", content=(Text(text),))


def _schema(name: str, *parameters: str) -> dict[str, Any]:
    properties = {parameter: {"type": "string"} for parameter in parameters}
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": "A tool for a test.",
            "parameters": {"type": "object", "properties": properties, "required": list(parameters)},
        },
    }


def _names(reply: Reply | None, name: str) -> bool:
    return reply is not None and (name in reply.text or any(call.name == name for call in reply.tool_calls))


def _dialect(reply: Reply | None, name: str) -> Dialect | None:
    """How a reply calls a tool; None where it does not, or in a form that nothing here reads."""
    if reply is None:
        return None
    own = rf"<function={name}>|<tool_call>\s*{name}\s*<|\[TOOL_CALLS\].*{name}|\[{name}\("
    if any(call.name == name for call in reply.tool_calls) or re.search(own, reply.text):
        return "native"
    marked = re.search(r"<tool_call>\s*(\{.*?\})\s*(</tool_call>|\Z)", reply.text, re.DOTALL)
    fenced = re.search(r"(?:```\w*\s*|\A\s*)(\{.*?\})\s*(```|\Z)", reply.text, re.DOTALL)
    for form, match in (("hermes", marked), ("json", fenced)):
        try:
            value = json.loads(match[1]) if match else None
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and value.get("name") == name:
            return "hermes" if form == "hermes" else "json"
    return None


def _is_end(named: set[int], count: int) -> bool:
    """Whether these are the first or the last of 1 to count, but not none or all."""
    size = len(named)
    return 0 < size < count and named in (set(range(1, size + 1)), set(range(count - size + 1, count + 1)))


def _listed(named: set[int]) -> str:
    return "only " + ", ".join(map(str, sorted(named))) if named else "none"


def _short(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _plain(text: str) -> str:
    """A line that a TOML comment can hold: no control characters, no lone surrogates."""
    line = "".join(char if char.isprintable() else " " for char in text)
    return line.encode("utf-8", "replace").decode("utf-8")


def _toml(value: bool | int | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # A JSON string is a TOML string, but for DEL and for characters that JSON would write as two surrogates.
    text = value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
