"""Expressions of metaparameters: `where:` rules and computed values.

simpleeval evaluates the operators below and bounds powers and lengths. What it would evaluate beyond them is
refused when an expression is parsed.
"""

from __future__ import annotations

import ast
import itertools
import operator
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import simpleeval

from framework.space.values import Value

FUNCTIONS: Mapping[str, Callable[..., Any]] = {each.__name__: each for each in (abs, int, max, min, round)}


def _remainder(left: Any, right: Any) -> Any:
    """`%` of numbers; that of text would make text of any length."""
    if isinstance(left, str):
        raise TypeError("% takes numbers")
    return left % right


_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: simpleeval.safe_add, ast.Sub: operator.sub, ast.Mult: simpleeval.safe_mult,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: _remainder,
    ast.Pow: simpleeval.safe_power, ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.In: lambda one, several: one in several, ast.NotIn: lambda one, several: one not in several,
}  # fmt: skip
_EVALUATOR: Any = simpleeval.EvalWithCompoundTypes(dict(_OPERATORS), dict(FUNCTIONS))
_LOCK = threading.Lock()  # for the names of the evaluator
_CONSTANTS = {"true": True, "false": False, "null": None}
_LONGEST = 1000  # characters
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_ALLOWED = (
    ast.Expression,
    ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.IfExp,
    ast.And, ast.Or, *_OPERATORS,
    ast.Call, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple,
)  # fmt: skip
_CANNOT_FAIL = (
    ast.Expression, ast.Name, ast.Load, ast.Constant, ast.UnaryOp, ast.USub,
    ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div,
)  # fmt: skip
_ADVICE = "write it as in Python, as in 'batch * steps <= 512'"


@dataclass(frozen=True)
class Expression:
    """An expression as in Python; `a.b` or `${a.b}` is a metaparameter, `${any-name}` too."""

    text: str
    names: tuple[str, ...]  # of the metaparameters in it
    _tree: ast.Expression  # each metaparameter is a name of its own
    _names: Mapping[str, str]  # the metaparameters by these names

    @cached_property
    def is_reference(self) -> bool:
        """True if it is nothing but the name of a metaparameter."""
        return isinstance(self._tree.body, ast.Name)

    @cached_property
    def is_safe_for_draws(self) -> bool:
        """True if it has a value for every number: sums, products, and quotients by a number."""
        return all(
            isinstance(node, _CANNOT_FAIL)
            and not (
                isinstance(node, ast.BinOp)
                and isinstance(node.op, ast.Div)
                and not (isinstance(node.right, ast.Constant) and node.right.value)
            )
            for node in ast.walk(self._tree)
        )

    def value(self, combination: Mapping[str, Value]) -> object:
        """The value where all `names` have one. Raises ValueError, with the reason."""
        names = {own: combination[name] for own, name in self._names.items()}
        try:
            with _LOCK:
                _EVALUATOR.names = {**_CONSTANTS, **names}
                return _EVALUATOR.eval(self.text, previously_parsed=self._tree.body)
        except ZeroDivisionError:
            reason = "division by 0"
        except (simpleeval.InvalidExpression, TypeError, ValueError, ArithmeticError) as error:
            reason = str(error).partition("\n")[0]
        where = ", ".join(f"{name}: {combination[name]!r}" for name in self.names)
        raise ValueError(f"{self.text!r} has no value for {where}: {reason}")


def parse_expression(text: str) -> Expression:
    """The expression that `text` is. Raises ValueError if it is none, or reaches beyond metaparameters."""
    if len(text) > _LONGEST:
        raise ValueError(f"longer than {_LONGEST} characters; write a shorter expression")
    numbers = itertools.count()
    names: dict[str, str] = {}

    def placeholder(name: str) -> str:
        if name not in names.values():
            names[f"_name_{next(numbers)}"] = name
        return next(own for own, known in names.items() if known == name)

    replaced = _REFERENCE.sub(lambda match: f" {placeholder(match[1])} ", text)
    try:
        tree = ast.parse(replaced.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(f"{text!r} is no expression ({reason}); {_ADVICE}") from error
    tree = _Names(text, names, placeholder).visit(tree)
    return Expression(text, tuple(names.values()), tree, names)


class _Names(ast.NodeTransformer):
    """Makes one name of each metaparameter, as `optimizer.name`; refuses all that is not allowed."""

    def __init__(self, text: str, names: Mapping[str, str], placeholder: Callable[[str], str]) -> None:
        self._text = text
        self._names = names
        self._placeholder = placeholder

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Attribute):
            return ast.Name(self._placeholder(self._dotted(node)), ast.Load())
        if not isinstance(node, _ALLOWED):
            raise ValueError(
                f"{self._text!r} has {type(node).__name__}, which is not available; use numbers, text, "
                "metaparameters, + - * / // % **, comparisons, in, and, or, not"
            )
        return super().visit(node)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        if node.id in self._names or node.id in _CONSTANTS:
            return node
        return ast.Name(self._placeholder(node.id), ast.Load())

    def visit_Call(self, node: ast.Call) -> ast.Call:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS or node.keywords:
            raise ValueError(
                f"{self._text!r} calls a function that is not available; use {', '.join(FUNCTIONS)}"
            )
        node.args = [self.visit(argument) for argument in node.args]
        return node

    def _dotted(self, node: ast.expr) -> str:
        if isinstance(node, ast.Attribute):
            return f"{self._dotted(node.value)}.{node.attr}"
        if isinstance(node, ast.Name):
            return self._names.get(node.id, node.id)
        raise ValueError(f"{self._text!r} has a point after something that is no name; {_ADVICE}")
