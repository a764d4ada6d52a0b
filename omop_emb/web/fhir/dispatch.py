"""Dispatch: from a request to the operation that answers it, and from errors to OperationOutcomes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from omop_emb.errors import (
    BusyError,
    DatabaseError,
    ExpensiveQueryError,
    InputError,
    OmopEmbError,
    ProviderError,
    SpaceError,
    VocabularyError,
)
from omop_emb.service.terminology import open_terminology
from omop_emb.web.fhir import capabilities, terminology_resources
from omop_emb.web.fhir.code_systems import check_versions
from omop_emb.web.fhir.expand_operation import expand
from omop_emb.web.fhir.fhir_version import FhirVersion
from omop_emb.web.fhir.inputs import Inputs
from omop_emb.web.fhir.languages import requested_languages, stated_languages
from omop_emb.web.fhir.lookup_operation import lookup
from omop_emb.web.fhir.operation import Later, MapTerms, Operation, Resource
from omop_emb.web.fhir.outcome import FhirError, Issue, invalid, not_found, outcome, shown
from omop_emb.web.fhir.translate_operation import translate
from omop_emb.web.fhir.validate_operations import validate_in_code_system, validate_in_value_set
from omop_emb.web.request_log import describe

if TYPE_CHECKING:
    import sqlalchemy

_LOGGER = logging.getLogger("omop_emb.web")
# Each names a system and the version to use.
_SYSTEM_VERSIONS = ("system-version", "check-system-version", "force-system-version")
_MOST_ENTRIES = 500  # of a batch
_OPERATIONS: Mapping[tuple[str, str], Callable[[Operation], Resource | Later]] = {
    ("CodeSystem", "$lookup"): lookup,
    ("CodeSystem", "$validate-code"): validate_in_code_system,
    ("ValueSet", "$expand"): expand,
    ("ValueSet", "$validate-code"): validate_in_value_set,
    ("ConceptMap", "$translate"): translate,
}


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request without HTTP.

    Attributes:
        path: the segments of the path below the address of the server.
        query: the pairs of the query string.
        body: what was sent; b"" for nothing.
        language: the header Accept-Language.
    """

    method: str
    path: Sequence[str]
    query: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    content_type: str = ""
    language: str = ""


@dataclass(frozen=True)
class Answer:
    """A response without HTTP."""

    status: int
    resource: Resource
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FhirServer:
    """What answers calls: a database, the mapping of texts, a version of FHIR, and the server's address."""

    engine: sqlalchemy.Engine
    map_terms: MapTerms
    version: FhirVersion
    base_url: str
    timeout_seconds: float = 20

    def answer(self, call: Call) -> Answer:
        """The answer to a call; every error is an OperationOutcome."""
        try:
            if not call.path and call.method == "POST":
                return self._batch(call)
            return Answer(200, self._resource(call))
        except FhirError as error:
            return Answer(error.status, outcome([error.issue]))
        except OmopEmbError as error:
            return failure(error)
        except Exception as error:
            _LOGGER.error("a FHIR request failed: %s", describe(error))
            issue = Issue(code="exception", text="The server failed; its log says more", severity="fatal")
            return Answer(500, outcome([issue]))

    def _resource(self, call: Call) -> Resource:
        answer, identifier = _route(call)
        query = list(call.query)
        body = _json(call) if call.method == "POST" and "_search" not in call.path else None
        if "_search" in call.path:
            query += parse_qsl(_text(call.body), keep_blank_values=True)
        inputs = Inputs.of(query, body)
        inputs.check_supported()
        language = inputs.text("displayLanguage")
        languages = requested_languages(call.language) if language is None else stated_languages(language)
        with open_terminology(self.engine, timeout_seconds=self.timeout_seconds) as terminology:
            for name in _SYSTEM_VERSIONS:
                check_versions(terminology, inputs.texts(name))
            found = answer(
                Operation(
                    terminology=terminology,
                    inputs=inputs,
                    version=self.version,
                    base_url=self.base_url,
                    resource_id=identifier,
                    languages=languages,
                )
            )
        return found(self.map_terms) if callable(found) else found

    def _batch(self, call: Call) -> Answer:
        """The answers to the requests of a Bundle, each for itself."""
        bundle = _json(call)
        if not isinstance(bundle, Mapping) or bundle.get("resourceType") != "Bundle":
            raise invalid("The body must be a Bundle of type batch")
        if bundle.get("type") != "batch":
            raise invalid(f"The Bundle must be of type batch; found '{shown(bundle.get('type'))}'")
        entries = bundle.get("entry", [])
        if not isinstance(entries, list) or len(entries) > _MOST_ENTRIES:
            raise FhirError(422, "too-costly", f"A batch is a list of at most {_MOST_ENTRIES} entries")
        answers = [self._entry(entry, call.language) for entry in entries]
        response: dict[str, Any] = {"resourceType": "Bundle", "type": "batch-response"}
        if answers:
            response["entry"] = answers
        return Answer(200, response)

    def _entry(self, entry: object, language: str) -> dict[str, Any]:
        request = entry.get("request") if isinstance(entry, Mapping) else None
        if not isinstance(entry, Mapping) or not isinstance(request, Mapping):
            answer = Answer(400, outcome([invalid("An entry of a batch must have a request").issue]))
        else:
            path, _, query = str(request.get("url")).partition("?")
            resource = entry.get("resource")
            inner = Call(
                method=str(request.get("method")),
                path=segments(path),
                query=parse_qsl(query, keep_blank_values=True),
                body=b"" if resource is None else json.dumps(resource).encode(),
                content_type="application/fhir+json",
                language=language,
            )
            if not inner.path:
                answer = Answer(400, outcome([invalid("A batch must not hold a batch").issue]))
            else:
                answer = self.answer(inner)
        response: dict[str, Any] = {"status": str(answer.status)}
        if answer.status >= 400:
            return {"response": {**response, "outcome": answer.resource}}
        return {"resource": answer.resource, "response": response}


