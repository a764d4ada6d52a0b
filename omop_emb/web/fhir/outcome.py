"""Operation outcomes: errors and remarks as FHIR says them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_MESSAGE_ID = "http://hl7.org/fhir/StructureDefinition/operationoutcome-message-id"
_ISSUE_TYPES = "http://hl7.org/fhir/tools/CodeSystem/tx-issue-type"
_MOST_SHOWN = 200  # characters of what a client sent


@dataclass(frozen=True, kw_only=True)
class Issue:
    """One thing that is wrong, or worth saying.

    Attributes:
        code: of FHIR's value set issue-type, such as "not-found".
        text: what people read.
        severity: "error", "warning" or "information".
        kind: of HL7's issue types for terminology, such as "invalid-code"; "" for none.
        message_id: the name that HL7's tests give to the message; "" for none.
        location: the path to what it is about, such as "Coding.code"; "" for none.
    """

    code: str
    text: str
    severity: str = "error"
    kind: str = ""
    message_id: str = ""
    location: str = ""

    @property
    def resource(self) -> dict[str, Any]:
        """The issue as a part of an OperationOutcome."""
        issue: dict[str, Any] = {"severity": self.severity, "code": self.code}
        details: dict[str, Any] = {"text": self.text}
        if self.kind:
            details = {"coding": [{"system": _ISSUE_TYPES, "code": self.kind}], **details}
        if self.message_id:
            issue = {"extension": [{"url": _MESSAGE_ID, "valueString": self.message_id}], **issue}
        issue["details"] = details
        if self.location:
            issue |= {"location": [self.location], "expression": [self.location]}
        return issue


class FhirError(Exception):
    """A request that is answered by an OperationOutcome, with its HTTP status."""

    def __init__(self, status: int, code: str, text: str) -> None:
        self.status, self.issue = status, Issue(code=code, text=text)
        super().__init__(text)


def outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """An OperationOutcome."""
    return {"resourceType": "OperationOutcome", "issue": [issue.resource for issue in issues]}


def shown(value: object) -> str:
    """What a client sent, short enough for a message."""
    text = str(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def missing(names: str) -> FhirError:
    """The error for parameters that an operation needs."""
    return FhirError(400, "required", f"Give {names}")


def invalid(text: str) -> FhirError:
    """The error for a parameter or resource that cannot be used."""
    return FhirError(400, "invalid", text)


def not_supported(text: str) -> FhirError:
    """The error for what FHIR has and this server has not."""
    return FhirError(400, "not-supported", text)


def not_found(text: str) -> FhirError:
    """The error for what does not exist."""
    return FhirError(404, "not-found", text)
