"""Coding checks: whether a code exists in its system and version, and whether its display is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from omop_emb.records import Concept
from omop_emb.service.terminology import Synonym
from omop_emb.web.fhir.code_systems import CodeSystem, find_system, split_canonical
from omop_emb.web.fhir.inputs import Coding
from omop_emb.web.fhir.languages import display
from omop_emb.web.fhir.operation import Operation
from omop_emb.web.fhir.outcome import Issue, shown

_INVALID_REASONS = {"D": "was withdrawn", "U": "was replaced by another"}


@dataclass(frozen=True, kw_only=True)
class CheckedCoding:
    """A coding and what is known about it.

    Attributes:
        path: its place in the request, "" for the parameters code and system.
        system: its code system; None if this server does not have it, or not in that version.
        concept: None if the system has no such code.
        display: the concept's name in the client's language; "" without a concept.
        unknown_system: the canonical of a system or version that this server does not have; "" for none.
    """

    coding: Coding
    path: str
    system: CodeSystem | None = None
    concept: Concept | None = None
    display: str = ""
    unknown_system: str = ""
    issues: Sequence[Issue] = field(default=())

    @property
    def is_valid(self) -> bool:
        """Whether the code exists and nothing is wrong with it."""
        return self.concept is not None and not any(issue.severity == "error" for issue in self.issues)

    @property
    def version(self) -> str | None:
        """The version of the system that it was looked for in, or the one that was asked for."""
        return self.system.version if self.system else self.coding.version

    def at(self, element: str) -> str:
        """The path of an element of the coding."""
        return f"{self.path}.{element}" if self.path else element


def check_coding(operation: Operation, coding: Coding, path: str) -> CheckedCoding:
    """Check a coding: its system, version, code and display, in this order."""
    url, version = split_canonical(coding.system or "")
    coding = Coding(code=coding.code, system=url, version=coding.version or version, display=coding.display)
    checked = CheckedCoding(coding=coding, path=path)
    if not url:
        text = (
            "Coding has no system. A code with no system has no defined meaning, and it cannot be validated."
        )
        issue = Issue(
            code="invalid",
            text=text,
            kind="invalid-data",
            message_id="Coding_has_no_system__cannot_validate",
            location=checked.at("system"),
        )
        return CheckedCoding(coding=coding, path=path, issues=[issue])
    system = find_system(operation.terminology, url)
    if system is None:
        return _unknown_system(checked)
    if coding.version is not None and coding.version != system.version:
        return _unknown_system(checked, valid=system.version)
    concept = operation.terminology.find(system.coding, coding.code or "")
    if concept is None:
        version_text = f" version '{system.version}'" if system.version else ""
        issue = Issue(
            code="code-invalid",
            text=f"Unknown code '{shown(coding.code or '')}' in the CodeSystem '{url}'{version_text}",
            kind="invalid-code",
            message_id="Unknown_Code_in_Version",
            location=checked.at("code"),
        )
        return CheckedCoding(coding=coding, path=path, system=system, issues=[issue])
    synonyms = operation.terminology.synonyms(concept)
    name, language = display(concept, synonyms, operation.languages)
    issues = [
        *_validity_issues(checked, concept),
        *_display_issues(operation, checked, concept, synonyms, (name, language)),
    ]
    return CheckedCoding(
        coding=coding, path=path, system=system, concept=concept, display=name, issues=issues
    )


def _unknown_system(checked: CheckedCoding, valid: str | None = None) -> CheckedCoding:
    """The check of a coding whose system, or version of it, this server does not have."""
    coding = checked.coding
    system, version = shown(coding.system), coding.version
    if valid is None:
        text = f"A definition for CodeSystem '{system}' could not be found, so the code cannot be validated"
        message_id = "UNKNOWN_CODESYSTEM"
    else:
        text = (
            f"A definition for CodeSystem '{system}' version '{shown(version)}' could not be found, "
            f"so the code cannot be validated. Valid versions: {valid}"
        )
        message_id = "UNKNOWN_CODESYSTEM_VERSION"
    issue = Issue(
        code="not-found",
        text=text,
        kind="not-found",
        message_id=message_id,
        location=checked.at("system"),
    )
    return CheckedCoding(
        coding=coding,
        path=checked.path,
        unknown_system=f"{coding.system}|{version}" if version else str(coding.system),
        issues=[issue],
    )


def _validity_issues(checked: CheckedCoding, concept: Concept) -> list[Issue]:
    """A warning for a concept that is no longer valid."""
    if concept.invalid_reason is None:
        return []
    happened = _INVALID_REASONS.get(concept.invalid_reason, f"is invalid ({concept.invalid_reason})")
    text = f"The concept '{checked.coding.code}' {happened}, so its use should be reviewed"
    return [
        Issue(
            code="business-rule",
            text=text,
            severity="warning",
            kind="code-comment",
            message_id="INACTIVE_CONCEPT_FOUND",
            location=checked.at("code"),
        )
    ]


def _display_issues(
    operation: Operation,
    checked: CheckedCoding,
    concept: Concept,
    synonyms: Sequence[Synonym],
    expected: tuple[str, str],
) -> list[Issue]:
    """An error if a display is neither the name nor a synonym; case and spaces do not matter."""
    given = checked.coding.display
    names = [concept.concept_name, *(synonym.text for synonym in synonyms)]
    if not given or _folded(given) in {_folded(name) for name in names}:
        return []
    is_lenient = operation.inputs.flag("lenient-display-validation") is True
    text = (
        f"Wrong Display Name '{shown(given)}' for {checked.coding.system}#{checked.coding.code}. "
        f"Valid display is '{expected[0]}' ({expected[1]}) "
        f"(for the language(s) '{operation.inputs.text('displayLanguage') or '--'}')"
    )
    return [
        Issue(
            code="invalid",
            text=text,
            severity="warning" if is_lenient else "error",
            kind="invalid-display",
            message_id="Display_Name_for__should_be_one_of__instead_of",
            location=checked.at("display"),
        )
    ]


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
