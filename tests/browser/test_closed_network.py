"""A review is complete where only loopback can be reached: server and browser run in such a namespace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from omop_emb.service.review.decision_store import decisions_since
from tests.large_reviews import store_review

ROOT = Path(__file__).parents[2]
# Root needs no namespace of users, in which it could not enter the database's folder.
CLOSED = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--net")


@pytest.fixture
def review(server_database_url: str) -> Iterator[int]:
    with psycopg.connect(server_database_url) as connection:
        made = store_review(connection, 8, name="without a network")
    yield made
    with psycopg.connect(server_database_url) as connection:
        connection.execute("delete from omop_emb.review_project where project_id = %s", (made,))


def test_every_page_is_complete_without_a_network(
    review: int, server_database_url: str, cache_folder: Path
) -> None:
    try:
        subprocess.run([*CLOSED, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("network namespaces are not permitted here")
    command = [
        sys.executable,
        "-m",
        "tests.browser.closed_network",
        server_database_url,
        str(review),
        str(cache_folder),
    ]
    ran = subprocess.run([*CLOSED, *command], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert not found["has_network"]
    assert found["messages"] == []
    assert found["asked"] == ["127.0.0.1"]
    assert set(found["statuses"].values()) == {200}, found["statuses"]
    with psycopg.connect(server_database_url) as connection:
        assert len(decisions_since(connection, review, 0)) == 1
