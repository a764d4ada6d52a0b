"""Provider profiles: how each HTTP service is asked for embeddings, from data/providers.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from omop_emb import config
from omop_emb.records import EmbeddingRole


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How a service is asked for the embeddings of one model.

    Names of variables may be alternatives, separated by "|": the first that is set counts.

    Attributes:
        name: the provider in provider:model.
        title: the service in messages.
        url: its address; {VARIABLE} in it is that variable's value; "" where there is no usual one.
        url_variable: the variable with another address.
        is_paid: whether it charges for tokens, as far as is known.
        extra: of this package, installs what is needed.
        key_variable: the variable with the key.
        key_header, key_prefix: the header that the key is sent in, and what precedes it there.
        needs_key: whether nothing works without a key.
        auth: "key", or "aws" where a request without a key is signed with AWS credentials.
        path: below the address, for embeddings; {model} in it is the model's name.
        chat_path: the same for chat completions as OpenAI has them; "" where there are none.
        parameters: of the address: name -> the variable with its value.
        model_field: holds the model's name in a request; "" where the path does.
        input_field: holds the texts; "" where the model's family is not known.
        is_single: whether a request holds one text, as a string.
        fields: what each request holds besides.
        options: the same, left out where the service refuses it.
        dimensions_field: holds the length that vectors are cut to; "" where the service does not cut.
        role_field: tells a text's role; "" where only a prefix can.
        document, query: its values; "" where it is left out unless it is asked for.
        other_roles: its values for other uses than search; none: any value is allowed.
        vectors: where the answer has its vectors: names joined by ".", "*" being each entry of a list that
            may bear an index; "" is the answer itself.
        tokens: where the answer may have its count of tokens, the first that it has.
        errors: "too large", "too long", "no quota" -> what a refusal for that reason says.
        batch_texts, batch_tokens, concurrency, query_timeout_seconds, bulk_timeout_seconds: see Limits.
    """

    name: str
    title: str
    url: str = ""
    url_variable: str = ""
    is_paid: bool = True
    extra: str = "http"
    key_variable: str = ""
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    needs_key: bool = True
    auth: str = "key"
    path: str = "embeddings"
    chat_path: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    model_field: str = "model"
    input_field: str = "input"
    is_single: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    dimensions_field: str = "dimensions"
    role_field: str = ""
    document: str = ""
    query: str = ""
    other_roles: tuple[str, ...] = ()
    vectors: str = "data.*.embedding"
    tokens: tuple[str, ...] = ("usage.prompt_tokens", "usage.total_tokens")
    errors: Mapping[str, str] = field(default_factory=dict)
    batch_texts: int = 32
    batch_tokens: int = 1_000_000
    concurrency: int = 8
    query_timeout_seconds: float = 10.0
    bulk_timeout_seconds: float = 120.0

    @property
    def role_values(self) -> dict[EmbeddingRole, str]:
        """What the role field says of each role; "" where it is left out."""
        return {EmbeddingRole.DOCUMENT: self.document, EmbeddingRole.QUERY: self.query}

    @property
    def variables(self) -> list[str]:
        """Every variable that it reads."""
        names = [self.url_variable, self.key_variable, *self.parameters.values()]
        names += re.findall(r"\{([A-Z_|]+)\}", self.url)
        return [name for entry in names for name in entry.split("|") if name]


def first_variable(names: str) -> str | None:
    """The value of the first of these variables, separated by "|", that is set; None if none is."""
    values = (config.variable(name) for name in names.split("|") if name)
    return next((value for value in values if value is not None), None)


def profile_names() -> tuple[str, ...]:
    """The providers that have a profile."""
    return tuple(_file())


@cache
def chat_profiles() -> tuple[str, ...]:
    """The providers whose profile has chat completions, too."""
    return tuple(name for name, entry in _file().items() if entry.get("chat_path"))


def profile_of(provider: str, model: str) -> Profile:
    """The profile of a provider, with what differs for a model, an address or a variable that is set."""
    entry: dict[str, Any] = {"name": provider, **_file()[provider]}
    named = (model, (config.variable("OMOP_EMB_MODEL_FAMILY") or "").rpartition(":")[2])
    for family in entry.pop("family", ()):
        applies = (
            any(re.match(family.get("models", ""), name, re.IGNORECASE) for name in named if name)
            and ("variable" not in family or first_variable(family["variable"]) is not None)
            and ("elsewhere" not in family or _is_elsewhere(entry))
        )
        if applies:
            entry |= {name: value for name, value in family.items() if name in _FIELDS}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()
    }
    return Profile(**values)


_FIELDS = frozenset(entry.name for entry in fields(Profile))


def _is_elsewhere(entry: Mapping[str, Any]) -> bool:
    """Whether the address is another host's than the service's own."""
    try:
        own = urlsplit(first_variable(entry["url_variable"]) or entry["url"]).hostname
    except ValueError:
        return True  # the connection says what is wrong with it
    return bool(own != urlsplit(entry["url"]).hostname)


@cache
def _file() -> dict[str, dict[str, Any]]:
    text = resources.files("omop_emb").joinpath("data/providers.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
