from __future__ import annotations

import asyncio
import io
import re
import tomllib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from zoomgap.config import load, settled
from zoomgap.errors import ModelError
from zoomgap.geometry import Box, Size
from zoomgap.models.catalog import MICRO_PATH
from zoomgap.models.grounding import MARK_SIZES
from zoomgap.models.openai_api import EndpointModel
from zoomgap.models.probe import STEPS, Finding, Pictures, ProbeReport, probe
from zoomgap.models.scripted import ScriptedModel
from zoomgap.records import Image, Reply, Request, Text, ToolCall, Usage

NAMES = (
    "answers", "reads_pictures", "tools_accepted", "renders_tools", "dialect", "tool_pictures", "pictures_accepted",
    "pictures_read", "largest_side", "logprobs", "convention",
)  # fmt: skip


OWN = {
    "qwen3-coder": "<tool_call>\n<function={}>\n<parameter=word>\nblue\n</parameter>\n</function>\n</tool_call>",
    "glm": "<tool_call>{}\n<arg_key>word</arg_key>\n<arg_value>blue</arg_value>\n</tool_call>",
    "mistral": '[TOOL_CALLS]{}[ARGS]{{"word": "blue"}}',
    "llama 4": '[{}(word="blue")]',
    "words": "I call {} with blue.",
}
"""Markup that a server without the model's parser hands through, and none."""


class Persona:
    """A model that can see, with habits of its own. It knows the pictures by their hash, as a model knows pixels."""

    def __init__(self, **habits):
        self.pictures = Pictures()
        self.habits = {
            "convention": "relative_1000", "dialect": "native", "tools": "rendered", "tool_images": "seen",
            "most_images": 100, "drops_beyond": 100, "largest": 10_000, "logprobs": True, "sees": True, "counts": True,
        } | habits  # fmt: skip

    def model(self):
        return ScriptedModel(self.answer, name="persona")

    def answer(self, request: Request) -> Reply:
        habits, tools = self.habits, request.tools if self.habits["tools"] == "rendered" else ()
        if request.tools and habits["tools"] == "refused":
            raise ModelError("answered 400: tools need --enable-auto-tool-choice")
        if request.logprobs is not None and habits["logprobs"] is None:
            raise ModelError("answered 400: logprobs are not supported")
        parts = [(message.role, part) for message in request.messages for part in message.content]
        shown = [part for role, part in parts if isinstance(part, Image) and role != "tool"]
        if habits["tool_images"] == "refused" and any(role == "tool" and isinstance(p, Image) for role, p in parts):
            raise ModelError("answered 400: tool messages hold text")
        if habits["tool_images"] == "seen":
            shown += [part for role, part in parts if isinstance(part, Image) and role == "tool"]
        if len(shown) > habits["most_images"]:
            raise ModelError(f"answered 400: at most {habits['most_images']} images")
        if any(part.width > habits["largest"] for part in shown):
            raise ModelError("answered 413: too large")
        words = " ".join(part.text for _, part in parts if isinstance(part, Text))
        count = len(words) + 60 * len(shown) + sum(len(str(tool)) for tool in tools)
        reply = self.say(request, words, shown[: habits["drops_beyond"]], tools)
        return Reply(
            text=reply if isinstance(reply, str) else "",
            tool_calls=(reply,) if isinstance(reply, ToolCall) else (),
            usage=Usage(prompt_tokens=count if habits["counts"] else None),
            token_logprobs=(-0.1,) if habits["logprobs"] and request.logprobs is not None else None,
        )

    def say(self, request: Request, words: str, shown: list[Image], tools):
        if "red rectangle" in words:
            return self.place(shown[0])
        if "number" in words:
            seen = [self.pictures.shows[image.sha256] for image in shown] if self.habits["sees"] else []
            return ", ".join(seen) or "I see no picture."
        named = [tool["function"]["name"] for tool in tools] or re.findall(r"tool named (\w+)", words)
        if "name of the tool" in words:
            return named[0] if named else "none"
        if "Call the tool" in words and named:
            return self.call(named[0], told="tool named" in words)
        return "yes"

    def call(self, name: str, told: bool):
        dialect = self.habits["dialect"]
        written = f'{{"name": "{name}", "arguments": {{"word": "blue"}}}}'
        if dialect == "native" and not told:
            return ToolCall("id", name, '{"word": "blue"}')
        if dialect in OWN:
            return OWN[dialect].format(name)
        if dialect == "mute":
            return "I would rather not."
        return f"```json\n{written}\n```" if dialect == "json" else f"<tool_call>\n{written}\n</tool_call>"

    def place(self, image: Image) -> str:
        x1, y1, x2, y2 = (float(v) for v in re.findall(r"[\d.]+", self.pictures.shows[image.sha256]))
        wide, high = image.width, image.height
        parts = (x1 / wide, y1 / high, x2 / wide, y2 / high)
        return {
            "absolute": f"[{x1:.0f}, {y1:.0f}, {x2:.0f}, {y2:.0f}]",
            "relative_1": str([round(part, 3) for part in parts]),
            "relative_1000": str([round(1000 * part) for part in parts]),
            "relative_1000_yx": str([round(1000 * parts[k]) for k in (1, 0, 3, 2)]),
            "percent": str([round(100 * part, 1) for part in parts]),
            "words": "In the upper right corner.",
        }[self.habits["convention"]]


