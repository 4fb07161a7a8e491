"""What the commands on routers show."""

from __future__ import annotations

from typing import Any

from zoomgap.console import table


def routed_lines(found: dict[str, Any]) -> None:
    """A router's figures in words. found: a Routed as plain values."""
    measured = found["measured"]
    rows = []
    for policy in measured["policies"]:
        cost = None if policy["cost"] is None else f"{policy['cost']:.4g}"
        share = None if policy["cost_share"] is None else f"{policy['cost_share']:.2f}"
        zoomed = None if policy["zoomed"] is None else f"{policy['zoomed']:.3f}"
        bounds = f"{policy['low']:.3f} to {policy['high']:.3f}"
        rows.append((policy["name"], policy["n"], f"{policy['accuracy']:.3f}", bounds, cost, share, zoomed))
    table(("policy", "n", "accuracy", "95%", found["axis_name"], "of always", "zoomed"), rows)
    for words, name in (
        ("router - always zoom", "versus_agent"),
        ("router - never zoom", "versus_glance"),
        ("router - as many questions sent at random", "gain"),
        ("router - a random mix of the same cost", "gain_at_cost"),
    ):
        if measured[name] is not None:
            print(f"{words}: {bounded(measured[name])}")
    how = f"measured on held-out folds ({found['folds']})" if found["folds"] else "measured on other questions"
    target = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in found["target"].items())
    print(f"{found['method']} router on {', '.join(found['features'])}; target: {target}; {how}; n = {measured['n']}")
    if found["left_out"]:
        print(f"{found['left_out']} questions are left out: one of the two runs has no answer to them")
    if found["unread"]:
        print(f"{found['unread']} direct answers cannot be read or scored: their questions go to the agent")
    if found["axis_reason"]:
        print(f"the cost is not time: {found['axis_reason']}")
    print(found["finding"])


def break_even_lines(found: dict[str, Any]) -> None:
    """found: a BreakEven as plain values."""
    unit = found["unit"]
    for item in found["spent"]:
        print(f"{item['what']}: {item['amount']:,.4g} {unit} ({item['note']})")
    print(f"spent once: {found['total']:,.4g} {unit}")
    print(
        f"an answer: {found['student_each']:.4g} {unit} against {found['agent_each']:.4g} of the agent; saved "
        f"{bounded(found['saved'])} {unit}, n = {found['n']}"
    )
    if found["queries"] is None:
        print(f"it never breaks even: {found['reason']}")
        return
    high = "never" if found["queries_high"] is None else f"{found['queries_high']:,.0f}"
    print(f"it breaks even after {found['queries']:,.0f} questions ({found['queries_low']:,.0f} to {high})")
    if found["reason"]:
        print(found["reason"])


def bounded(value: dict[str, float]) -> str:
    """A figure and its interval."""
    return f"{value['value']:+.4g} ({value['low']:+.4g} to {value['high']:+.4g})"
