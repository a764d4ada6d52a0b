"""Known models: the registry of embedding models, and warnings about settings that do not suit one."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from omop_emb import config
from omop_emb.embeddings.model_names import model_keys, split_size
from omop_emb.errors import ConfigurationError
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
        spellings: further keys of its names (see model_names.model_keys), without provider, format and size.
        sizes: its number of parameters, as names give it ("137m").
        dimensions: of its own vectors.
        matryoshka: shorter lengths that it was trained for.
        role: how it tells roles apart: "prefix", "task", "two encoders", "adapters" or "none".
        document, query: the prefix or task type of each role.
        unit_length: when its provider answers unit vectors: "always", "never", or a condition; "" if unknown.
            Vectors are normalised here in any case.
        batch_texts: most texts of one request; None where the provider sets no limit.
        price, batch_price: US dollars per million tokens, at once and by its batch API; None where there is
            none.
        price_date, price_source: the day of that list price, as YYYY-MM-DD, and where it was found.
    """

    name: str
    dimensions: int
    max_tokens: int
    role: str
    aliases: tuple[str, ...] = ()
    spellings: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
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
        """The prefix for each role that its card asks for; "" for none."""
        document, query = (self.document, self.query) if self.role == "prefix" else ("", "")
        return {EmbeddingRole.DOCUMENT: document, EmbeddingRole.QUERY: query}


@cache
def known_models() -> tuple[KnownModel, ...]:
    """Every known model, in the order of data/models.toml."""
    text = resources.files("omop_emb").joinpath("data/models.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(text)["model"]
    for entry in entries:
        for name in ("aliases", "spellings", "sizes", "matryoshka"):
            entry[name] = tuple(entry.get(name, ()))
    return tuple(KnownModel(**entry) for entry in entries)


def find_model(model: str) -> KnownModel | None:
    """The known model that a name means, however it is spelled; else that of OMOP_EMB_MODEL_FAMILY, if set.

    Raises:
        ConfigurationError: OMOP_EMB_MODEL_FAMILY names no known model.
    """
    known = named_model(model)
    family = config.variable("OMOP_EMB_MODEL_FAMILY") if known is None else None
    if family is None:
        return known
    known = named_model(family)
    if known is None:
        raise ConfigurationError(
            f"OMOP_EMB_MODEL_FAMILY must be a model that omop-emb models list shows; found {family!r}"
        )
    return known


def named_model(model: str) -> KnownModel | None:
    """The known model that a name says by itself: by family, not by provider, format or spelling."""
    by_name, by_key = _registry()
    if model in by_name:
        return by_name[model]
    for key in model_keys(model):
        if key in by_key:
            return by_key[key]
        base, size = split_size(key)
        known = by_key.get(base)
        if known is not None and size in known.sizes:
            return known
    return None


@cache
def _registry() -> tuple[dict[str, KnownModel], dict[str, KnownModel]]:
    """Every known model by its names, and by the keys of its names."""
    by_name = {name: known for known in known_models() for name in (known.name, *known.aliases)}
    by_key = {model_keys(name)[0]: known for name, known in by_name.items()}
    by_key |= {key: known for known in known_models() for key in known.spellings}
    return by_name, by_key


def advice(model: str, prefixes: Mapping[EmbeddingRole, str], dimensions: int | None = None) -> list[str]:
    """The warnings of setting_warnings(), after a line for each prefix that is empty and may be so."""
    lines = right_prefixes(model, prefixes)
    if find_model(model) is None:
        lines += [
            f"{_nothing_before(role)}. Models trained with a prefix for each role find worse matches "
            "without it"
            for role, prefix in prefixes.items()
            if not prefix
        ]
    return lines + setting_warnings(model, prefixes, dimensions)


def right_prefixes(model: str, prefixes: Mapping[EmbeddingRole, str]) -> list[str]:
    """A line for each prefix that is empty and has to be."""
    known = find_model(model)
    return [
        f"{_nothing_before(role)}, which is what {model} needs"
        for role, prefix in prefixes.items()
        if not prefix and known is not None and not known.prefixes[role]
    ]


def _nothing_before(role: EmbeddingRole) -> str:
    return f"{PREFIX_VARIABLES[role]} is empty: nothing is put before a {role.value}'s text"


def setting_warnings(
    model: str, prefixes: Mapping[EmbeddingRole, str], dimensions: int | None = None
) -> list[str]:
    """A line for each setting that is likely a mistake, with what to do; dimensions None are the model's."""
    known = find_model(model)
    lines: list[str] = []
    for role, prefix in prefixes.items():
        variable = PREFIX_VARIABLES[role]
        if "\\n" in prefix:
            lines.append(
                f"{variable} holds a backslash and an n, not a line end: export {variable}=$'first\\nsecond'"
            )
        warning = _prefix_warning(model, known, role, prefix)
        lines += [warning] if warning else []
    if known is None or dimensions is None or dimensions >= known.dimensions:
        return lines
    if not known.matryoshka:
        lines.append(
            f"vectors of {model} are cut to {dimensions} of {known.dimensions} numbers, which it was not "
            "trained for (it is not a Matryoshka model): unset OMOP_EMB_DIMENSIONS"
        )
    elif dimensions not in known.matryoshka:
        sizes = " or ".join(map(str, sorted((*known.matryoshka, known.dimensions))))
        lines.append(
            f"vectors of {model} are cut to {dimensions} numbers; {sizes} are recommended: set "
            "OMOP_EMB_DIMENSIONS to one of these"
        )
    return lines


def _prefix_warning(model: str, known: KnownModel | None, role: EmbeddingRole, prefix: str) -> str | None:
    variable = PREFIX_VARIABLES[role]
    if known is None:
        if not prefix or prefix[-1].isspace():
            return None
        return (
            f"{variable} is {prefix!r}, with nothing between it and the text: most models need a space at "
            "its end, which some programs that load settings remove"
        )
    expected = known.prefixes[role]
    if prefix == expected:
        return None
    if not prefix:
        quoted = shlex.quote(expected) if "\n" not in expected else "$" + repr(expected)
        return (
            f"{variable} is empty: nothing is put before a {role.value}'s text, but {model} was trained with "
            f"a prefix: export {variable}={quoted}"
        )
    if prefix in known.prefixes.values():
        return f"{variable} is {prefix!r}, which {model} needs for the other role: are the two mixed up?"
    if not expected:
        why = "tells roles apart by task types" if known.role == "task" else "was trained without one"
        return f"{variable} is {prefix!r}, but {model} {why} for a {role.value}: unset it"
    if prefix.rstrip() == expected.rstrip():
        return f"{variable} is {prefix!r}, but {model} needs {expected!r}: spaces at the end count"
    return None
