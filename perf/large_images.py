"""What images cost of 7680 x 4320 pixels: decodes, crops, memory; and what is spared when a run comes back.

1. A lone agent over one such JPEG that zooms three times: how often the image is decoded.
2. CPU time of imaging.cut and encode against Pillow's own crop, resize and save, in turns, for boxes of several sizes.
3. A run of 64 agents at once over as many images, in a process of its own: its largest resident memory, decodes, and
   how many of them were of images that had left memory.
4. The whole images of the procedural benchmark as an endpoint is sent them, for the first time and once more by a store
   and caches opened anew: milliseconds each.

The model is scripted. Images of 3 are a few different pictures, each many times under other hashes (a remark in the
file): to every cache they are different images.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw

from zoomgap import imaging, pipeline
from zoomgap.agents import Context, RunSummary, Settings, answer, run_arm
from zoomgap.geometry import Box, Size
from zoomgap.models.families import UNKNOWN
from zoomgap.models.scripted import ScriptedModel
from zoomgap.records import Rendition, Request, RunSpec, Sample
from zoomgap.renditions import Renditions
from zoomgap.storage import Store

SIZE = Size(7680, 4320)
IN_FLIGHT = 64
PICTURES = 4
"""Different pictures among the images of a run."""
THREADS = 32
"""As many as asyncio takes on machines of 28 and more cores; each may keep memory for itself."""
VIEWS = 60
TURNS = 15
BOXES = (Size(64, 64), Size(256, 256), Size(1024, 768), Size(2560, 1440), Size(7000, 4000))
SETTINGS = Settings(
    view_pixels=UNKNOWN.view_pixels, min_crop_pixels=UNKNOWN.crops.least, crop_pixels=UNKNOWN.crops.most,
    factor=UNKNOWN.factor, suffix=False,
)  # fmt: skip
ZOOMS = tuple(
    f'<tool_call>{{"name": "zoom_in", "arguments": {{"bbox_2d": {box}, "image": 0}}}}</tool_call>'
    for box in ([100, 100, 300, 300], [400, 400, 440, 460], [600, 100, 950, 600])
)


def photo(seed: int) -> bytes:
    """A JPEG of 7680 x 4320 pixels and several MB: soft colours, a thousand shapes, grain."""
    rng = np.random.default_rng(seed)
    soft = PILImage.fromarray(rng.integers(60, 200, (27, 48, 3), dtype=np.uint8))
    image = soft.resize((SIZE.width, SIZE.height), PILImage.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for x, y, side, *color in rng.integers(0, (SIZE.width, SIZE.height, 200, 256, 256, 256), (1000, 6)).tolist():
        draw.ellipse((x, y, x + side, y + side), fill=tuple(color))
    grain = rng.integers(-8, 9, (SIZE.height, SIZE.width, 1), dtype=np.int16)
    noisy = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    PILImage.fromarray(noisy).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def remarked(jpeg: bytes, number: int) -> bytes:
    """The same picture under another hash."""
    text = f"image {number}".encode()
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]


def sample(number: int, sha256: str) -> Sample:
    return Sample(
        id=f"s{number}", benchmark="large", image=sha256, width=SIZE.width, height=SIZE.height, question="What?",
        answer="B", answer_kind="text", dimension="object", cluster=f"s{number}",
    )  # fmt: skip


def zoom_then_answer(request: Request) -> str:
    """Three zooms, then an answer."""
    asked = sum(message.role == "assistant" for message in request.messages)
    return [*ZOOMS, "B"][asked]


def alone(store: Store, one: Sample) -> dict[str, Any]:
    context = Context(ScriptedModel(zoom_then_answer), Renditions(store), SETTINGS)
    trajectory = asyncio.run(answer("agent", one, context, run="r", attempt=0, invocation="i"))
    assert trajectory.zooms == len(ZOOMS), trajectory
    return {"zooms": trajectory.zooms, "decodes": context.renditions.decoded.decoded, "ms": trajectory.wall_ms}


def crops(jpeg: bytes, turns: int) -> Iterator[dict[str, Any]]:
    """Medians in ms of CPU and the median of the ratios, for each size of box."""
    image = imaging.open_image(jpeg)
    bounds = SETTINGS.crop_pixels, SETTINGS.factor, SETTINGS.min_crop_pixels

    def timed(work: Callable[[], Any]) -> float:
        started = time.process_time()
        work()
        return (time.process_time() - started) * 1000

    for side in BOXES:
        box = Box(200, 100, 200 + side.width, 100 + side.height)
        size = imaging.cut_size(box, *bounds)
        method = imaging.ENLARGE if size.pixels > side.pixels else imaging.REDUCE
        edges = (200, 100, 200 + side.width, 100 + side.height)

        def own(box: Box = box) -> bytes:
            return imaging.encode(imaging.cut(image, box, *bounds))

        def bare(edges: tuple[int, int, int, int] = edges, size: Size = size, method: Any = method) -> bytes:
            buffer = io.BytesIO()
            crop = image.crop(edges).resize((size.width, size.height), method)
            crop.save(buffer, "JPEG", quality=95, subsampling=0)
            return buffer.getvalue()

        assert own() == bare()
        pairs = []
        for turn in range(turns):
            works = (own, bare) if turn % 2 else (bare, own)
            times = {work: timed(work) for work in works}
            pairs.append((times[own], times[bare]))
        yield {
            "box": [side.width, side.height],
            "crop": [size.width, size.height],
            "own_ms": statistics.median(own for own, _ in pairs),
            "bare_ms": statistics.median(bare for _, bare in pairs),
            "ratio": statistics.median(own / bare for own, bare in pairs),
        }


def peak_mib() -> float:
    """Largest resident memory of this process. getrusage would tell its parent's where that was larger."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def crowd(path: Path, in_flight: int) -> dict[str, Any]:
    """A run over the store at `path`; this process does nothing else."""
    with Store.open(path) as store:
        spec = RunSpec(
            benchmark="large", benchmark_sha256="0" * 64, arm="agent", model="scripted", suffix=False,
            view_pixels=SETTINGS.view_pixels, min_crop_pixels=SETTINGS.min_crop_pixels,
            crop_pixels=SETTINGS.crop_pixels, factor=SETTINGS.factor,
        )  # fmt: skip
        idle = peak_mib()
        model = ScriptedModel(zoom_then_answer)

        async def work() -> RunSummary:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
            return await run_arm(spec, store.samples("large"), store, model, concurrency=in_flight)

        summary = asyncio.run(work())
        assert summary.correct == summary.n
        return {
            "images": summary.n,
            "in_flight": in_flight,
            "idle_mib": idle,
            "peak_mib": peak_mib(),
            "decodes": summary.images.decoded,
            "re_decodes": summary.images.decoded_again,
            "seconds": summary.seconds,
            "per_second": summary.n / summary.seconds,
        }


