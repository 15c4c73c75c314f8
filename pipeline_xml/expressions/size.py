"""How large an expression becomes when it is emitted, so that no text can make an engine plan for minutes.

Measured on both engines: 10,000 nodes take about a second to plan, and a nesting beyond about 45 calls is refused
by the protocol that carries plans (100 messages deep).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

from pipeline_xml.expressions.functions import registry
from pipeline_xml.expressions.tree import Call, Tree

LARGEST = 10_000
DEEPEST = 36
# What stands behind an operand that decides is guarded by all operands before it.
_READING_ORDER = ("and", "or", "case", "coalesce")


@dataclass(frozen=True, slots=True)
class Size:
    """Nodes of the value, nodes of its reasons, how many reasons, and how deep calls nest."""

    value: int = 1
    reasons: int = 0
    steps: int = 0
    levels: int = 0

    @property
    def fits(self) -> bool:
        return self.value + self.reasons <= LARGEST and self.levels <= DEEPEST


def size_of(tree: Tree) -> Size:
    """The size of the whole; parts that stand in a tree several times are measured once and counted each time."""
    return _size(tree, {})


def _size(tree: Tree, known: dict[int, Size]) -> Size:
    if not isinstance(tree, Call):
        return Size()
    if id(tree) in known:
        return known[id(tree)]
    function = registry()[tree.function]
    parts = [_size(a, known) for a in tree.arguments]
    values = sum(p.value for p in parts)
    repeats = function.repeats(tree)
    reasons, steps = sum(p.reasons for p in parts), sum(p.steps for p in parts)
    if tree.function in _READING_ORDER:
        before = 0
        for part in parts:
            reasons += part.steps * (before + 2)
            before += part.value + 2
    if function.can_fail(tree):
        reasons += (1 + repeats) * values + 3
        steps += 1
    levels = max((p.levels for p in parts), default=0)
    if tree.function in ("and", "or", "count_present"):
        levels += ceil(log2(max(len(parts), 2)))
    else:
        levels += 1 if repeats == 1 else 3 * repeats
    found = Size(1 + repeats * values, reasons, steps, levels)
    known[id(tree)] = found
    return found
