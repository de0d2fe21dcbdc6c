"""docs/architecture.md, enforced over the syntax trees: who may know whom, what knows no torch, what is public."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import phi4mm

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "phi4mm"

PUBLIC = [
    *("Audio", "CapacityError", "ChatRequest", "CheckpointError", "ConfigError", "EngineArgs", "EngineError", "Image"),
    *("InputError", "Message", "PhiError", "Reply", "ResponseFormat", "SamplingParams", "Tool", "ToolCall", "Usage"),
    "load",
]

# A module belongs to the area of its first name below phi4mm.
VALUES = ("errors", "machine", "config", "protocol")
BELOW_ENGINE = ("values", "processing", "kernels", "model")
BELOW_INFERENCE = (*BELOW_ENGINE, "quantization", "checkpoint", "engine")
APPLICATIONS = ("compat", "diagnostics", "speech", "documents", "training", "evaluation", "server", "cluster", "nano")
# Areas from above to below; an area may import itself and what its row names.
MAY_IMPORT = {
    "values": ("values",),
    "processing": ("values", "processing"),
    "metrics": ("values", "processing", "metrics"),
    "kernels": ("values", "kernels"),
    "model": ("values", "kernels", "model"),
    "quantization": ("values", "kernels", "model", "quantization"),
    "checkpoint": ("values", "kernels", "model", "quantization", "checkpoint"),
    "engine": (*BELOW_ENGINE, "checkpoint", "engine"),
    "inference": (*BELOW_INFERENCE, "inference"),
    "compat": (*BELOW_INFERENCE, "inference", "compat"),
    "diagnostics": (*BELOW_INFERENCE, "inference", "diagnostics"),
    "speech": (*BELOW_INFERENCE, "inference", "metrics", "speech"),
    "documents": (*BELOW_INFERENCE, "inference", "metrics", "speech", "documents"),
    "training": ("values", "processing", "metrics", "kernels", "model", "quantization", "checkpoint", "training"),
    "training.rollout": (*BELOW_INFERENCE, "metrics", "training", "training.rollout"),
    "evaluation": (*BELOW_INFERENCE, "inference", "metrics", "evaluation"),
    "server": (*BELOW_INFERENCE, "inference", "speech", "documents", "server"),
    "cluster": (*BELOW_INFERENCE, "inference", "metrics", "speech", "documents", "evaluation", "server", "cluster"),
    "nano": (*BELOW_INFERENCE, "metrics", "training", "diagnostics", "nano", "nano.synth"),
    "nano.synth": ("values", "nano.synth"),
    "api": ("values", "inference", "speech", "documents"),
    "cli": ("face", "api", *BELOW_INFERENCE, "inference", "metrics", *APPLICATIONS, "cli"),
    "face": ("values", "api"),
    "__main__": ("cli",),
}
WITHOUT_TORCH = ("values", "processing", "metrics", "nano.synth", "face")
MODULES_WITHOUT_TORCH = (
    *(f"engine.{name}" for name in ("messages", "request", "kv_pages", "encoder_cache", "speculative", "scheduler")),
    "engine.transport",
    *(f"cli.{name}" for name in ("main", "run", "chat")),
    *(f"training.{name}" for name in ("data", "workers")),
)
# Packages that only some areas may know; `torch` has its own test.
AREAS_OF = {
    "numpy": None,
    "torch": None,
    "PIL": None,
    "soundfile": None,
    "soxr": None,
    "av": ("processing",),
    "tokenizers": ("processing", "nano"),
    "safetensors": ("checkpoint", "training", "nano"),
    "huggingface_hub": ("checkpoint",),
    "llguidance": ("processing",),
    "espeakng_loader": ("nano",),
}
FACES = {"compat"}  # packages whose __init__ names what they offer, beside phi4mm itself
DRAWERS = {"utils", "util", "common", "helpers", "helper", "misc", "shared", "tools_common"}


@cache
def sources() -> dict[str, Path]:
    """Every module of the package by its name below phi4mm ("" is the package itself)."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text(encoding="utf-8"))


def area(module: str) -> str:
    """The longest name of the table that begins the module's; a module of values is `values`."""
    parts = module.split(".")
    if module == "":
        return "face"
    names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((name for name in names if name in MAY_IMPORT), "values" if parts[0] in VALUES else parts[0])


