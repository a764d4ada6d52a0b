"""Known models: the registry of embedding models, and warnings about settings that do not suit one."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from omop_emb import config
from omop_emb.embeddings.model_names import model_keys, split_size
from omop_emb.errors import ConfigurationError
from omop_emb.providers.part_limits import PartLimits
from omop_emb.records import EmbeddingRole

PREFIX_VARIABLES = {
    EmbeddingRole.DOCUMENT: "OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX",
    EmbeddingRole.QUERY: "OMOP_EMB_QUERY_EMBEDDING_PREFIX",
}
TASK_VARIABLES = {
    EmbeddingRole.DOCUMENT: "OMOP_EMB_DOCUMENT_EMBEDDING_TASK",
    EmbeddingRole.QUERY: "OMOP_EMB_QUERY_EMBEDDING_TASK",
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
        role: how it tells roles apart: "prefix", "task", "two encoders", "adapters", "library" or "none".
        document, query: the prefix or task type of each role.
        unit_length: when its provider answers unit vectors: "always", "never", or a condition; "" if unknown.
            Vectors are normalised here in any case.
        batch_texts: most texts of one request; None where the provider sets no limit.
        price, batch_price: US dollars per million tokens, at once and by its batch API; None where there is
            none.
        image_price, audio_price: the same for tokens of images and pages, and of recordings; None where they
            cost what text does.
        price_date, price_source: the day of that list price, as YYYY-MM-DD, and where it was found.
        parts: what it reads besides text; None for a model that reads text only.
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
    image_price: float | None = None
    audio_price: float | None = None
    price_date: str = ""
    price_source: str = ""
    parts: PartLimits | None = None

    @property
    def prefixes(self) -> dict[EmbeddingRole, str]:
        """The prefix for each role that its card asks for; "" for none."""
        document, query = (self.document, self.query) if self.role == "prefix" else ("", "")
        return {EmbeddingRole.DOCUMENT: document, EmbeddingRole.QUERY: query}

    @property
    def reads(self) -> str:
        """What it reads, for a person."""
        return "text" if self.parts is None else f"text, {self.parts}"


@cache
def _file() -> dict[str, list[dict[str, Any]]]:
    text = resources.files("omop_emb").joinpath("data/models.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def other_prices() -> list[dict[str, Any]]:
    """What known models cost behind other providers: name, price, price_date and price_source."""
    return _file()["price"]


@cache
def known_models() -> tuple[KnownModel, ...]:
    """Every known model, in the order of data/models.toml."""
    entries = [dict(entry) for entry in _file()["model"]]
    for entry in entries:
        for name in ("aliases", "spellings", "sizes", "matryoshka"):
            entry[name] = tuple(entry.get(name, ()))
        if "parts" in entry:
            media_types = tuple(entry["parts"].pop("media_types"))
            entry["parts"] = PartLimits(media_types=media_types, **entry["parts"])
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
    # The first to have a key keeps it: jina:jina-embeddings-v3 is a service with a local model.
    by_key = {model_keys(name)[0]: known for name, known in reversed(by_name.items())}
    by_key |= {key: known for known in known_models() for key in known.spellings}
    return by_name, by_key


def chosen_tasks(
    tasks: Mapping[EmbeddingRole, str] | Mapping[str, str] | None,
) -> dict[EmbeddingRole, str]:
    """The task types in place of those that follow the role: the given ones, or with None the variables'."""
    if tasks is not None:
        return {EmbeddingRole.parse(role, "tasks"): task for role, task in tasks.items()}
    variables = {role: config.variable(name) for role, name in TASK_VARIABLES.items()}
    return {role: task for role, task in variables.items() if task is not None}


def check_roles(
    model: str, prefixes: Mapping[EmbeddingRole, str], tasks: Mapping[EmbeddingRole, str]
) -> None:
    """Raise ConfigurationError if a text's role would be said twice: by a prefix, and by another way."""
    known = find_model(model)
    has_library = known is not None and known.role == "library"
    for role, prefix in prefixes.items():
        task = tasks.get(role)
        if prefix and (task or has_library):
            how = f"the task type {task!r} tells {model}" if task else f"the library of {model} tells it"
            raise ConfigurationError(
                f"{PREFIX_VARIABLES[role]} is {prefix!r}, but {how} a {role.value}'s role already: unset the "
                "prefix"
            )


def prefix_in_use(role: EmbeddingRole, prefix: str | None) -> str:
    """The prefix that is given; None is that of the role's variable, else ""."""
    if prefix is None:
        return config.variable(PREFIX_VARIABLES[role]) or ""
    if not isinstance(prefix, str):
        raise ConfigurationError(f"the {role.value} prefix must be a str; found {type(prefix).__name__}")
    return prefix


def needed_prefixes(
    prefixes: Mapping[EmbeddingRole, str], tasks: Mapping[EmbeddingRole, str]
) -> dict[EmbeddingRole, str]:
    """The prefixes that matter: those of roles without a task type, and any that is set."""
    return {role: prefix for role, prefix in prefixes.items() if prefix or not tasks.get(role)}


def checked_advice(
    model: str,
    prefixes: Mapping[EmbeddingRole, str],
    tasks: Mapping[EmbeddingRole, str],
    dimensions: int | None,
) -> list[tuple[str, bool]]:
    """The lines of advice(), each with whether it says that all is right.

    Raises:
        ConfigurationError: see check_roles().
    """
    check_roles(model, prefixes, tasks)
    known = find_model(model)
    if known is not None and known.role == "task" and not tasks:
        line = f"{model} gets no roles; it needs them in a field that only {known.name} gets: use that model"
        return [(line, False)]
    needed = needed_prefixes(prefixes, tasks)
    right = right_prefixes(model, needed)
    return [(line, line in right) for line in advice(model, needed, dimensions)]


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
    return f"{PREFIX_VARIABLES[role]} is empty: nothing is prepended to a {role.value}'s text"


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
                f"{variable} has a backslash and an n, not a line break: export {variable}=$'first\\nsecond'"
            )
        warning = _prefix_warning(model, known, role, prefix)
        lines += [warning] if warning else []
    if known is None or dimensions is None or dimensions >= known.dimensions:
        return lines
    if not known.matryoshka:
        lines.append(
            f"vectors of {model} are cut to {dimensions} of {known.dimensions} numbers, but the model was "
            "not trained for that (it is not a Matryoshka model): unset OMOP_EMB_DIMENSIONS"
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
            f"{variable} is {prefix!r}, without a space between it and the text: most models need a space "
            "at the end of the prefix, which some programs that load settings remove"
        )
    expected = known.prefixes[role]
    if prefix == expected:
        return None
    if not prefix:
        quoted = shlex.quote(expected) if "\n" not in expected else "$" + repr(expected)
        return (
            f"{variable} is empty: nothing is prepended to a {role.value}'s text, but {model} was trained "
            f"with a prefix: export {variable}={quoted}"
        )
    if prefix in known.prefixes.values():
        return f"{variable} is {prefix!r}, which {model} needs for the other role: did you mix up the two?"
    if not expected:
        why = "distinguishes roles by task types" if known.role == "task" else "was trained without one"
        return f"{variable} is {prefix!r}, but {model} {why} for a {role.value}: unset it"
    if prefix.rstrip() == expected.rstrip():
        return f"{variable} is {prefix!r}, but {model} needs {expected!r}: spaces at the end matter"
    return None
