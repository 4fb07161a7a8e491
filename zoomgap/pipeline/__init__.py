"""The rooms joined: what the command line and the demo both do with a store. Nothing here prints."""

from zoomgap.pipeline.arms import Limits, ModelChoice, RunOptions, ask, dry_run, run, run_row, trace_rows
from zoomgap.pipeline.attention import AttentionOptions, measure_attention, write_attention
from zoomgap.pipeline.benches import (
    bench_stats,
    check_page,
    find_sample,
    make_micro,
    split_of,
    write_overlap,
    write_view,
)
from zoomgap.pipeline.imports import Imported, import_set
from zoomgap.pipeline.overlaps import measured_on, overlap
from zoomgap.pipeline.reports import (
    chance,
    check_report,
    compare_runs,
    document,
    latest_session,
    parse_condition,
    parse_roles,
    plan_comparison,
    write_report,
)
from zoomgap.pipeline.routes import apply_router, break_even, fit_router
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
    "apply_router",
    "ask",
    "bench_stats",
    "break_even",
    "build_datasets",
    "chance",
    "check_page",
    "check_report",
    "compare_runs",
    "document",
    "dry_run",
    "find_sample",
    "fit_router",
    "import_set",
    "latest_session",
    "make_micro",
    "measure_attention",
    "measured_on",
    "overlap",
    "parse_condition",
    "parse_roles",
    "plan_comparison",
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
