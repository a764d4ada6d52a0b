"""Conformance: HL7's OMOP tests against `omop-emb serve`, run by `make conformance FRAGMENT=FOLDER`.

FOLDER has vocabulary/, the fragment of the vocabulary that the tests are written for, and tests/, with
test-cases.json and its suite "omop". Neither is part of this project. The fragment is loaded into a new
embedded database by `omop-emb vocabulary load`, and each test is run against /fhir/r4, /fhir/r5 and /fhir.
With --url the tests run against a server that already has the fragment.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.conformance.fhir_comparison import Comparison

_PATHS = {
    "cs-validate-code": "CodeSystem/$validate-code",
    "expand": "ValueSet/$expand",
    "lookup": "CodeSystem/$lookup",
    "translate": "ConceptMap/$translate",
    "validate-code": "ValueSet/$validate-code",
}
_ADDRESSES = ("fhir/r4", "fhir/r5", "fhir")
_MEDIA_TYPE = "application/fhir+json"
_STOP_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Case:
    """A test of the suite: what is asked, and what is expected."""

    name: str
    path: str
    request: Mapping[str, Any]
    response: Mapping[str, Any]
    status: str  # such as "200" or "4xx"


def read_cases(folder: Path, suite_name: str = "omop") -> list[Case]:
    """The tests of a suite; what the suite sets up goes along with each request."""
    suites = _read(folder / "test-cases.json")["suites"]
    suite = next(suite for suite in suites if suite["name"] == suite_name)
    setup = [{"name": "tx-resource", "resource": _read(folder / name)} for name in suite.get("setup", ())]
    cases = []
    for test in suite["tests"]:
        request = _read(folder / test["request"])
        cases.append(
            Case(
                name=test["name"],
                path=_PATHS[test["operation"]],
                request={**request, "parameter": [*request["parameter"], *setup]},
                response=_read(folder / test["response"]),
                status=test.get("http-code", "200"),
            )
        )
    return cases


def problem(client: httpx.Client, base_url: str, version: str, case: Case) -> str:
    """Why a test fails, "" if it passes."""
    answer = client.post(
        f"{base_url}/{case.path}",
        content=json.dumps(case.request).encode(),
        headers={"Content-Type": _MEDIA_TYPE, "Accept": _MEDIA_TYPE},
    )
    if not re.fullmatch(case.status.replace("x", r"\d"), str(answer.status_code)):
        return f"expected HTTP {case.status}, found {answer.status_code}: {answer.text[:300]}"
    if not answer.headers.get("content-type", "").startswith(_MEDIA_TYPE):
        return f"expected {_MEDIA_TYPE}, found {answer.headers.get('content-type')}"
    return Comparison(version).difference(case.response, answer.json())


def run(url: str, token: str | None, cases: Sequence[Case]) -> int:
    """Run the tests at each address, with a line for each; returns how many failed."""
    failures = 0
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with httpx.Client(timeout=60, headers=headers) as client:
        for address in _ADDRESSES:
            base_url = f"{url.rstrip('/')}/{address}"
            version = client.get(f"{base_url}/metadata").raise_for_status().json()["fhirVersion"]
            problems = {case.name: problem(client, base_url, version, case) for case in cases}
            for name, found in problems.items():
                _say(f"{'FAIL' if found else 'pass'}  /{address}  {name}" + (f"  {found}" if found else ""))
            failed = sum(map(bool, problems.values()))
            _say(f"{len(cases) - failed} of {len(cases)} tests pass at /{address} (FHIR {version})")
            failures += failed
    return failures


@contextmanager
def serving(vocabulary: Path) -> Iterator[str]:
    """The URL of `omop-emb serve` on a new embedded database with a vocabulary."""
    command = [str(Path(sys.executable).with_name("omop-emb"))]
    with tempfile.TemporaryDirectory(prefix="omop-emb-") as folder:
        Path(folder).chmod(0o755)  # started by root, the database's own user must be able to enter it
        cleared = {name: value for name, value in os.environ.items() if not name.startswith("OMOP_EMB_")}
        environment = {**cleared, "OMOP_EMB_DATA_DIR": f"{folder}/data", "XDG_CACHE_HOME": f"{folder}/cache"}
        try:
            loaded = subprocess.run([*command, "vocabulary", "load", str(vocabulary)], env=environment)
            if loaded.returncode:
                raise SystemExit(f"omop-emb vocabulary load {vocabulary} failed")
            with Path(folder, "serve.log").open("w") as log:
                server = subprocess.Popen(
                    [*command, "serve", "--port", "0", "--no-token"],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
            try:
                yield _printed_url(server, Path(log.name))
            finally:
                server.send_signal(signal.SIGINT)
                server.wait(_STOP_SECONDS)
        finally:
            subprocess.run([*command, "db", "stop"], env=environment, check=False, capture_output=True)


def _printed_url(server: subprocess.Popen[str], log: Path) -> str:
    """The address that a server prints when it listens."""
    assert server.stdout is not None
    for line in server.stdout:
        if match := re.search(r"http://[\w.:\[\]]+", line):
            return match[0]
    raise SystemExit(f"omop-emb serve did not start: {log.read_text().strip()}")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Exit code 0 if all tests pass, 1 if any fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fragment", type=Path, help="folder that has vocabulary/ and tests/")
    parser.add_argument("--url", help="of a server that has the fragment, such as http://127.0.0.1:8077")
    parser.add_argument("--token", help="of that server")
    options = parser.parse_args()
    for needed in ("vocabulary/CONCEPT.csv", "tests/test-cases.json"):
        if not (options.fragment / needed).is_file():
            parser.error(
                f"{options.fragment} has no {needed}: name the folder of HL7's OMOP tests, such as "
                "make conformance FRAGMENT=/data/fhir-omop"
            )
    cases = read_cases(options.fragment / "tests")
    if options.url is not None:
        return int(bool(run(options.url, options.token, cases)))
    with serving(options.fragment / "vocabulary") as url:
        return int(bool(run(url, None, cases)))


if __name__ == "__main__":
    sys.exit(main())
