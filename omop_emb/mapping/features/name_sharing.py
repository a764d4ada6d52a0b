"""Name sharing: how often a site has approved one concept for several names, by domain."""

from __future__ import annotations

import numpy as np

from omop_emb.arrays import Floats
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.lexicon import Lexicon

_PRIOR_NAMES, _PRIOR_SHARE = 4, 0.25  # what a domain with few approvals is taken for


def sharing_rates(memory: MemoryIndex, lexicon: Lexicon) -> Floats:
    """(domains,) the share of a site's approved names whose concept it approved for other names too.

    A similar approved name speaks for its concept only as far as the site gives several names one concept:
    .74 of one hospital's drugs, but .05 of another's. Where each name has a concept of its own, the
    concept of a similar name is rather the wrong one.
    """
    pairs = np.unique(np.column_stack([memory.concept, memory.hash.astype(np.int64)]), axis=0)
    concepts, names = np.unique(pairs[:, 0], return_counts=True)
    domain, count = lexicon.domain[concepts], len(lexicon.domains)
    all_names = np.bincount(domain, names, count)
    shared = np.bincount(domain, np.where(names > 1, names, 0), count)
    rates = (shared + _PRIOR_NAMES * _PRIOR_SHARE) / (all_names + _PRIOR_NAMES)
    return np.asarray(rates, np.float32)
