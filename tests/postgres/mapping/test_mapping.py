"""Mapping end to end on the embedded sample vocabulary."""

from __future__ import annotations

import csv
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from sqlalchemy.orm import Session

from omop_emb import ConceptFilter, EmbeddingClient, config
from omop_emb.database.engine import driver_connection
from omop_emb.errors import ConfigurationError, SpaceError, SpaceNotFoundError, UnknownValueError
from omop_emb.mapping.approvals import approval_store
from omop_emb.mapping.mapper import map_terms, open_mapper
from omop_emb.mapping.ranking.policy import Policy
from omop_emb.mapping.records import Decision, SourceTerm
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.term_frames import to_frame
from omop_emb.spaces import registry


def test_an_exact_name_comes_first_with_a_probability_and_needs_review(sample: Session) -> None:
    (mapped,) = map_terms(sample, ["OSTEOARTHRITIS"])
    assert mapped.best is not None
    assert mapped.best.concept_name == "Osteoarthritis"
    assert mapped.probability is not None
    assert 0 < mapped.probability <= 1
    assert mapped.decision is Decision.REVIEW


def test_a_domain_limits_the_candidates_of_its_term_alone(sample: Session) -> None:
    drug, free = map_terms(sample, [SourceTerm(name="Aspirin", domain="Drug"), SourceTerm(name="Sinusitis")])
    assert {candidate.domain_id for candidate in drug.candidates} == {"Drug"}
    assert free.best is not None
    assert free.best.domain_id == "Condition"


def test_a_filter_of_the_settings_holds_for_every_term(sample: Session) -> None:
    chosen = ConceptFilter(vocabularies=("RxNorm",), standard_only=True, valid_only=True)
    mapped = map_terms(sample, ["Aspirin", "Cough"], settings=Settings(concept_filter=chosen))
    assert {c.vocabulary_id for term in mapped for c in term.candidates} == {"RxNorm"}
    assert [len(term.candidates) for term in mapped] == [10, 10]
    unknown = ConceptFilter(domains=("Drugs",), standard_only=True, valid_only=True)
    with pytest.raises(UnknownValueError, match="did you mean 'Drug'"):
        map_terms(sample, ["Aspirin"], settings=Settings(concept_filter=unknown))


def test_values_of_a_term_are_read_as_they_are_meant(sample: Session) -> None:
    coded, limited, unknown = map_terms(
        sample,
        [
            SourceTerm(name="", code="22298006", source_vocabulary="LOINC, Snomed CT"),
            SourceTerm(name="Aspirin", domain="drugs"),
            SourceTerm(name="Aspirin", domain="Pharmacy"),
        ],
    )
    assert coded.by_code == (4329847,)
    assert limited.best is not None
    assert limited.best.domain_id == "Drug"
    assert (unknown.candidates, unknown.decision) == ((), Decision.REVIEW)
    assert unknown.reason == "its domain has no concepts in the vocabulary"


def test_terms_map_the_same_one_by_one_and_together(sample: Session) -> None:
    terms = [SourceTerm(name=name) for name in ("acute bronchitis", "Aspirin 81 MG", "broken arm")]
    with open_mapper(sample) as mapper:
        together = [[c.concept_id for c in mapped.candidates] for mapped in mapper.map(terms)]
        apart = [[c.concept_id for c in mapped.candidates] for mapped in mapper.map(terms, batch_size=1)]
    assert together == apart


def test_a_frame_of_terms_becomes_a_frame_of_their_mappings(sample: Session) -> None:
    terms = pd.DataFrame({"name": ["Sinusitis", " "], "code": ["a", "b"], "frequency": [5, None]})
    frame = to_frame(map_terms(sample, terms))
    assert frame["code"].tolist() == ["a", "b"]
    assert frame["concept_name"].dropna().tolist() == ["Sinusitis"]
    assert frame["concept_id"].isna().tolist() == [False, True]
    assert frame["decision"].tolist() == ["review", "no match"]
    assert to_frame([]).empty


def test_acceptance_without_site_approvals_is_refused_with_the_next_command(sample: Session) -> None:
    settings = Settings(policy=Policy(accept_precision=0.95))
    with (
        pytest.raises(ConfigurationError, match="omop-emb calibrate"),
        open_mapper(sample, settings=settings),
    ):
        pass


def test_an_approved_name_leads_back_to_its_concept_until_it_is_withdrawn(sample: Session) -> None:
    connection = driver_connection(sample)
    before = map_terms(sample, ["zq local jargon"])[0]
    target = map_terms(sample, ["Osteoarthritis"])[0].candidates[0].concept_id
    assert target not in [candidate.concept_id for candidate in before.candidates]
    approval = approval_store.Approval(source_name="zq local jargon", concept_id=target)
    assert approval_store.remember_approvals(connection, "default", [approval], "test") == 1
    assert approval_store.remember_approvals(connection, "default", [approval], "test") == 0
    with open_mapper(sample) as mapper:
        assert mapper.engine.memory is not None
        assert len(mapper.engine.memory) == 1
    assert approval_store.withdraw_approvals(connection, "default") == [("", approval.source_name)]
    with open_mapper(sample) as mapper:
        assert mapper.engine.memory is None


