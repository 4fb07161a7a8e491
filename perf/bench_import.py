"""What `bench import` costs beyond decoding: a tsv of base64 images of 1 MB each, against bare loops over it.

The bare loops read the same rows one by one, in one thread. One decodes base64, decodes the image and hashes its bytes;
the other decodes base64 and hashes. The import is a process of its own, whose peak of resident memory is read too.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from zoomgap.benchmarks.readers import Source
from zoomgap.pipeline import import_set
from zoomgap.storage import Store

ROWS = 300
SIDES = (1600, 1200)
QUALITY = 92
PICTURES = 8
"""Different pictures; every row's file is another one by its comment."""
COLUMNS = ("index", "image", "question", "A", "B", "C", "D", "answer", "category")


def pictures() -> list[bytes]:
    """JPEG files of about 1 MB: smooth, with noise."""
    made = []
    for seed in range(PICTURES):
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (SIDES[1] // 16, SIDES[0] // 16, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize(SIDES, Image.Resampling.BICUBIC))
        noisy = smooth + rng.normal(0, 14, smooth.shape)
        buffer = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=QUALITY)
        made.append(buffer.getvalue())
    return made


def write(path: Path, rows: int) -> None:
    made = pictures()
    with path.open("w") as file:
        file.write("\t".join(COLUMNS) + "\n")
        for row in range(rows):
            jpeg, comment = made[row % PICTURES], f"row {row}".encode()
            one = jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]
            cells = (str(row), base64.b64encode(one).decode(), "What is it?", "a", "b", "c", "d", "A", "single")
            file.write("\t".join(cells) + "\n")


def images(path: Path) -> Iterator[bytes]:
    with path.open() as file:
        next(file)
        for line in file:
            yield base64.b64decode(line.split("\t")[1])


def hashed(path: Path) -> None:
    for data in images(path):
        hashlib.sha256(data).digest()


def decoded(path: Path) -> None:
    for data in images(path):
        hashlib.sha256(data).digest()
        with Image.open(io.BytesIO(data)) as image:
            image.load()


def imported(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, Store.open(Path(folder) / "perf.db") as store:
        assert not import_set(store, "perf", Source(path=path), format="vlmevalkit").refused


WAYS: dict[str, Callable[[Path], None]] = {"hashed": hashed, "decoded": decoded, "imported": imported}


def peak_mib() -> float:
    """Of this process alone: ru_maxrss begins with what its parent had."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(way: str, path: Path) -> dict[str, float]:
    """Seconds and peak memory of one way, in a process of its own."""
    command = [sys.executable, __file__, "--way", way, "--file", str(path)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS, help="of 1 MB each (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--folder", type=Path, help="where to write; it takes 2.4 MB a row")
    parser.add_argument("--way", choices=WAYS, help="measure this one, of --file")
    parser.add_argument("--file", type=Path)
    options = parser.parse_args()
    if options.way:
        started, cpu = time.perf_counter(), time.process_time()
        WAYS[options.way](options.file)
        took = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
        print(json.dumps(took | {"peak_mib": peak_mib()}))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "set.tsv"
        write(path, options.rows)
        found = {"rows": options.rows, "bytes": path.stat().st_size, **{way: measure(way, path) for way in WAYS}}
    own = found["imported"]
    for way in ("decoded", "hashed"):
        found[f"times_{way}"] = own["seconds"] / found[way]["seconds"]
        found[f"cpu_times_{way}"] = own["cpu"] / found[way]["cpu"]
    if options.json:
        print(json.dumps(found))
        return
    print(f"import:  {own['seconds']:.1f} s for {options.rows} rows, {own['peak_mib']:.0f} MiB (target: under 500)")
    print(f"against decoding and hashing: {found['times_decoded']:.2f} times (target: at most 1.5), "
          f"in CPU time {found['cpu_times_decoded']:.2f}")  # fmt: skip
    print(f"against base64 and sha256 alone: {found['times_hashed']:.1f} times")


if __name__ == "__main__":
    main()
