"""Conditions on a comparison, such as `student.direct < agent - 0.02`: a small language, parsed by hand, never run.

    condition  = both ("or" both)*            both = one ("and" one)*
    one        = "not" one | value ("<" | "<=" | ">" | ">=" | "==" | "!=") value | "(" condition ")"
    value      = term (("+" | "-") term)*     term = factor (("*" | "/") factor)*
    factor     = "-" factor | number ["%"] | run | ("low" | "high") "(" run ["-" run] ")" | "(" value ")"
    run        = name ["." arm] ["." metric]

A name is a role, an arm that one run has, a label in quotes, or the beginning of a run's id. A metric is a figure of
RunRow, `accuracy` unless it is named. Figures are the estimates; `low(...)` and `high(...)` are the ends of their
interval, for `a - b` of the paired difference over the answers that both gave. A hyphen between letters belongs to a
name: a minus between names needs spaces.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple, get_args, get_type_hints

from zoomgap.compare.rows import Comparison, PairRow, Role, RunRow
from zoomgap.errors import UsageError
from zoomgap.records import ARMS

COMPARING: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
COUNTING: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
}  # fmt: skip
TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?%?(?![\w.]))|(?P<quoted>'[^']*'|\"[^\"]*\")"
    r"|(?P<word>\w+(?:-[A-Za-z]\w*)*)|(?P<sign><=|>=|==|!=|[-<>+*/().]))"
)
MIN_PREFIX = 3
"""Characters of a run's id that may stand for it."""
KEYWORDS = ("and", "or", "not")
BOUNDS = ("low", "high")
DERIVED: Mapping[str, Callable[[RunRow], float]] = {
    "error_rate": lambda row: row.errors / row.attempted,
    "unparsed_rate": lambda row: row.unparsed / row.attempted,
}
NUMERIC = (int, float, int | None, float | None)
METRICS = (*(name for name, kind in get_type_hints(RunRow).items() if kind in NUMERIC), *DERIVED)
OF_ACCURACY = ("accuracy", "service_accuracy", "model_accuracy", "correct", "low", "high")
OF_TIME = ("p50_ms", "p95_ms", "seconds")
INTERVALS = {
    "accuracy": ("low", "high"),
    "service_accuracy": ("low", "high"),
    "acuity_px": ("acuity_low", "acuity_high"),
}


class Outcome(NamedTuple):
    """Whether a condition holds, and the condition with its figures in place of the names."""

    holds: bool
    told: str


@dataclass(frozen=True, slots=True)
class Number:
    """A number. digits: as written where it could also be the beginning of a run's id, else ""."""

    value: float
    digits: str = ""

    def read(self, comparison: Comparison) -> float:
        """Raises UsageError where a run is meant as likely."""
        if self.digits and any(row.run.startswith(self.digits) for row in comparison.runs):
            raise UsageError(f"{self.digits} is a number, and a run's id begins so: write '{self.digits}' for the run")
        return self.value


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of one run. parts: as written between the dots."""

    parts: tuple[str, ...]

    @property
    def text(self) -> str:
        return ".".join(self.parts)

    @property
    def metric(self) -> str:
        """Raises UsageError for a word after the name that is neither an arm nor a metric."""
        words = self.parts[1:]
        if words and words[0] in ARMS:
            words = words[1:]
        if len(words) > 1 or (words and words[0] not in METRICS):
            raise UsageError(
                f"'{words[-1]}' in '{self.text}' is no arm and no metric: metrics are {', '.join(METRICS)}"
            )
        return words[0] if words else "accuracy"

    def row(self, comparison: Comparison) -> RunRow:
        """The run that is meant. Raises UsageError where no run is, or several are."""
        row = _named(comparison, self.parts[0])
        arm = self.parts[1] if len(self.parts) > 1 and self.parts[1] in ARMS else row.arm
        if arm == row.arm:
            return row
        models = {who.run: [who.spec[key] for key in ("model", "weights", "endpoint")] for who in comparison.identities}
        found = [other for other in comparison.runs if other.arm == arm and models[other.run] == models[row.run]]
        return _only(found, f"{self.parts[0]}.{arm}", comparison)

    def read(self, comparison: Comparison) -> float:
        return _figure(self.row(comparison), self.metric, self.text)


@dataclass(frozen=True, slots=True)
class Bound:
    """An end of the interval of a run's figure, or of the paired difference of two runs."""

    side: str
    a: Figure
    b: Figure | None

    def read(self, comparison: Comparison) -> float:
        place = BOUNDS.index(self.side)
        if self.b is None:
            if self.a.metric not in INTERVALS:
                raise UsageError(f"{self.side}({self.a.text}): {self.a.metric} has no interval of its own")
            return _figure(self.a.row(comparison), INTERVALS[self.a.metric][place], f"{self.side}({self.a.text})")
        text = f"{self.side}({self.a.text} - {self.b.text})"
        if {self.a.metric, self.b.metric} - {"accuracy", "model_accuracy"}:
            raise UsageError(f"{text}: differences with an interval are of accuracy alone")
        pair, turned = _pair(comparison, self.a.row(comparison), self.b.row(comparison), text)
        if pair.verdict == "refused":
            raise UsageError(f"{text} cannot be judged: {pair.reason}")
        value = (pair.low, pair.high)[1 - place if turned else place]
        if value is None:
            raise UsageError(f"{text} is not known: the runs share no answer")
        return -value if turned else value


