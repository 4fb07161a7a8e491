"""What the agent's loop costs beyond its model: CPU milliseconds a step, with a scripted model.

A step is one request of the model with the tool call that follows it. Prints two medians: of the loop alone (graph,
messages, parsing, boxes; drawing crops is replaced), and with each crop cut, encoded and stored on disk.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from zoomgap.agents import Context, Settings, answer
from zoomgap.benchmarks import micro
from zoomgap.models.scripted import ScriptedModel
from zoomgap.records import Image, Rendition, Sample
from zoomgap.renditions import Renditions
from zoomgap.storage import Store

ZOOMS = 3
TRAJECTORIES = 200
BOX = '{{"label": "red star", "bbox_2d": [{}, 100, 900, 900]}}'
CALL = f'<tool_call>\n{{{{"name": "zoom_in", "arguments": {BOX}}}}}\n</tool_call>'


class BareContext(Context):
    """Shows no image: no drawing, no thread, no disk."""

    async def show(self, rendition: Rendition) -> Image:
        return Image("0" * 64, 256, 256)


def cpu_ms_a_step(context: Context, sample: Sample) -> list[float]:
    """One figure for each trajectory of ZOOMS + 1 steps."""
    script = [*(CALL.format(100 + 100 * k) for k in range(ZOOMS)), "B"]

    async def measure() -> list[float]:
        figures = []
        for k in range(TRAJECTORIES):
            context.model = ScriptedModel(script)
            started = time.process_time()
            trajectory = await answer("agent", sample, context, run="r", attempt=k, invocation="i")
            figures.append((time.process_time() - started) * 1000 / trajectory.turns)
        return figures[TRAJECTORIES // 10 :]

    return asyncio.run(measure())


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "perf.db")
        made = next(iter(micro.make(1, seed=8_000_000)))
        store.add_image(made.jpeg, "image/jpeg", made.sample.size)
        settings = Settings(suffix=False, max_zooms=ZOOMS)
        bare = BareContext(ScriptedModel([]), Renditions(store), settings)
        whole = Context(ScriptedModel([]), Renditions(store, fresh=True), settings)
        print(f"loop alone:         {statistics.median(cpu_ms_a_step(bare, made.sample)):.2f} ms CPU a step")
        print(f"with crops stored:  {statistics.median(cpu_ms_a_step(whole, made.sample)):.2f} ms CPU a step")


if __name__ == "__main__":
    main()
