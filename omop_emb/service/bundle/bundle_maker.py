"""Bundle maker: writes what mapping reads of a database into a new bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omop_emb.database.engine import readable_errors
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import InputError, checked_keywords
from omop_emb.mapping.ranking import ranker_store
from omop_emb.mapping.ranking.stored_rankers import is_shipped_name
from omop_emb.mapping.resources import DEFAULT_SITE, Resources, read_resources
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.vocabulary_index import VocabularyIndex
from omop_emb.mapping.settings import Settings
from omop_emb.safe_files.array_objects import write_object
from omop_emb.service.bundle.bundle_folder import BundleManifest, finish, new_folder
from omop_emb.spaces.registry import Space

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session


@checked_keywords
def make_bundle(
    session: Session | Connection,
    path: str | Path,
    *,
    client: EmbeddingClient | None = None,
    space_name: str | None = None,
    also_spaces: Sequence[str] | None = None,
    site: str = DEFAULT_SITE,
    use_memory: bool = True,
    use_own_ranker: bool = True,
) -> BundleManifest:
    """Write vocabulary, space, approvals and ranker into a new folder, which appears complete or not at all.

    It holds the site's approved names, which may be clinical text, unless `use_memory` is false. It does not
    hold the model: whoever opens it needs the same one.

    Args:
        session: the transaction to read in, as for open_mapper().
        path: the new folder; one that exists must be empty.
        client: its space is used, the active one first; None uses the active space.
        space_name: the space that is used instead.
        also_spaces: names of spaces that are searched too; None: those that the site's ranker learned with.
        site: the site whose memory and ranker are used.
        use_memory: whether the site's approved names go with it.
        use_own_ranker: whether the site's own ranker orders candidates, if it has one.

    Raises:
        InputError: the folder is not free, or cannot be written.
        OmopEmbError: as open_mapper().
    """
    target = Path(path).absolute()
    if not target.name:
        raise InputError(f"{path} is not the name of a new folder")
    with new_folder(target) as folder:
        with readable_errors():
            resources = read_resources(
                session,
                Settings(),
                client=client,
                space_name=space_name,
                also_spaces=also_spaces,
                site=site,
                use_memory=use_memory,
                use_own_ranker=use_own_ranker,
            )
        return _write(folder, resources, site)


def _write(folder: Path, resources: Resources, site: str) -> BundleManifest:
    engine, space = resources.engine, resources.space
    index = VocabularyIndex(engine.lexical, engine.attributes, resources.state)
    _write_object(folder, "vocabulary", index)
    dense = [engine.dense, *(further.dense for further in engine.further)]
    for number, one in enumerate(dense):
        assert one is not None  # noqa: S101 - resources always have the vectors of their space
        _write_object(folder, f"space-{number}", one.arrays)
    if engine.memory is not None:
        _write_object(folder, "memory", _memory_arguments(engine.memory))
    values = {
        "spaces": [_space_values(one) for one in (space, *resources.further_spaces)],
        "ranker": _ranker_values(resources),
        "values": resources.values,
        "is_outdated": resources.is_outdated,
    }
    (folder / "resources.json").write_text(json.dumps(values), encoding="utf-8")
    provenance = resources.provenance(Settings())
    return finish(
        folder,
        site=site,
        space=space.name,
        model=provenance.model,
        fingerprint=provenance.fingerprint,
        further_spaces=[one.name for one in resources.further_spaces],
        vocabulary=resources.release,
        concepts=len(engine.lexicon.concept_id),
        approved_names=0 if engine.memory is None else len(engine.memory),
        ranker=resources.ranker.name,
        calibrated=engine.calibrated,
        warnings=list(resources.warnings),
    )


def _write_object(folder: Path, name: str, value: object) -> None:
    with (folder / f"{name}.arrays").open("xb") as arrays:
        structure = write_object(value, arrays)
    (folder / f"{name}.json").write_bytes(structure)


def _memory_arguments(memory: MemoryIndex) -> dict[str, Any]:
    return {
        "names": memory.names,
        "concepts": memory.concept,
        "vectors": memory.vectors,
        "codes": memory.codes,
        "approved_ids": memory.approved_ids,
    }


def _space_values(space: Space) -> dict[str, Any]:
    return {
        "space_id": space.space_id,
        "name": space.name,
        "fingerprint": asdict(space.fingerprint),
        "index_type": space.index_type.value,
        "vocabulary_release": space.vocabulary_release,
    }


def _ranker_values(resources: Resources) -> dict[str, Any] | None:
    """What read_ranker() takes; None for the shipped one."""
    ranker: Any = resources.ranker
    if is_shipped_name(ranker.name):
        return None
    kind, model, trained_on = ranker_store.written_ranker(ranker)
    return {
        "fingerprint": ranker.fingerprint,
        "name": ranker.name,
        "kind": kind,
        "model": model,
        "calibration_json": ranker.calibration.to_json(),
        "trained_on": trained_on,
    }
