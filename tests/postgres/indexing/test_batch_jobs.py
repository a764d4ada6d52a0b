"""index build --batch-api: jobs are never lost, never submitted twice, and collected by any builder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from omop_emb import ConceptFilter, EmbeddingClient, IndexType
from omop_emb.database.engine import driver_connection
from omop_emb.errors import ConfigurationError, ProviderError, ProviderUnavailableError, RateLimitError
from omop_emb.indexing.batch_jobs import cancel_jobs
from omop_emb.indexing.drop import drop_index
from omop_emb.indexing.report import BuildReport, Phase, Progress
from omop_emb.indexing.status import space_statuses
from omop_emb.providers.embedding_jobs import text_key
from omop_emb.providers.retrying import RetryPolicy
from tests.builds import build_with
from tests.fake_gemini_jobs import CANCELLED, FAILED, PENDING
from tests.fake_providers import FakeProviders, Fault, fake_vector
from tests.small_vocabulary import ConceptRow, SmallVocabulary, counting_client, five_concepts, stored_vectors

TEXTS = ["Diabetes", "Diabetes mellitus", "HTN", "High blood pressure", "Hypertension", "Metformin"]
BRIEF = RetryPolicy(timeout_seconds=2, max_attempts=2, deadline_seconds=5, first_wait_seconds=0.01)


@pytest.fixture
def client(fake: FakeProviders) -> EmbeddingClient:
    return EmbeddingClient(
        "gemini:gemini-embedding-001", dimensions=128, bulk_retries=BRIEF, query_retries=BRIEF
    )


@pytest.fixture
def vocabulary(engine: Engine, tmp_path: Path) -> SmallVocabulary:
    return five_concepts(engine, tmp_path)


def build(engine: Engine, client: EmbeddingClient, **options: Any) -> BuildReport:
    options = {"index_type": IndexType.FLAT, "batch_api": True, "poll_seconds": 0.01, **options}
    return build_with(engine, client, **options)


def jobs_of(engine: Engine) -> list[tuple[str | None, bool]]:
    with engine.connect() as connection:
        query = "select name, cancelled from omop_emb.batch_job order by job_id"
        return driver_connection(connection).execute(query).fetchall()


def texts_of(engine: Engine) -> list[str]:
    """The texts in the space, each with the vector that the model gives it."""
    with engine.connect() as connection:
        rows = stored_vectors(driver_connection(connection), 1)
    for (_, _, text), value in rows.items():
        expected = np.array(fake_vector(text, 128))
        expected /= np.linalg.norm(expected)
        found = np.frombuffer(value[4:], ">f2").astype(float)
        np.testing.assert_allclose(found, expected, atol=1e-3)
    return sorted({text for _, _, text in rows})


def sent(fake: FakeProviders) -> list[list[str]]:
    """The texts of each job."""
    return [
        sorted(line["request"]["content"]["parts"][0]["text"] for line in job.lines)
        for job in fake.jobs.jobs.values()
    ]


class Stopped(BaseException):
    """Somebody stops a build."""


def stop_when_waiting(progress: Progress) -> None:
    if progress.phase is Phase.JOBS:
        raise Stopped


def test_a_build_by_batch_jobs_writes_the_same_rows_as_an_ordinary_build(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    report = build(engine, client)
    assert sent(fake) == [TEXTS]
    assert texts_of(engine) == TEXTS
    assert (report.embedded, report.embedded_texts, report.failed) == (7, 6, 0)
    assert report.is_active
    assert jobs_of(engine) == []
    assert not fake.embedding_calls
    assert fake.jobs.deleted == ["files/up0", "files/ofj0"]
    again = build(engine, client)
    assert (again.unchanged, again.embedded) == (7, 0)
    assert len(fake.jobs.jobs) == 1


def test_a_job_is_recorded_before_it_is_submitted_and_its_name_before_it_is_polled(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    seen: dict[str, list[tuple[str | None, bool]]] = {}

    def look(call: Any) -> None:
        what = "begins" if "asyncBatch" in call.path else "asked" if "/batches/" in call.path else ""
        if what:
            seen.setdefault(what, jobs_of(engine))

    fake.fault = look
    build(engine, client)
    assert seen == {"begins": [(None, False)], "asked": [("batches/j0", False)]}


@pytest.mark.parametrize("batch_api", [True, False], ids=["--batch-api", "ordinary"])
def test_after_an_interruption_the_next_build_collects_the_jobs_and_submits_none_twice(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders, batch_api: bool
) -> None:
    fake.jobs.finishes = False
    with pytest.raises(Stopped):
        build(engine, client, chunk_texts=4, on_progress=stop_when_waiting)
    assert len(fake.jobs.jobs) == 2
    assert jobs_of(engine) == [("batches/j0", False), ("batches/j1", False)]
    with engine.connect() as connection:
        (state,) = space_statuses(driver_connection(connection))
    assert (state.batch_jobs, state.pending_texts) == (2, 6)
    fake.jobs.finish()
    # Another machine has a client of its own, and may cut its pieces otherwise.
    other = EmbeddingClient("gemini:gemini-embedding-001", dimensions=128)
    report = build(engine, other, batch_api=batch_api, chunk_texts=1)
    assert len(fake.jobs.jobs) == 2
    assert not fake.embedding_calls
    assert report.embedded_texts == 6
    assert texts_of(engine) == TEXTS
    assert jobs_of(engine) == []


def test_texts_that_changed_while_a_job_ran_are_submitted_and_the_rest_is_collected(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    fake.jobs.finishes = False
    with pytest.raises(Stopped):
        build(engine, client, on_progress=stop_when_waiting)
    vocabulary.load(ConceptRow(3, "Metformin hydrochloride"), ConceptRow(6, "Asthma"))
    fake.jobs.finish()
    fake.jobs.finishes = True
    build(engine, client)
    assert sent(fake) == [TEXTS, ["Asthma", "Metformin hydrochloride"]]
    assert texts_of(engine) == sorted({*TEXTS, "Asthma", "Metformin hydrochloride"} - {"Metformin"})
    assert jobs_of(engine) == []


def test_a_job_whose_texts_are_no_longer_needed_is_cancelled(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    fake.jobs.finishes = False
    with pytest.raises(Stopped):
        build(engine, client, on_progress=stop_when_waiting, concept_filter=ConceptFilter(domains=("Drug",)))
    report = build(engine, client, batch_api=False, concept_filter=ConceptFilter(domains=("Condition",)))
    assert report.embedded == 6
    assert [job.state for job in fake.jobs.jobs.values()] == [CANCELLED]
    assert jobs_of(engine) == []
    assert fake.jobs.deleted == ["files/up0"]


def test_a_limited_build_leaves_the_jobs_of_other_texts_alone(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    fake.jobs.finishes = False
    with pytest.raises(Stopped):
        build(engine, client, chunk_texts=1, on_progress=stop_when_waiting)
    fake.jobs.finish()
    build(engine, client, batch_api=False, limit=1)
    assert texts_of(engine) == ["HTN", "High blood pressure", "Hypertension"]
    assert len(jobs_of(engine)) == 3
    build(engine, client, batch_api=False)
    assert texts_of(engine) == TEXTS
    assert not fake.embedding_calls


@pytest.mark.parametrize("begun", [True, False], ids=["begun", "not begun"])
def test_a_job_whose_name_was_lost_is_found_by_its_label_or_submitted_again(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders, begun: bool
) -> None:
    fake.fault = lambda call: (
        Fault(how="cut before") if "asyncBatch" in call.path or call.path.startswith("/v1/batches") else None
    )
    with pytest.raises(ProviderUnavailableError, match=r"the connection .* broke"):
        build(engine, client)
    assert jobs_of(engine) == [(None, False)]
    fake.fault = lambda _call: None
    if not begun:
        fake.jobs.jobs.clear()
    build(engine, client)
    assert sent(fake) == [TEXTS]
    assert texts_of(engine) == TEXTS


def test_jobs_beyond_the_limit_of_the_service_are_submitted_one_after_the_other(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    fake.jobs.max_jobs = 1
    build(engine, client, chunk_texts=2)
    assert [len(texts) for texts in sent(fake)] == [2, 2, 2]
    assert texts_of(engine) == TEXTS


def test_a_service_that_accepts_no_job_is_an_error_that_leaves_no_record(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    fake.jobs.max_jobs = 0
    with pytest.raises(RateLimitError, match="asks for fewer requests"):
        build(engine, client)
    assert jobs_of(engine) == []
    fake.jobs.max_jobs = None
    build(engine, client)
    assert texts_of(engine) == TEXTS


def test_a_failed_item_is_embedded_directly_and_skipped_if_it_fails_again(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    bad = {text_key("HTN").hex(), text_key("Metformin").hex()}
    fake.jobs.spoil = lambda lines: [
        {"key": line["key"], "error": {"code": 13}} if line["key"] in bad else line for line in lines
    ]
    fake.poison("HTN", Fault(400, '{"error": {"code": 400, "message": "bad"}}'))
    report = build(engine, client)
    assert report.failed == 1
    assert texts_of(engine) == [text for text in TEXTS if text != "HTN"]
    asked = {text for call in fake.embedding_calls for text in call.texts}
    assert asked & set(TEXTS) == {"HTN", "Metformin"}


def test_a_failed_job_does_not_affect_the_others_and_a_rerun_embeds_its_texts(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    def first_fails(_call: object) -> None:
        if len(fake.jobs.jobs) == 2:
            failed = next(iter(fake.jobs.jobs.values()))
            failed.state = FAILED
            failed.error = {"code": 3, "message": "Failed to parse line 2: Hypertension"}

    fake.fault = first_fails
    reason = r"\(batches/j0 failed \(INVALID_ARGUMENT; the file of texts cannot be read\)\)"
    with pytest.raises(ProviderError, match=rf"1 batch job .* failed {reason}"):
        build(engine, client, chunk_texts=3)
    assert set(fake.jobs.deleted) == {"files/up0", "files/up1", "files/ofj1"}
    lost, kept = sent(fake)
    assert texts_of(engine) == kept
    fake.fault = lambda _call: None
    build(engine, client)
    assert sent(fake)[2:] == [lost]
    assert texts_of(engine) == TEXTS


def test_a_waiting_build_does_not_submit_cancelled_jobs_again(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    fake.jobs.finishes = False
    told: list[tuple[int, int]] = []

    def cancel(progress: Progress) -> None:
        if progress.phase is Phase.JOBS and not told:
            told.append(cancel_jobs(engine, client, index_type=IndexType.FLAT))

    with pytest.raises(ProviderError, match="failed"):
        build(engine, client, chunk_texts=3, on_progress=cancel)
    assert told == [(2, 0)]
    assert [job.state for job in fake.jobs.jobs.values()] == [CANCELLED, CANCELLED]
    assert sorted(fake.jobs.deleted) == ["files/up0", "files/up1"]
    assert jobs_of(engine) == []


def test_a_job_can_be_cancelled_while_it_is_being_submitted(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    fake.jobs.finishes = False
    told: list[tuple[int, int]] = []

    def cancel(call: Any) -> None:
        if call.path == "/upload/v1/files":
            told.append(cancel_jobs(engine, client, index_type=IndexType.FLAT))

    fake.fault = cancel
    with pytest.raises(ProviderError, match=r"failed \(cancelled\)"):
        build(engine, client)
    assert told == [(1, 0)]
    assert [job.state for job in fake.jobs.jobs.values()] == [CANCELLED]


def test_a_finished_job_is_not_cancelled_and_can_still_be_collected(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    fake.jobs.finishes = False
    with pytest.raises(Stopped):
        build(engine, client, chunk_texts=3, on_progress=stop_when_waiting)
    next(iter(fake.jobs.jobs.values())).state = "BATCH_STATE_SUCCEEDED"
    assert cancel_jobs(engine, client, index_type=IndexType.FLAT) == (1, 1)
    assert fake.jobs.deleted == ["files/up1"]
    fake.jobs.finishes = True
    build(engine, client)
    assert len(fake.jobs.jobs) == 3
    assert texts_of(engine) == TEXTS


def started(engine: Engine, client: EmbeddingClient, *options: str) -> subprocess.Popen[str]:
    """omop-emb index build in a process of its own."""
    environment = {
        **os.environ,
        "OMOP_EMB_DATABASE_URL": engine.url.render_as_string(hide_password=False),
        "OMOP_EMB_MODEL": client.model,
        "OMOP_EMB_DIMENSIONS": "128",
    }
    program = str(Path(sys.executable).with_name("omop-emb"))
    return subprocess.Popen(
        [program, "index", "build", "--index-type", "flat", *options],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def command(engine: Engine, client: EmbeddingClient, *options: str) -> subprocess.CompletedProcess[str]:
    """What that process said, when it has ended."""
    with started(engine, client, *options) as process:
        stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@pytest.mark.parametrize("place", ["asyncBatch", "/v1/batches/", ":download"])
def test_a_killed_builder_loses_no_job_and_the_next_one_submits_none_twice(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders, place: str
) -> None:
    reached = threading.Event()

    def hang(call: Any) -> Fault | None:
        if place not in call.path:
            return None
        reached.set()
        return Fault(how="hang")

    fake.fault = hang
    with started(engine, client, "--batch-api") as process:
        assert reached.wait(60)
        process.kill()
    fake.fault = lambda _call: None
    report = build(engine, client)
    assert sent(fake) == [TEXTS]
    assert report.embedded_texts == 6
    assert texts_of(engine) == TEXTS
    assert jobs_of(engine) == []


@pytest.mark.parametrize(
    ("options", "counted", "requests"),
    [
        # Upload (its parts are one), submit, ask, collect, delete; Gemini's jobs report five tokens a text.
        (["--batch-api"], {"tokens": 30, "tokens_estimated": 0, "cost_usd": 30 * 0.075e-6}, 5),
        ([], {"tokens": 27, "tokens_estimated": 27, "cost_usd": 27 * 0.15e-6}, 1),
    ],
    ids=["--batch-api", "ordinary"],
)
def test_the_command_reports_what_was_sent_to_the_model_and_its_cost(
    engine: Engine,
    vocabulary: SmallVocabulary,
    client: EmbeddingClient,
    fake: FakeProviders,
    options: list[str],
    counted: dict[str, float],
    requests: int,
) -> None:
    done = command(engine, client, "--format", "json", *options)
    (row,) = json.loads(done.stdout)
    assert {key: row[key] for key in counted} == pytest.approx(counted)
    assert (row["requests"], row["sent_texts"]) == (requests, 6)
    counting = "" if options else f", {row['tokens']} of them estimated"
    assert (
        f"sent to {client.model}: {requests} request{'s' if requests > 1 else ''}, 6 texts, "
        f"{row['tokens']} tokens{counting}, about less than 0.01 USD" in done.stderr
    )


def test_a_failed_build_also_reports_what_was_sent(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    fake.always(Fault(403, "{}"))
    done = command(engine, client)
    assert done.returncode == 1
    assert f"sent to {client.model}: 1 request, 0 texts, 0 tokens" in done.stderr


def test_cancelling_reports_how_many_jobs_were_cancelled(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    fake.jobs.finishes = False
    with pytest.raises(Stopped):
        build(engine, client, chunk_texts=3, on_progress=stop_when_waiting)
    next(iter(fake.jobs.jobs.values())).state = "BATCH_STATE_SUCCEEDED"
    done = command(engine, client, "--cancel-batch")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[-2:] == [
        "1 batch job was cancelled",
        "1 is finished: omop-emb index build collects the answers",
    ]


@pytest.mark.parametrize("reachable", [True, False])
def test_dropping_a_space_cancels_its_jobs_or_warns_that_they_continue(
    engine: Engine,
    vocabulary: SmallVocabulary,
    client: EmbeddingClient,
    fake: FakeProviders,
    monkeypatch: pytest.MonkeyPatch,
    reachable: bool,
) -> None:
    fake.jobs.finishes = False
    with pytest.raises(Stopped):
        build(engine, client, chunk_texts=3, on_progress=stop_when_waiting)
    if not reachable:
        fake.always(Fault(403, "{}"))
    monkeypatch.setenv("OMOP_EMB_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    index = import_module("omop_emb.cli.index").command
    done = CliRunner().invoke(index, ["drop", "gemini-embedding-001-flat", "--yes"], catch_exceptions=False)
    assert done.exit_code == 0
    told, gone = done.stderr.splitlines()[-2:]
    assert gone == "space 'gemini-embedding-001-flat' was dropped, with 0 embedded texts"
    states = {job.state for job in fake.jobs.jobs.values()}
    if reachable:
        assert (told, states) == ("2 batch jobs were cancelled", {CANCELLED})
    else:
        assert told.startswith("its batch jobs could not be cancelled and continue: ")
        assert states == {PENDING}
    assert jobs_of(engine) == []


def test_dropping_a_space_deletes_the_files_of_finished_jobs_too(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    fake.jobs.finishes = False
    with pytest.raises(Stopped):
        build(engine, client, chunk_texts=3, on_progress=stop_when_waiting)
    next(iter(fake.jobs.jobs.values())).state = "BATCH_STATE_SUCCEEDED"
    report = drop_index(engine, "gemini-embedding-001-flat")
    assert (report.cancelled_jobs, report.cancel_error) == (1, "")
    assert sorted(fake.jobs.deleted) == ["files/ofj0", "files/up0", "files/up1"]


def test_two_builders_share_the_jobs(
    engine: Engine, vocabulary: SmallVocabulary, client: EmbeddingClient, fake: FakeProviders
) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            build(engine, client, chunk_texts=1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(text for texts in sent(fake) for text in texts) == TEXTS
    assert texts_of(engine) == TEXTS
    assert not fake.embedding_calls
    assert PENDING not in {job.state for job in fake.jobs.jobs.values()}


def test_a_provider_without_batch_jobs_is_refused_before_anything_is_created(
    engine: Engine, vocabulary: SmallVocabulary
) -> None:
    with pytest.raises(ConfigurationError, match="counting:m has no batch API: leave --batch-api out"):
        build(engine, counting_client())
    with engine.connect() as connection:
        there = driver_connection(connection).execute("select to_regclass('omop_emb.space_1')").fetchone()
    assert there == (None,)
