"""FHIR versions: which names an answer uses where R4 and R5 differ."""

from __future__ import annotations

import re
from enum import Enum

_VERSION_PARAMETER = re.compile(r"fhirVersion\s*=\s*\"?([0-9]+)\.", re.IGNORECASE)


class FhirVersion(Enum):
    """The version that an answer is written in.

    BOTH is that of /fhir: resources are R5's, requests may use the names of either version, and the matches
    of $translate say both equivalence (R4) and relationship (R5).
    """

    R4 = "4.0.1"
    R5 = "5.0.0"
    BOTH = "R4 and R5"

    @property
    def number(self) -> str:
        """The version's number, such as "4.0.1"."""
        return FhirVersion.R5.value if self is FhirVersion.BOTH else self.value

    @property
    def spoken(self) -> tuple[str, ...]:
        """The versions that requests may be written in, the default last, such as ("4.0", "5.0")."""
        versions = (FhirVersion.R4, FhirVersion.R5) if self is FhirVersion.BOTH else (self,)
        return tuple(version.value.rpartition(".")[0] for version in versions)

    @property
    def is_r4(self) -> bool:
        """Whether resources have the form of R4."""
        return self is FhirVersion.R4

    @property
    def has_equivalence(self) -> bool:
        """Whether a translation says its equivalence, as in R4."""
        return self is not FhirVersion.R5

    @property
    def has_relationship(self) -> bool:
        """Whether a translation says its relationship, as in R5."""
        return self is not FhirVersion.R4

    def narrowed(self, accept: str) -> FhirVersion:
        """The version that an Accept header asks for, where the path leaves it open."""
        match = _VERSION_PARAMETER.search(accept)
        if self is not FhirVersion.BOTH or match is None:
            return self
        return FhirVersion.R4 if match[1] == "4" else FhirVersion.R5 if match[1] == "5" else self
