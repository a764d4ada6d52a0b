"""SQL that ships with omop-emb: numbered migrations and static queries."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def read(name: str) -> str:
    """The text of queries/NAME.sql."""
    return files(__name__).joinpath("queries", f"{name}.sql").read_text(encoding="utf-8")


@cache
def migrations() -> dict[str, str]:
    """Name to text of each file in migrations/, in order; a name is NNNN_what, as the file without .sql."""
    found = [
        entry for entry in files(__name__).joinpath("migrations").iterdir() if entry.name.endswith(".sql")
    ]
    return {
        entry.name.removesuffix(".sql"): entry.read_text(encoding="utf-8")
        for entry in sorted(found, key=lambda entry: entry.name)
    }