def imports(module: str) -> Iterator[tuple[str, str | None]]:
    """What a module imports anywhere, in functions too: (module, name taken from it or None)."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively at line {node.lineno}"
            yield from ((str(node.module), alias.name) for alias in node.names)


def own_imports(module: str) -> Iterator[tuple[str, str | None]]:
    """The modules of phi4mm that a module imports, by their names below phi4mm; a submodule taken by name is itself."""
    for target, name in imports(module):
        if target.partition(".")[0] == "phi4mm":
            below = target.partition(".")[2]
            inner = f"{below}.{name}".lstrip(".")
            yield (inner, None) if name and inner in sources() else (below, name)


def test_every_module_has_its_place() -> None:
    """A new package that the table does not know would be free to import anything."""
    assert sorted(m for m in sources() if area(m) not in MAY_IMPORT) == []


def test_imports_go_down_only() -> None:
    """The first import upward is the end of being able to use, test or read a layer alone."""
    wrong = [
        f"{module} -> {target or 'phi4mm'}"
        for module in sources()
        for target, _ in own_imports(module)
        if area(target) not in MAY_IMPORT[area(module)]
    ]
    assert wrong == []


def test_no_module_imports_names_from_a_package() -> None:
    """A name taken from a package's __init__ drags in the whole package and makes cycles; only the cli, above all
    packages, uses the public face."""
    wrong = [
        f"{module} takes {name} from {target or 'phi4mm'}"
        for module in sources()
        for target, name in own_imports(module)
        if target in sources()
        and sources()[target].name == "__init__.py"
        and not (target == "" and area(module) == "cli")
    ]
    assert wrong == []


def test_packages_hold_no_code_in_their_init() -> None:
    """Code in an __init__ runs whenever any of its modules is imported; a public face only names things."""
    allowed = (ast.Expr, ast.ImportFrom, ast.Assign)  # its docstring, imports and __all__
    packages = {m for m, path in sources().items() if m and path.name == "__init__.py"}
    assert sorted(m for m in packages - FACES if len(tree(m).body) > 1) == []
    assert [m for m in FACES if not all(isinstance(node, allowed) for node in tree(m).body)] == []


def test_no_import_cycles() -> None:
    """A cycle works or fails by who is imported first."""
    graph = {m: {target for target, _ in own_imports(m)} & set(sources()) - {"", m} for m in sources() if m}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for target in sorted(graph[module]):
                visit(target, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def modules_without_torch() -> list[str]:
    return sorted({m for m in sources() if area(m) in WITHOUT_TORCH} | set(MODULES_WITHOUT_TORCH))


@pytest.mark.parametrize("module", modules_without_torch())
def test_no_torch_is_named_where_none_may_be(module: str) -> None:
    """Processing, scoring and the request's plain values run and are tested where torch is not."""
    assert [target for target, _ in imports(module) if target.partition(".")[0] == "torch"] == []


def test_what_is_without_torch_imports_where_torch_is_missing() -> None:
    """The syntax tree does not see torch that comes in through another module or package."""
    names = [f"phi4mm.{m}".rstrip(".") for m in modules_without_torch()]
    program = (
        f"import importlib, sys\nsys.modules['torch'] = None\nfor name in {names}:\n    importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_every_module_does_nothing_else() -> None:
    """An import that prints, warns, or sets threads, seeds or precision changes programs that only look at phi4mm."""
    names = [f"phi4mm.{m}".rstrip(".") for m in sources() if m != "__main__"]
    program = (
        "import importlib, os, random, sys, threading, torch\n"
        "def state():\n"
        "    return (dict(os.environ), os.getcwd(), torch.get_num_threads(), torch.get_default_dtype(),\n"
        "            torch.initial_seed(), random.getstate(), threading.active_count(), sys.path[:])\n"
        "before = state()\n"
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        "assert state() == before\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_other_packages_are_known_only_where_they_belong() -> None:
    """transformers and peft are for tests alone, the speech synthesizer for synth; nothing undeclared comes in."""
    wrong = []
    for module in sources():
        for target, _ in imports(module):
            package = target.partition(".")[0]
            if package in sys.stdlib_module_names or package == "phi4mm":
                continue
            areas = AREAS_OF.get(package, ())
            if areas is not None and area(module).partition(".")[0] not in areas:
                wrong.append(f"{module} imports {package}")
    assert wrong == []


def test_the_public_names_are_the_promised_ones() -> None:
    """A name that slips into __all__ is a promise; one that slips out breaks programs."""
    assert list(phi4mm.__all__) == PUBLIC == sorted(PUBLIC)
    assert [name for name in PUBLIC if not hasattr(phi4mm, name)] == []


@pytest.mark.parametrize("module", [m for m in sources() if m])
def test_a_list_of_public_names_is_sorted_and_true(module: str) -> None:
    """A module that lists what it offers must list it in order and have it."""
    for node in tree(module).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            names = ast.literal_eval(node.value)
            assert names == sorted(names)
            assert set(names) <= _top_level_names(module)


def test_no_file_is_a_drawer() -> None:
    """A file named for nothing collects everything."""
    assert (
        sorted(str(p) for p in sources().values() if DRAWERS & set(p.relative_to(PACKAGE).with_suffix("").parts)) == []
    )


def _top_level_names(module: str) -> set[str]:
    names: set[str] = set()
    for node in tree(module).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names
