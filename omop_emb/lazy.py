"""Package faces: a package's public names, each imported from its module at first use.

`import omop_emb` and `omop-emb --help` stay light, though some names need numpy, SQLAlchemy or pandas.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module


def lazy_names(package: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__`; its names are those that it imports for type checkers."""

    @cache
    def modules() -> dict[str, str]:
        import ast

        spec = sys.modules[package].__spec__
        source = spec.loader.get_source(package)  # type: ignore[union-attr] # a package of files has a loader
        return {
            alias.asname: node.module
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.ImportFrom) and node.module is not None
            for alias in node.names
            if alias.asname is not None and not alias.asname.startswith("__")
        }

    def attribute(name: str) -> object:
        if name == "__all__":
            return sorted(modules())
        if name.startswith("__") or name not in modules():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules()[name]), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules()})

    return attribute, names