async def report_of(persona: Persona, **settings) -> ProbeReport:
    report = await probe(persona.model(), persona.pictures, seed=7, **{"max_images": 1, "max_side": 128, **settings})
    assert tuple(finding.name for finding in report.findings) == NAMES
    assert all(finding.evidence for finding in report.findings)
    return report


async def test_a_model_that_can_everything():
    report = await report_of(Persona(), max_images=16, max_side=512)
    assert {name: report.value(name) for name in NAMES} == {
        "answers": True,
        "reads_pictures": True,
        "tools_accepted": True,
        "renders_tools": True,
        "dialect": "native",
        "tool_pictures": True,
        "pictures_accepted": 16,
        "pictures_read": 16,
        "largest_side": 512,
        "logprobs": True,
        "convention": "relative_1000",
    }
    assert report.entry == {"renders_tools": True, "dialect": "native", "convention": "relative_1000"}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("convention", ["absolute", "relative_1000", "relative_1", "relative_1000_yx"])
async def test_every_convention_is_found(convention, seed):
    persona = Persona(convention=convention)
    report = await probe(persona.model(), persona.pictures, seed=seed, max_images=1, max_side=128)
    assert report.value("convention") == report.entry["convention"] == convention


@pytest.mark.parametrize(("convention", "value"), [("percent", "undecided"), ("words", "unknown")])
async def test_a_convention_that_cannot_be_told_is_not_guessed(convention, value):
    report = await report_of(Persona(convention=convention))
    assert report.value("convention") == value
    assert "convention" not in report.entry


@pytest.mark.parametrize(
    ("habits", "accepted", "renders", "dialect"),
    [
        ({"dialect": "native"}, True, True, "native"),
        ({"dialect": "hermes"}, True, True, "hermes"),
        ({"dialect": "json"}, True, True, "json"),
        ({"dialect": "qwen3-coder"}, True, True, "native"),
        ({"dialect": "glm", "tools": "dropped"}, True, False, "native"),
        ({"dialect": "mistral"}, True, True, "native"),
        ({"dialect": "llama 4"}, True, True, "native"),
        ({"dialect": "words"}, True, True, "unknown"),
        ({"dialect": "mute"}, True, True, "unknown"),
        ({"dialect": "native", "counts": False}, True, True, "native"),
        ({"tools": "dropped", "dialect": "hermes"}, True, False, "hermes"),
        ({"tools": "dropped", "dialect": "json", "counts": False}, True, False, "json"),
        ({"tools": "refused", "dialect": "hermes"}, False, False, "hermes"),
        ({"tools": "refused", "dialect": "mute"}, False, False, "unknown"),
    ],
)
async def test_tools(habits, accepted, renders, dialect):
    report = await report_of(Persona(**habits))
    assert report.value("tools_accepted") is accepted
    assert report.value("renders_tools") is renders
    assert report.value("dialect") == dialect
    assert report.entry["renders_tools"] is renders
    assert report.entry.get("dialect", "unknown") == dialect


@pytest.mark.parametrize(
    ("habits", "value"),
    [
        ({}, True),
        ({"tool_images": "dropped"}, False),
        ({"tool_images": "refused"}, False),
        ({"tools": "refused"}, True),
        ({"sees": False}, "unknown"),
        ({"sees": False, "tool_images": "refused"}, False),
    ],
)
async def test_pictures_in_tool_turns(habits, value):
    report = await report_of(Persona(**habits))
    assert report.value("tool_pictures") == value
    assert report.entry.get("image_return") == ("user" if value is False else None)


