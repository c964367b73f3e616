"""The small faults that :mod:`tools.mutation` plants: cosmic-ray's, and three kinds of our own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Range = tuple[tuple[int, int], tuple[int, int]]
BINARY = (
    "Add_Sub",
    "Sub_Add",
    "Mul_Div",
    "Div_Mul",
    "FloorDiv_Mul",
    "Mod_Mul",
    "Pow_Mul",
    "BitOr_BitAnd",
    "BitAnd_BitOr",
)
COMPARISONS = (
    *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is"),
    *("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_Gt", "LtE_GtE", "Gt_Lt", "GtE_LtE"),
)
OPERATORS = (
    *(f"ReplaceBinaryOperator_{name}" for name in BINARY),
    *(f"ReplaceComparisonOperator_{name}" for name in COMPARISONS),
    *("ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Not", "AddNot", "NumberReplacer"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ExceptionReplacer", "ZeroIterationForLoop"),
)
"""Of cosmic-ray: one replacement for each operator, or two where both are likely slips."""


class DeleteCall:
    """A call that stands alone is left out."""

    @staticmethod
    def mutation_positions(node: Any) -> Iterator[Range]:
        if node.type == "simple_stmt" and node.children[0].type in ("atom_expr", "power"):
            last = node.children[0].children[-1]
            if last.type == "trailer" and last.children[0].value == "(":
                yield node.children[0].start_pos, node.children[0].end_pos

    @staticmethod
    def mutate(node: Any, index: int) -> Any:
        import parso

        call = node.children[0]
        node.children[0] = parso.python.tree.Keyword("pass", call.start_pos, call.get_first_leaf().prefix)
        return node


class SwapArguments:
    """The first two arguments of a call change places."""

    @staticmethod
    def mutation_positions(node: Any) -> Iterator[Range]:
        if node.type == "arglist" and len(node.children) > 2 and node.parent.type == "trailer":
            first, second = node.children[0], node.children[2]
            if "argument" not in (first.type, second.type) and first.get_code().strip() != second.get_code().strip():
                yield first.start_pos, second.end_pos

    @staticmethod
    def mutate(node: Any, index: int) -> Any:
        children = node.children
        first, second = children[0].get_first_leaf(), children[2].get_first_leaf()
        first.prefix, second.prefix = second.prefix, first.prefix
        children[0], children[2] = children[2], children[0]
        return node


class DropKeyword:
    """A keyword argument is left out, so that its default counts."""

    @staticmethod
    def _named(node: Any) -> list[int]:
        return [
            number
            for number, child in enumerate(node.children)
            if child.type == "argument" and getattr(child.children[1], "value", "") == "="
        ]

    @classmethod
    def mutation_positions(cls, node: Any) -> Iterator[Range]:
        if node.type == "arglist":
            yield from [(node.children[each].start_pos, node.children[each].end_pos) for each in cls._named(node)]

    @classmethod
    def mutate(cls, node: Any, index: int) -> Any:
        first = cls._named(node)[index]
        del node.children[first : first + 2]
        return node


OURS: dict[str, Any] = {each.__name__: each for each in (DeleteCall, SwapArguments, DropKeyword)}


def operator_named(name: str) -> Any:
    """One of cosmic-ray's operators, or of ours."""
    if name in OURS:
        return OURS[name]()
    from cosmic_ray.plugins import get_operator

    return get_operator(f"core/{name}")()
