"""Mapping resources: what mapping reads of a database in one state, for any number of mappers and threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import psycopg

import omop_emb
from omop_emb.database.engine import short_transaction
from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.errors import ConfigurationError, InputError, SpaceError
from omop_emb.mapping.approvals.site_memory import (
    approved_names,
    embed_names,
    names_without_vector,
    read_memory,
)
from omop_emb.mapping.approvals.sites import unknown_site_note
from omop_emb.mapping.engine import Engine
from omop_emb.mapping.ranking import ranker_store
from omop_emb.mapping.ranking.linear import default_ranker
from omop_emb.mapping.ranking.policy import Policy
from omop_emb.mapping.ranking.ranker import Ranker
from omop_emb.mapping.ranking.ranker_spaces import find_further_spaces
from omop_emb.mapping.records import Provenance
from omop_emb.mapping.retrieval.completion_index import CompletionIndex, open_completion_index
from omop_emb.mapping.retrieval.further_spaces import FurtherSpace
from omop_emb.mapping.retrieval.queries import Embed
from omop_emb.mapping.retrieval.vocabulary_index import (
    needed_index,
    open_dense_index,
    open_vocabulary_index,
)
from omop_emb.mapping.settings import Settings
from omop_emb.records import ConceptFilter, EmbeddingRole
from omop_emb.spaces import registry
from omop_emb.spaces.registry import Space
from omop_emb.spaces.release import release_warning
from omop_emb.spaces.space_client import client_of
from omop_emb.vocabulary import reader

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

DEFAULT_SITE = "default"
"""The site whose memory and ranker are used unless another is named."""


@dataclass(frozen=True, eq=False)
class Resources:
    """What mappers share.

    Attributes:
        engine: vocabulary, vectors, ranker and memory.
        index: which concepts the engine has, see needed_index().
        state: identifies the contents of the vocabulary's tables.
        space: the embedding space in use.
        further_spaces: those that are searched besides.
        ranker: orders candidates.
        values: kind ("domain", "vocabulary", "concept class") -> the values that exist.
        warnings: lines about an unknown site, and about a space of another release than the loaded one.
        release: the loaded release, "" if it names none.
    """

    engine: Engine
    index: ConceptFilter
    state: str
    space: Space
    further_spaces: Sequence[Space]
    ranker: Ranker
    values: Mapping[str, Sequence[str]]
    warnings: Sequence[str]
    release: str
    is_outdated: bool  # whether the space was built from another release

    @cached_property
    def completions(self) -> CompletionIndex:
        """The texts by the beginnings of their words."""
        return open_completion_index(self.engine.lexicon, self.state)

    def check(self, settings: Settings) -> None:
        """Raise what Mapper says, if terms cannot be mapped with these settings."""
        self.check_values(settings)
        _check_policy(settings, self.ranker, self.space, self.further_spaces)
        passing = self.engine.passing(settings.concept_filter)
        if passing is not None and not passing.any():
            hint = "" if settings.includes_non_standard else "; --any includes non-standard concepts"
            raise InputError(f"no concept can be a candidate: {settings.filter_text}{hint}")

    def check_values(self, settings: Settings) -> None:
        """Raise UnknownValueError if the filter names a domain, vocabulary or class that does not exist."""
        reader.check_values(self.values, settings.concept_filter)

    def provenance(self, settings: Settings) -> Provenance:
        """What results with these settings are marked with."""
        policy = settings.policy
        return Provenance(
            space_id=self.space.space_id,
            model=f"{self.space.fingerprint.provider}:{self.space.fingerprint.model}",
            fingerprint=self.space.fingerprint.digest,
            vocabulary=self.release,
            ranker=self.ranker.name,
            calibrated=self.engine.calibrated,
            accept_precision=policy.accept_precision,
            accept_untrained=policy.accept_untrained and not self.ranker.is_site_trained,
            version=omop_emb.__version__,
            concept_filter=settings.filter_text,
            space_vocabulary=self.space.vocabulary_release or "" if self.is_outdated else None,
            further_spaces=", ".join(
                f"{one.fingerprint.provider}:{one.fingerprint.model} {one.fingerprint.digest[:12]}"
                for one in self.further_spaces
            ),
        )


def read_resources(
    source: Session | Connection,
    settings: Settings,
    *,
    client: EmbeddingClient | None = None,
    make_client: Callable[..., EmbeddingClient] = client_of,
    space_name: str | None = None,
    also_spaces: Sequence[str] | None = None,
    site: str = DEFAULT_SITE,
    use_memory: bool = True,
    use_own_ranker: bool = True,
) -> Resources:
    """What mappers with these settings need; open_mapper() says what is raised.

    Transactions are those of short_transaction(): none is open while approved names are embedded.
    """
    fingerprint = None if client is None else client.fingerprint
    with short_transaction(source) as connection:
        space = registry.answering_space(connection, fingerprint, space_name)
        ranker = _ranker_of(connection, site, space, use_own_ranker)
        further = find_further_spaces(connection, space, ranker, also_spaces)
        has_memory = use_memory and ranker_store.has_mapping_tables(connection)
        approved = approved_names(connection, site) if has_memory else []
        names = names_without_vector(connection, space, approved)
    embed = embed_with(client or make_client(space))
    embed_names(source, space, names, embed)
    further_embeds = [(one, embed_with(make_client(one, is_further=True))) for one in further]
    with short_transaction(source) as connection:
        return _read(connection, settings, space, embed, site, has_memory, ranker, further_embeds)


def read_site_again(
    source: Session | Connection,
    earlier: Resources,
    settings: Settings,
    *,
    make_client: Callable[..., EmbeddingClient] = client_of,
    also_spaces: Sequence[str] | None = None,
    site: str = DEFAULT_SITE,
) -> Resources:
    """Earlier resources with the site's approvals and ranker as they are now, when nothing else has changed.

    Vocabulary and vectors are shared with the earlier ones, so that it takes a part of a second.
    """
    space = earlier.space
    with short_transaction(source) as connection:
        ranker = _ranker_of(connection, site, space)
        further = find_further_spaces(connection, space, ranker, also_spaces)
        names = names_without_vector(connection, space, approved_names(connection, site))
    if [one.fingerprint for one in further] != [one.fingerprint for one in earlier.further_spaces]:
        return read_resources(source, settings, make_client=make_client, also_spaces=also_spaces, site=site)
    embed = embed_with(make_client(space))
    embed_names(source, space, names, embed)
    with short_transaction(source) as connection:
        _check_policy(settings, ranker, space, further)
        engine = Engine(
            earlier.engine.lexical,
            earlier.engine.attributes,
            earlier.engine.dense,
            embed,
            ranker,
            calibrated=_is_calibrated(settings, ranker, space, further),
            memory=read_memory(connection, site, earlier.engine.lexical, space, embed),
            further=earlier.engine.further,
            earlier=earlier.engine,
        )
        warnings = _warnings(connection, site, space)
    # Completions are of the vocabulary's names alone: those that were made are kept.
    again = replace(earlier, engine=engine, ranker=ranker, warnings=warnings)
    if "completions" in vars(earlier):
        vars(again)["completions"] = earlier.completions
    return again


def embed_approved_names(source: Session | Connection, site: str, names: Iterable[str]) -> None:
    """Store the active space's vectors of a site's approved names, and of those that are about to be."""
    with short_transaction(source) as connection:
        if not ranker_store.has_mapping_tables(connection):
            return
        space = registry.active_space(connection)
        missing = names_without_vector(connection, space, [*approved_names(connection, site), *names])
    if missing:
        embed_names(source, space, missing, embed_with(client_of(space)))


def _read(
    connection: psycopg.Connection[Any],
    settings: Settings,
    space: Space,
    embed: Embed,
    site: str,
    has_memory: bool,
    ranker: Ranker,
    further: Sequence[tuple[Space, Embed]],
) -> Resources:
    # Indexes are made of one release: that is minutes without a statement, though nobody is waited for.
    connection.execute("select set_config('idle_in_transaction_session_timeout', '0', true)")
    further_spaces = [one for one, _ in further]
    values = reader.filter_values(connection)
    reader.check_values(values, settings.concept_filter)
    _check_policy(settings, ranker, space, further_spaces)
    index = open_vocabulary_index(connection, settings.concept_filter)
    memory = read_memory(connection, site, index.lexical, space, embed) if has_memory else None
    dense = open_dense_index(connection, space, index)
    tables = reader.vocabulary_tables(connection)
    return Resources(
        engine=Engine(
            index.lexical,
            index.attributes,
            dense,
            embed,
            ranker,
            calibrated=_is_calibrated(settings, ranker, space, further_spaces),
            memory=memory,
            further=[FurtherSpace(open_dense_index(connection, one, index), own) for one, own in further],
        ),
        index=needed_index(settings.concept_filter),
        state=index.state,
        space=space,
        further_spaces=further_spaces,
        ranker=ranker,
        values=values,
        warnings=_warnings(connection, site, space),
        release=(tables.version if tables is not None else None) or "",
        is_outdated=release_warning(connection, space) is not None,
    )


def _ranker_of(
    connection: psycopg.Connection[Any], site: str, space: Space, use_own_ranker: bool = True
) -> Ranker:
    """The site's ranker in a space, if it has one and it is to be used; else the shipped one."""
    own = ranker_store.active_ranker(connection, site, space.fingerprint.digest) if use_own_ranker else None
    return own or default_ranker()


