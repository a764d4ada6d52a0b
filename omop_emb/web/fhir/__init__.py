"""FHIR: a terminology server for OMOP's concepts, in R4 and R5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.web.fhir.fhir_routes import router as router

__getattr__, __dir__ = lazy_names(__name__)
