"""Builds of tests: build_index() with the fields of its options as plain keywords."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy import Engine

from omop_emb import EmbeddingClient
from omop_emb.indexing.build import build_index
from omop_emb.indexing.build_options import BuildOptions, RecipeChange, SpaceOptions
from omop_emb.indexing.report import BuildReport


def build_with(engine: Engine, client: EmbeddingClient, **keywords: Any) -> BuildReport:
    """Build a space; keywords are those of build_index(), SpaceOptions, RecipeChange and BuildOptions.

    It may shrink, unless a test says otherwise: small spaces soon lose over a fifth.
    """
    keywords.setdefault("allow_shrink", True)

    def options(kind: type) -> Any:
        names = {entry.name for entry in fields(kind)} & keywords.keys()
        return kind(**{name: keywords.pop(name) for name in names})

    return build_index(
        engine,
        client,
        space=options(SpaceOptions),
        recipe=options(RecipeChange),
        options=options(BuildOptions),
        **keywords,
    )
