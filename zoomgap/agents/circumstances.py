"""What a timing depends on and an answer does not: recorded with every invocation, read without importing torch."""

from __future__ import annotations

import os
import platform
import subprocess
import uuid
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import zoomgap
from zoomgap.records import Invocation

PACKAGES = ("zoomgap", "torch", "transformers", "langgraph", "openai", "pillow", "numpy")


def new_invocation(
    run: str,
    *,
    concurrency: int,
    batch_size: int | None,
    warm_up: int,
    cache_bytes: int | None = None,
    stream: bool | None = None,
) -> Invocation:
    """An invocation that starts now; arguments as for circumstances()."""
    return Invocation(
        id=uuid.uuid4().hex[:12],
        run=run,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        circumstances=circumstances(concurrency, batch_size, warm_up, cache_bytes, stream),
    )


def circumstances(
    concurrency: int,
    batch_size: int | None,
    warm_up: int,
    cache_bytes: int | None = None,
    stream: bool | None = None,
) -> dict[str, Any]:
    """Circumstances of this process as JSON; what cannot be read is None.

    concurrency: trajectories under way at once. batch_size: of an in-process model, else None. warm_up: answers given
    before the clock started and thrown away. cache_bytes: what an in-process model may keep of images that it has seen.
    stream: whether an endpoint is asked for replies in pieces, else None.
    """
    own = {
        "concurrency": concurrency, "batch_size": batch_size, "warm_up": warm_up, "cache_bytes": cache_bytes,
        "stream": stream,
    }  # fmt: skip
    return {**own, **_process()}


@cache
def _process() -> dict[str, Any]:
    return {
        "revision": _revision(Path(zoomgap.__file__).parents[1]),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _revision(root: Path) -> str | None:
    """The git revision of a source checkout, `-dirty` where files differ from it."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _cpu() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
