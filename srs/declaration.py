"""What a test module calls in a solution, and how that is declared; read by AST, nothing is run."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
TOP_LEVEL_DEFINITION = re.compile(r"^(?:async[ \t]+def|def|class)[ \t]+(\w+)", re.MULTILINE)
TOP_LEVEL_LAMBDA = re.compile(r"^\w+[ \t]*=[ \t]*lambda\b", re.MULTILINE)
SOLUTION_IMPORT = re.compile(
    r"^[ \t]*from[ \t]+solution[ \t]+import[ \t]*(?:\(([^)]*)\)|(.*))", re.MULTILINE
)


def parse(source: str | None) -> ast.Module | None:
    """The syntax tree, or None when the text is no Python module."""
    if not source:
        return None
    try:
        with warnings.catch_warnings():  # "\\d" in somebody's solution is no news for our user
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def entry_points(
    test: str, reference: str | None, declared: Mapping[str, str]
) -> tuple[tuple[str, ...], str | None]:
    """The names that the test takes from the solution, and their declaration.

    ``declared``: function name → declaration, from the row's ``test_info``; may list helpers, or be
    empty. Names come in the order of the reference. Where the test takes nothing that is known, the
    names of which it has its own copy stand (see `carries_own_copy`), else the first declared one.
    The declaration is None when nothing tells it.
    """
    quick = _only_entry(test, reference, declared)
    if quick is not None:
        return (quick,), declared[quick]
    definitions = {d.name: d for d in _definitions(parse(reference))}
    known = [*definitions, *(name for name in declared if name not in definitions)]
    imported, free = used_names(test)
    wanted = [name for name in known if name in imported or name in free]
    wanted += [name for name in imported if name not in wanted]
    if not wanted:  # the test has its own copy of them, or calls nothing that is known
        own = [name for name in definitions if name in TOP_LEVEL_DEFINITION.findall(test)]
        wanted = own or [n for n in declared if n in definitions or not definitions][:1]
    lines = [
        declared[name] if name in declared else declaration(definitions[name])
        for name in wanted
        if name in declared or name in definitions
    ]
    return tuple(wanted), "\n\n".join(lines) or None


def used_names(test: str) -> tuple[list[str], set[str]]:
    """Names taken from the module ``solution``, in order, and names that are read but never bound."""
    tree = parse(test)
    imported: dict[str, None] = {}
    modules: set[str] = set()
    bound: set[str] = set()
    read: set[str] = set()
    attributes: list[tuple[str, str]] = []
    for node in ast.walk(tree) if tree else ():
        match node:
            case ast.ImportFrom(module="solution", names=names):
                imported.update(dict.fromkeys(a.name for a in names if a.name != "*"))
            case ast.Import(names=names):
                modules.update(a.asname or a.name for a in names if a.name == "solution")
                bound.update((a.asname or a.name).partition(".")[0] for a in names)
            case ast.ImportFrom(names=names):
                bound.update(a.asname or a.name for a in names)
            case ast.Attribute(value=ast.Name(id=name), attr=attr):
                attributes.append((name, attr))
            case ast.Name(id=name, ctx=ast.Load()):
                read.add(name)
            case ast.Name(id=name) | ast.arg(arg=name):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                bound.add(name)
            case ast.ClassDef(name=name):
                bound.add(name)
    imported.update(dict.fromkeys(attr for name, attr in attributes if name in modules))
    return list(imported), read - bound


def carries_own_copy(test: str, names: Sequence[str]) -> bool:
    """Whether the test module itself defines all these names, so that it never meets the solution.

    Such a test passes for any answer. A name is its own when the last top-level statement that binds
    it is a definition, not an import.
    """
    if not names or not set(names) <= set(TOP_LEVEL_DEFINITION.findall(test)):
        return False
    own: dict[str, bool] = {}
    tree = parse(test)
    for node in tree.body if tree else ():
        if isinstance(node, Definition):
            own[node.name] = True
        elif isinstance(node, ast.ImportFrom):
            own.update((a.asname or a.name, False) for a in node.names)
    return all(own.get(name, False) for name in names)


def declaration(node: Definition) -> str:
    """A function's or class's interface without annotations, as KodCode writes it.

    A function is its ``def`` line. A class is its header, its fields where they are the interface
    (annotated ones, members of an Enum), and the lines of its public and special methods.
    """
    if not isinstance(node, ast.ClassDef):
        return _def_line(node)
    bases = [ast.unparse(b) for b in node.bases] + [
        f"{k.arg}={ast.unparse(k.value)}" for k in node.keywords if k.arg
    ]
    lines = [f"@{ast.unparse(d)}" for d in node.decorator_list]
    lines.append(f"class {node.name}({', '.join(bases)}):" if bases else f"class {node.name}:")
    body: list[str] = []
    for item in node.body:
        if isinstance(item, ast.AnnAssign) or (
            isinstance(item, ast.Assign) and any(b.endswith("Enum") for b in bases)
        ):
            body.append(ast.unparse(item))
        elif isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and _public(item.name):
            body += [f"@{ast.unparse(d)}" for d in item.decorator_list]
            body.append(f"{_def_line(item)} ...")
    return "\n".join(lines + [f"    {line}" for line in body or ["..."]])


def imported_modules(source: str) -> set[str] | None:
    """Top-level names of the modules a program can't do without; None when it doesn't parse.

    Imports inside a ``try`` that catches their failure are left out. A relative import is ``"."``.
    """
    tree = parse(source)
    if tree is None:
        return None
    modules: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            modules.update(a.name.partition(".")[0] for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            modules.add("." if node.level else (node.module or "").partition(".")[0])
    return modules


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all statements below, but for the body of a ``try`` that catches a failed import.

    Expressions are not entered: tests may hold literals of many thousand nodes.
    """
    todo = [node]
    while todo:
        node = todo.pop()
        yield node
        optional = isinstance(node, ast.Try) and any(map(_catches_import, node.handlers))
        for part in ("body", "handlers", "orelse", "finalbody", "cases"):
            children = getattr(node, part, ())
            if isinstance(children, list) and not (optional and part == "body"):
                todo += children


