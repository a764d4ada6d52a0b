"""A review of a few terms, made without mapping."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import psycopg
import pytest
import sqlalchemy

from omop_emb.database.engine import database_engine
from omop_emb.mapping.records import SourceTerm
from omop_emb.service.demo import SAMPLE
from omop_emb.service.review.project_records import (
    ReviewTerm,
)
from omop_emb.service.review.project_store import create_project, store_terms
from omop_emb.service.review.term_keys import group_key, text_key
from omop_emb.vocabulary.loader import load_vocabulary
from tests.conftest import as_url


@pytest.fixture
def project_id(connection: psycopg.Connection) -> int:
    """A review of three terms that nobody has decided, and that were not mapped."""
    made = create_project(
        connection,
        name="laboratory",
        site="north",
        file_name="terms.csv",
        file_digest="0" * 64,
        settings={},
        created_by="Ada",
        content=io.BytesIO(b"name\nHTN\nAsthma\nasthmas\n"),
    )
    names = ["HTN", "Asthma", "asthmas"]
    terms = [SourceTerm(name=name, line=line) for line, name in enumerate(names, start=2)]
    store_terms(
        connection,
        made,
        [
            ReviewTerm(position=number, term=term, text_key=text_key(term.name), group_key=group_key(term))
            for number, term in enumerate(terms, start=1)
        ],
    )
    return made


@pytest.fixture(scope="module")
def review_database_url(
    server_conninfo: str, migrated_template: str, new_database: Callable[[str], AbstractContextManager[str]]
) -> Iterator[str]:
    """A database that holds the sample vocabulary, without an embedding space; one for a module."""
    with new_database(migrated_template) as name:
        url = as_url(server_conninfo, dbname=name)
        with psycopg.connect(url) as opened:
            load_vocabulary(opened, SAMPLE)
        yield url


@pytest.fixture(scope="module")
def review_engine(review_database_url: str) -> Iterator[sqlalchemy.Engine]:
    """An engine for the module's database."""
    made = database_engine(review_database_url)
    yield made
    made.dispose()


@pytest.fixture
def reviews(review_database_url: str) -> Iterator[psycopg.Connection]:
    """A connection that commits at once; the reviews of a test are deleted at its end."""
    with psycopg.connect(review_database_url, autocommit=True) as opened:
        yield opened
        opened.execute("delete from omop_emb.review_project")
