"""The import directions of the design, read from the source, and that importing loads nothing heavy."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("srs", "memory", "scheduler", "sandbox", "evaluator")
NOT_OURS_TO_IMPORT = {"ianvs", "templates", "tiny"}
HEAVY = {
    "torch", "vllm", "trl", "peft", "transformers", "accelerate", "datasets", "docker", "ray",
    "gradio", "matplotlib", "torch_npu", "sacrebleu",
}  # fmt: skip
MAY_IMPORT = {
    "memory": {"memory", "srs.types"},
    "scheduler": {"scheduler", "srs.types"},
    "sandbox": {"sandbox", "srs.types"},
    # Code is found in a completion in one place, for training and grading alike: the pure srs.prompts.
    "evaluator": {"evaluator", "sandbox", "srs.types", "srs.prompts"},
}
ENTRY_POINTS = {
    "srs.train",
    "srs.compare",
    "srs.plan",
    "srs.modelarts",
    "srs.modelarts.entry",
    "evaluator.run",
    "evaluator.compare",
    "evaluator.export",
    "evaluator.repair",
    "evaluator.rewards",
    "evaluator.telemetry",
    "evaluator.verdicts",
    "sandbox.self_check",
    "scheduler.explain",
    "memory.export",
}
PURE = (
    "scheduler",
    "evaluator.metrics",
    "evaluator.acceptance",
    "evaluator.events",
    "evaluator.comments.scores",
    "evaluator.comments.split",
    "evaluator.judging.agreement",
    "evaluator.judging.prompts",
    "evaluator.judging.rubric",
    "evaluator.judging.summary",
    "srs.examples",
    "srs.prompts",
    "srs.splits",
    "srs.declaration",
)
IMPURE = {
    "asyncio", "io", "logging", "multiprocessing", "os", "pathlib", "secrets", "shutil",
    "signal", "socket", "sqlite3", "subprocess", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip


class Import(NamedTuple):
    module: str
    line: int
    at_top: bool
    """Runs when the module is imported: neither in a function nor under TYPE_CHECKING."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    name_of(path): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if not NOT_OURS_TO_IMPORT & set(path.relative_to(ROOT).parts)
}


def imports_of(source: str) -> Iterator[Import]:
    def walk(node: ast.AST, at_top: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(a.name, child.lineno, at_top) for a in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert not child.level, f"line {child.lineno}: imports are absolute here"
                module = child.module or ""
                names = [f"{module}.{a.name}" for a in child.names]
                modules = [n if n in SOURCES else module for n in names]
                yield from (Import(m, child.lineno, at_top) for m in dict.fromkeys(modules))
            else:
                typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, at_top and not typing_only and not inside)

    yield from walk(ast.parse(source), True)


def within(module: str, allowed: set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


def broken(name: str, why: str, line: int) -> str:
    return f"{SOURCES[name].relative_to(ROOT)}:{line}: {why}"


@pytest.fixture(scope="module")
def imports() -> dict[str, list[Import]]:
    return {
        name: list(imports_of(path.read_text(encoding="utf-8"))) for name, path in SOURCES.items()
    }


def test_the_reader_sees_what_it_should() -> None:
    source = (
        "import os\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n"
        "def f():\n    from srs import types\nclass C:\n    import json\n"
    )
    assert [(i.module, i.at_top) for i in imports_of(source)] == [
        ("os", True),
        ("typing", True),
        ("torch", False),
        ("srs.types", False),
        ("json", True),
    ]


def test_the_records_import_the_standard_library_only(imports: dict[str, list[Import]]) -> None:
    for module, line, _ in imports["srs.types"]:
        assert module.partition(".")[0] in sys.stdlib_module_names, broken(
            "srs.types", module, line
        )


@pytest.mark.parametrize("package", ["srs"])
def test_a_package_file_holds_a_docstring_only(package: str) -> None:
    body = ast.parse(SOURCES[package].read_text(encoding="utf-8")).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)


