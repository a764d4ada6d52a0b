"""Gemini's Batch API: texts go up as a file of lines, vectors come back within a day at half the price."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omop_emb.errors import ProviderError
from omop_emb.providers.base import JobAnswer, JobState
from omop_emb.providers.gemini_client import GeminiClient
from omop_emb.providers.http_faults import garbled
from omop_emb.records import EmbeddingRole

_GONE = frozenset({"JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"})
_DONE = frozenset({"JOB_STATE_SUCCEEDED", "JOB_STATE_PARTIALLY_SUCCEEDED"})
_PAGE = 100


class GeminiJobs:
    """The batch jobs of one Gemini model; see omop_emb.providers.base.JobProvider.

    A job's answers are found by the keys that its texts were sent with, whatever their order.
    """

    def __init__(
        self, client: GeminiClient, *, tasks: Mapping[EmbeddingRole, str], dimensions: int | None
    ) -> None:
        self._client, self._tasks, self._dimensions = client, tasks, dimensions

    def upload(self, texts: Mapping[str, str], role: EmbeddingRole, *, timeout_seconds: float) -> str:
        """Send a file of texts by key, and return its name."""
        request: dict[str, Any] = {}
        if self._dimensions is not None:
            request["output_dimensionality"] = self._dimensions
        if role in self._tasks:
            request["task_type"] = self._tasks[role]
        lines = (
            json.dumps({"key": key, "request": {"content": {"parts": [{"text": text}]}, **request}})
            for key, text in texts.items()
        )
        file = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
        with self._client.calling(timeout_seconds) as client:
            uploaded = client.files.upload(file=file, config={"mime_type": "application/jsonl"})
            return str(uploaded.name)

    def submit(self, file: str, *, label: str, timeout_seconds: float) -> str:
        """Make a job of an uploaded file, and return its name."""
        with self._client.calling(timeout_seconds) as client, warnings.catch_warnings():
            # The SDK calls this part experimental with each call.
            warnings.simplefilter("ignore")
            job = client.batches.create_embeddings(
                model=self._client.model, src={"file_name": file}, config={"display_name": label}
            )
            return str(job.name)

    def find(self, label: str, *, timeout_seconds: float) -> str | None:
        """The name of the job that was submitted with this label."""
        with self._client.calling(timeout_seconds) as client:
            for job in client.batches.list(config={"page_size": _PAGE}):
                if job.display_name == label:
                    return str(job.name)
        return None

    def state(self, name: str, *, timeout_seconds: float) -> JobState:
        """How far a job is."""
        job = self._job(name, timeout_seconds)
        state = "JOB_STATE_FAILED" if job is None else job.state.name if job.state else ""
        return JobState.GONE if state in _GONE else JobState.DONE if state in _DONE else JobState.WAITING

    def answers(self, name: str, *, timeout_seconds: float) -> Iterator[JobAnswer]:
        """What a finished job answers; nothing where its results are no longer kept."""
        job = self._job(name, timeout_seconds)
        results = job.dest.file_name if job is not None and job.dest is not None else None
        if results is None:
            return
        try:
            with tempfile.TemporaryDirectory(prefix="omop-emb-") as folder:
                path = Path(folder) / "answers.jsonl"  # hundreds of megabytes: not for the memory
                yield from self._downloaded(results, path, timeout_seconds)
        except OSError as error:
            raise ProviderError(
                f"the answers of {name} cannot be kept in {tempfile.gettempdir()}: {error.strerror}; make "
                "room there, or set TMPDIR, and run again"
            ) from None

    def _downloaded(self, file: str, path: Path, timeout_seconds: float) -> Iterator[JobAnswer]:
        with self._client.calling(timeout_seconds) as client:
            from google.genai import errors

            try:
                client.files.download(file=file, destination=path)
            except errors.ClientError as error:
                if error.code == 404:
                    return
                raise
        is_of_answers = path.stat().st_size == 0
        with path.open(encoding="utf-8", errors="replace") as lines:
            for answer in filter(None, map(_answer, lines)):
                is_of_answers = True
                yield answer
        if not is_of_answers:
            raise garbled(self._client.source, "the Gemini API")

    def cancel(self, name: str, *, timeout_seconds: float) -> None:
        """Ask for a job to be stopped; one that is gone already is left alone."""
        if self.state(name, timeout_seconds=timeout_seconds) is JobState.WAITING:
            with self._client.calling(timeout_seconds) as client:
                client.batches.cancel(name=name)

    def _job(self, name: str, timeout_seconds: float) -> Any:
        """The SDK's description of a job; None where the service does not know it any more."""
        with self._client.calling(timeout_seconds) as client:
            from google.genai import errors

            try:
                return client.batches.get(name=name)
            except errors.ClientError as error:
                if error.code == 404:
                    return None
                raise


def _answer(line: str) -> JobAnswer | None:
    """One line of results; None for a line that names no text."""
    try:
        entry = json.loads(line)
        key = entry.get("key") or (entry.get("metadata") or {}).get("key")
        response = entry.get("response") or {}
        values = (response.get("embedding") or {}).get("values")
        tokens = response.get("tokenCount", response.get("token_count"))
    except (ValueError, AttributeError):
        return None
    if not isinstance(key, str):
        return None
    return JobAnswer(
        key=key,
        vector=values if isinstance(values, list) else None,
        tokens=int(tokens) if isinstance(tokens, int | str) and str(tokens).isdigit() else None,
    )
