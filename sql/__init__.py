"""SQL that ships with omop-emb: numbered migrations and static queries; schema.sql is for reading."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def read(name: str) -> str:
    """The text of queries/NAME.sql."""
    return files(__name__).joinpath("queries", f"{name}.sql").read_text(encoding="utf-8")


@cache
def migrations() -> dict[str, str]:
    """Name -> text of each file in migrations/, in order; a name is NNNN_what, without .sql."""
    folder = files(__name__).joinpath("migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return {name.removesuffix(".sql"): folder.joinpath(name).read_text(encoding="utf-8") for name in names}
