"""Fake Gemini Batch API: uploaded files, jobs, and files of results."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

PENDING, DONE, FAILED, CANCELLED, EXPIRED = (
    f"BATCH_STATE_{state}" for state in ("PENDING", "SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")
)


@dataclass
class Job:
    """A job as the service knows it."""

    name: str
    model: str
    label: str
    lines: list[Json]
    file: str = ""
    state: str = PENDING
    error: Json | None = None


@dataclass
class FakeJobs:
    """Jobs and files of the service.

    Attributes:
        jobs: by name, in the order of their submission.
        uploads: what was uploaded, by file name.
        max_jobs: further ones are refused with 429 while this many are unfinished.
        finishes: whether a job is finished at the first question about it.
        spoil: changes the lines of a job's results.
        deleted: the files that were deleted, in order.
    """

    vector: Callable[[str, int], list[float]]
    jobs: dict[str, Job] = field(default_factory=dict)
    uploads: dict[str, list[Json]] = field(default_factory=dict)
    max_jobs: int | None = None
    finishes: bool = True
    spoil: Callable[[list[Json]], list[Json]] = lambda lines: lines
    deleted: list[str] = field(default_factory=list)

    def finish(self, state: str = DONE) -> None:
        """Let every job end."""
        for job in self.jobs.values():
            if job.state == PENDING:
                job.state = state

    def answer(self, method: str, path: str, body: Json, raw: str, url: str) -> tuple[int, str, Json] | None:
        """(status, body, headers), or None where there is no such address."""
        path = path.partition("?")[0]
        if path == "/upload/v1/files":
            name = f"files/up{len(self.uploads)}"
            self.uploads[name] = []
            return 200, "{}", {"x-goog-upload-url": f"{url}/uploading/{name}"}
        if match := re.fullmatch(r"/uploading/(files/\w+)", path):
            self.uploads[match[1]] = [json.loads(line) for line in raw.splitlines()]
            return 200, json.dumps({"file": {"name": match[1]}}), {"x-goog-upload-status": "final"}
        if match := re.fullmatch(r"/v1/models/([^/:]+):asyncBatchEmbedContent", path):
            return self._submitted(match[1], body["batch"])
        if path == "/v1/batches":
            return 200, json.dumps({"operations": [self._shown(job) for job in self.jobs.values()]}), {}
        if match := re.fullmatch(r"/v1/(batches/\w+)(:cancel)?", path):
            return self._job(match[1], is_cancel=bool(match[2]))
        if match := re.fullmatch(r"/v1/(files/\w+)", path):
            return self._deleted(match[1]) if method == "DELETE" else None
        if match := re.fullmatch(r"/v1/files/(\w+):download", path):
            if f"files/{match[1]}" in self.deleted:
                return self._missing()
            return self._results(f"batches/{match[1].removeprefix('of')}")
        return None

    def _submitted(self, model: str, batch: Json) -> tuple[int, str, Json]:
        waiting = [job for job in self.jobs.values() if job.state == PENDING]
        if self.max_jobs is not None and len(waiting) >= self.max_jobs:
            return 429, json.dumps({"error": {"code": 429, "message": "too many", "status": "X"}}), {}
        name = f"batches/j{len(self.jobs)}"
        lines = self.uploads[batch["inputConfig"]["file_name"]]
        self.jobs[name] = Job(name, model, batch["displayName"], lines, batch["inputConfig"]["file_name"])
        return 200, json.dumps(self._shown(self.jobs[name])), {}

    def _job(self, name: str, *, is_cancel: bool) -> tuple[int, str, Json]:
        job = self.jobs.get(name)
        if job is None:
            return self._missing()
        if is_cancel:
            job.state = CANCELLED
            return 200, "{}", {}
        if self.finishes:
            self.finish()
        return 200, json.dumps(self._shown(job)), {}

    def _shown(self, job: Job) -> Json:
        metadata: Json = {
            "state": job.state,
            "displayName": job.label,
            "model": f"models/{job.model}",
            "inputConfig": {"fileName": job.file},
        }
        if job.state == DONE:
            metadata["output"] = {"responsesFile": f"files/of{job.name.removeprefix('batches/')}"}
        shown = {"name": job.name, "metadata": metadata, "done": job.state != PENDING}
        return shown if job.error is None else {**shown, "error": job.error}

    def _deleted(self, file: str) -> tuple[int, str, Json]:
        if file in self.deleted:
            return self._missing()
        self.deleted.append(file)
        return 200, "{}", {}

    def _missing(self) -> tuple[int, str, Json]:
        return 404, json.dumps({"error": {"code": 404, "message": "none", "status": "NOT_FOUND"}}), {}

    def _results(self, name: str) -> tuple[int, str, Json]:
        lines = []
        for entry in reversed(self.jobs[name].lines):  # in an order that nobody should rely on
            text = "".join(part["text"] for part in entry["request"]["content"]["parts"])
            values = self.vector(text, entry["request"].get("output_dimensionality", 3072))
            lines.append(
                {"key": entry["key"], "response": {"embedding": {"values": values}, "tokenCount": 5}}
            )
        return 200, "".join(f"{json.dumps(line)}\n" for line in self.spoil(lines)), {}
