"""Feature signs: agreement may only raise a candidate's score, contradiction only lower it."""

from __future__ import annotations

import numpy as np

from omop_emb.mapping.features import (
    contrast_features,
    memory_features,
    neighbour_features,
    sign_features,
    similarity_features,
)
from omop_emb.mapping.features.feature_names import NAMES

_EQUAL = tuple(name for name in similarity_features.FEATURES if "equal" in name)
_SIMILARITY = (
    *(
        name
        for name in similarity_features.FEATURES
        if not name.startswith("matched ") and name not in _EQUAL
    ),
    *similarity_features.COMBINED_FEATURES,
    *memory_features.FEATURES,
    *neighbour_features.FEATURES,
)
_AGREEMENT = (
    *_EQUAL,
    "found by exact",
    "found by dense and lexical",
    "same unit",
    "same unit, alone",
    "strengths agree",
    "dose forms agree",
    "brand in the term",
    "analyte in the term",
    "term is the analyte",
    "24 hours agree",
    "specimen agrees",
    "serum or plasma by default",
    "blood by default",
    "serum or plasma for blood",
)
_CONTRADICTION = (
    *(name for name in contrast_features.FEATURES if name not in _AGREEMENT),
    *sign_features.FEATURES,
    "numbers of the term missing",
    "numbers of the concept extra",
    "strengths differ",
    "strength left out",
    "dose forms differ",
    "brand not in the term",
    "more ingredients than the term",
    "24 hours only in the concept",
)

STATED_SIGNS = np.array([(name in _AGREEMENT) - (name in _CONTRADICTION) for name in NAMES], np.int8)
"""By feature: 1 for agreement, -1 for contradiction, 0 for what may be either, such as a similarity."""

SIGNS = STATED_SIGNS + np.array([name in _SIMILARITY for name in NAMES], np.int8)
"""The same with similarities as agreement."""
