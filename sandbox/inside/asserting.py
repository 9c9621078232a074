"""Assertions that say both values when they fail, for test files that run without pytest."""

from __future__ import annotations

import ast
import reprlib
from typing import Any

SAY = "@srs_say"
LEFT, RIGHT = "@srs_left", "@srs_right"
OPERATORS = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Is: "is",
    ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
SHORT = reprlib.Repr()
SHORT.maxlist = SHORT.maxtuple = SHORT.maxset = SHORT.maxfrozenset = SHORT.maxdict = 40
SHORT.maxstring = SHORT.maxother = SHORT.maxlong = 240


class Explaining(ast.NodeTransformer):
    """Rewrites ``assert``; evaluates each side once, in the same order."""

    def visit_Assert(self, node: ast.Assert) -> Any:
        test = node.test
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            left, right = test.left, test.comparators[0]
            operator = OPERATORS[type(test.ops[0])]
            before: list[ast.stmt] = [
                ast.Assign(targets=[ast.Name(LEFT, ast.Store())], value=left),
                ast.Assign(targets=[ast.Name(RIGHT, ast.Store())], value=right),
            ]
            sides = [ast.Name(LEFT, ast.Load()), ast.Name(RIGHT, ast.Load())]
            test = ast.Compare(left=sides[0], ops=test.ops, comparators=[sides[1]])
            source = "" if isinstance(left, ast.Constant) else ast.unparse(left)
            said = [ast.Constant(operator), ast.Constant(source), *sides]
        else:
            before, said = [], [ast.Constant("assert"), ast.Constant(ast.unparse(test))]
        message = node.msg or ast.Constant(None)
        words = ast.Call(ast.Name(SAY, ast.Load()), [message, *said], [])
        error = ast.Call(ast.Name("AssertionError", ast.Load()), [words], [])
        raising = ast.If(ast.UnaryOp(ast.Not(), test), [ast.Raise(error)], [])
        made = [*before, raising]
        for statement in made:
            ast.copy_location(statement, node)
            ast.fix_missing_locations(statement)
        return made


def say(message: object, operator: str, source: str, *sides: object) -> str:
    if sides:
        left, right = map(shown, sides)
        text = f"assert {left} {operator} {right}"
        text += f"\n +  where {left} = {source}" if source else ""
    else:
        text = f"assert {source}"
    return text if message is None else f"{message}\n{text}"


def shown(value: object) -> str:
    try:
        return SHORT.repr(value)
    except Exception as e:  # an object whose __repr__ fails
        return f"<{type(value).__name__}, whose repr raised {type(e).__name__}>"
