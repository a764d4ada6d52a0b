"""Operation: what every operation of the FHIR server is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from omop_emb.service.terminology import Terminology
from omop_emb.web.fhir.fhir_version import FhirVersion
from omop_emb.web.fhir.inputs import Inputs

if TYPE_CHECKING:
    from omop_emb.mapping.records import MappedTerm, SourceTerm


MapTerms = Callable[[Sequence["SourceTerm"]], list["MappedTerm"]]
Resource = Mapping[str, Any]
Later = Callable[[MapTerms], Resource]
"""The rest of an answer: mapping has a transaction of its own, after that of the operation."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A call of an operation.

    Attributes:
        terminology: the vocabulary, unchanged until the answer is written.
        inputs: the parameters.
        version: the version that the answer is written in.
        base_url: the address of the server, such as "http://127.0.0.1:8000/fhir".
        resource_id: the resource that the operation is called on; None if it is called on its type.
        languages: those that the client reads, the best first, such as ("es", "en"); () for any.
    """

    terminology: Terminology
    inputs: Inputs
    version: FhirVersion
    base_url: str
    resource_id: str | None = None
    languages: Sequence[str] = field(default=())
