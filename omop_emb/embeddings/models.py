"""What is known about embedding models, and what follows for prefixes; nothing is applied by itself."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from omop_emb.records import EmbeddingRole

PREFIX_VARIABLES = {
    EmbeddingRole.DOCUMENT: "OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX",
    EmbeddingRole.QUERY: "OMOP_EMB_QUERY_EMBEDDING_PREFIX",
}


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A model of data/models.toml.

    Attributes:
        name: provider:model.
        aliases: other names of the same model.
        dimensions: of its own vectors.
        matryoshka: shorter lengths that it was trained for.
        max_tokens: of a text.
        role: "prefix", "task", "two encoders", "adapters" or "none".
        document: the prefix or task type of documents.
        query: the prefix or task type of queries.
        english_only: whether texts in other languages mean nothing to it.
        unit_length: when its provider's own answers have unit length: "always", "never", or the case in which
            they do; "" where that is not known. Vectors are normalised here in any case.
        batch_texts: most texts of one request; None where the provider sets no limit.
        note: anything else to know.
        price, batch_price: US dollars per million tokens, in its batch API for the second; None where asking
            is free or nobody offers that.
        price_date: the day on which they were listed so, as YYYY-MM-DD.
        price_source: where.
    """

    name: str
    dimensions: int
    max_tokens: int
    role: str
    aliases: tuple[str, ...] = ()
    matryoshka: tuple[int, ...] = ()
    document: str = ""
    query: str = ""
    english_only: bool = False
    unit_length: str = ""
    batch_texts: int | None = None
    note: str = ""
    price: float | None = None
    batch_price: float | None = None
    price_date: str = ""
    price_source: str = ""

    @property
    def prefixes(self) -> dict[EmbeddingRole, str]:
        """What its card asks to put before the texts of each role; empty where that is nothing."""
        used = self.role == "prefix"
        return {
            EmbeddingRole.DOCUMENT: self.document if used else "",
            EmbeddingRole.QUERY: self.query if used else "",
        }


@cache
def known_models() -> tuple[KnownModel, ...]:
    """Every known model, in the order of the file."""
    text = resources.files("omop_emb").joinpath("data/models.toml").read_text(encoding="utf-8")
    return tuple(_model(entry) for entry in tomllib.loads(text)["model"])


def _model(entry: Mapping[str, Any]) -> KnownModel:
    settings: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
    }
    return KnownModel(**settings)


def find_model(model: str) -> KnownModel | None:
    """The known model of that name; an Ollama tag without an entry of its own, and options, do not matter."""
    provider, _, name = model.partition(":")
    if provider == "local":
        bare = ",".join(part.partition("@")[0] for part in name.split(","))
    else:
        bare = name.partition(":")[0]
    names = {name: known for known in known_models() for name in (known.name, *known.aliases)}
    return names.get(model) or names.get(f"{provider}:{bare}")


def advice(model: str, prefixes: Mapping[EmbeddingRole, str], dimensions: int | None = None) -> list[str]:
    """A line for each likely mistake, see mistakes(), and one for each prefix that is empty as it may be."""
    known = find_model(model)
    lines = []
    for role, prefix in prefixes.items():
        if not prefix and (known is None or not known.prefixes[role]):
            line = f"{PREFIX_VARIABLES[role]} is empty: nothing is put before a {role.value}'s text"
            lines.append(
                f"{line}, which is what {model} wants"
                if known
                else f"{line}. Models trained with a prefix for each role find worse matches without it"
            )
    return lines + setting_warnings(model, prefixes, dimensions)


def setting_warnings(
    model: str, prefixes: Mapping[EmbeddingRole, str], dimensions: int | None = None
) -> list[str]:
    """A line for each setting of a model that is likely a mistake, with what to do.

    Args:
        model: provider:model.
        prefixes: as they are used, for one role or both.
        dimensions: length of the vectors; None is the model's own.
    """
    known = find_model(model)
    lines = [line for role, prefix in prefixes.items() for line in _of_prefix(model, known, role, prefix)]
    if known is not None and dimensions is not None and dimensions < known.dimensions:
        if not known.matryoshka:
            lines.append(
                f"vectors of {model} are cut to {dimensions} of {known.dimensions} numbers, which it was not "
                "trained for (it is no Matryoshka model): unset OMOP_EMB_DIMENSIONS"
            )
        elif dimensions not in known.matryoshka:
            sizes = " or ".join(map(str, sorted((*known.matryoshka, known.dimensions))))
            lines.append(
                f"vectors of {model} are cut to {dimensions} numbers; {sizes} are recommended: set "
                "OMOP_EMB_DIMENSIONS to one of these"
            )
    return lines


def _of_prefix(model: str, known: KnownModel | None, role: EmbeddingRole, prefix: str) -> Iterator[str]:
    variable = PREFIX_VARIABLES[role]
    if "\\n" in prefix:
        yield f"{variable} holds a backslash and an n, not a line end: export {variable}=$'first\\nsecond'"
    if known is None:
        if prefix and not prefix[-1].isspace():
            yield (
                f"{variable} is {prefix!r}, with nothing between it and the text: most models want a space "
                "at its end, which some loaders of settings take away"
            )
        return
    wanted, others = known.prefixes[role], set(known.prefixes.values()) - {known.prefixes[role], ""}
    if prefix == wanted:
        return
    if not prefix:
        quoted = shlex.quote(wanted) if "\n" not in wanted else "$" + repr(wanted)
        yield (
            f"{variable} is empty: nothing is put before a {role.value}'s text, but {model} was trained with "
            f"a prefix: export {variable}={quoted}"
        )
    elif prefix in others:
        yield f"{variable} is {prefix!r}, which {model} wants for the other role: are the two mixed up?"
    elif not wanted:
        why = "tells roles apart by task types" if known.role == "task" else "was trained without one"
        yield f"{variable} is {prefix!r}, but {model} {why} for a {role.value}: unset it"
    elif prefix.rstrip() == wanted.rstrip():
        yield f"{variable} is {prefix!r}, but {model} wants {wanted!r}: spaces at the end count"
