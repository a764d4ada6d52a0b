"""Concept features: vocabulary, domain, and signs of how much a concept is used, whatever the term."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from omop_emb.arrays import Ints
from omop_emb.mapping.features.encoded_term import Columns, EncodedTerm
from omop_emb.mapping.retrieval.concept_attributes import ConceptAttributes
from omop_emb.mapping.retrieval.lexicon import Lexicon

_VOCABULARIES = (
    "SNOMED|LOINC|RxNorm|RxNorm Extension|UCUM|HCPCS|ICD10PCS|ICD9Proc|ICDO3|OMOP Extension"
    "|OMOP Genomic|Cancer Modifier|NAACCR|ATC|CVX"
).split("|")
_DOMAINS = (
    "Condition|Drug|Measurement|Procedure|Observation|Unit|Device|Meas Value|Spec Anatomic Site|Specimen"
).split("|")
FEATURES = (
    "non-standard sources",
    "oldest concepts",
    "early concept",
    "early LOINC",
    *(f"vocabulary {name}" for name in _VOCABULARIES),
    *(f"domain {name}" for name in _DOMAINS),
    *(f"domain {name}, none requested" for name in _DOMAINS),
)

# OMOP numbers concepts in the order in which they are added, and what was needed first is needed most: ids
# of its first sources' targets are below 500,000, of its first load below 4,500,000, and LOINC's first names
# begin at 3,000,000.
_OLDEST_END, _FIRST_LOAD_END = 500_000, 4_500_000
_FIRST_LOINC = (3_000_000, 3_040_000)


class ConceptFeatures:
    """Describes candidates by what is known of their concepts."""

    def __init__(self, lexicon: Lexicon, attributes: ConceptAttributes) -> None:
        self._lexicon, self._sources = lexicon, attributes.sources
        ids = lexicon.concept_id
        is_loinc = lexicon.in_vocabularies("LOINC")
        self._ages = {
            "oldest concepts": ids < _OLDEST_END,
            "early concept": (ids >= _OLDEST_END) & (ids < _FIRST_LOAD_END),
            "early LOINC": is_loinc & (ids >= _FIRST_LOINC[0]) & (ids < _FIRST_LOINC[1]),
        }

    def describe(self, term: EncodedTerm, concepts: Ints) -> Columns:
        """FEATURES of (p,) concept rows."""
        lexicon, query = self._lexicon, term.query
        sources = self._sources[concepts]
        if query.hidden_texts:
            hidden = lexicon.text_concept[list(query.hidden_texts)]
            sources = sources - (concepts[:, None] == hidden[None, :]).sum(axis=1)
        suffix = ", none requested" if query.domains is None or len(query.domains) > 1 else ""
        return {
            "non-standard sources": np.log1p(sources),
            **{feature: is_so[concepts] for feature, is_so in self._ages.items()},
            **_labels("vocabulary {}", lexicon.vocabularies, lexicon.vocabulary[concepts], _VOCABULARIES),
            **_labels(f"domain {{}}{suffix}", lexicon.domains, lexicon.domain[concepts], _DOMAINS),
        }


def _labels(
    feature: str, labels: Sequence[str], codes: npt.NDArray[np.int16], described: Sequence[str]
) -> Columns:
    """A feature for each label among the candidates that has one."""
    present = {int(code): labels[code] for code in np.unique(codes)}
    return {feature.format(label): codes == code for code, label in present.items() if label in described}