def _warnings(connection: psycopg.Connection[Any], site: str, space: Space) -> list[str]:
    site_note = unknown_site_note(connection, site) if site != DEFAULT_SITE else ""
    return [line for line in (site_note, release_warning(connection, space)) if line]


def _is_calibrated(settings: Settings, ranker: Ranker, space: Space, further: Sequence[Space]) -> bool:
    """Whether candidates get probabilities: they were learned in these spaces, with standard concepts."""
    fingerprints = [ranker.fingerprint, *(one.fingerprint for one in ranker.further_spaces)]
    is_of_spaces = fingerprints == [one.fingerprint.digest for one in (space, *further)]
    return ranker.calibration is not None and is_of_spaces and not settings.includes_non_standard


def check_acceptance(source: Session | Connection, policy: Policy, *, site: str, otherwise: str) -> None:
    """Check that a policy can accept for a site in the active space; what is not there yet is not checked.

    Raises:
        ConfigurationError: it cannot; `otherwise` is what else can be done, see Policy.check().
    """
    with short_transaction(source) as connection:
        if not ranker_store.has_mapping_tables(connection):
            return
        try:
            space = registry.answering_space(connection)
        except SpaceError:
            return
        ranker = _ranker_of(connection, site, space)
        further = find_further_spaces(connection, space, ranker, None)
        calibrated = _is_calibrated(Settings(policy=policy), ranker, space, further)
        policy.check(ranker, calibrated=calibrated, otherwise=otherwise)


def _check_policy(settings: Settings, ranker: Ranker, space: Space, further: Sequence[Space]) -> None:
    if settings.policy.accept_precision is not None and not settings.has_learned_probabilities:
        raise ConfigurationError(
            "--accept-precision cannot be used with --vocabulary, --concept-class or --any: "
            "probabilities were learned with all standard concepts as candidates; leave one of them out"
        )
    settings.policy.check(ranker, calibrated=_is_calibrated(settings, ranker, space, further))


def embed_with(client: EmbeddingClient) -> Embed:
    """The client keeps the latest vectors, as terms share variants."""
    return lambda texts: client.embeddings(texts, embedding_role=EmbeddingRole.QUERY)
