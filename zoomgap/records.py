"""Frozen records that cross rooms, and the vocabulary of code, database and reports alike.

Images are named by the sha256 of their encoded bytes. Times are milliseconds; one that could not be read is None,
never 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from zoomgap.geometry import Box, Size

AnswerKind = Literal["choice", "integer", "text"]
EvidenceKind = Literal["tight", "region"]
Role = Literal["system", "user", "assistant", "tool"]
ImageReturn = Literal["user", "tool", "responses"]
WireName = Literal["chat", "responses"]
Dialect = Literal["native", "hermes", "json"]
Convention = Literal["relative_1000", "relative_1", "absolute", "relative_1000_yx"]
RuleName = Literal[
    "none", "smart_resize", "glm", "internvl", "idefics", "llama4", "square", "longest_side", "kimi", "claude"
]
Verdict = Literal["correct", "incorrect", "unparsed", "error"]
StopReason = Literal["answered", "budget", "repeated_box", "unparsable_call", "context", "endpoint_error", "cancelled"]
Arm = Literal[
    "direct", "direct-schema", "direct-matched", "tiles", "no-image", "region", "region-lowres", "oracle", "agent",
    "agent-lowres", "agent-random", "agent-blind", "router",
]  # fmt: skip
Labels = Literal["agent", "self", "random-crop", "gold"]
TimingMode = Literal["latency", "throughput"]

FAILED: tuple[StopReason, ...] = ("endpoint_error", "cancelled")
"""Ends of what never was an answer: it is asked again."""
ARMS: tuple[str, ...] = get_args(Arm)
JUDGE = "judge:"
"""How the name of a grader begins that is a model: its verdicts stand beside those of the rules."""

LABELS: tuple[str, ...] = get_args(Labels)
DIMENSIONS = ("counting", "ocr", "color", "structure", "material", "object")
"""The six dimensions of ZoomBench (arXiv 2602.11858)."""


def canonical_json(value: Any) -> str:
    """One spelling for one value: sorted keys, no spaces, no escapes. What hashes and stored requests are made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """sha256 (hex) of a JSON value in its canonical spelling."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """A stored image. sha256 is over the encoded bytes."""

    sha256: str
    media_type: str
    width: int
    height: int
    bytes: int

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)


@dataclass(frozen=True, slots=True)
class Rendition:
    """How a stored image is shown, all of it or a part.

    source: its sha256. box: the part, pixels of the source. size: what the part is resized to, before it is turned
    clockwise by `turn` degrees (0, 90, 180 or 270).
    """

    source: str
    box: Box
    size: Size
    turn: int = 0


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


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a message, by the sha256 of the exact bytes sent, with its size in pixels."""

    sha256: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the model wrote it: `arguments` is its own text, JSON or not. id: "" where the model gave none."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    role: Role
    content: tuple[Text | Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Decoding settings. temperature 0 is greedy; seed matters only above 0."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a VisionModel is asked. tools: schemas in the OpenAI form. logprobs: alternatives a token, None for none."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Literal["auto", "none"] = "auto"
    sampling: Sampling = Sampling()
    logprobs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one reply; None where the model does not say. image_tokens are part of prompt_tokens."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    image_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Milliseconds of one reply. model_ms is the whole call as the caller waits for it, without an endpoint
    client's own waits (for a slot, between tries).

    In a batch the in-process model divides nothing: each request waits for its batch, and batch_size says so.
    """

    model_ms: float | None = None
    preprocess_ms: float | None = None
    first_byte_ms: float | None = None
    generation_ms: float | None = None
    batch_size: int = 1


class TokenChoice(NamedTuple):
    """A generated token and the likeliest ones in its place, each with its natural log-probability, best first."""

    text: str
    likeliest: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a VisionModel answers. text: as written, tool-call markup included where the wire leaves it in.

    token_logprobs: natural log-probability of each generated token, or None. token_ids: what an in-process model wrote,
    the end of its turn included, else None. token_choices: the tokens with what else could have stood there, or None.
    image_sizes: each image as the model received it after its own
    preprocessing, or () where that is not known.
    """

    text: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    usage: Usage = Usage()
    clocks: Clocks = Clocks()
    token_logprobs: tuple[float, ...] | None = None
    token_ids: tuple[int, ...] | None = None
    token_choices: tuple[TokenChoice, ...] | None = None
    image_sizes: tuple[Size, ...] = ()


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
class RunSpec:
    """All that can change an answer. Its hash is the run's identity; circumstances belong to the invocation.

    view_pixels: budget in pixels of the full image. min_crop_pixels, crop_pixels: a crop of fewer pixels is enlarged to
    the one, of more reduced to the other. factor: sides of what is resized are its multiples. weights, dtype: sha256
    and number format of an in-process model's weights, else None. prompts: sha256 of the templates used; suffix:
    whether the answer-form sentence is added. attempts: answers a sample. tools: offered to an agent; padding: share of
    a box's sides added on each side; renders_tools: whether the model's chat template shows tools; dialect: how it is
    told to write calls. wire: to the endpoint. match: run whose unique image tokens `direct-matched` gets. resize,
    min_pixels, max_pixels, tile, max_side: with factor the resize.Rule of the model's processor, where boxes are
    counted in pixels of its image. max_images: images that one request may hold, where an agent could come to have
    more. router: sha256 of the Router that the arm `router` decides by; agent: sha256 of the RunSpec by which it zooms,
    canonical JSON (both texts are stored as prompts are); agent_model: that spec's model.
    variant: 0 asks as the set does, k with the options in the k-th other order and the k-th other wording.
    """

    benchmark: str
    benchmark_sha256: str
    arm: Arm
    model: str
    weights: str | None = None
    endpoint: str | None = None
    prompts: str = ""
    sampling: Sampling = Sampling()
    view_pixels: int = 65_536
    min_crop_pixels: int = 16_384
    crop_pixels: int = 16_384
    factor: int = 32
    max_zooms: int = 3
    image_return: ImageReturn = "user"
    convention: Convention = "relative_1000"
    suffix: bool = True
    dtype: str | None = None
    attempts: int = 1
    tools: tuple[str, ...] = ("zoom_in",)
    padding: float = 0.0
    renders_tools: bool = True
    dialect: Dialect = "hermes"
    wire: WireName = "chat"
    match: str | None = None
    resize: RuleName = "none"
    min_pixels: int = 0
    max_pixels: int = 0
    tile: int = 0
    max_side: int = 0
    max_images: int | None = None
    router: str | None = None
    agent: str | None = None
    agent_model: str | None = None
    variant: int = 0

    @property
    def id(self) -> str:
        """First 12 hex digits of the hash over every field; those of LATER_FIELDS count only where they are set."""
        return digest({name: value for name, value in asdict(self).items() if value or name not in LATER_FIELDS})[:12]


LATER_FIELDS = ("router", "agent", "agent_model", "variant")
"""Fields of RunSpec that came when databases held runs already, whose ids stay what they were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One time that a command worked on a run. Timings never pool across invocations of unlike circumstances.

    seconds: how long it worked; images: renditions drawn and found, originals decoded and decoded again. None until it
    ended.
    """

    id: str
    run: str
    started: str
    circumstances: Mapping[str, Any]
    seconds: float | None = None
    images: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingSession:
    """One time that runs of a benchmark were timed against one another; their answers stay as they are.

    mode: latency, one answer at a time, the runs in turn on each sample; or throughput, `in_flight` answers of one run
    at a time, the runs in turn block by block. samples, rounds: what was to be timed; seed: of their choice. warm_up:
    answers of each run that were thrown away before. runs: by id, circumstances that are each run's own. circumstances:
    those of all. ended: None while it works, and where it was cut short.
    """

    id: str
    benchmark: str
    mode: TimingMode
    started: str
    seed: int
    samples: int
    rounds: int
    warm_up: int
    in_flight: int
    runs: Mapping[str, Mapping[str, Any]]
    circumstances: Mapping[str, Any]
    ended: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedAnswer:
    """One answer of a timing session. round: pass over the samples; in throughput mode the block.

    position: place of the run within its turn, from 0. Clocks and tokens are sums over all calls, None where one of
    them is not known; tool_ms is 0 where nothing was cut out. view_ms: drawing the first images, before any call; None
    where several answers were under way. error: why there is no answer; then nothing is a timing.
    """

    session: str
    run: str
    sample: str
    round: int
    position: int
    wall_ms: float
    verdict: Verdict
    view_ms: float | None = None
    model_ms: float | None = None
    preprocess_ms: float | None = None
    first_byte_ms: float | None = None
    tool_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    image_tokens: int | None = None
    pixels_sent: int = 0
    turns: int = 0
    zooms: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedBlock:
    """A run's turn in throughput mode: how many answers and errors came in so many seconds, waiting for the last."""

    session: str
    run: str
    block: int
    position: int
    answers: int
    errors: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a comparison on a benchmark will be judged by. margin: of equivalence, a share; created: UTC."""

    benchmark: str
    margin: float
    power: float
    level: float
    created: str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A place proposed from an agent's crop. box: pixels of the original. step points into `trajectory` (a row id)."""

    id: str
    sample: str
    benchmark: str
    image: str
    box: Box
    label: str
    trajectory: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question about a region. local: asked of the crop alone ("what letter is on it?"), needs the overlay."""

    id: str
    region: str
    text: str
    choices: tuple[str, ...]
    answer_kind: AnswerKind
    dimension: str
    local: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One teacher's answer to a question on its crop. answer None with an error is a vote that failed, no answer."""

    question: str
    labels: Labels
    voter: str
    index: int
    answer: str | None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One training example on the full image. overlay: box to draw, pixels of the original, or None.

    gold marks an item whose label or region read the benchmark's answer or evidence boxes.
    """

    id: str
    dataset: str
    question: str
    sample: str
    image: str
    text: str
    choices: tuple[str, ...]
    answer: str
    answer_kind: AnswerKind
    dimension: str
    overlay: Box | None
    labels: Labels
    agreement: float
    gold: bool