@pytest.mark.parametrize(
    ("habits", "accepted", "read", "entry"),
    [
        ({"most_images": 5}, 4, 4, 4),
        ({"most_images": 1}, 1, 1, 1),
        ({"most_images": 0}, 0, "unknown", None),
        ({"drops_beyond": 4}, 16, 4, 4),
        ({"drops_beyond": 3, "most_images": 8}, 8, 2, 2),
        ({"sees": False}, 16, "unknown", None),
        ({"sees": False, "most_images": 3}, 2, "unknown", 2),
    ],
)
async def test_many_pictures(habits, accepted, read, entry):
    report = await report_of(Persona(**habits), max_images=16)
    assert report.value("pictures_accepted") == accepted
    assert report.value("pictures_read") == read
    assert report.entry.get("max_images") == entry


async def test_a_number_that_is_misread_once_drops_no_picture():
    persona = Persona()
    slips = iter(range(100))

    def slip(request: Request) -> Reply:
        reply = persona.answer(request)
        images = [part for message in request.messages for part in message.content if isinstance(part, Image)]
        if len(images) == 2 and next(slips) == 0:
            return Reply(text=reply.text.rpartition(", ")[0] + ", 0000")
        return reply

    report = await probe(ScriptedModel(slip), persona.pictures, seed=1, max_images=4, max_side=128)
    assert report.value("pictures_read") == 4
    assert "max_images" not in report.entry


@pytest.mark.parametrize(
    ("largest", "value", "entry"),
    [
        (1500, 1024, {}),
        (600, 512, {"view_pixels": 512 * 512}),
        (500, 0, {}),
    ],
)
async def test_large_pictures(largest, value, entry):
    report = await report_of(Persona(largest=largest), max_side=2048, max_images=1)
    assert report.value("largest_side") == value
    assert {key: report.entry[key] for key in ("view_pixels", "crop_pixels") if key in report.entry} == entry


@pytest.mark.parametrize(("habit", "value"), [(True, True), (False, False), (None, False)])
async def test_logprobs(habit, value):
    assert (await report_of(Persona(logprobs=habit))).value("logprobs") is value


async def test_a_model_that_says_nothing_to_the_point_is_unknown():
    model = ScriptedModel(lambda request: "Lovely weather.")
    report = await probe(model, Pictures(), seed=1, max_images=2, max_side=128)
    unknown = {name for name in NAMES if report.value(name) == "unknown"}
    assert unknown == {
        "reads_pictures", "renders_tools", "dialect", "tool_pictures", "pictures_read", "convention",
    }  # fmt: skip
    assert report.value("logprobs") is False
    assert report.entry == {}


async def test_a_model_that_is_not_there_is_asked_once():
    model = ScriptedModel([ModelError("cannot be reached: [Errno 111]")])
    report = await probe(model, Pictures())
    assert [finding.value for finding in report.findings] == [False]
    assert "cannot be reached" in report.findings[0].evidence
    assert len(model.history) == 1
    assert report.value("convention") == "unknown"
    assert report.entry == {}


async def test_an_endpoint_that_dies_under_way_has_refused_nothing():
    persona = Persona()

    def die(request: Request) -> Reply:
        if len(model.history) > 2:
            raise ModelError("answered 503: gone")
        return persona.answer(request)

    model = ScriptedModel(die)
    report = await probe(model, persona.pictures, seed=1, max_side=128)
    assert report.value("reads_pictures") is True
    assert [report.value(name) for name in NAMES[2:]] == ["unknown"] * 9
    assert report.entry == {}


async def test_no_reply_in_time_is_unknown():
    class Slow(ScriptedModel):
        async def reply(self, request: Request) -> Reply:
            if request.tools:
                await asyncio.sleep(60)
            return await super().reply(request)

    persona = Persona()
    report = await probe(Slow(persona.answer), persona.pictures, timeout_s=0.05, max_images=1, max_side=128, seed=1)
    assert report.value("tools_accepted") == report.value("renders_tools") == "unknown"
    assert "no reply within 0.05 s" in next(f.evidence for f in report.findings if f.name == "tools_accepted")
    assert report.value("convention") == "relative_1000"


