"""Package faces: a package's public names, each imported from its module at first use.

`import omop_emb` and `omop-emb --help` stay light, though some names need numpy, SQLAlchemy or pandas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(
    package: str, modules: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], object], list[str]]:
    """A package's `__getattr__` and `__all__`.

    Args:
        package: the package's `__name__`.
        modules: public names by the module that defines them, relative to the package.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def attribute(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f".{homes[name]}", package), name)

    return attribute, sorted(homes)