def test_packages_point_in_one_direction(imports: dict[str, list[Import]]) -> None:
    """Programs and entry points may compose: there, imports inside functions are free."""
    wrong = [
        broken(name, f"{name.partition('.')[0]} must not import {i.module}", i.line)
        for name, found in imports.items()
        for i in found
        if i.module.partition(".")[0] in PACKAGES
        and name.partition(".")[0] in MAY_IMPORT
        and not within(i.module, MAY_IMPORT[name.partition(".")[0]])
        and (i.at_top or not (name in ENTRY_POINTS or is_program(name)))
    ]
    assert not wrong, "\n".join(wrong)


def test_nobody_imports_an_entry_point(imports: dict[str, list[Import]]) -> None:
    wrong = [
        broken(name, f"imports the entry point {i.module}", i.line)
        for name, found in imports.items()
        for i in found
        if i.module in ENTRY_POINTS and i.module != name
    ]
    assert not wrong, "\n".join(wrong)


def test_heavy_libraries_load_inside_functions(imports: dict[str, list[Import]]) -> None:
    wrong = [
        broken(name, f"{i.module} at the top of the file", i.line)
        for name, found in imports.items()
        for i in found
        if i.at_top and i.module.partition(".")[0] in HEAVY
    ]
    assert not wrong, "\n".join(wrong)


def test_the_sandbox_needs_nothing_but_the_standard_library_and_pytest(
    imports: dict[str, list[Import]],
) -> None:
    allowed = sys.stdlib_module_names | set(PACKAGES) | {"pytest", "_pytest", "pluggy"}
    wrong = [
        broken(name, f"{i.module} is not in the standard library", i.line)
        for name, found in imports.items()
        for i in found
        if name.startswith("sandbox") and i.at_top and i.module.partition(".")[0] not in allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_the_pure_core_has_no_clock_files_or_global_random_state(
    imports: dict[str, list[Import]],
) -> None:
    wrong = []
    for name, found in imports.items():
        if not within(name, set(PURE)) or name in ENTRY_POINTS or is_program(name):
            continue
        wrong += [
            broken(name, f"{i.module} in a pure module", i.line)
            for i in found
            if i.module.partition(".")[0] in IMPURE | HEAVY
        ]
        for node in ast.walk(ast.parse(SOURCES[name].read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(value=ast.Name(id="random"), attr=attr) if attr != "Random":
                    wrong.append(broken(name, f"random.{attr} uses global state", node.lineno))
                case ast.ImportFrom(module="random", names=names):
                    if any(a.name != "Random" for a in names):
                        wrong.append(broken(name, "random's global functions", node.lineno))
                case ast.Attribute(attr="now" | "utcnow" | "today" as call):
                    wrong.append(broken(name, f"{call} reads the clock", node.lineno))
                case ast.Call(func=ast.Name(id="open" | "print" | "input" as call)):
                    wrong.append(broken(name, f"{call}() in a pure module", node.lineno))
    assert not wrong, "\n".join(wrong)


def test_importing_every_module_loads_nothing_heavy() -> None:
    """One fresh interpreter; what each module adds is told apart, so the message names the culprit."""
    modules = sorted(name for name in SOURCES if not name.endswith("__main__"))
    script = (
        "import importlib, json, sys\n"
        "names, heavy = json.load(sys.stdin)\n"
        "seen, found = set(), []\n"
        "for name in names:\n"
        "    importlib.import_module(name)\n"
        "    new = (set(heavy) & set(sys.modules)) - seen\n"
        "    seen |= new\n"
        "    found += [f'importing {name} loads {m}' for m in sorted(new)]\n"
        "print(json.dumps(found))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps([modules, sorted(HEAVY)]),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == []


def is_program(name: str) -> bool:
    return name.endswith("__main__") or '__name__ == "__main__"' in SOURCES[name].read_text(
        encoding="utf-8"
    )
