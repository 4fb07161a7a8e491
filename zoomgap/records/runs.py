"""What a run is, when commands worked on it, how it was timed, and what a comparison will be judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from zoomgap.records.messages import Sampling
from zoomgap.records.names import Arm, Convention, Dialect, ImageReturn, RuleName, TimingMode, Verdict, WireName, digest


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
