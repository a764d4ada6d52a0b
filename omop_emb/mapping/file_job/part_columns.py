"""Part columns: the pictures, PDF pages and recordings that the terms of a file name, checked and counted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from omop_emb.embeddings.client import EmbeddingClient
from omop_emb.embeddings.embedding_inputs import text_only
from omop_emb.embeddings.prices import cost_of, money
from omop_emb.errors import ConfigurationError, InputError
from omop_emb.mapping.files.term_file import TermFile
from omop_emb.mapping.mapper import Mapper
from omop_emb.mapping.records import SourceTerm
from omop_emb.mapping.retrieval.file_queries import load_part
from omop_emb.providers.parts import Content, Part, split_page
from omop_emb.providers.usage import Usage
from omop_emb.records import counted
from omop_emb.spaces.space_client import client_of


class PartColumns:
    """The files that terms name in columns of their own.

    A file must be in the folder of the input or below, also where a link leads: a table that others have
    written cannot have other files of this machine sent away.

    Args:
        folder: of the input; a term names its files from there.
        client: embeds them.

    Raises:
        ConfigurationError: the client's model reads text only.
    """

    def __init__(self, folder: Path, client: EmbeddingClient) -> None:
        limits = client.part_limits
        if limits is None:
            raise ConfigurationError(f"--part-column cannot be used: {text_only(client.model)}")
        self._folder, self._model, self._limits = folder.resolve(), client.model, limits
        self._paths: dict[str, str] = {}
        self._contents: dict[tuple[str, ...], Content | InputError] = {}
        self._queries: set[tuple[str, tuple[str, ...]]] = set()  # each is embedded once

    def resolve(self, term: SourceTerm) -> SourceTerm:
        """The term with the paths of its files in full.

        Raises:
            InputError: a file is missing, unreadable or too much for the model; the reason names the file.
        """
        if not term.files:
            return term
        if term.files not in self._contents:
            self._contents[term.files] = self._checked(term.files)
        content = self._contents[term.files]
        if isinstance(content, InputError):
            raise content
        self._queries.add((term.name, term.files))
        return replace(term, files=tuple(self._paths[name] for name in term.files))

    def _checked(self, names: tuple[str, ...]) -> Content | InputError:
        try:
            content = self._limits.content([self._part(name) for name in names], self._model)
        except InputError as error:
            return InputError(f"its file cannot be used: {error}")
        # What a file holds is read again when it is embedded.
        return replace(content, parts=())

    def _part(self, name: str) -> Part:
        path, page = (name, None) if (self._folder / name).exists() else split_page(name)
        full = (self._folder / path).resolve()
        if not full.is_relative_to(self._folder):
            raise InputError(f"{path} is not in the folder of the input, nor below it: copy it there")
        reference = str(full) if page is None else f"{full}#page={page}"
        try:
            part = load_part(reference)
        except InputError as error:
            raise InputError(str(error).replace(str(full), path)) from None
        self._paths[name] = reference
        return part

    @property
    def digest(self) -> str:
        """What tells these files from others, for the journal: their digests by name."""
        known = {names: content for names, content in self._contents.items() if isinstance(content, Content)}
        lines = sorted(f"{names} {content.digest.hex()}" for names, content in known.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def line(self) -> str:
        """What is sent for the terms that were resolved, for the user."""
        contents = [
            content for _, names in self._queries if isinstance(content := self._contents[names], Content)
        ]
        usage = Usage(
            estimated_tokens=sum(content.image_tokens + content.audio_tokens for content in contents),
            image_tokens=sum(content.image_tokens for content in contents),
            audio_tokens=sum(content.audio_tokens for content in contents),
        )
        cost = cost_of(self._model, usage)
        price = "" if cost is None else f", about {money(cost)}".replace("about less", "less")
        terms = counted(len(contents), "term goes", "terms go")
        return (
            f"{terms} to {self._model} with {counted(len(self._paths), 'file or page', 'files or pages')}: "
            f"about {counted(usage.tokens, 'token')}{price}, and their texts"
        )


def part_columns(file: TermFile, mapper: Mapper) -> PartColumns | None:
    """Those of a file, for the model of the mapper's space; None if it has no such columns."""
    if not file.columns.files:
        return None
    folder = Path() if file.source.name == "stdin" else Path(file.source.name).parent
    return PartColumns(folder, client_of(mapper.space))


def left_out_lines(mapper: Mapper) -> Iterator[str]:
    """A line for each file without which terms were searched."""
    for name, reason in mapper.engine.files_left_out.items():
        yield f"warning: terms were searched without {name}: {reason}"
