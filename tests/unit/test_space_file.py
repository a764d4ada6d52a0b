"""Space files: metadata is read back as it was written; what index export cannot have written is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omop_emb.errors import InputError
from omop_emb.indexing.space_file import SpaceMetadata
from omop_emb.records import Fingerprint, IndexType

HNSW = SpaceMetadata(
    fingerprint=Fingerprint(provider="local", model="m", revision="r", dimensions=8),
    index_type=IndexType.HNSW,
    texts="name",
    template="{text}",
    synonym_languages=(4180186,),
    hnsw_m=24,
    hnsw_ef_construction=200,
    first_pass="4",
    partial="Condition,Drug",
    selection={"domains": ["Condition"]},
    vocabulary_release=None,
    rows=2,
)


def read(metadata: SpaceMetadata, **said: Any) -> SpaceMetadata:
    """What is read of metadata that says something else."""
    return SpaceMetadata.from_json(
        json.dumps({**json.loads(metadata.to_json()), **said}).encode(), Path("x.parquet")
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"first_pass": ""},
        {"first_pass": "binary"},
        {"first_pass": "7"},
        {"hnsw_m": 100, "hnsw_ef_construction": 200},
        {"hnsw_m": 2, "hnsw_ef_construction": 1000},
        {"partial": "auto"},
        {"partial": "none"},
        {"partial": "Măsurare"},
        {"index_type": IndexType.FLAT, "first_pass": "", "hnsw_m": 100, "hnsw_ef_construction": 64},
    ],
)
def test_metadata_is_read_back_as_it_was_written(settings: dict[str, Any]) -> None:
    metadata = replace(HNSW, **settings)
    assert SpaceMetadata.from_json(metadata.to_json(), Path("x.parquet")) == metadata


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 0),
        ("version", -1),
        ("version", None),
        ("version", "two"),
        ("hnsw_m", 1),
        ("hnsw_m", 101),
        ("hnsw_m", "16"),
        ("hnsw_m", True),
        ("hnsw_m", 24.0),
        ("hnsw_m", 10**4000),
        ("hnsw_ef_construction", 47),  # less than twice hnsw_m
        ("hnsw_ef_construction", 2_000),
        ("hnsw_ef_construction", None),
        ("first_pass", "8"),  # all dimensions
        ("first_pass", "0"),
        ("first_pass", "-1"),
        ("first_pass", "04"),
        ("first_pass", "\u0664"),
        ("first_pass", "none"),
        ("first_pass", "4) drop"),
        ("first_pass", 4),
        ("first_pass", ["4"]),
        ("partial", None),
        ("partial", "a\0"),
        ("template", "\ud800"),
        ("texts", 1),
        ("rows", 7.0),
        ("more", 1),
    ],
)
def test_what_index_export_does_not_write_is_damage(name: str, value: object) -> None:
    with pytest.raises(InputError, match=r"^x\.parquet is damaged: its metadata cannot be read: \w+$"):
        read(HNSW, **{name: value})


@pytest.mark.parametrize("name", ["hnsw_m", "hnsw_ef_construction", "first_pass", "partial", "version"])
def test_format_2_says_all_settings(name: str) -> None:
    described = json.loads(HNSW.to_json())
    del described[name]
    with pytest.raises(InputError, match="is damaged"):
        SpaceMetadata.from_json(json.dumps(described).encode(), Path("x.parquet"))


@pytest.mark.parametrize("version", [3, 4, 10**9, "3"])
def test_a_later_format_is_refused_whatever_else_it_says(version: object) -> None:
    with pytest.raises(
        InputError,
        match=rf"^x\.parquet was written by a newer omop-emb \(format {version}\): upgrade this one$",
    ):
        read(HNSW, version=version, index_type="of tomorrow", hnsw_m={"all": 1})


def test_format_1_has_no_index_settings_and_gets_the_defaults() -> None:
    described = json.loads(HNSW.to_json())
    for name in ("hnsw_m", "hnsw_ef_construction", "first_pass", "partial"):
        del described[name]
    metadata = SpaceMetadata.from_json(json.dumps({**described, "version": 1}).encode(), Path("x.parquet"))
    assert metadata == replace(HNSW, hnsw_m=16, hnsw_ef_construction=64, first_pass="", partial="auto")
