"""What a run is, for those who want to repeat it, and whether it is all there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from zoomgap.compare.rows import RunIdentity
from zoomgap.compare.table import RunData


def identity(run: RunData) -> RunIdentity:
    """The run's whole identity with what its invocations say of code and machine."""
    started = sorted(invocation.started for invocation in run.invocations)
    facts = [invocation.circumstances for invocation in run.invocations]
    return RunIdentity(
        run=run.id,
        spec=asdict(run.spec),
        invocations=len(run.invocations),
        first=started[0] if started else None,
        last=started[-1] if started else None,
        revisions=_once(fact.get("revision") for fact in facts),
        packages=_once(
            ", ".join(f"{name} {version}" for name, version in fact.get("packages", {}).items() if version)
            for fact in facts
        ),
        machines=_once(fact.get("cpu") for fact in facts),
    )


def incomplete(run: RunData) -> str:
    """Why the run may have more answers to come, or "": fewer than its benchmark asks for, or a command still at work.

    Where the size of the benchmark is not known, nothing is said.
    """
    if run.samples is None:
        return ""
    parts = []
    asked, given = run.samples * run.spec.attempts, len(run.results)
    if given < asked:
        parts.append(f"{given:,} of {asked:,} answers")
    latest = max(run.invocations, key=lambda invocation: invocation.started, default=None)
    if latest is not None and latest.seconds is None:
        parts.append("its latest command has not ended")
    return ", ".join(parts)


def _once(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(value) for value in values if value))
