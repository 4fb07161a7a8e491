"""Storage: one SQLite file of records and, next to it, a folder of images by content."""

from zoomgap.storage.objects import ObjectStore
from zoomgap.storage.rows import BenchmarkInfo, DatasetInfo, Graded, RunInfo, TrainingInfo, TrajectoryRow
from zoomgap.storage.schema import schema_markdown
from zoomgap.storage.store import Store

__all__ = [
    "BenchmarkInfo",
    "DatasetInfo",
    "Graded",
    "ObjectStore",
    "RunInfo",
    "Store",
    "TrainingInfo",
    "TrajectoryRow",
    "schema_markdown",
]
