"""SSSOM export: a review as a mapping set of the Simple Standard for Sharing Ontology Mappings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

import psycopg
from psycopg.rows import tuple_row

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.errors import InputError
from omop_emb.records import Concept
from omop_emb.service.review.decision_records import ReviewState
from omop_emb.service.review.exports.export_format import ExportOption, ExportReport
from omop_emb.service.review.exports.exported_terms import ExportedTerm, exported_terms
from omop_emb.service.review.exports.left_out import LeftOutCounts, waiting_reason
from omop_emb.service.review.exports.source_identity import checked_uri, review_uuid
from omop_emb.service.review.exports.sssom_file import SssomFile
from omop_emb.service.review.exports.sssom_rows import (
    VOCABULARY_PREFIXES,
    SssomNames,
    decided_rows,
    suggested_row,
)
from omop_emb.service.review.exports.target_concepts import loaded_concepts
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.project_store import find_project
from omop_emb.sql import read
from omop_emb.vocabulary import reader

if TYPE_CHECKING:
    from sqlalchemy import Engine

# As sssom-py names what nobody has named; it takes a URN for a CURIE.
_UNSPECIFIED = "https://w3id.org/sssom/license/unspecified"
_MAPPING_SETS = "https://w3id.org/sssom/mappings/"
_PREFIXES = {
    "OMOP": "https://athena.ohdsi.org/search-terms/terms/",
    "bioregistry": "https://bioregistry.io/registry/",
    **dict(VOCABULARY_PREFIXES.values()),
}
_OBJECT_SOURCE = "bioregistry:omop"
_SOURCE_PREFIX = "source"  # of the CURIE for where the codes are from
_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")
_RESERVED = frozenset(
    {"owl", "rdf", "rdfs", "semapv", "skos", "sssom", "xsd", "linkml", "dcterms", "pav", "prov"}
)


@dataclass(frozen=True)
class SssomExport:
    """The format; see Export."""

    name: str = "sssom"
    label: str = "SSSOM (mapping set with provenance)"
    suffix: str = ".sssom.tsv"
    media_type: str = "text/tab-separated-values; charset=utf-8"
    options: Sequence[ExportOption] = (
        ExportOption(name="prefix", label="Prefix of your codes", default="LOCAL"),
        ExportOption(name="source", label="URI with which the identifiers of your codes begin"),
        ExportOption(name="mapping_set_id", label="URI of this mapping set"),
        ExportOption(name="license", label="URI of its license", default=_UNSPECIFIED),
        ExportOption(
            name="suggestions", label="Also what mapping suggests, with its probability", is_flag=True
        ),
    )

    def write(
        self, engine: Engine, project_id: int, options: Mapping[str, str], out: BinaryIO
    ) -> ExportReport:
        """Write approved terms and those without a match; see Export.write()."""
        left_out, latest = LeftOutCounts(), None
        with session_scope(engine) as session, SssomFile() as file:
            connection = driver_connection(session)
            project = find_project(connection, project_id)
            curie_map = _PREFIXES | _own_prefixes(project, options)
            names = _names(connection, project, options, curie_map)
            unknown = 0
            for batch in exported_terms(connection, project_id):
                concepts = loaded_concepts(connection, batch)
                agreeing = _agreeing(connection, project_id, batch)
                for term in batch:
                    unknown += _count_unknown(term, concepts)
                    latest = _later(latest, term.decided_at)
                    rows = _rows(term, concepts, agreeing.get(term.position, ()), names)
                    suggested = suggested_row(term, names) if options.get("suggestions") else None
                    for row in (*rows, suggested):
                        if row is not None:
                            file.add(row)
                    if not rows and suggested is None:
                        left_out.add(waiting_reason(term.state), term.example)
            metadata = {
                "mapping_set_id": options.get("mapping_set_id") or _MAPPING_SETS + str(review_uuid(project)),
                "mapping_set_version": latest.astimezone(UTC).isoformat(timespec="seconds") if latest else "",
                "mapping_set_title": project.name,
                "license": options.get("license") or _UNSPECIFIED,
            }
            checked_uri("mapping_set_id", metadata["mapping_set_id"])
            checked_uri("license", metadata["license"])
            file.write(out, metadata, curie_map)
            return ExportReport(rows=file.rows, left_out=left_out.as_tuple, notes=_notes(unknown))


def _rows(
    term: ExportedTerm, concepts: Mapping[int, Concept], agreeing: Sequence[str], names: SssomNames
) -> list[dict[str, str]]:
    if term.state in (ReviewState.APPROVED, ReviewState.NO_MATCH):
        return list(decided_rows(term, concepts, agreeing, names))
    return []


def _own_prefixes(project: Project, options: Mapping[str, str]) -> dict[str, str]:
    """The prefixes of the site's codes and of where they are from.

    Raises:
        InputError: the prefix or the URI cannot be used.
    """
    prefix, uri = options.get("prefix") or "LOCAL", options.get("source", "")
    taken = _RESERVED | {name.lower() for name in (*_PREFIXES, _SOURCE_PREFIX)}
    if _PREFIX.fullmatch(prefix) is None or prefix.lower() in taken:
        raise InputError(
            "prefix takes 1 to 40 letters, digits or _.-, and no prefix that has a meaning already, such as "
            f"OMOP; found {prefix[:40]!r}"
        )
    base = checked_uri("source", uri) if uri else f"{_MAPPING_SETS}{review_uuid(project)}#"
    return {prefix: base, _SOURCE_PREFIX: _split(base)[0]}


def _split(base: str) -> tuple[str, str]:
    """A URI without the signs at its end, in two parts, of which the second has no separator."""
    parts = re.fullmatch(r"(.*?[/:#?=])([^/:#?=]+)[/:#?=]*", base)
    if parts is None:
        raise InputError(f"source takes a URI such as https://example.org/codes/; found {base[:60]!r}")
    return parts[1], parts[2]


def _names(
    connection: psycopg.Connection[Any],
    project: Project,
    options: Mapping[str, str],
    curie_map: Mapping[str, str],
) -> SssomNames:
    prefix = options.get("prefix") or "LOCAL"
    tables = reader.vocabulary_tables(connection)
    shared = connection.cursor(row_factory=tuple_row).execute(
        "select source_code from omop_emb.review_term where project_id = %s and source_code <> '' "
        "group by source_code having count(distinct source_name) > 1",
        (project.project_id,),
    )
    return SssomNames(
        prefix=prefix,
        subject_source=f"{_SOURCE_PREFIX}:{_split(curie_map[prefix])[1]}",
        subject_source_version=f"sha256:{project.file_digest[:16]}",
        object_source=_OBJECT_SOURCE,
        object_source_version=(tables.version or "") if tables is not None else "",
        shared_codes=frozenset(code for (code,) in shared),
    )


def _agreeing(
    connection: psycopg.Connection[Any], project_id: int, terms: Sequence[ExportedTerm]
) -> dict[int, list[str]]:
    """Position -> who else decided or voted as the latest decision says."""
    positions = [term.position for term in terms if term.version]
    rows = connection.cursor(row_factory=tuple_row).execute(
        read("review_agreeing"), {"project": project_id, "positions": positions}
    )
    return {position: list(names) for position, names in rows}


def _count_unknown(term: ExportedTerm, concepts: Mapping[int, Concept]) -> int:
    return sum(target.concept_id not in concepts for target in term.verdict.targets)


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(filter(None, (one, other)), default=None)


def _notes(unknown: int) -> tuple[str, ...]:
    if not unknown:
        return ()
    return (f"targets that are not in the loaded vocabulary, and have no label: {unknown:,}",)