def test_the_command_maps_a_file_and_keeps_its_order(
    sample_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    source = tmp_path / "terms.csv"
    source.write_text("code,name,frequency\n1,SINUSITIS,10\n2,Osteoarthritis,5\n", encoding="utf-8")
    output = tmp_path / "mapped.csv"
    command = import_module("omop_emb.cli.map").command
    result = CliRunner().invoke(command, [str(source), "-o", str(output)], standalone_mode=False)
    assert result.exception is None, result.output
    with output.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 2
    assert "Osteoarthritis" in rows[1].values()


def _client() -> EmbeddingClient:
    return EmbeddingClient(config.DEFAULT_MODEL, document_prefix="", query_prefix="")


def test_a_client_maps_in_the_complete_space_with_its_fingerprint(sample: Session) -> None:
    older, newer = registry.all_spaces(driver_connection(sample))
    _start_first_build(sample, older)
    with open_mapper(sample, client=_client()) as mapper:
        assert mapper.space.space_id == newer.space_id


def test_a_client_whose_spaces_are_all_incomplete_is_refused(sample: Session) -> None:
    for space in registry.all_spaces(driver_connection(sample)):
        _start_first_build(sample, space)
    with pytest.raises(SpaceError, match="is incomplete"), open_mapper(sample, client=_client()):
        pass


def test_a_client_without_a_space_is_shown_what_differs(sample: Session) -> None:
    client = EmbeddingClient(config.DEFAULT_MODEL, document_prefix="", query_prefix="search: ")
    with pytest.raises(SpaceNotFoundError, match="query_prefix"), open_mapper(sample, client=client):
        pass


def _start_first_build(session: Session, space: registry.Space) -> None:
    """Make a space look as it does while its first build is running."""
    connection = driver_connection(session)
    connection.execute(
        "update omop_emb.space set is_active = false, selection = null where space_id = %s", [space.space_id]
    )
    connection.execute(
        "insert into omop_emb.build (space_id, settings, lease_until) values (%s, '', now())",
        [space.space_id],
    )


def test_a_closed_mapper_maps_nothing(sample: Session) -> None:
    with open_mapper(sample) as mapper:
        assert len(list(mapper.map([SourceTerm(name="Sinusitis")]))) == 1
    with pytest.raises(RuntimeError, match="shutdown"):
        list(mapper.map([SourceTerm(name="Sinusitis")]))


SIGNS = (" -", "-", " (+)", " neg", " negative", " < 5", " not detected", " 10^-3")


@pytest.mark.parametrize(
    ("name", "best"),
    [
        ("tacrine 10 mg", "tacrine 10 MG Oral Capsule"),
        ("nitrofurantoin 50 mg", "nitrofurantoin, macrocrystals 50 MG Oral Capsule"),
        ("loratadine 10000 mcg tab", "loratadine 10 MG Oral Tablet"),
        ("acetaminophen 0,325 g", "acetaminophen 325 MG Oral Tablet"),
        ("acetaminophen", "acetaminophen"),
    ],
)
def test_a_stated_strength_is_not_lost_to_the_bare_ingredient(sample: Session, name: str, best: str) -> None:
    (result,) = map_terms(sample, [SourceTerm(name=name, domain="Drug")])
    assert result.best is not None
    assert result.best.concept_name == best


def test_what_is_accepted_is_not_accepted_with_another_sign(sample: Session) -> None:
    approval = approval_store.Approval(source_name="Knee arthrosis", concept_id=80180)
    approval_store.remember_approvals(driver_connection(sample), "default", [approval], "test")
    plain = [
        SourceTerm(name="Osteoarthritis"),
        SourceTerm(name="Knee arthrosis"),
        SourceTerm(name="Osteoarthritis", code="396275006", source_vocabulary="SNOMED"),
    ]
    signed = [replace(term, name=f"{term.name}{sign}") for term in plain for sign in SIGNS]
    policy = Policy(accept_precision=0.5, accept_untrained=True)
    mapped = map_terms(sample, [*plain, *signed], settings=Settings(policy=policy, accept_codes=True))
    for result in mapped:
        assert result.best is not None, result.term.name
        assert result.best.concept_id == 80180, result.term.name
    assert [result.decision for result in mapped[: len(plain)]] == [Decision.ACCEPT] * len(plain)
    for result in mapped[len(plain) :]:
        assert result.decision is Decision.REVIEW, result.term.name
        flag = result.best.flags[0] if result.best is not None else ""
        assert flag.split(":")[0] in ("polarity", "comparator", "power of ten")
        assert flag in result.reason
