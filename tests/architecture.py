"""Checks docs/architecture.md in the syntax trees: who may import whom, what works without torch, what is public."""

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

# A module belongs to the area that is named like its package; modules of the packages below are one area, "values".
VALUES = ("errors", "machine", "config", "protocol")
BELOW_ENGINE = ("values", "processing", "kernels", "model")
BELOW_INFERENCE = (*BELOW_ENGINE, "quantization", "checkpoint", "engine")
APPLICATIONS = ("compat", "diagnostics", "speech", "documents", "training", "evaluation", "server", "cluster", "nano")
# What each area may import.
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
    "nano": (
        *BELOW_INFERENCE,
        "metrics",
        "training",
        "training.rollout",
        "evaluation",
        "diagnostics",
        "nano",
        "nano.synth",
    ),
    "nano.synth": ("values", "nano.synth"),
    "api": ("values", "inference", "speech", "documents"),
    "cli": ("public", "api", *BELOW_INFERENCE, "inference", "metrics", *APPLICATIONS, "cli"),
    "public": ("values", "api"),
    "__main__": ("cli",),
}
WITHOUT_TORCH = ("values", "processing", "metrics", "nano.synth", "public")
MODULES_WITHOUT_TORCH = (
    *(f"engine.{name}" for name in ("messages", "request", "kv_pages", "encoder_cache", "speculative", "scheduler")),
    "engine.transport",
    *(f"cli.{name}" for name in ("main", "run", "chat", "serve")),
    *(f"training.{name}" for name in ("data", "workers")),
    *(f"evaluation.{name}" for name in ("comparison", "evaluate", "intervals", "records", "rows", "scoring", "units")),
    "nano.evaluation",
    *(f"server.{name}" for name in ("decoding", "fetching", "local_media", "media_error", "media_policy")),
    *(f"server.{name}" for name in ("preparing", "prompt_wire")),
)
# Other packages and the areas that may import them; None: all areas. `torch` has its own test.
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
    "h11": ("server",),
    "llguidance": ("processing",),
    "espeakng_loader": ("nano",),
    "onnxruntime": ("nano",),
    "sacrebleu": ("metrics",),
    "starlette": ("server",),
    "uvicorn": ("server",),
    "msgspec": ("server",),
    "prometheus_client": ("server",),
}
WITH_PUBLIC_INIT = {"compat"}  # packages, besides phi4mm itself, whose __init__ imports their public names
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "shared", "tools_common"}


@cache
def sources() -> dict[str, Path]:
    """The path of every module, by its name without `phi4mm.` ("" is the package itself)."""
    paths = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text(encoding="utf-8"))


def area(module: str) -> str:
    """The longest name in MAY_IMPORT that the module's name starts with; `values` for the packages in VALUES."""
    parts = module.split(".")
    if module == "":
        return "public"
    names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((name for name in names if name in MAY_IMPORT), "values" if parts[0] in VALUES else parts[0])


def imports(module: str) -> Iterator[tuple[str, str | None]]:
    """All imports of a module, also inside functions: (module, name imported from it or None)."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively at line {node.lineno}"
            yield from ((str(node.module), alias.name) for alias in node.names)


def own_imports(module: str) -> Iterator[tuple[str, str | None]]:
    """The imports of phi4mm's own modules, without `phi4mm.`; for `from package import module`, that module."""
    for target, name in imports(module):
        if target.partition(".")[0] == "phi4mm":
            below = target.partition(".")[2]
            inner = f"{below}.{name}".lstrip(".")
            yield (inner, None) if name and inner in sources() else (below, name)


def test_every_module_belongs_to_an_area() -> None:
    """A new package that is not in the table could import anything."""
    assert sorted(m for m in sources() if area(m) not in MAY_IMPORT) == []


def test_imports_go_down_only() -> None:
    """After the first import upward, a layer can no longer be used, tested or read alone."""
    wrong = [
        f"{module} -> {target or 'phi4mm'}"
        for module in sources()
        for target, _ in own_imports(module)
        if area(target) not in MAY_IMPORT[area(module)]
    ]
    assert wrong == []


def test_no_module_imports_names_from_a_package() -> None:
    """A name from a package's __init__ imports the whole package and makes cycles; only the cli, which is above all
    packages, uses the public names."""
    wrong = [
        f"{module} imports {name} from {target or 'phi4mm'}"
        for module in sources()
        for target, name in own_imports(module)
        if target in sources()
        and sources()[target].name == "__init__.py"
        and not (target == "" and area(module) == "cli")
    ]
    assert wrong == []


def test_packages_hold_no_code_in_their_init() -> None:
    """Code in an __init__ runs whenever any of its modules is imported; one with public names may only import."""
    allowed = (ast.Expr, ast.ImportFrom, ast.Assign)  # its docstring, imports and __all__
    packages = {m for m, path in sources().items() if m and path.name == "__init__.py"}
    assert sorted(m for m in packages - WITH_PUBLIC_INIT if len(tree(m).body) > 1) == []
    assert [m for m in WITH_PUBLIC_INIT if not all(isinstance(node, allowed) for node in tree(m).body)] == []


def test_no_import_cycles() -> None:
    """Whether a cycle works depends on which module is imported first."""
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
def test_torch_is_not_imported_where_it_must_not_be(module: str) -> None:
    """Processing, scoring and the plain values of requests run and are tested without torch."""
    assert [target for target, _ in imports(module) if target.partition(".")[0] == "torch"] == []


def test_modules_without_torch_can_be_imported_where_torch_is_missing() -> None:
    """The syntax tree does not show torch that is imported through another module or package."""
    names = [f"phi4mm.{m}".rstrip(".") for m in modules_without_torch()]
    program = (
        f"import importlib, sys\nsys.modules['torch'] = None\nfor name in {names}:\n    importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_every_module_has_no_side_effects() -> None:
    """An import that prints, warns, or sets threads, seeds or precision would change programs that import phi4mm."""
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


def test_other_packages_are_imported_only_where_they_belong() -> None:
    """transformers and peft are for tests only, the speech synthesizer for nano; no undeclared package is imported."""
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


def test_the_public_names_are_those_of_the_list() -> None:
    """A name added to __all__ by mistake must be kept; a name removed by mistake breaks programs."""
    assert list(phi4mm.__all__) == PUBLIC == sorted(PUBLIC)
    assert [name for name in PUBLIC if not hasattr(phi4mm, name)] == []


@pytest.mark.parametrize("module", [m for m in sources() if m])
def test_all_lists_of_public_names_are_sorted_and_defined(module: str) -> None:
    """A module's __all__ must be sorted, and each name must exist."""
    for node in tree(module).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            names = ast.literal_eval(node.value)
            assert names == sorted(names)
            assert set(names) <= _top_level_names(module)


def test_no_file_has_a_vague_name() -> None:
    """A file without a topic collects everything."""
    assert (
        sorted(str(p) for p in sources().values() if VAGUE_NAMES & set(p.relative_to(PACKAGE).with_suffix("").parts))
        == []
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
