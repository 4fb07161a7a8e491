"""The rooms joined: what the command line and the demo both do with a store. Nothing here prints."""

from zoomgap.pipeline.arms import Limits, ModelChoice, RunOptions, ask, dry_run, make_micro, run, run_row, trace_rows
from zoomgap.pipeline.attention import AttentionOptions, measure_attention, write_attention
from zoomgap.pipeline.benches import bench_stats, check_page, find_sample, split_of, write_overlap, write_view
from zoomgap.pipeline.imports import Imported, import_set
from zoomgap.pipeline.overlaps import measured_on, overlap
from zoomgap.pipeline.reports import chance, compare_runs, latest_session, parse_role, write_report
from zoomgap.pipeline.students import BuildOptions, build_datasets, train_student
from zoomgap.pipeline.timing import TimeOptions, time_runs

__all__ = [
    "AttentionOptions",
    "BuildOptions",
    "Imported",
    "Limits",
    "ModelChoice",
    "RunOptions",
    "TimeOptions",
    "ask",
    "bench_stats",
    "build_datasets",
    "chance",
    "check_page",
    "compare_runs",
    "dry_run",
    "find_sample",
    "import_set",
    "latest_session",
    "make_micro",
    "measure_attention",
    "measured_on",
    "overlap",
    "parse_role",
    "run",
    "run_row",
    "split_of",
    "time_runs",
    "trace_rows",
    "train_student",
    "write_attention",
    "write_overlap",
    "write_report",
    "write_view",
]
