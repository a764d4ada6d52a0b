"""Turns: many terms mapped in batches, so that one large request does not keep others waiting."""

from __future__ import annotations

from omop_emb.errors import BusyError
from omop_emb.mapping.records import MappedTerm, SourceTerm
from omop_emb.mapping.settings import Settings
from omop_emb.web.state import ServerState

_BATCH = 50  # terms after which others' requests have their turn
_ATTEMPTS = 3


async def map_in_turns(state: ServerState, terms: list[SourceTerm], settings: Settings) -> list[MappedTerm]:
    """The mapped terms, one or more, all by the same space, vocabulary and ranker.

    Raises:
        BusyError: the server is, or it was given another space or release again and again meanwhile.
    """
    batches = [terms[start : start + _BATCH] for start in range(0, len(terms), _BATCH)]
    for _ in range(_ATTEMPTS):
        mapped = await state.run(state.finder.map, batches[0], settings=settings)
        for batch in batches[1:]:
            mapped = mapped + await state.run_next(state.finder.map, batch, settings=settings)
        if all(one.provenance == mapped[0].provenance for one in mapped):
            return mapped
    raise BusyError("the server's vocabulary or space changed in the meantime: try again in a moment")
