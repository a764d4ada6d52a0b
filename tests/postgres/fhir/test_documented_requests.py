"""The requests that the how-to shows, asked as they stand."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from omop_emb.mapping.records import Decision
from tests.postgres.fhir.conftest import FhirClient
from tests.postgres.fhir.fhir_vocabulary import OMOP
from tests.postgres.fhir.test_translate import DIABETES, mapping

PAGE = Path(__file__).parents[3] / "docs/how-to/fhir.md"
REQUESTS = re.findall(r"^\$ (curl -G .*)$", PAGE.read_text(), re.MULTILINE)


def as_url(command: str) -> str:
    """What a curl command asks for, below the address of the server."""
    _, _, address, *options = shlex.split(command.replace("$OMOP", OMOP).replace("\\$", "$"))
    given = options[1::2]
    assert set(options[::2]) <= {"-d", "--data-urlencode"}
    query = "&".join(f"{name}={quote(text)}" for name, _, text in (pair.partition("=") for pair in given))
    return f"{address.removeprefix('$FHIR/')}?{query}"


@pytest.mark.parametrize("command", REQUESTS)
def test_a_documented_request_is_answered(fhir: FhirClient, command: str) -> None:
    client = FhirClient(replace(fhir.server, map_terms=mapping(Decision.ACCEPT, DIABETES)))
    answer = client.get(as_url(command))
    if answer["resourceType"] == "Parameters" and "$lookup" not in command:
        assert {"name": "result", "valueBoolean": True} in answer["parameter"]


def test_the_page_shows_each_operation() -> None:
    shown = {match for command in REQUESTS for match in re.findall(r"\\\$([a-z-]+)", command)}
    assert shown == {"lookup", "validate-code", "expand", "translate"}
