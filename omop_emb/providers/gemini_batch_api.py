"""Gemini's Batch API: a file of texts is uploaded, vectors come back within a day at half the price."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, BinaryIO, TypeVar, cast

from omop_emb.errors import InputError, ProviderError
from omop_emb.providers.base import JobResult, JobState, token_count
from omop_emb.providers.gemini_client import GeminiClient
from omop_emb.providers.gemini_job_details import cause_of, error_of, file_names
from omop_emb.providers.http_errors import unreadable_response
from omop_emb.records import EmbeddingRole
from omop_emb.safe_files.foreign_text import parse_json

_STATES = {
    "JOB_STATE_SUCCEEDED": JobState.DONE,
    "JOB_STATE_PARTIALLY_SUCCEEDED": JobState.DONE,
    "JOB_STATE_FAILED": JobState.FAILED,
    "JOB_STATE_CANCELLED": JobState.FAILED,
    "JOB_STATE_EXPIRED": JobState.FAILED,
}
_ENDS = {
    "JOB_STATE_CANCELLED": "was cancelled",
    "JOB_STATE_EXPIRED": "expired: Google gives up after two days",
}
_JOBS_PER_PAGE = 100
_MOST_FILE, _MOST_LINE = 16 << 30, 4 << 20  # bytes of a file of results, characters of a result

_T = TypeVar("_T")


class GeminiBatchApi:
    """The batch jobs of one Gemini model; see omop_emb.providers.base.BatchApi."""

    def __init__(
        self, client: GeminiClient, *, tasks: Mapping[EmbeddingRole, str], dimensions: int | None
    ) -> None:
        self._client, self._tasks, self._dimensions = client, tasks, dimensions

    def upload(self, texts: Mapping[str, str], role: EmbeddingRole, *, timeout_seconds: float) -> str:
        """Upload a file of texts by key, and return its name."""
        settings: dict[str, Any] = {}
        if self._dimensions is not None:
            settings["output_dimensionality"] = self._dimensions
        if role in self._tasks:
            settings["task_type"] = self._tasks[role]
        lines = (
            json.dumps({"key": key, "request": {"content": {"parts": [{"text": text}]}, **settings}})
            for key, text in texts.items()
        )
        file = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
        with self._client.client(timeout_seconds) as client:
            uploaded = client.files.upload(file=file, config={"mime_type": "application/jsonl"})
            return str(uploaded.name)

    def submit(self, file: str, *, label: str, timeout_seconds: float) -> str:
        """Start a job for an uploaded file, and return the job's name."""
        with self._client.client(timeout_seconds) as client, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each call warns that this part of the SDK is experimental
            job = client.batches.create_embeddings(
                model=self._client.model, src={"file_name": file}, config={"display_name": label}
            )
            return str(job.name)

    def find_by_label(self, label: str, *, timeout_seconds: float) -> str | None:
        """The name of the job that was submitted with this label."""
        with self._client.client(timeout_seconds) as client:
            for job in client.batches.list(config={"page_size": _JOBS_PER_PAGE}):
                if job.display_name == label:
                    return str(job.name)
        return None

    def state(self, name: str, *, timeout_seconds: float) -> JobState:
        """The job's progress; a job that the service has deleted has failed."""
        job = self._job(name, timeout_seconds)
        if job is None:
            return JobState.FAILED
        return _STATES.get(job.state.name, JobState.PENDING) if job.state else JobState.PENDING

    def failure_reason(self, name: str, *, timeout_seconds: float) -> str:
        """Why a failed job has no results, with its name; the service's own words are not passed on."""
        job = self._job(name, timeout_seconds)
        if job is None:
            return f"{name} is no longer known to Google"
        end = _ENDS.get(job.state.name if job.state else "", "failed")
        code, message = error_of(self._details().get("error"))
        causes = "; ".join(filter(None, (code, cause_of(message))))
        return f"{name} {end} ({causes})" if causes else f"{name} {end}"

    def delete_files(self, name: str, *, timeout_seconds: float) -> None:
        """Delete a job's file of texts and its file of results at the service."""
        if self._job(name, timeout_seconds) is None:
            return
        for file in file_names(self._details()):
            self.delete_file(file, timeout_seconds=timeout_seconds)

    def delete_file(self, file: str, *, timeout_seconds: float) -> None:
        """Delete a file at the service, if it is still there."""
        with self._client.client(timeout_seconds) as client:
            _none_if_not_found(lambda: client.files.delete(name=file))

    def results(self, name: str, *, timeout_seconds: float) -> Iterator[JobResult]:
        """The results of a finished job; none if the service has deleted them."""
        job = self._job(name, timeout_seconds)
        file = job.dest.file_name if job is not None and job.dest is not None else None
        if file is None:
            return
        try:
            # Hundreds of megabytes: too much for the memory. Without a name they are gone with the process.
            with tempfile.TemporaryFile(prefix="omop-emb-") as stored:
                yield from self._downloaded(file, stored, timeout_seconds)
        except OSError as error:
            raise ProviderError(
                f"the answers of {name} cannot be stored in {tempfile.gettempdir()}: {error.strerror}; free "
                "some space there, or set TMPDIR, and run again"
            ) from None

    def _downloaded(self, file: str, stored: IO[bytes], timeout_seconds: float) -> Iterator[JobResult]:
        def download() -> bool:
            client.files.download(file=file, destination=cast("io.IOBase", stored))
            return True

        with self._client.client(timeout_seconds, most_bytes=_MOST_FILE) as client:
            if not _none_if_not_found(download):
                return
        is_readable = stored.tell() == 0
        stored.seek(0)
        with io.TextIOWrapper(cast("BinaryIO", stored), encoding="utf-8", errors="replace") as text:
            lines = iter(lambda: text.readline(_MOST_LINE), "")
            for result in filter(None, map(_result, lines)):
                is_readable = True
                yield result
        if not is_readable:
            raise unreadable_response(self._client.source, self._client.server)

    def cancel(self, name: str, *, timeout_seconds: float) -> None:
        """Cancel a job that is still pending."""
        if self.state(name, timeout_seconds=timeout_seconds) is JobState.PENDING:
            with self._client.client(timeout_seconds) as client:
                client.batches.cancel(name=name)

    def _job(self, name: str, timeout_seconds: float) -> Any:
        """The SDK's description of a job; None if the service does not know it any more."""
        with self._client.client(timeout_seconds, keep_body=True) as client:
            return _none_if_not_found(lambda: client.batches.get(name=name))

    def _details(self) -> dict[str, Any]:
        """What the service has just said of a job; the SDK leaves out its error and its file of texts."""
        try:
            details = parse_json(self._client.response_body, name="the job")
        except InputError:
            return {}
        return details if isinstance(details, dict) else {}


def _none_if_not_found(call: Callable[[], _T]) -> _T | None:
    from google.genai.errors import ClientError

    try:
        return call()
    except ClientError as error:
        if error.code != 404:
            raise
        return None


def _result(line: str) -> JobResult | None:
    """One line of results; None for a line that has no key."""
    try:
        entry = parse_json(line, name="the result")
        key = entry.get("key") or (entry.get("metadata") or {}).get("key")
        response = entry.get("response") or {}
        values = (response.get("embedding") or {}).get("values")
        tokens = response.get("tokenCount", response.get("token_count"))
        code, _ = error_of(entry.get("error") or entry.get("status"))
    except (InputError, ValueError, AttributeError):
        return None
    if not isinstance(key, str):
        return None
    return JobResult(
        key=key,
        vector=values if isinstance(values, list) else None,
        tokens=token_count(tokens),
        error=code,
    )
