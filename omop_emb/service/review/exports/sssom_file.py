"""SSSOM file: the metadata block and the table of SSSOM/TSV, written when all rows are known.

https://mapping-commons.github.io/sssom/spec-formats-tsv/
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import BinaryIO

from omop_emb.mapping.files.disk_buffer import DiskBuffer

# In the order of the specification's tables of slots.
_METADATA = (
    "mapping_set_id", "mapping_set_version", "mapping_set_title", "mapping_set_description", "creator_label",
    "license", "subject_source", "subject_source_version", "object_source", "object_source_version",
    "mapping_tool", "mapping_tool_version", "mapping_date", "comment",
)  # fmt: skip
_COLUMNS = (
    "subject_id", "subject_label", "subject_category", "predicate_id", "predicate_label", "object_id",
    "object_label", "object_category", "mapping_justification", "author_label", "reviewer_label",
    "subject_source", "subject_source_version", "object_source", "object_source_version", "mapping_tool",
    "mapping_tool_version", "mapping_date", "confidence", "comment",
)  # fmt: skip
# A value that all rows share stands once, in the metadata.
_PROPAGATED = (
    "subject_source", "subject_source_version", "object_source", "object_source_version", "mapping_tool",
    "mapping_tool_version", "mapping_date",
)  # fmt: skip
_IDENTIFIERS = ("subject_id", "predicate_id", "object_id", "subject_source", "object_source")
_BUILT_IN = frozenset({"owl", "rdf", "rdfs", "semapv", "skos", "sssom", "xsd", "linkml", "oboInOwl"})


class SssomFile:
    """Rows of a mapping set, kept on disk until the set is complete."""

    def __init__(self) -> None:
        self.rows = 0
        self._buffer: DiskBuffer[dict[str, str]] = DiskBuffer()
        self._values: dict[str, set[str]] = {name: set() for name in _COLUMNS}
        self._prefixes: set[str] = set()

    def __enter__(self) -> SssomFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._buffer.__exit__(*error)

    def add(self, row: Mapping[str, str]) -> None:
        """Add a row; slots without a value may be missing."""
        self._buffer.append(dict(row))
        self.rows += 1
        for name, seen in self._values.items():
            if len(seen) < 2:  # one or several: more need not be known
                seen.add(row.get(name, ""))
        self._prefixes.update(row[name].partition(":")[0] for name in _IDENTIFIERS if row.get(name))

    def write(self, out: BinaryIO, metadata: Mapping[str, str], curie_map: Mapping[str, str]) -> None:
        """Write the file; of the prefixes, those that are used."""
        shared = {
            name: next(iter(self._values[name])) for name in _PROPAGATED if len(self._values[name]) == 1
        }
        shared = {name: value for name, value in shared.items() if value}
        stated = {**metadata, **shared}
        used = self._prefixes - _BUILT_IN
        lines = ["curie_map:", *(f"  {name}: {_yaml(curie_map[name])}" for name in sorted(used))]
        if not used:
            lines = []
        lines += [f"{name}: {_yaml(stated[name])}" for name in _METADATA if stated.get(name)]
        out.write("".join(f"#{line}\n" for line in lines).encode())
        columns = [name for name in _COLUMNS if name not in shared and self._values[name] - {""}]
        required = ("subject_id", "predicate_id", "object_id", "mapping_justification")
        text = io.TextIOWrapper(out, "utf-8", newline="", write_through=True)
        writer = csv.writer(text, delimiter="\t", lineterminator="\n")
        writer.writerow(columns or required)
        for row in self._buffer:
            writer.writerow([row.get(name, "") for name in columns])
        text.detach()


def _yaml(value: str) -> str:
    """A text in YAML's double quotes, which JSON's are, too."""
    printable = "".join(sign if sign.isprintable() else " " for sign in value)
    return json.dumps(printable, ensure_ascii=False)
