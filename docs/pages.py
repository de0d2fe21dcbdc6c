"""Pages of the site that are made while it is built, so that nothing is written twice: an MkDocs hook.

index.md, changelog.md, contributing.md   the files of the root, with their links turned to the site
reference/index.md                        the file map: every module with the first line of its docstring
reference/api.md                          the names that phi4mm gives, from their docstrings
reference/packages/NAME.md                one page a package, from the docstrings of its modules
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "phi4mm"
COPIED = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
# What `phi4mm.load` returns is public without being a name of phi4mm.
LOADED = {
    "phi4mm.api.Model": "{inherited_members: true, show_bases: false, merge_init_into_class: false}",
    "phi4mm.inference.stream.Stream": "{merge_init_into_class: false}",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the made pages, then fill in the navigation with the pages that there are."""
    for name, text in pages():
        if written := files.get_file_from_path(name):
            files.remove(written)
        files.append(File.generated(config, name, content=text))
    config.nav = expand(config.nav or [], sorted(file.src_uri for file in files.documentation_pages()))
    return files


def pages() -> Iterator[tuple[str, str]]:
    """Names and Markdown of all made pages."""
    for source, name in COPIED.items():
        if (path := ROOT / source).is_file():
            yield name, from_root(path.read_text(encoding="utf-8"))
    yield "reference/api.md", public_api()
    listing = ["# File map", f"The {len(modules())} modules of `src/phi4mm`, one line each."]
    for package in dict.fromkeys(map(package_of, modules())):
        held = [path for path in modules() if package_of(path) == package]
        listing += [f"## [{package}](packages/{package}.md)", file_table(held)]
        # The names that an __init__.py passes on are documented where they are defined.
        blocks = [documented(module_name(p), "{members: false}" if p.name == "__init__.py" else "{}") for p in held]
        yield f"reference/packages/{package}.md", "\n\n".join([f"# {package}", file_table(held), *blocks])
    yield "reference/index.md", "\n\n".join(listing)


def public_api() -> str:
    """Everything of `phi4mm.__all__`, and the classes behind `load`."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    lists = [n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"]
    names: list[str] = sorted(ast.literal_eval(lists[0]), key=lambda name: (name.endswith("Error"), name))
    names.remove("load")
    blocks = [documented("phi4mm.load")]
    blocks += [documented(name, options) for name, options in LOADED.items()]
    blocks += [documented(f"phi4mm.{name}") for name in names]
    return "\n\n".join(["# Public API", "What `import phi4mm` gives, and what `phi4mm.load` returns.", *blocks])


def documented(name: str, options: str = "{}") -> str:
    """What mkdocstrings replaces by the documentation of `name`."""
    return f"::: {name}\n    options: {options}"


@cache
def modules() -> list[Path]:
    """Every file of the package that says what it is, a folder's __init__.py before the others."""
    found = sorted(PACKAGE.rglob("*.py"), key=lambda path: (path.parent, path.name != "__init__.py", path))
    return [path for path in found if docstring(path)]


def docstring(path: Path) -> str:
    """A module's docstring; an __init__.py that holds nothing has none."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def package_of(path: Path) -> str:
    """The package on whose page a file stands: the outermost one below phi4mm, or phi4mm itself."""
    inside = path.relative_to(PACKAGE).parts
    return inside[0] if len(inside) > 1 else "phi4mm"


def module_name(path: Path) -> str:
    """`phi4mm.engine.core`, from its path."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def file_table(paths: list[Path]) -> str:
    """One line a file: its path and the first line of its docstring."""
    rows = []
    for path in paths:
        first = docstring(path).partition("\n")[0].replace("|", "\\|")
        rows.append(f"| [`{path.relative_to(PACKAGE)}`][{module_name(path)}] | {first} |")
    return "\n".join(["| file | what it is |", "|---|---|", *rows])


def from_root(text: str) -> str:
    """Markdown of the root as a page: links to pages of the site go there, links to other files become their paths."""

    def turned(link: re.Match[str]) -> str:
        label, target = link.groups()
        if "://" in target or target.startswith("#"):
            return link[0]
        if target in COPIED or target.startswith("docs/"):
            return f"[{label}]({COPIED.get(target, target.removeprefix('docs/'))})"
        return f"{label} (`{target}`)"

    return re.sub(r"\[([^\]]*)\]\(([^)\s]*)\)", turned, text)


def expand(entries: list[Any], names: list[str]) -> list[Any]:
    """The navigation with each name that has a * replaced by the pages it matches, README.md first."""
    made: list[Any] = []
    for entry in entries:
        title, target = next(iter(entry.items())) if isinstance(entry, dict) else (None, entry)
        if isinstance(target, list):
            found: Any = expand(target, names)
        elif "*" in target:
            found = sorted(filter(lambda name: fnmatch(name, target), names), key=lambda n: not n.endswith("README.md"))
        else:
            found = target
        if title is not None and found:
            made.append({title: found})
        elif title is None:
            made += found if isinstance(found, list) else [found]
    return made