def segments(path: str) -> list[str]:
    """The segments of a path, decoded; empty ones are left out."""
    return [unquote(segment) for segment in path.split("/") if segment]


def _route(call: Call) -> tuple[Callable[[Operation], Resource | Later], str | None]:
    """The function that answers a call, and the id of the resource that it is about."""
    path, method = tuple(call.path), call.method
    if path in (("metadata",), ("$versions",)):
        _check_method(method, "GET", *(() if path == ("metadata",) else ("POST",)))
        return (capabilities.metadata if path == ("metadata",) else capabilities.versions), None
    if not path:
        raise FhirError(404, "not-found", "There is nothing here: see metadata for what this server does")
    kind, *rest = path
    if kind.startswith("$"):
        raise not_found(f"The operation '{shown(kind)}' is called on a type of resource: see metadata")
    terminology_resources.check_kind(kind)
    if not rest:
        _check_method(method, "GET")
        return (lambda operation: terminology_resources.search(kind, operation)), None
    if rest == ["_search"]:
        _check_method(method, "POST")
        return (lambda operation: terminology_resources.search(kind, operation)), None
    name = rest[-1]
    if name.startswith("$") and len(rest) <= 2:
        function = _OPERATIONS.get((kind, name))
        if function is None:
            offered = ", ".join(operation for type_name, operation in _OPERATIONS if type_name == kind)
            raise FhirError(404, "not-supported", f"{kind} has {offered}; found '{shown(name)}'")
        _check_method(method, "GET", "POST")
        return function, rest[0] if len(rest) == 2 else None
    if len(rest) == 1:
        _check_method(method, "GET")
        return (lambda operation: terminology_resources.read(kind, operation)), name
    raise not_found("There is nothing here: see metadata for what this server does")


def _check_method(method: str, *allowed: str) -> None:
    if (method if method != "HEAD" else "GET") not in allowed:
        raise FhirError(
            405, "not-supported", f"This address takes {' and '.join(allowed)}; found {shown(method)}"
        )


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise invalid("The body must be UTF-8") from error


def _json(call: Call) -> object:
    """The body of a POST as JSON; a request whose parameters are all in its query needs none."""
    kind = call.content_type.partition(";")[0].strip().lower()
    if not call.body.strip():
        if call.path and call.query:
            return {"resourceType": "Parameters"}
        raise FhirError(400, "required", "The body must be a resource as JSON; found none")
    if kind not in ("application/fhir+json", "application/json", "text/json", ""):
        raise FhirError(
            415, "not-supported", f"The body must be application/fhir+json; found '{shown(kind)}'"
        )
    try:
        found: object = json.loads(_text(call.body).removeprefix("\ufeff"), parse_constant=_no_constant)
        json.dumps(found, ensure_ascii=False).encode()  # half a character is no text for the database
    except (ValueError, RecursionError) as error:
        raise FhirError(400, "structure", "The body must be a resource as JSON, which it is not") from error
    if found is None:
        raise invalid("The body must be a resource; found null")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def failure(error: OmopEmbError) -> Answer:
    """The answer for an error of the library."""
    if isinstance(error, ExpensiveQueryError):
        return Answer(422, outcome([Issue(code="too-costly", text=str(error))]))
    if isinstance(error, BusyError | DatabaseError | ProviderError):
        what = "database" if isinstance(error, DatabaseError) else "server"
        # The error's own text may name a host, a user or a table.
        text = f"The {what} cannot be used now: ask again in a moment"
        return Answer(503, outcome([Issue(code="transient", text=text)]), {"Retry-After": "2"})
    if isinstance(error, SpaceError | VocabularyError):
        return Answer(503, outcome([Issue(code="transient", text=str(error))]))
    if isinstance(error, InputError):
        return Answer(400, outcome([Issue(code="invalid", text=str(error))]))
    return Answer(409, outcome([Issue(code="conflict", text=str(error))]))
