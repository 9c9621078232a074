"""What one test expects, and the edits that make each expectation wrong."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from evaluator.canaries.files import Edit, Function, called_name, is_real, key_of, preorder
from evaluator.canaries.origins import Place, Scope
from evaluator.canaries.values import (
    COLLECTIONS,
    EMPTY_CALLS,
    EXACT,
    WRAPPERS,
    Tolerance,
    kind_of,
    leaves_of,
    other_values,
    resized,
    shortened,
    strange,
)

if TYPE_CHECKING:
    from evaluator.canaries.module import TestModule

UNRELATED_ERRORS = ("ZeroDivisionError", "BufferError", "LookupError", "GeneratorExit", "SystemExit")  # fmt: skip


UNRELATED_WARNINGS = ("BytesWarning", "ImportWarning", "UnicodeWarning")


OPPOSITES = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Lt: ">=", ast.GtE: "<", ast.Gt: "<=", ast.LtE: ">",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip


OPPOSITE_METHODS = {
    "assertNotEqual": "assertEqual", "assertNotAlmostEqual": "assertAlmostEqual",
    "assertIs": "assertIsNot", "assertIsNot": "assertIs",
    "assertIn": "assertNotIn", "assertNotIn": "assertIn",
    "assertIsNone": "assertIsNotNone", "assertIsNotNone": "assertIsNone",
    "assertIsInstance": "assertNotIsInstance", "assertNotIsInstance": "assertIsInstance",
    "assertGreater": "assertLessEqual", "assertLessEqual": "assertGreater",
    "assertLess": "assertGreaterEqual", "assertGreaterEqual": "assertLess",
    "assertRegex": "assertNotRegex", "assertNotRegex": "assertRegex",
}  # fmt: skip


EQUAL_METHODS = {
    "assertEqual", "assertEquals", "assertAlmostEqual", "assertAlmostEquals", "assertCountEqual",
    "assertListEqual", "assertTupleEqual", "assertSetEqual", "assertDictEqual",
    "assertSequenceEqual", "assertMultiLineEqual",
}  # fmt: skip


class TestExpectations:
    """A test function, or a helper that one calls: its expectations, each with the edits that alter it."""

    def __init__(
        self,
        module: TestModule,
        function: Function,
        scope: Scope,
        methods: dict[str, Function],
        callers: tuple[Function, ...] = (),
    ) -> None:
        self.module = module
        self.function = function
        self.scope = scope
        self.methods = methods
        self.callers = (*callers, function)

    def expectations(self) -> Iterator[list[Edit]]:
        for statement in self.function.body:
            for node in preorder(statement):
                match node:
                    case ast.Assert(test=condition):
                        yield from self._condition(condition)
                    case ast.withitem(context_expr=ast.Call() as call):
                        yield from self._raises(call)
                    case (ast.Expr(value=ast.Call() as call)
                          | ast.Expr(value=ast.Await(value=ast.Call() as call))):  # fmt: skip
                        yield from self._raises(call)
                        yield from self._call(call)
                    case _:
                        pass

    def _text(self, node: ast.expr) -> str:
        return self.module.source.text(node)

    def _edit(self, node: ast.expr, text: str) -> Edit:
        words = f"{shortened(self._text(node))} became {shortened(text)}"
        return Edit(splices=((node, text),), words=words)

    def _condition(self, node: ast.expr) -> Iterator[list[Edit]]:
        """The expectations in a condition that must hold."""
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                for value in values:
                    yield from self._condition(value)
            case ast.BoolOp(values=values):
                yield self._all_at_once(node, values) + self._negated(node)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                text = f"({self._text(operand)})"
                yield [self._edit(node, text), self._edit(node, f"({text} == True)")]
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                yield from self._comparison(node, left, op, right)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                for a, op, b in zip([left, *comparators], ops, comparators, strict=False):
                    if isinstance(op, ast.Eq) and self._rank(a) != self._rank(b):
                        yield from self._equal(a, b)
                yield self._negated(node)
            case ast.Constant():
                if node.value:
                    yield self._altered(node)
            case ast.Call(func=ast.Attribute(value=ast.Compare() as inner, attr="all"), args=[]):
                yield from self._condition(inner)
            case (ast.Call(func=ast.Name(id="all"),
                           args=[ast.GeneratorExp(elt=inner) | ast.ListComp(elt=inner)])):  # fmt: skip
                yield from self._condition(inner)
            case ast.Call(func=ast.Attribute(value=left, attr="equals"), args=[right]):
                yield from self._equal(left, right)
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass")):
                yield self._negated(node)  # the answer may be of any of the types
            case ast.Call(
                func=ast.Name(id="hasattr"), args=[_, ast.Constant(value=str(text)) as name]
            ):
                yield [self._strange(name, text), *self._negated(node)]
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re")), args=[pattern, *_]):
                given = isinstance(pattern, ast.Constant) and isinstance(pattern.value, str)
                yield [*([self._strange(pattern, "")] if given else []), *self._negated(node)]
            case ast.Call(args=[left, right, *_]) if not self._solution_call(node):
                tolerance = self._tolerance(node)
                if self._rank(left) != self._rank(right):
                    yield from self._equal(left, right, tolerance, wrap=False)
                yield self._negated(node)
            case _:
                yield self._negated(node)

    def _solution_call(self, call: ast.Call) -> bool:
        return isinstance(call.func, ast.Name) and call.func.id in self.module.solution

    def _is_plain(self, node: ast.expr) -> bool:
        """Whether a condition has no inner expectations."""
        if isinstance(node, ast.Call):
            return self._solution_call(node)
        return isinstance(node, ast.Name | ast.Attribute)

    def _strange(self, node: ast.expr, text: str) -> Edit:
        """A text for one that is looked for: an answer that holds it may hold any near it as well."""
        return self._edit(node, repr(strange(text, self.module.source.bytes)))

    def _negated(self, node: ast.expr) -> list[Edit]:
        text = f"({self._text(node)})"
        return [self._edit(node, f"(not {text})"), self._edit(node, f"({text} == False)")]

    def _all_at_once(self, node: ast.expr, values: Sequence[ast.expr]) -> list[Edit]:
        """Alternatives: any of them will do, so all change together.

        Where one is turned round, or becomes another of them, an answer may meet that and be right: then
        all must hold. Elsewhere one is enough, for an answer that agrees but once.
        """
        source = self.module.source
        parts = [next(self._condition(value), []) for value in values]
        originals = {ast.unparse(value) for value in values}
        made = []
        for edits in [*zip(*parts, strict=False)][:2]:
            edit = Edit(
                splices=tuple(s for edit in edits for s in edit.splices),
                words=", ".join(edit.words for edit in edits),
            )
            texts = [source.part(value, edit) for value in values]
            turned = any(n is value for n, _ in edit.splices for value in values)
            if turned or originals & {*map(normal, texts)}:
                outside = tuple(s for s in edit.splices if not source.holds(node, s[0]))
                every = " and ".join(f"({text})" for text in texts)
                edit = Edit(splices=((node, f"({every})"), *outside), words=f"all of {edit.words}")
            made.append(edit)
        return made

    def _comparison(
        self, node: ast.expr, left: ast.expr, op: ast.cmpop, right: ast.expr
    ) -> Iterator[list[Edit]]:
        a, b = f"({self._text(left)})", f"({self._text(right)})"
        turned = self._edit(node, f"({a} {OPPOSITES[type(op)]} {b})")
        denied = self._edit(node, f"(not ({self._text(node)}))")
        near = (left, right) if isinstance(op, ast.Lt | ast.LtE) else (right, left)
        match near, op, right:
            case _, ast.Eq(), _:
                groups = list(self._equal(left, right))
                if len(groups) == 1 and len(groups[0]) < 2:
                    groups[0].append(turned)
                yield from groups
            case _, ast.Is(), ast.Constant(value=None | bool()) | ast.Name():
                groups = list(self._equal(left, right, wrap=False, identity=True))
                yield from groups or [[turned, denied]]
            case (
                (ast.Call(args=[ast.BinOp(left=x, op=ast.Sub(), right=y)]) as distance, limit),
                ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE(),
                _,
            ) if called_name(distance) in ("abs", "fabs", "absolute"):
                yield from self._equal(x, y, Tolerance(absolute=self._number(limit)))
            case _, ast.In(), ast.List() | ast.Tuple() | ast.Set():
                yield [self._edit(right, no_member(right)), turned, denied]
            case _, ast.In(), _ if isinstance(left, ast.Constant) and isinstance(left.value, str):
                yield [self._strange(left, left.value), turned]
            case _:
                yield [turned, denied]

    def _equal(
        self,
        left: ast.expr,
        right: ast.expr,
        tolerance: Tolerance = EXACT,
        *,
        wrap: bool = True,
        identity: bool = False,
    ) -> Iterator[list[Edit]]:
        """The expectations in the side that is the expected one: the right one if nothing tells."""
        expected = left if self._rank(left) < self._rank(right) else right
        if isinstance(expected, ast.Call) and called_name(expected) == "approx" and expected.args:
            tolerance = self._tolerance(expected)
            expected = expected.args[0]
        for origin in self.scope.origins(expected):
            node = origin.node if is_real(origin.node) else expected
            edits = self._altered(node, tolerance, identity) if is_real(origin.node) else []
            if not edits and wrap:
                edits = self._wrapped(node, self._kind_of(origin), tolerance)
            if edits:
                yield edits

    def _kind_of(self, place: Place) -> str:
        origins = place.scope.origins(place.node, through_inputs=True)
        return kind_of(origins[0].node)

    def _rank(self, node: ast.expr) -> int:
        """How far an expression is from being an expected value: 0 a literal … 3 the solution's result."""
        if called_name(node) == "approx":
            return -1
        if all(is_real(o.node) and self._altered(o.node) for o in self.scope.origins(node)):
            return 0
        if self.scope.is_produced(node):
            return 3
        key = key_of(node)
        return 2 if key is not None and self.scope.is_input(key) else 1

    def _altered(
        self, node: ast.expr, tolerance: Tolerance = EXACT, identity: bool = False
    ) -> list[Edit]:
        """Edits of a literal, or of one in a constructor's call; none where the value isn't literal."""
        resizable = node
        match node:
            case ast.Call(func=ast.Name(id=name), args=[]) if name in EMPTY_CALLS:
                return [self._edit(node, text) for text in EMPTY_CALLS[name]]
            case (
                ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str())])
                | ast.Attribute(value=ast.Name(id="math" | "np" | "numpy"), attr="inf" | "nan")
            ):
                return [self._edit(node, "0.0"), self._edit(node, f"(1.0, {self._text(node)})")]
            case ast.Call(args=[only]) if called_name(node) in COLLECTIONS:
                resizable = only
            case ast.BinOp() if names_in(node) and kind_of(node) != "unknown":
                return []
            case _:
                pass
        leaves = leaves_of(node)
        edits = []
        if leaves:
            first, last = leaves[0], leaves[-1]
            edits.append(self._edit(first, other_values(first, tolerance, identity)[0]))
            edits.append(self._edit(last, other_values(last, tolerance, identity)[1]))
        edits += [
            Edit(splices=((resizable, text),), words=words) for text, words in resized(resizable)
        ]
        return edits

    def _wrapped(self, node: ast.expr, kind: str, tolerance: Tolerance) -> list[Edit]:
        if kind == "unknown" and tolerance != EXACT:
            kind = "number"
        text = f"({self._text(node)})"
        edits = self._made_otherwise(node) if kind == "unknown" else []
        edits += [self._edit(node, form.format(text)) for form in WRAPPERS[kind]]
        if kind == "number" and tolerance.absolute >= 0.5:
            far = f"{3 * tolerance.absolute:.12g}"
            edits = [self._edit(node, f"({text} {sign} {far})") for sign in "+-"]
        return edits

    def _made_otherwise(self, node: ast.expr) -> list[Edit]:
        """Edits of what an object of the solution's class is made of: ``Vector(4, 6)``.

        An ``==`` that is true for all objects of its class only shows that way.
        """
        if not isinstance(node, ast.Call) or not called_name(node)[:1].isupper():
            return []
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        leaves = [leaf for argument in arguments for leaf in leaves_of(argument)]
        if not leaves:
            return []
        first, last = leaves[0], leaves[-1]
        return [
            self._edit(first, other_values(first, EXACT, False)[0]),
            self._edit(last, other_values(last, EXACT, False)[1]),
        ]

    def _number(self, node: ast.expr) -> float:
        """The value of a numeric literal, also through names; 0.0 when it isn't one."""
        try:
            value = ast.literal_eval(self.scope.origins(node)[0].node)
        except ValueError:
            return 0.0
        return float(value) if isinstance(value, int | float) else 0.0

    def _tolerance(self, call: ast.Call) -> Tolerance:
        """What the arguments of ``approx``, ``isclose``, ``assert_allclose`` and their like allow."""
        given = {k.arg: self._number(k.value) for k in call.keywords}
        name = called_name(call)
        order: tuple[str, ...] = ()
        if name == "approx":
            order = ("", "rel", "abs")
        elif "allclose" in name or name == "isclose":
            order = ("", "", "rtol", "atol")
        elif "lmost" in name:
            order = ("", "", "places" if "Almost" in name else "decimal")
        for key, arg in zip(order, call.args, strict=False):
            if key:
                given[key] = self._number(arg)
        absolute = max(given.get(k, 0.0) for k in ("abs", "atol", "abs_tol", "delta"))
        digits = given.get("places", given.get("decimal"))
        if digits is not None:
            absolute = max(absolute, 1.5 * 10**-digits)
        relative = max(given.get(k, 0.0) for k in ("rel", "rtol", "rel_tol"))
        return Tolerance(absolute=absolute, relative=relative)

    def _call(self, call: ast.Call) -> Iterator[list[Edit]]:
        """The expectations of a statement that calls an assertion or a helper of this file."""
        helper = self.module.helper(call, self.methods)
        if helper is not None:
            yield from self._in_helper(call, helper)
            return
        name, args = called_name(call), call.args
        method = call.func if isinstance(call.func, ast.Attribute) else None
        if name in EQUAL_METHODS and len(args) >= 2:
            yield from self._equal(args[0], args[1], self._tolerance(call))
        elif name in ("assertTrue", "assertFalse") and args and method:
            truth = name == "assertTrue"
            if truth and not self._is_plain(args[0]):
                yield from self._condition(args[0])
                return
            base = self._text(method.value)
            yield [
                self._edit(method, f"{base}.assert{not truth}"),
                self._edit(call, f"{base}.assertEqual({self._text(args[0])}, {not truth})"),
            ]
        elif name in OPPOSITE_METHODS and method and (args[1:] or "None" in name):
            base = self._text(method.value)
            edits = [self._edit(method, f"{base}.{OPPOSITE_METHODS[name]}")]
            if name == "assertIsNone":
                edits.insert(0, self._edit(call, f"{base}.assertEqual({self._text(args[0])}, 0)"))
            if name == "assertIn" and isinstance(args[1], ast.List | ast.Tuple | ast.Set):
                edits.insert(0, self._edit(args[1], no_member(args[1])))
            yield edits
        elif name.startswith("assert_") and len(args) >= 2 and "call" not in name:
            yield from self._equal(args[0], args[1], self._tolerance(call))

    def _in_helper(self, call: ast.Call, helper: Function) -> Iterator[list[Edit]]:
        if helper in self.callers:
            return
        names = [a.arg for a in [*helper.args.posonlyargs, *helper.args.args]]
        defaults = dict(zip(names[::-1], helper.args.defaults[::-1], strict=False))
        if isinstance(call.func, ast.Attribute):
            names = names[1:]
        given = {
            **dict(zip(names, call.args, strict=False)),
            **{k.arg: k.value for k in call.keywords if k.arg},
        }
        params = {n: [Place(node=v, scope=self.module.scope)] for n, v in defaults.items()}
        params |= {n: [Place(node=v, scope=self.scope)] for n, v in given.items()}
        scope = Scope(self.module, helper.body, self.module.scope, params)
        inner = TestExpectations(self.module, helper, scope, self.methods, self.callers)
        yield from inner.expectations()

    def _raises(self, call: ast.Call) -> Iterator[list[Edit]]:
        """Another exception, or warning, for the expected one; it must be no relative of that."""
        if called_name(call) not in (
            "raises", "warns", "assertRaises", "assertRaisesRegex", "assertWarns"
        ):  # fmt: skip
            return
        keyword = [k.value for k in call.keywords if k.arg == "expected_exception"]
        for node in (call.args or keyword)[:1]:
            for origin in self.scope.origins(node):
                if not is_real(origin.node):
                    continue
                named = [n.id for n in ast.walk(origin.node) if isinstance(n, ast.Name)]
                edits = [self._edit(origin.node, other) for other in unrelated(named)]
                if edits:
                    yield edits


def no_member(members: ast.List | ast.Tuple | ast.Set) -> str:
    """A list of one value, which isn't among the members."""
    none = any(isinstance(m, ast.Constant) and m.value is None for m in members.elts)
    return "[...]" if none else "[None]"


def normal(text: str) -> str:
    return ast.unparse(ast.parse(f"({text})", mode="eval"))


def names_in(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Name) for n in ast.walk(node))


def unrelated(names: Sequence[str]) -> list[str]:
    """Two builtin exceptions that are neither base nor subclass of those named."""
    types = [t for t in (getattr(builtins, n, None) for n in names) if isinstance(t, type)]
    warns = any(issubclass(t, Warning) for t in types)
    others = [
        name
        for name in (UNRELATED_WARNINGS if warns else UNRELATED_ERRORS)
        for other in [getattr(builtins, name)]
        if not any(issubclass(other, t) or issubclass(t, other) for t in types)
    ]
    return others[:2]