async def test_progress_counts_the_steps():
    seen = []
    persona = Persona()
    await probe(persona.model(), persona.pictures, max_images=1, max_side=128, progress=lambda *args: seen.append(args))
    assert seen == [(k, len(STEPS), what) for k, what in enumerate((*STEPS, ""))]


async def test_a_seed_makes_the_same_questions():
    asked = []
    for _ in range(2):
        persona = Persona()
        model = persona.model()
        await probe(model, persona.pictures, max_images=2, max_side=128, seed=3)
        asked.append(model.history)
    assert asked[0] == asked[1]
    persona = Persona()
    model = persona.model()
    await probe(model, persona.pictures, max_images=2, max_side=128, seed=4)
    assert model.history != asked[0]


def test_pictures_show_what_they_say():
    pictures = Pictures()
    number = pictures.number("1234", 640, 320)
    assert (number.width, number.height) == (640, 320)
    assert pictures.shows[number.sha256] == "1234"
    assert pictures.load(number.sha256).startswith(b"\x89PNG")
    ink = np.asarray(PILImage.open(io.BytesIO(pictures.load(number.sha256))).convert("L")) < 128
    rows, columns = np.nonzero(ink)
    assert rows.max() - rows.min() > 80
    assert columns.max() - columns.min() > 300
    assert min(columns.min(), 639 - columns.max(), rows.min(), 319 - rows.max()) > 0
    mark = pictures.mark(Box(100, 50, 300, 250))
    pixels = np.asarray(PILImage.open(io.BytesIO(pictures.load(mark.sha256))))
    rows, columns = np.nonzero((pixels[..., 0] > 200) & (pixels[..., 1] < 100))
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (100, 50, 300, 250)
    assert Size(mark.width, mark.height) == MARK_SIZES[0]


async def test_the_entry_is_read_back(tmp_path):
    persona = Persona(convention="relative_1000_yx", dialect="hermes", tools="dropped", most_images=5, largest=600,
                      tool_images="dropped")  # fmt: skip
    report = await report_of(persona, max_images=8, max_side=1024)
    path = tmp_path / "zoomgap.toml"
    path.write_text(report.toml(), encoding="utf-8")
    found = settled("persona", config=load(path))
    assert found.warnings == ()
    assert report.entry == {
        "renders_tools": False, "dialect": "hermes", "image_return": "user", "max_images": 4, "view_pixels": 262_144,
        "convention": "relative_1000_yx",
    }  # fmt: skip
    for name, value in report.entry.items():
        assert getattr(found.family, name) == value
        assert found.origin[name].startswith(str(path))
    assert report.to_json()["toml"] == report.toml()


@settings(deadline=None)
@given(st.text(min_size=1), st.text())
def test_any_name_and_evidence_make_toml(name, said):
    report = ProbeReport(model=name, findings=(Finding("answers", True, said),), entry={"factor": 28, "suffix": False})
    # An emitted finding has been through the prober; toml() does not count on it.
    data = tomllib.loads(report.toml())
    assert data == {"models": {name.encode("utf-8", "replace").decode(): {"factor": 28, "suffix": False}}}


@pytest.fixture(scope="module")
def endpoint(serve):
    return serve(MICRO_PATH)


async def test_the_embedded_model_behind_a_real_server(endpoint, tmp_path):
    pictures = Pictures()
    model = EndpointModel(endpoint, str(MICRO_PATH), pictures.load)
    report = await probe(model, pictures, max_images=2, max_side=512, max_tokens=4, timeout_s=300, seed=1)
    await model.aclose()
    assert tuple(finding.name for finding in report.findings) == NAMES
    assert report.value("answers") is True
    assert report.value("tools_accepted") is True
    assert report.value("renders_tools") is True
    assert report.value("pictures_accepted") == 2
    assert report.value("largest_side") == 512
    assert isinstance(report.value("logprobs"), bool)
    assert report.value("dialect") in ("unknown", "hermes")
    # It was trained on questions of its own: it reads no four digits and is not sure of a place it is asked for.
    assert report.value("reads_pictures") == report.value("pictures_read") == "unknown"
    assert report.value("convention") in ("unknown", "undecided", "relative_1000")
    (tmp_path / "zoomgap.toml").write_text(report.toml(), encoding="utf-8")
    assert settled(str(MICRO_PATH), config=load(tmp_path / "zoomgap.toml")).family.renders_tools is True
