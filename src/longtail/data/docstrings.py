"""Docstrings from Python source files, by syntax tree; nothing is imported."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Source", "docstrings_of", "find_source", "parse_source", "path_within", "source_files"]

_SKIPPED_FOLDERS = frozenset(
    {
        *("test", "tests", "testing", "_testing", "__pycache__", "node_modules"),
        # Of the standard library: applications, a copy of the grammar, other packages.
        *("idlelib", "lib2to3", "turtledemo", "ensurepip", "lib-dynload"),
        *("site-packages", "dist-packages"),
    }
)
_SKIPPED_FILE = re.compile(r"(test_.*|.*_test|conftest)\.py")


@dataclass(frozen=True)
class Source:
    """Where the source of a package stands.

    Parameters
    ----------
    package
        Its top-level name, or ``"stdlib"``.
    roots
        Its folders; for a module of one file, that file.
    """

    package: str
    roots: tuple[Path, ...]


def find_source(package: str) -> Source | None:
    """Find an installed package without importing it; None if it is not installed."""
    if package == "stdlib":
        folder = Path(sysconfig.get_path("stdlib"))
        return Source(package, (folder,)) if folder.is_dir() else None
    try:
        # For a top-level name this asks the import system where it is, and runs none of it.
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    roots = spec.submodule_search_locations or ([spec.origin] if spec.origin else [])
    found = tuple(path for path in map(Path, roots) if path.is_dir() or path.suffix == ".py")
    return Source(package, found) if found else None


def source_files(source: Source) -> list[Path]:
    """Return the Python files of a package, tests excluded, sorted."""
    files: list[Path] = []
    for root in source.roots:
        if root.is_file():
            files.append(root)
        for folder, subfolders, names in os.walk(root):
            subfolders[:] = sorted(set(subfolders) - _SKIPPED_FOLDERS)
            python = (name for name in sorted(names) if name.endswith(".py"))
            files += [Path(folder, n) for n in python if not _SKIPPED_FILE.fullmatch(n)]
    return files


def parse_source(file: Path) -> ast.Module | None:
    """Parse a Python file; None if it cannot be read or parsed.

    Packages ship templates and code for other versions of Python.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def path_within(source: Source, file: Path) -> str:
    """Return ``"package/path.py"``, the path counted from the package's folder."""
    for root in source.roots:
        if root.is_dir() and file.is_relative_to(root):
            return f"{source.package}/{file.relative_to(root).as_posix()}"
    return f"{source.package}/{file.name}"


def docstrings_of(source: Source, file: Path) -> Iterator[tuple[str, str]]:
    """Yield (``"module:qualified.name"``, cleaned docstring) in the order of the source.

    A file that cannot be read or parsed yields nothing.
    """
    tree = parse_source(file)
    if tree is None:
        return
    module = _module_name(source, file)
    text = ast.get_docstring(tree)
    found = [(module, text)] if text else []
    for name, text in [*found, *_nested(tree, f"{module}:")]:
        # An escape in a docstring can make half a surrogate pair, which no file can hold.
        yield name, text.encode("utf-8", "replace").decode("utf-8")


def _nested(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the docstrings of the definitions under `node`, those under if and try included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}{child.name}"
            text = ast.get_docstring(child)
            if text:
                yield name, text
            yield from _nested(child, f"{name}.")
        elif isinstance(child, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            yield from _nested(child, prefix)


def _module_name(source: Source, file: Path) -> str:
    for root in source.roots:
        if file.is_relative_to(root) and root.is_dir():
            parts = list(file.relative_to(root).with_suffix("").parts)
            break
    else:
        parts = []
    if parts and parts[-1] == "__init__":
        parts.pop()
    top = [] if source.package == "stdlib" else [source.package]
    return ".".join(top + parts) or source.package
