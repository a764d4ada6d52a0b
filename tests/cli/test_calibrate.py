"""omop-emb calibrate on the sample vocabulary: a site's ranker, thresholds on unseen terms, memory."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from sqlalchemy.orm import Session

from omop_emb.database.engine import driver_connection
from omop_emb.errors import ConfigurationError, InputError
from omop_emb.mapping.approvals.reviewed_table import ApprovedColumns
from omop_emb.mapping.evaluation.evaluate import EvaluationOptions, measure
from omop_emb.mapping.mapper import map_terms, open_mapper
from omop_emb.mapping.ranking import ranker_store
from omop_emb.mapping.ranking.policy import Policy
from omop_emb.mapping.ranking.trees import TreeRanker
from omop_emb.mapping.records import Decision, SourceTerm
from omop_emb.mapping.settings import Settings
from omop_emb.mapping.training.site_training import Training, train
from omop_emb.service import demo

ALL = ApprovedColumns(all_approved=True)


def sample_concepts() -> list[tuple[int, str]]:
    """Standard conditions and drugs of the sample vocabulary."""
    with (demo.SAMPLE / "CONCEPT.csv").open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [
            (int(row["concept_id"]), row["concept_name"])
            for row in rows
            if row["standard_concept"] == "S" and row["domain_id"] in ("Condition", "Drug", "Procedure")
        ]


def written(name: str, random_: random.Random) -> str:
    """A name as a hospital might write it: capitals, a lost word, a cut, a letter too few."""
    words = name.split()
    if len(words) > 2 and random_.random() < 0.5:
        words.pop(random_.randrange(len(words)))
    text = " ".join(words)
    if random_.random() < 0.5:
        text = text.upper()
    if random_.random() < 0.5 and len(text) > 8:
        place = random_.randrange(1, len(text) - 1)
        text = text[:place] + text[place + 1 :]
    return text[: random_.choice((12, 25, 40, 80))]


def approvals(folder: Path, seed: int, matched: int, no_match: int) -> list[Path]:
    """Two files of approvals, terms without a match among them."""
    random_ = random.Random(seed)  # noqa: S311 - test data, not a secret
    chosen = random_.sample(sample_concepts(), matched)
    rows = [(f"S{n}", written(name, random_), str(key)) for n, (key, name) in enumerate(chosen)]
    words = ["parking", "ticket", "invoice", "brother", "kitchen", "window", "meeting", "garden", "printer"]
    rows += [(f"N{n}", f"{' '.join(random_.sample(words, 2))} {n}", "0") for n in range(no_match)]
    random_.shuffle(rows)
    paths = []
    for number in range(2):
        path = folder / f"site-{seed}-{number}.csv"
        with path.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(["code", "name", "concept_id"])
            writer.writerows(rows[number::2])
        paths.append(path)
    return paths


def test_accepted_unseen_terms_have_the_precision_even_with_no_match_terms_among_them(
    sample: Session, tmp_path: Path
) -> None:
    trained = train(sample, approvals(tmp_path, 1, 300, 40), Training(columns=ALL, rounds=25))
    assert (trained.terms, trained.no_match) == (300, 40)
    names = [validation.ranker for validation in trained.cross_validations]
    assert names[0] == "shipped ranker"
    assert "own ranker at an unseen source" in names
    for validation in trained.cross_validations:
        assert 0 < validation.metrics["recall@1"] <= validation.metrics["recall@10"] <= 1
    with open_mapper(sample) as mapper:
        digest = mapper.space.fingerprint.digest
    ranker = ranker_store.active_ranker(driver_connection(sample), "default", digest)
    assert ranker is not None
    assert ranker.is_site_trained
    trained_on = ranker_store.active_training(driver_connection(sample), "default", ranker.fingerprint)
    assert set(trained_on["files"]) == {"site-1-0.csv", "site-1-1.csv"}
    assert trained_on["date"]

    # other terms of the same kind, none of which was learned from
    seen = {name for path in approvals(tmp_path, 1, 300, 40) for name in path.read_text().split("\n")}
    unseen = approvals(tmp_path, 2, 400, 60)
    fresh = tmp_path / "fresh.csv"
    lines = [
        line for path in unseen for line in path.read_text().split("\n")[1:] if line and line not in seen
    ]
    fresh.write_text("code,name,concept_id\n" + "\n".join(lines) + "\n", encoding="utf-8")
    evaluation, _ = measure(sample, [fresh], EvaluationOptions(use_memory=False))
    # With 300 terms a single wrong answer among the surest ends the tests of .95 before they accept anything.
    policy = Policy(accept_precision=0.9)
    accepted = [
        outcome
        for outcome in evaluation.outcomes
        if outcome.first is not None
        and policy.decide(outcome.probability, outcome.first[2], ranker)[0] is Decision.ACCEPT
    ]
    assert len(accepted) > 50
    correct = sum(outcome.correct for outcome in accepted)
    assert correct / len(accepted) >= 0.95 - 2 * (0.95 * 0.05 / len(accepted)) ** 0.5
    error = next(m.value for m in evaluation.metrics if m.metric == "calibration error" and m.group == "all")
    assert error < 0.08
    # measured on a file that the ranker was trained on
    optimistic, _ = measure(sample, [tmp_path / "site-1-0.csv"])
    assert any("too optimistic" in note for note in optimistic.notes)


def test_a_term_like_one_that_was_approved_comes_first(sample: Session, tmp_path: Path) -> None:
    path = tmp_path / "approved.csv"
    random_ = random.Random(5)  # noqa: S311 - as above
    rows = [f"{key},{written(name, random_)}" for key, name in sample_concepts()[:150]]
    target = sample_concepts()[200][0]
    rows += [f"{target},our own jargon", f"{target},GH/Sinus-X"]
    path.write_text("concept_id,name\n" + "\n".join(rows) + "\n", encoding="utf-8")
    train(sample, [path], Training(columns=ALL, site="north", rounds=10))
    names = ("our own jargon", "gh/sinus-x", "Osteoarthritis")
    same, other_case, elsewhere = map_terms(sample, names, site="north")
    for mapped in (same, other_case):
        assert mapped.best is not None
        assert mapped.best.concept_id == target
        assert mapped.probability is not None
        assert mapped.probability > 0.5
    assert elsewhere.best is not None
    assert elsewhere.best.concept_name == "Osteoarthritis"


def test_a_ranker_belongs_to_its_site_and_explains_itself(sample: Session, tmp_path: Path) -> None:
    train(sample, approvals(tmp_path, 3, 110, 20), Training(columns=ALL, site="north", rounds=10))
    with open_mapper(sample, site="south") as mapper:
        assert not mapper.engine.ranker.is_site_trained
    policy = Policy(accept_precision=0.95)
    with open_mapper(sample, site="north", settings=Settings(explain=2, policy=policy)) as mapper:
        (mapped,) = mapper.map([SourceTerm(name="acute bronchitis")])
        assert isinstance(mapper.engine.ranker, TreeRanker) or mapper.engine.ranker.is_site_trained
    assert mapped.provenance.ranker.startswith("north-")
    assert mapped.candidates[0].contributions


def test_a_ranker_of_an_earlier_version_is_refused_until_the_next_training(
    sample: Session, tmp_path: Path
) -> None:
    paths, asked = approvals(tmp_path, 3, 110, 20), Training(columns=ALL, site="north", rounds=5)
    train(sample, paths, asked)
    driver_connection(sample).execute(
        "update omop_emb.mapping_ranker "
        """set kind = 'trees', trained_on = trained_on || '{"features": ["dense"], "domains": []}'"""
    )
    with pytest.raises(ConfigurationError, match="calibrate again"), open_mapper(sample, site="north"):
        pass
    measure(sample, paths, EvaluationOptions(site="north", shipped=True))
    train(sample, paths, asked)
    with open_mapper(sample, site="north") as mapper:
        assert mapper.engine.ranker.is_site_trained


def test_too_few_approvals_are_refused(sample: Session, tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    path.write_text("name,concept_id\nOsteoarthritis,80180\n", encoding="utf-8")
    with pytest.raises(InputError, match="at least 100"):
        train(sample, [path], Training(columns=ALL))


def test_the_command_prints_the_cross_validation(
    sample_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    monkeypatch.setattr("omop_emb.mapping.ranking.trees.DEFAULT_ROUNDS", 10)
    command = import_module("omop_emb.cli.calibrate").command
    paths = [str(path) for path in approvals(tmp_path, 4, 120, 20)]
    result = CliRunner().invoke(
        command, [*paths, "--all-approved", "--format", "json"], standalone_mode=False, catch_exceptions=False
    )
    assert result.return_value == 0
    rows = json.loads(result.stdout)
    assert {"ranker", "recall@1", "precision at 0.95"} <= set(rows[0])
    assert "ranker default-" in result.stderr


@pytest.fixture
def omop_emb(sample_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", sample_database_url)
    monkeypatch.setattr("omop_emb.mapping.ranking.trees.DEFAULT_ROUNDS", 5)

    def run(command: str, *arguments: str) -> Result:
        group = import_module(f"omop_emb.cli.{command}").command
        result = CliRunner().invoke(group, list(arguments), standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result

    return run


def test_rankers_are_listed_switched_dropped_and_undone_by_forgetting(
    omop_emb: Callable[..., Result], tmp_path: Path
) -> None:
    paths = [str(path) for path in approvals(tmp_path, 6, 110, 10)]

    def active() -> list[str]:
        rows = json.loads(omop_emb("ranker", "list", "--format", "json").stdout)
        return [row["name"] for row in rows if row["active"]]

    calibrate = ("calibrate", *paths, "--all-approved", "--site", "north")
    omop_emb(*calibrate, "--name", "first")
    with pytest.raises(InputError, match="already"):
        omop_emb(*calibrate, "--name", "first")
    with pytest.raises(InputError, match="shipped"):
        omop_emb(*calibrate, "--name", "Shipped-9")
    omop_emb(*calibrate)
    rows = json.loads(omop_emb("ranker", "list", "--site", "north", "--format", "json").stdout)
    assert [(row["name"] == "first", row["site"], row["terms"]) for row in rows] == [
        (True, "north", 120),
        (False, "north", 120),
    ]
    second = rows[1]["name"]
    assert second.startswith("north-")
    assert rows[1]["recall@1"] > 0
    assert active() == [second]
    assert "'north' uses the ranker first" in omop_emb("ranker", "use", "first").stderr
    assert active() == ["first"]
    omop_emb("ranker", "use", "shipped", "--site", "north")
    assert active() == []
    with pytest.raises(InputError, match="already"):
        omop_emb("ranker", "use", "shipped", "--site", "north")
    for arguments in (("use", "frst"), ("drop", "frst", "--yes"), ("list", "--site", "nrth")):
        with pytest.raises(InputError, match="there is no"):
            omop_emb("ranker", *arguments)
    omop_emb("ranker", "use", second)
    with pytest.raises(click.Abort):  # nobody is there to answer
        omop_emb("ranker", "drop", second)
    assert "back to the shipped" in omop_emb("ranker", "drop", second, "--yes").stderr
    omop_emb("ranker", "use", "first")
    told = omop_emb("memory", "forget", "--site", "north", "--file", paths[0]).stderr
    assert "the ranker first learned from them" in told
    assert "omop-emb calibrate APPROVED --site north" in told
    assert active() == []
    assert "withdrawn later" in omop_emb("ranker", "use", "first").stderr


def test_forgetting_one_name_takes_only_the_rankers_out_of_use_that_learned_from_it(
    omop_emb: Callable[..., Result], tmp_path: Path
) -> None:
    paths = [str(path) for path in approvals(tmp_path, 7, 110, 10)]
    extra = tmp_path / "extra.csv"
    extra.write_text("name,concept_id\nunrelated jargon,80180\n", encoding="utf-8")
    omop_emb("calibrate", *paths, "--all-approved", "--name", "own")
    omop_emb("memory", "remember", str(extra), "--all-approved")
    assert "own" not in omop_emb("memory", "forget", "--name", "Unrelated Jargon").stderr
    with Path(paths[0]).open(encoding="utf-8", newline="") as lines:
        learned = next(csv.DictReader(lines))["name"]
    assert "the ranker own learned" in omop_emb("memory", "forget", "--name", learned).stderr


def test_a_job_may_use_the_shipped_ranker_of_a_site_that_has_its_own(
    omop_emb: Callable[..., Result], tmp_path: Path
) -> None:
    paths = [str(path) for path in approvals(tmp_path, 8, 110, 10)]
    omop_emb("calibrate", *paths, "--all-approved", "--name", "own")
    terms, output = tmp_path / "terms.csv", tmp_path / "mapped.csv"
    terms.write_text("name\nOsteoarthritis\n", encoding="utf-8")
    for options, ranker in (((), "ranker own"), (("--shipped",), "ranker shipped-")):
        omop_emb("map", str(terms), "-o", str(output), *options)
        assert ranker in output.read_text()
    with pytest.raises(ConfigurationError, match="calibrate"):
        omop_emb("map", str(terms), "-o", str(output), "--shipped", "--accept-precision", "0.95")


def test_maps_own_unreviewed_output_trains_nothing(omop_emb: Callable[..., Result], tmp_path: Path) -> None:
    terms, output = tmp_path / "terms.csv", tmp_path / "mapped.csv"
    terms.write_text("name\nOsteoarthritis\n", encoding="utf-8")
    omop_emb("map", str(terms), "-o", str(output))
    again = tmp_path / "again.csv"
    for command in (
        ("calibrate", str(output), "--all-approved"),
        ("memory", "remember", str(output)),
        ("evaluate", str(output)),
        ("map", str(terms), "-o", str(again), "--previous", str(output)),
    ):
        with pytest.raises(InputError, match="no approved mapping"):
            omop_emb(*command)
    assert not again.exists()
    assert json.loads(omop_emb("memory", "list", "--format", "json").stdout) == []
