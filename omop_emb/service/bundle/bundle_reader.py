"""Bundle reader: maps and searches with a bundle, without a database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omop_emb.errors import InputError, checked_keywords
from omop_emb.mapping.engine import Engine
from omop_emb.mapping.mapper import Mapper
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.ranking.ranker_store import read_ranker
from omop_emb.mapping.records import MappedTerm, SourceTerm
from omop_emb.mapping.resources import Resources, embed_with
from omop_emb.mapping.retrieval.approved_names import MemoryIndex
from omop_emb.mapping.retrieval.concept_attributes import ConceptAttributes
from omop_emb.mapping.retrieval.dense_index import DenseArrays, DenseIndex
from omop_emb.mapping.retrieval.drug_attributes import DrugAttributes
from omop_emb.mapping.retrieval.further_spaces import FurtherSpace
from omop_emb.mapping.retrieval.lexical_index import DomainPart, LexicalIndex
from omop_emb.mapping.retrieval.lexicon import CodeTable, Lexicon
from omop_emb.mapping.retrieval.loinc_attributes import LoincAttributes
from omop_emb.mapping.retrieval.similarity_products import IntegerRows
from omop_emb.mapping.retrieval.standard_targets import StandardTargets, ValueTable
from omop_emb.mapping.retrieval.string_array import StringArray
from omop_emb.mapping.retrieval.tfidf import GramWeights, TextGrams, WordWeights
from omop_emb.mapping.retrieval.vocabulary_index import VocabularyIndex
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.term_frames import source_terms
from omop_emb.records import ConceptFilter, Fingerprint, IndexType
from omop_emb.safe_files.array_objects import read_object
from omop_emb.safe_files.foreign_errors import foreign_errors
from omop_emb.service.answers import Answers
from omop_emb.service.bundle.bundle_folder import BundleFiles, BundleManifest
from omop_emb.service.concept_finder import search_settings
from omop_emb.service.found_concepts import FoundConcepts
from omop_emb.spaces.recipe import STANDARD_AND_VALID
from omop_emb.spaces.registry import Space
from omop_emb.spaces.space_client import client_of
from omop_emb.vocabulary.lookup import LookUp

if TYPE_CHECKING:
    import pandas as pd

_CLASSES = {
    cls.__name__: cls
    for cls in (
        *(
            VocabularyIndex,
            LexicalIndex,
            DomainPart,
            Lexicon,
            CodeTable,
            StandardTargets,
            ValueTable,
            StringArray,
        ),
        *(
            GramWeights,
            TextGrams,
            WordWeights,
            ConceptAttributes,
            DrugAttributes,
            LoincAttributes,
            DenseArrays,
            IntegerRows,
        ),
    )
}


@checked_keywords
class Bundle:
    """Maps terms and finds concepts with what was read of a database when the bundle was made.

    Threads may share it, and processes share the memory of its files. It holds the standard and valid
    concepts.

    Args:
        resources: what the bundle's files hold.
        manifest: what the bundle says about itself.
    """

    def __init__(self, resources: Resources, manifest: BundleManifest) -> None:
        self.resources, self.manifest = resources, manifest

    @contextmanager
    def open_mapper(self, settings: Settings | None = None) -> Iterator[Mapper]:
        """A mapper like that of a database, closed when the block ends.

        Raises:
            InputError: the settings ask for others than standard concepts, or no concept passes the filter.
            ConfigurationError: they ask for acceptance that is not possible.
            UnknownValueError: their filter names a domain, vocabulary or class that does not exist.
        """
        settings = checked_settings(Settings.parse(settings))
        with closing(Mapper(self.resources, settings)) as mapper:
            yield mapper

    def map(
        self, terms: Iterable[SourceTerm | str] | pd.DataFrame, *, settings: Settings | None = None
    ) -> list[MappedTerm]:
        """Exactly what map_terms() gave when the bundle was made: one result per term, in the same order.

        Raises:
            InputError: a term has neither a name nor a code.
            OmopEmbError: as open_mapper().
        """
        listed = source_terms(terms)
        with self.open_mapper(settings) as mapper:
            return list(mapper.map(listed))

    def find(
        self,
        text: str,
        *,
        concept_filter: ConceptFilter = STANDARD_AND_VALID,
        k: int = 10,
        offset: int = 0,
        explain: bool = False,
    ) -> FoundConcepts:
        """The concepts that a text may mean, best first, as ConceptFinder.find() gives them for a text.

        Ids and codes are texts here: only a database can look them up.

        Raises:
            InputError: as ConceptFinder.find(), or the filter asks for concepts that are not standard.
            UnknownValueError: the filter names a domain, vocabulary or class that does not exist.
        """
        settings = checked_settings(search_settings([text], concept_filter, k, offset, explain))
        answers = Answers(
            settings=settings, resources=self.resources, standard=self.resources, looked_up=LookUp()
        )
        (answer,) = answers.of([text])
        return replace(answer, concepts=answer.concepts[offset:])


@checked_keywords
def open_bundle(path: str | Path, *, digest: str | None = None, verify: bool = True) -> Bundle:
    """What make_bundle() wrote, read-only and memory-mapped; nothing is written, and no database is asked.

    The space's own model embeds the terms: it must be installed, or reachable, where the bundle is opened.

    Args:
        path: the bundle.
        digest: of the manifest that it must have, see BundleManifest; None accepts any.
        verify: whether all files are compared with their digests, about a second per GB; sizes always are.

    Raises:
        InputError: it is no bundle, incomplete, damaged, of another version, or not the digest's.
        SpaceMismatchError: the installed model is another one, or a variable contradicts the bundle's space.
        ProviderError: the model cannot be used.
    """
    folder = Path(path).expanduser()
    files = BundleFiles(folder, digest=digest, verify=verify)
    try:
        index = _read_object(files, "vocabulary")
        values = files.json("resources.json")
        with foreign_errors(folder / "resources.json", "is damaged: make the bundle again"):
            spaces = [_space(one) for one in values["spaces"]]
            ranker = read_ranker(**values["ranker"]) if values["ranker"] else default_ranker()
        embeds = [embed_with(client_of(one, is_further=number > 0)) for number, one in enumerate(spaces)]
        lexicon = index.lexical.lexicon
        dense = [
            DenseIndex.of_arrays(lexicon, _read_object(files, f"space-{number}"))
            for number in range(len(spaces))
        ]
        memory = None
        if "memory.json" in files:
            memory = MemoryIndex(index.lexical, **_read_object(files, "memory"))
        engine = Engine(
            index.lexical,
            index.attributes,
            dense[0],
            embeds[0],
            ranker,
            calibrated=files.manifest.calibrated,
            memory=memory,
            further=[FurtherSpace(one, own) for one, own in zip(dense[1:], embeds[1:], strict=True)],
        )
        resources = Resources(
            engine=engine,
            index=STANDARD_AND_VALID,
            state=index.state,
            space=spaces[0],
            further_spaces=spaces[1:],
            ranker=ranker,
            values=values["values"],
            warnings=files.manifest.warnings,
            release=files.manifest.vocabulary,
            is_outdated=values["is_outdated"],
        )
    finally:
        files.close()
    return Bundle(resources, files.manifest)


def _read_object(files: BundleFiles, name: str) -> Any:
    structure, arrays = bytes(files.map(f"{name}.json")), files.map(f"{name}.arrays")
    with foreign_errors(files.folder / f"{name}.json", "is damaged: make the bundle again"):
        return read_object(structure, arrays, _CLASSES)


def _space(values: dict[str, Any]) -> Space:
    return Space(
        **{
            **values,
            "fingerprint": Fingerprint(**values["fingerprint"]),
            "index_type": IndexType(values["index_type"]),
        }
    )


def checked_settings(settings: Settings) -> Settings:
    """The settings; InputError if they ask for concepts that a bundle does not hold."""
    if settings.includes_non_standard:
        raise InputError(
            "a bundle holds standard and valid concepts only: map to others with the database, or set "
            "standard_only and valid_only to True"
        )
    return settings
