"""Requests made up from the OpenAPI description: none makes the server fail."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from starlette.testclient import TestClient

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

SHORT, LONG = 400, 10_000  # requests, to all operations together


def _ask(client: TestClient, total: int) -> None:
    schema = schemathesis.openapi.from_dict(client.get("/api/openapi.json").json())
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 10
    statuses: list[int] = []
    for operation in operations:
        for mode in schemathesis.GenerationMode:  # what the description allows, and what it does not
            statuses += _ask_operation(client, operation, mode, total // (2 * len(operations)) + 1)
    assert len(statuses) > total // 3  # an operation without parameters has few different requests
    assert {200, 422} <= set(statuses)


def _ask_operation(client: TestClient, operation: Any, mode: Any, examples: int) -> list[int]:
    statuses: list[int] = []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        try:
            request = requests.Request(**case.as_transport_kwargs(base_url=str(client.base_url))).prepare()
        except (requests.RequestException, ValueError):
            return  # cannot be sent at all
        assert request.method is not None
        assert request.url is not None
        body = request.body if isinstance(request.body, str | bytes) else b""
        headers = {str(name): str(value) for name, value in request.headers.items()}
        answer = client.request(request.method, request.url, content=body, headers=headers)
        statuses.append(answer.status_code)
        assert answer.status_code < 500, (answer.status_code, answer.text, case.as_curl_command())

    try:
        ask()
    except Unsatisfiable:
        pass  # nothing that this operation does not allow
    return statuses


def test_no_request_that_the_description_suggests_makes_the_server_fail(client: TestClient) -> None:
    _ask(client, SHORT)


@pytest.mark.long
def test_no_request_of_ten_thousand_makes_the_server_fail(client: TestClient) -> None:
    _ask(client, LONG)