@dataclass(frozen=True, slots=True)
class Operation:
    """Arithmetic, a comparison, `and` or `or` of two parts; `not` has the right one alone."""

    sign: str
    left: Any
    right: Any

    def read(self, comparison: Comparison) -> float:
        """Value of arithmetic. Raises UsageError for a division by nothing."""
        left, right = self.left.read(comparison), self.right.read(comparison)
        if self.sign == "/" and right == 0:
            raise UsageError("a condition divides by zero")
        return COUNTING[self.sign](left, right)

    def holds(self, comparison: Comparison) -> bool:
        # Every part is read, whatever the others say: a name that is not known is never passed over.
        if self.sign == "not":
            return not self.right.holds(comparison)
        if self.sign in COMPARING:
            _check_comparable(comparison, list(_figures(self)))
            return COMPARING[self.sign](self.left.read(comparison), self.right.read(comparison))
        parts = self.left.holds(comparison), self.right.holds(comparison)
        return all(parts) if self.sign == "and" else any(parts)


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition. text: as written."""

    text: str
    root: Operation

    def judge(self, comparison: Comparison) -> Outcome:
        """Raises UsageError for a name that no run has, a figure that is not known, and figures that cannot be compared
        (runs of unlike protocol or circumstances, or with unlike numbers of answers)."""
        return Outcome(self.root.holds(comparison), _told(self.root, comparison))


def parse(text: str) -> Condition:
    """Read a condition. Raises UsageError with the place where it goes wrong."""
    try:
        parser = _Parser(text)
        root = parser.either()
        parser.expect_end()
    except RecursionError:
        raise UsageError(f"condition '{text[:40]}…' is too deep") from None
    if not _is_condition(root):
        raise UsageError(f"condition '{text}' compares nothing: write it as in 'student < agent - 0.02'")
    return Condition(text, root)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.place = text, 0
        self.tokens: list[tuple[str, str, int]] = []
        place = 0
        while text[place:].strip():
            found = TOKEN.match(text, place)
            if found is None:
                raise UsageError(f"condition '{text}' cannot be read from '{text[place:].strip()}'")
            kind = found.lastgroup or ""
            self.tokens.append((kind, found[kind], found.start(kind)))
            place = found.end()

    def next_is(self, *texts: str) -> str:
        """The next token where it is one of these (quoted ones are never), taken; else ""."""
        if self.place < len(self.tokens):
            kind, token, _ = self.tokens[self.place]
            if kind != "quoted" and token in texts:
                self.place += 1
                return token
        return ""

    def fail(self, wanted: str) -> UsageError:
        if self.place < len(self.tokens):
            token, start = self.tokens[self.place][1:]
            return UsageError(f"condition '{self.text}' has '{token}' at character {start + 1} where {wanted} belongs")
        return UsageError(f"condition '{self.text}' ends where {wanted} belongs")

    def expect(self, text: str) -> None:
        if not self.next_is(text):
            raise self.fail(f"'{text}'")

    def expect_end(self) -> None:
        if self.place < len(self.tokens):
            raise self.fail("its end, 'and' or 'or'")

    def either(self) -> Any:
        left = self.both()
        while self.next_is("or"):
            left = self.joined("or", left, self.both())
        return left

    def both(self) -> Any:
        left = self.one()
        while self.next_is("and"):
            left = self.joined("and", left, self.one())
        return left

    def one(self) -> Any:
        if self.next_is("not"):
            return self.joined("not", None, self.one())
        left = self.value()
        if sign := self.next_is(*COMPARING):
            return self.counted(sign, left, self.value())
        return left

    def value(self) -> Any:
        left = self.term()
        while sign := self.next_is("+", "-"):
            left = self.counted(sign, left, self.term())
        return left

    def term(self) -> Any:
        left = self.factor()
        while sign := self.next_is("*", "/"):
            left = self.counted(sign, left, self.factor())
        return left

    def factor(self) -> Any:
        if self.next_is("-"):
            return self.counted("-", Number(0.0), self.factor())
        if self.next_is("("):
            inner = self.either()
            self.expect(")")
            return inner
        kind, token, _ = self.tokens[self.place] if self.place < len(self.tokens) else ("", "", 0)
        if kind == "number":
            self.place += 1
            value = float(token[:-1]) / 100 if token.endswith("%") else float(token)
            return Number(value, token if len(token) >= MIN_PREFIX and token.isalnum() else "")
        follows = self.tokens[self.place + 1][1] if self.place + 1 < len(self.tokens) else ""
        if kind == "word" and token in BOUNDS and follows == "(":
            self.place += 2
            a = self.figure()
            b = self.figure() if self.next_is("-") else None
            self.expect(")")
            return Bound(token, a, b)
        return self.figure()

    def figure(self) -> Figure:
        parts = [self.name()]
        while self.next_is("."):
            parts.append(self.name())
        return Figure(tuple(parts))

    def name(self) -> str:
        kind, token, _ = self.tokens[self.place] if self.place < len(self.tokens) else ("", "", 0)
        if kind not in ("word", "quoted") or (kind == "word" and token in KEYWORDS):
            raise self.fail("a number or a run")
        self.place += 1
        return token[1:-1] if kind == "quoted" else token

    def joined(self, sign: str, left: Any, right: Any) -> Operation:
        if not all(_is_condition(part) for part in (left, right) if part is not None):
            raise UsageError(f"condition '{self.text}': '{sign}' joins comparisons, not figures")
        return Operation(sign, left, right)

    def counted(self, sign: str, left: Any, right: Any) -> Operation:
        if _is_condition(left) or _is_condition(right):
            raise UsageError(f"condition '{self.text}': '{sign}' is between figures, not comparisons")
        return Operation(sign, left, right)


def _is_condition(part: Any) -> bool:
    return isinstance(part, Operation) and part.sign not in COUNTING


def _named(comparison: Comparison, name: str) -> RunRow:
    """The run of a role, an arm, a label or the beginning of an id, in this order."""
    if name in get_args(Role) and (row := comparison.role(name)):  # type: ignore[arg-type]
        return row
    for match in (
        lambda row: row.arm == name,
        lambda row: row.label == name,
        lambda row: len(name) >= MIN_PREFIX and row.run.startswith(name),
    ):
        if found := [row for row in comparison.runs if match(row)]:
            return _only(found, name, comparison)
    return _only([], name, comparison)


def _only(found: list[RunRow], name: str, comparison: Comparison) -> RunRow:
    if len(found) == 1:
        return found[0]
    shown = found or comparison.runs
    known = ", ".join(f"{row.run} ({', '.join(filter(None, (row.role, row.arm, repr(row.label))))})" for row in shown)
    raise UsageError(f"'{name}' names {'several runs' if found else 'no run'}: {known}; name one by its id")


def _figure(row: RunRow, metric: str, text: str) -> float:
    value = DERIVED[metric](row) if metric in DERIVED else getattr(row, metric)
    if value is None:
        raise UsageError(f"{text} is not known: run {row.run} ({row.label}) has no {metric}")
    return float(value)


def _pair(comparison: Comparison, a: RunRow, b: RunRow, text: str) -> tuple[PairRow, bool]:
    """The pair of two runs, and whether it is stored the other way round."""
    if a.run == b.run:
        raise UsageError(f"'{text}' compares run {a.run} with itself")
    pair = comparison.pair(a.run, b.run)
    if pair is not None:
        return pair, False
    return next(pair for pair in comparison.pairs if (pair.a, pair.b) == (b.run, a.run)), True


def _figures(part: Any) -> Iterator[Figure]:
    """The plain figures of an expression; bounds of a paired difference see to themselves."""
    if isinstance(part, Figure):
        yield part
    elif isinstance(part, Operation):
        yield from _figures(part.left)
        yield from _figures(part.right)


def _check_comparable(comparison: Comparison, figures: list[Figure]) -> None:
    """Raises UsageError for figures of two runs that say nothing about each other."""
    for first, second in combinations(figures, 2):
        a, b = first.row(comparison), second.row(comparison)
        if a.run == b.run:
            continue
        text = f"{first.text} and {second.text}"
        pair, _ = _pair(comparison, a, b, text)
        if {first.metric, second.metric} <= set(OF_ACCURACY):
            if pair.verdict == "refused":
                raise UsageError(f"{text} cannot be compared: {pair.reason}")
            # Were the questions the same, the two would share all that neither failed on.
            if a.attempted != b.attempted or pair.n < a.attempted - a.errors - b.errors:
                raise UsageError(
                    f"{text} are over {a.attempted:,} and {b.attempted:,} answers of which they share "
                    f"{pair.n:,}: finish the runs, or compare the answers that they "
                    f"share with low({first.text} - {second.text}) or high(...)"
                )
        if {first.metric, second.metric} <= set(OF_TIME) and pair.latency_refused:
            raise UsageError(f"times of {text} cannot be compared: {', '.join(pair.latency_refused)}")


def _told(part: Any, comparison: Comparison) -> str:
    """The expression with figures in place of names."""
    if not isinstance(part, Operation):
        return f"{part.read(comparison):.4g}"
    right = _told(part.right, comparison)
    if part.sign in ("*", "/", "-") and isinstance(part.right, Operation):
        right = f"({right})"
    if part.sign == "not":
        return f"not ({right})"
    left = _told(part.left, comparison)
    if part.sign in ("*", "/") and isinstance(part.left, Operation):
        left = f"({left})"
    if part.sign == "-" and part.left == Number(0.0):
        return f"-{right}"
    return f"{left} {part.sign} {right}"
