"""Export registry: all formats in which a review can be written."""

from __future__ import annotations

from collections.abc import Mapping

from omop_emb.errors import InputError
from omop_emb.service.review.exports.concept_map_export import ConceptMapExport
from omop_emb.service.review.exports.export_format import Export
from omop_emb.service.review.exports.map_export import MapExport
from omop_emb.service.review.exports.sssom_export import SssomExport
from omop_emb.service.review.exports.table_export import TableExport
from omop_emb.service.review.exports.usagi_export import UsagiExport

EXPORTS: tuple[Export, ...] = (
    UsagiExport(),
    MapExport(".csv"),
    TableExport(".xlsx"),
    TableExport(".csv"),
    TableExport(".tsv"),
    TableExport(".parquet"),
    MapExport(".tsv"),
    MapExport(".parquet"),
    MapExport(".xlsx"),
    SssomExport(),
    ConceptMapExport("R4"),
    ConceptMapExport("R5"),
)
"""In the order in which people see them: import a format's object here, and add it."""


def find_export(name: str) -> Export:
    """The format with a name.

    Raises:
        InputError: there is none.
    """
    for export in EXPORTS:
        if export.name == name:
            return export
    names = ", ".join(export.name for export in EXPORTS) or "none"
    raise InputError(f"there is no export format {name[:40]!r}; the formats are {names}")


def parse_options(export: Export, given: Mapping[str, str]) -> dict[str, str]:
    """A value for every option of a format, from those that were given.

    Raises:
        InputError: a given name is no option, a choice does not exist, or a required value is missing.
    """
    by_name = {option.name: option for option in export.options}
    if unknown := sorted(set(given) - set(by_name)):
        listed = ", ".join(by_name) or "none"
        raise InputError(f"{export.name} has no option {unknown[0][:40]!r}; it has {listed}")
    values = {}
    for name, option in by_name.items():
        value = given.get(name, "").strip() or option.default
        if option.is_flag:
            value = "yes" if value in ("yes", "true", "on", "1") else ""
        if option.is_required and not value:
            raise InputError(f"{export.name} needs {name}: {option.label}")
        if option.choices and value not in option.choices:
            raise InputError(f"{name} must be one of {', '.join(option.choices)}; found {value[:40]!r}")
        values[name] = value
    return values