def _only_entry(test: str, reference: str | None, declared: Mapping[str, str]) -> str | None:
    """The usual row without parsing it: of all known names, the test mentions one, and that is declared.

    Four of five KodCode rows; parsing them would take most of the time of reading a large file.
    """
    defined = TOP_LEVEL_DEFINITION.findall(reference or "")
    words = set(re.findall(r"\w+", test))
    mentioned = [name for name in dict.fromkeys([*defined, *declared]) if name in words]
    if len(mentioned) != 1 or mentioned[0] not in defined or mentioned[0] not in declared:
        return None
    if "lambda" in (reference or "") and TOP_LEVEL_LAMBDA.search(reference or ""):
        return None
    imported = " ".join(a or b for a, b in SOLUTION_IMPORT.findall(test))
    plain = "#" not in imported and set(re.findall(r"[\w*]+", imported)) <= {mentioned[0], "*"}
    return mentioned[0] if plain else None


def _definitions(tree: ast.Module | None) -> Iterator[Definition]:
    for node in tree.body if tree else ():
        if isinstance(node, Definition):
            yield node
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield ast.FunctionDef(
                        name=target.id, args=node.value.args, body=[], decorator_list=[]
                    )


def _def_line(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    a = node.args
    bare = ast.arguments(
        posonlyargs=_bare(a.posonlyargs),
        args=_bare(a.args),
        vararg=_bare([a.vararg])[0] if a.vararg else None,
        kwonlyargs=_bare(a.kwonlyargs),
        kw_defaults=a.kw_defaults,
        kwarg=_bare([a.kwarg])[0] if a.kwarg else None,
        defaults=a.defaults,
    )
    keyword = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    return f"{keyword} {node.name}({ast.unparse(bare)}):"


def _bare(args: Sequence[ast.arg]) -> list[ast.arg]:
    return [ast.arg(arg=a.arg) for a in args]


def _public(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def _catches_import(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    caught = {"ImportError", "ModuleNotFoundError", "Exception"}
    return any(isinstance(t, ast.Name) and t.id in caught for t in types)