def come_back(folder: Path, views: int) -> dict[str, Any]:
    """Whole images of the procedural benchmark, cold and warm."""
    path = folder / "micro.db"
    with Store.open(path) as store:
        samples = store.samples(pipeline.make_micro(store, views, 8_000_000).name)
    found: dict[str, Any] = {"views": len(samples)}
    for name in ("cold", "warm"):
        with Store.open(path) as store:
            renditions = Renditions(store)
            times = []
            for one in samples:
                size = imaging.view_size(one.size, SETTINGS.view_pixels, SETTINGS.factor)
                rendition = Rendition(one.image, Box(0, 0, one.width, one.height), size)
                started = time.perf_counter()
                renditions.show(rendition)
                times.append((time.perf_counter() - started) * 1000)
            counts = renditions.counts
            found |= {
                f"{name}_ms": statistics.median(times),
                f"{name}_drawn": counts.drawn,
                f"{name}_found": counts.found,
            }
    return found


def measure(folder: Path, images: int, in_flight: int, views: int, turns: int) -> dict[str, Any]:
    path = folder / "large.db"
    pictures = [photo(seed) for seed in range(PICTURES)]
    with Store.open(path) as store:
        infos = [store.add_image(remarked(pictures[k % PICTURES], k), "image/jpeg", SIZE) for k in range(images)]
        store.add_benchmark("large", "0" * 64, {}, [sample(k, info.sha256) for k, info in enumerate(infos)])
        lone = store.add_image(pictures[0], "image/jpeg", SIZE)
        found: dict[str, Any] = {
            "image_mb": statistics.mean(info.bytes for info in infos) / 1e6,
            "alone": alone(store, replace(sample(0, lone.sha256), id="lone")),
        }
    found["crops"] = list(crops(pictures[0], turns))
    command = [sys.executable, __file__, "--crowd", str(path), "--in-flight", str(in_flight)]
    found["crowd"] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    found["come_back"] = come_back(folder, views)
    return found


def lines(found: dict[str, Any]) -> Iterator[str]:
    one, run, back = found["alone"], found["crowd"], found["come_back"]
    yield f"an agent alone, {one['zooms']} zooms:  decoded {one['decodes']} times (target: 1), {one['ms']:.0f} ms"
    for row in found["crops"]:
        box, crop = (" x ".join(map(str, row[name])) for name in ("box", "crop"))
        yield (
            f"crop of {box} px as {crop}:  {row['own_ms']:.1f} ms CPU, bare {row['bare_ms']:.1f} ms, "
            f"ratio {row['ratio']:.2f} (target: at most 1.2)"
        )
    yield (
        f"{run['images']} images of {found['image_mb']:.1f} MB, {run['in_flight']} in flight:  at most "
        f"{run['peak_mib']:.0f} MiB (target: under 2048; {run['idle_mib']:.0f} before), {run['decodes']} decodes, "
        f"{run['re_decodes']} of them again, {run['per_second']:.2f} answers a second"
    )
    yield (
        f"{back['views']} whole images of micro:  {back['cold_ms']:.2f} ms each, {back['warm_ms']:.2f} ms when they "
        f"come back ({back['warm_found']} found, {back['warm_drawn']} drawn)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--images", type=int, default=IN_FLIGHT, help="of the run (default: %(default)s)")
    parser.add_argument("--in-flight", type=int, default=IN_FLIGHT, help="of the run (default: %(default)s)")
    parser.add_argument("--views", type=int, default=VIEWS, help="images of micro (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=TURNS, help="of each crop (default: %(default)s)")
    parser.add_argument("--crowd", type=Path, help="only the run, over this database, as JSON")
    options = parser.parse_args()
    if options.crowd:
        print(json.dumps(crowd(options.crowd, options.in_flight)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.images, options.in_flight, options.views, options.turns)
    if options.json:
        print(json.dumps(found))
    else:
        print("\n".join(lines(found)))


if __name__ == "__main__":
    main()
