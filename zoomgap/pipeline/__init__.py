"""The rooms joined: what the command line and the demo both do with a store. Nothing here prints."""

from zoomgap.pipeline.arms import Limits, ModelChoice, RunOptions, ask, dry_run, make_micro, run, run_row, trace_rows
from zoomgap.pipeline.benches import bench_stats, check_page, find_sample, split_of, write_overlap, write_view
from zoomgap.pipeline.imports import Imported, import_set
from zoomgap.pipeline.overlaps import measured_on, overlap
from zoomgap.pipeline.reports import chance, compare_runs, parse_role, write_report
from zoomgap.pipeline.students import BuildOptions, build_datasets, train_student

__all__ = [
    "BuildOptions",
    "Imported",
    "Limits",
    "ModelChoice",
    "RunOptions",
    "ask",
    "bench_stats",
    "build_datasets",
    "chance",
    "check_page",
    "compare_runs",
    "dry_run",
    "find_sample",
    "import_set",
    "make_micro",
    "measured_on",
    "overlap",
    "parse_role",
    "run",
    "run_row",
    "split_of",
    "trace_rows",
    "train_student",
    "write_overlap",
    "write_report",
    "write_view",
]
