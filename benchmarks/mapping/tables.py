"""Gold terms -> a table of features of all their candidates, kept so that rankers can be tried quickly."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from gold import GoldTerm, read
from large import Vectors, read_vocabulary

from omop_emb.mapping.candidates import Query, find
from omop_emb.mapping.facts import gather
from omop_emb.mapping.features import Features
from omop_emb.mapping.lexical import LexicalIndex
from omop_emb.mapping.lexicon import Lexicon
from omop_emb.mapping.normalise import forms


def own_source(lexicon: Lexicon, term: GoldTerm) -> set[int]:
    """Text rows that are the term's own source concept, or named like it: what would be a leak."""
    rows = set()
    for row in np.flatnonzero(lexicon.text_kind == 4):
        if lexicon.texts[row] == term.name:
            rows.add(int(row))
    return rows


def main(data: Path, out: Path, findable: int, unfindable: int) -> None:
    started = time.time()
    lexicon = read_vocabulary(data / "vocab")
    lexical = LexicalIndex(lexicon)
    facts = gather(lexicon, lexical)
    print("vocabulary", time.time() - started)
    vectors = Vectors(
        (data / "names.txt", data / "names.npy"),
        (data / "terms.txt", data / "terms.npy"),
        (data / "mapping/forms.txt", data / "mapping/forms.npy"),
    )
    dense = vectors.index(lexicon)
    print("vectors", time.time() - started)
    features = Features(lexical, facts, dense)
    terms = read(data / "gold", findable=findable, unfindable=unfindable)
    queries = [Query.of(forms(term.name, domain=term.domain), term.domain) for term in terms]
    parts, seconds = [], [0.0, 0.0]
    for at in range(0, len(terms), 256):
        block = queries[at : at + 256]
        begun = time.time()
        found = find(block, lexical, facts, dense, vectors)
        middle = time.time()
        scored = features.score(block, found)
        seconds[0] += middle - begun
        seconds[1] += time.time() - middle
        parts.append((np.diff(found.first), found.concept, found.by, scored.features.astype(np.float32)))
        if at % 2560 == 0:
            print(at, seconds, flush=True)
    sizes, concept, by, table = (np.concatenate(part) for part in zip(*parts, strict=True))
    ids = lexicon.concept_id[concept]
    owner = np.repeat(np.arange(len(terms)), sizes)
    label = np.array([int(key) in terms[place].targets for key, place in zip(ids, owner, strict=True)])
    np.savez(
        out,
        sizes=sizes,
        concept=concept,
        by=by,
        table=table,
        label=label,
        domain=lexicon.domain[concept],
        domains=np.array(lexicon.domains),
        findable=findable,
        unfindable=unfindable,
    )
    print(
        "done", len(terms), table.shape, "find, features ms/term:", [1000 * s / len(terms) for s in seconds]
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
