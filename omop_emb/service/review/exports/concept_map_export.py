"""ConceptMap export: a review as a FHIR ConceptMap, for terminology servers and programs that translate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid5

import psycopg

from omop_emb.database.engine import driver_connection, session_scope
from omop_emb.records import Concept
from omop_emb.service.code_system_uris import OMOP, system_uri
from omop_emb.service.review.decision_records import MAPPING_TYPES, ReviewState
from omop_emb.service.review.exports.concept_map_elements import (
    ElementWriter,
    Version,
    attribute_code,
    attribute_uri,
)
from omop_emb.service.review.exports.concept_map_file import ConceptMapFile
from omop_emb.service.review.exports.export_format import ExportOption, ExportReport
from omop_emb.service.review.exports.exported_terms import ExportedTerm, exported_terms
from omop_emb.service.review.exports.left_out import LeftOutCounts, waiting_reason
from omop_emb.service.review.exports.source_identity import checked_uri, review_uuid
from omop_emb.service.review.exports.target_concepts import loaded_concepts
from omop_emb.service.review.project_records import Project
from omop_emb.service.review.project_store import find_project
from omop_emb.service.terminology import Terminology
from omop_emb.vocabulary import reader

if TYPE_CHECKING:
    from sqlalchemy import Engine

_CONFLICT = "its code has another name with another answer, or one that awaits review"
_VALUE_ALONE = "a value without a concept that it belongs to"
_UNKNOWN = "a concept is not in the loaded vocabulary, and has no code"


@dataclass(frozen=True)
class ConceptMapExport:
    """The format in one version of FHIR; see Export."""

    version: Version
    media_type: str = "application/fhir+json"

    @property
    def name(self) -> str:
        """As --format takes it."""
        return f"fhir-{self.version.lower()}"

    @property
    def label(self) -> str:
        """For people."""
        return f"FHIR ConceptMap ({self.version})"

    @property
    def suffix(self) -> str:
        """Of file names."""
        return f".conceptmap-{self.version.lower()}.json"

    @property
    def options(self) -> Sequence[ExportOption]:
        """What a person may choose."""
        return (
            ExportOption(name="url", label="URL of the map"),
            ExportOption(name="source", label="URI of the code system of your codes"),
            ExportOption(name="status", label="Status", default="draft", choices=("draft", "active")),
            ExportOption(name="publisher", label="Publisher"),
            ExportOption(
                name="target",
                label="Targets",
                default="concept ids",
                choices=("concept ids", "codes of vocabularies"),
            ),
        )

    def write(
        self, engine: Engine, project_id: int, options: Mapping[str, str], out: BinaryIO
    ) -> ExportReport:
        """Write approved terms and those without a match; see Export.write()."""
        left_out = LeftOutCounts()
        with session_scope(engine) as session, ConceptMapFile() as file:
            connection = driver_connection(session)
            project = find_project(connection, project_id)
            writer = ElementWriter(
                version=self.version,
                source=_source(project, options),
                by_code=options.get("target") == "codes of vocabularies",
            )
            latest, lost = project.created_at, 0
            for batch in exported_terms(connection, project_id):
                concepts = loaded_concepts(connection, batch)
                for term in batch:
                    latest = max(latest, term.decided_at or latest)
                    if reason := _add(file, writer, term, concepts):
                        left_out.add(reason, term.example)
                    has_comment = term.state is ReviewState.NO_MATCH and term.verdict.comment.strip()
                    lost += bool(has_comment) and self.version == "R5"
            resource = self._resource(project, options, latest)
            file.write(out, resource, _versions(connection), r4=self.version == "R4")
            for label in file.conflicting:
                left_out.add(_CONFLICT, label)
            return ExportReport(rows=file.rows, left_out=left_out.as_tuple, notes=_notes(file.merged, lost))

    def _resource(self, project: Project, options: Mapping[str, str], latest: datetime) -> dict[str, Any]:
        made, instant = review_uuid(project), latest.astimezone(UTC)
        publisher = options.get("publisher", "").strip()
        return {
            "resourceType": "ConceptMap",
            "id": str(made),
            "url": checked_uri("url", options.get("url") or f"urn:uuid:{made}"),
            "version": instant.strftime("%Y%m%dT%H%M%SZ"),
            "name": _computer_name(project),
            "title": project.name,
            "status": options.get("status") or "draft",
            "experimental": False,
            "date": instant.isoformat(timespec="seconds"),
            **({"publisher": publisher} if publisher else {}),
            "description": f"Terms of {project.file_name}, mapped to OMOP concepts and reviewed",
            **(_ATTRIBUTES if self.version == "R5" else {}),
        }


_ATTRIBUTES = {
    "additionalAttribute": [
        {
            "code": attribute_code(mapping_type),
            "uri": attribute_uri(mapping_type),
            "description": f"What a source code {words} in OMOP",
            "type": "Coding",
        }
        for mapping_type, words in MAPPING_TYPES.items()
        if mapping_type != "MAPS_TO"
    ]
}


def _add(
    file: ConceptMapFile, writer: ElementWriter, term: ExportedTerm, concepts: Mapping[int, Concept]
) -> str:
    """Add a term to a map; why it is not in it, "" if it is."""
    key = writer.key(term)
    if reason := waiting_reason(term.state):
        if term.state is not ReviewState.IGNORED:
            file.add_undecided(key)
        return reason
    if term.verdict.targets and not any(target.is_mapping for target in term.verdict.targets):
        file.add_undecided(key)
        return _VALUE_ALONE
    try:
        elements = list(writer.elements(term, concepts))
    except KeyError:
        file.add_undecided(key)
        return _UNKNOWN
    file.add(key, term, elements)
    return ""


def _source(project: Project, options: Mapping[str, str]) -> str:
    """The URI of the site's code system: another than the map's own."""
    given = options.get("source", "")
    return checked_uri("source", given) if given else f"urn:uuid:{uuid5(review_uuid(project), 'codes')}"


def _versions(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """URI of a system -> its version in the loaded release; of systems that targets can be in."""
    tables = reader.vocabulary_tables(connection)
    if tables is None:
        return {}
    terminology = Terminology(connection, tables)
    versions = {system_uri(name): one.version for name, one in terminology.vocabularies.items()}
    versions[OMOP] = terminology.version
    return {uri: version for uri, version in versions.items() if version}


def _computer_name(project: Project) -> str:
    """A name that programs can use, as FHIR wants it: letters, digits and _, a capital first."""
    words = re.findall(r"[A-Za-z0-9]+", project.name)
    name = "".join(word[:1].upper() + word[1:] for word in words)
    return (name if name[:1].isalpha() else f"Review{name or project.project_id}")[:255]


def _notes(merged: int, lost: int) -> tuple[str, ...]:
    notes = []
    if merged:
        notes.append(f"terms with the code and the answer of another, in the map once: {merged:,}")
    if lost:
        notes.append(f"comments on terms without a match, for which R5 has no place: {lost:,}")
    return tuple(notes)
