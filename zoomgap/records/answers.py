"""Questions, the way to an answer, and its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from zoomgap.geometry import Box, Size
from zoomgap.records.messages import Clocks, Image, Request, ToolCall, Usage
from zoomgap.records.names import FAILED, AnswerKind, Convention, EvidenceKind, StopReason, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One question about one image.

    answer: the gold; for choices its letter (A is the first choice). evidence: a box for each thing that has to be
    seen, pixels of the original. cluster: questions that share an image or are reorderings of one another.
    detail_px: side of the smallest mark that decides the answer (stroke, gap, grain period), pixels of the original.
    meta: facts of the set that grading and arms do not read. crop: the set's own picture of the region, by hash.
    more_images: pictures that the question is about besides `image`, in its order.
    """

    id: str
    benchmark: str
    image: str
    width: int
    height: int
    question: str
    answer: str
    answer_kind: AnswerKind
    dimension: str
    choices: tuple[str, ...] = ()
    evidence: tuple[Box, ...] = ()
    evidence_kind: EvidenceKind | None = None
    cluster: str = ""
    detail_px: float | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    crop: str | None = None
    more_images: tuple[str, ...] = ()

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)

    @property
    def crop_box(self) -> Box | None:
        """The part of the image that the set's own crop shows: its box, where that is one region. None where nothing
        says which part it is."""
        placed = self.crop is not None and self.evidence_kind == "region" and len(self.evidence) == 1
        return self.evidence[0] if placed else None

    @property
    def cluster_name(self) -> str:
        """What the questions that belong together share; one that stands alone is its own cluster."""
        return self.cluster or self.id

    @property
    def evidence_side(self) -> float | None:
        """Side of the smallest evidence box in pixels of the original; None without evidence boxes."""
        return min((box.side for box in self.evidence), default=None)

    def record(self) -> dict[str, Any]:
        """The fields as checksums see them: one that came later counts only where it is set."""
        return {name: value for name, value in asdict(self).items() if value or name not in ("crop", "more_images")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One reply of the model, or a further call in it, and what came of it.

    call: 0 holds the reply and its first tool call; a reply of several calls goes on in the next steps with 1, 2 ...,
    which share its request and have no usage or clocks. box_written: the four numbers as the model wrote them, in
    `convention` and in frame `frame`. box: what the image sent back shows, pixels of the original; turn: by how much
    it is turned clockwise, degrees; picture: which of the question's pictures that is of, 0 for the first. observation:
    the image sent back. error: what went wrong, in words for the model or the user. confidence: geometric mean of the
    tokens' probabilities; min_probability: the smallest of them; margin: log of how many times likelier the deciding
    token was than its rival (agents.confidence), of direct answers. model: that was asked, where it is another than the
    run's.
    """

    index: int
    request: Request
    call: int = 0
    text: str = ""
    reasoning: str = ""
    tool_call: ToolCall | None = None
    frame: int | None = None
    convention: Convention | None = None
    box_written: tuple[float, ...] | None = None
    box: Box | None = None
    turn: int = 0
    picture: int = 0
    label: str | None = None
    observation: Image | None = None
    usage: Usage = Usage()
    clocks: Clocks = Clocks()
    tool_ms: float | None = None
    confidence: float | None = None
    min_probability: float | None = None
    margin: float | None = None
    finish_reason: str | None = None
    error: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One arm's way to one answer. attempt counts from 0; text is the final message ("" when there was none)."""

    run: str
    sample: str
    attempt: int
    invocation: str
    stop_reason: StopReason
    text: str
    steps: tuple[Step, ...]
    wall_ms: float
    error: str | None = None

    @property
    def failed(self) -> bool:
        """Whether it is an error and no answer. So is a conversation that was too long from the start (`context`)."""
        return self.stop_reason in FAILED or self.error is not None

    @property
    def turns(self) -> int:
        """Requests to the model."""
        return sum(step.call == 0 for step in self.steps)

    @property
    def zooms(self) -> int:
        return sum(step.box is not None for step in self.steps)

    def total(self, values: list[float | int | None]) -> float | int | None:
        """Sum of what is known; None where nothing is."""
        known = [value for value in values if value is not None]
        return sum(known) if known else None

    @property
    def model_ms(self) -> float | None:
        return self.total([s.clocks.model_ms for s in self.steps])

    @property
    def preprocess_ms(self) -> float | None:
        return self.total([s.clocks.preprocess_ms for s in self.steps])

    @property
    def tool_ms(self) -> float | None:
        return self.total([s.tool_ms for s in self.steps])

    @property
    def prompt_tokens(self) -> int | None:
        return self.total([s.usage.prompt_tokens for s in self.steps])  # type: ignore[return-value]

    @property
    def completion_tokens(self) -> int | None:
        return self.total([s.usage.completion_tokens for s in self.steps])  # type: ignore[return-value]

    @property
    def image_tokens(self) -> int | None:
        return self.total([s.usage.image_tokens for s in self.steps])  # type: ignore[return-value]

    @property
    def pixels_sent(self) -> int:
        """Pixels of all images in all requests of the trajectory."""
        parts = [part for s in self.steps if s.call == 0 for m in s.request.messages for part in m.content]
        return sum(part.width * part.height for part in parts if isinstance(part, Image))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """A verdict on one reply. answer: what was read from it. span: where in the reply it stands, start and end.

    grader: `rules-` with a version, or JUDGE with the judge's name and prompts.
    """

    verdict: Verdict
    rule: str
    answer: str | None
    span: tuple[int, int] | None
    grader: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One graded answer, flat: what the comparison reads. grader: of the verdict, "" for an error without one.

    scale: resize factor of the full image at the direct arm's budget (view pixels per original pixel). answer: what the
    grader read, None where it read nothing. confidence, min_probability, margin: of the first reply, as Step has them.
    """

    run: str
    sample: Sample
    attempt: int
    verdict: Verdict
    stop_reason: StopReason
    text: str
    scale: float
    wall_ms: float
    model_ms: float | None = None
    preprocess_ms: float | None = None
    tool_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    image_tokens: int | None = None
    pixels_sent: int = 0
    turns: int = 1
    zooms: int = 0
    cost: float | None = None
    invocation: str = ""
    trajectory: int = 0
    grader: str = ""
    answer: str | None = None
    confidence: float | None = None
    min_probability: float | None = None
    margin: float | None = None

    @property
    def evidence_px(self) -> float | None:
        """Side of the smallest evidence box in pixels of the direct view; None without evidence boxes."""
        side = self.sample.evidence_side
        return None if side is None else side * self.scale
