"""A FHIR server on a small vocabulary, whose answers are checked against the models of FHIR."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import sqlalchemy

from omop_emb.database.engine import database_engine, driver_connection, session_scope
from omop_emb.mapping.records import MappedTerm, SourceTerm
from omop_emb.vocabulary import loader
from tests.conftest import as_url
from tests.postgres.fhir.fhir_vocabulary import write_vocabulary

pytest.importorskip("fastapi", reason="the extra web is not installed")
models = pytest.importorskip("fhir.resources", reason="fhir.resources is not installed")

from omop_emb.web.fhir.dispatch import Answer, Call, FhirServer, segments  # noqa: E402 - needs the extra
from omop_emb.web.fhir.fhir_version import FhirVersion  # noqa: E402 - needs the extra


def check_model(resource: Mapping[str, Any], version: FhirVersion) -> None:
    """Fail if a resource does not fit the model of its type."""
    release = ".R4B" if version.is_r4 else ""
    module = __import__(f"fhir.resources{release}.{resource['resourceType'].lower()}", fromlist=["x"])
    getattr(module, resource["resourceType"]).model_validate_json(json.dumps(resource))


def no_mapping(_: Sequence[SourceTerm]) -> list[MappedTerm]:
    raise AssertionError("nothing is to be mapped here")


@dataclass(frozen=True)
class FhirClient:
    """Asks a FHIR server without HTTP, and checks each answer."""

    server: FhirServer

    def at(self, version: FhirVersion) -> FhirClient:
        """The same server in a version of FHIR."""
        return FhirClient(replace(self.server, version=version))

    def answer(self, method: str, url: str, body: object = None, **headers: str) -> Answer:
        """The answer to a request; a body that is not bytes is sent as JSON."""
        parts = urlsplit(url)
        sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer = self.server.answer(
            Call(
                method=method,
                path=segments(parts.path),
                query=parse_qsl(parts.query, keep_blank_values=True),
                body=sent,
                content_type=headers.get("content_type", "application/fhir+json"),
                language=headers.get("language", ""),
            )
        )
        check_model(answer.resource, self.server.version)
        return answer

    def get(self, url: str) -> Mapping[str, Any]:
        """The resource that answers a GET."""
        answer = self.answer("GET", url)
        assert answer.status == 200, answer.resource
        return answer.resource

    def post(self, url: str, body: object) -> Mapping[str, Any]:
        """The resource that answers a POST."""
        answer = self.answer("POST", url, body)
        assert answer.status == 200, answer.resource
        return answer.resource

    def issue(self, method: str, url: str, body: object = None, **headers: str) -> tuple[int, str, str]:
        """Status, issue code and text of an error."""
        answer = self.answer(method, url, body, **headers)
        assert answer.resource["resourceType"] == "OperationOutcome", answer.resource
        (issue,) = answer.resource["issue"]
        return answer.status, issue["code"], issue["details"]["text"]


@pytest.fixture(scope="session")
def fhir_engine(
    server_conninfo: str,
    migrated_template: str,
    new_database: Callable[[str], AbstractContextManager[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[sqlalchemy.Engine]:
    folder: Path = tmp_path_factory.mktemp("fhir")
    write_vocabulary(folder)
    with new_database(migrated_template) as name:
        engine = database_engine(as_url(server_conninfo, dbname=name))
        with session_scope(engine) as session:
            loader.load_vocabulary(driver_connection(session), folder)
        yield engine
        engine.dispose()


@pytest.fixture(scope="session")
def fhir(fhir_engine: sqlalchemy.Engine) -> FhirClient:
    """A client of a server that answers in R5 and takes both versions."""
    base_url = "http://127.0.0.1:8077/fhir"
    server = FhirServer(engine=fhir_engine, map_terms=no_mapping, version=FhirVersion.BOTH, base_url=base_url)
    return FhirClient(server)
