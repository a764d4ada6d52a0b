"""Generated reference pages: commands, Python API, variables."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

import omop_emb
from omop_emb.config import VARIABLES, Variable
from omop_emb.embeddings.models import KnownModel, known_models, other_prices
from omop_emb.providers.factory import charges
from omop_emb.providers.profiles import profile_names, profile_of

ROOT = Path(__file__).parents[2]
WIDTH = 110
_NOTE = "<!-- Generated from the code by `make docs`. Change the code, not this page. -->\n"
_VARIABLES_PAGE = """\
# Variables

{note}
Every setting has a default. Options and arguments override variables. A variable with an empty value
counts as unset.

## Variables of omop-emb

{ours}

The prefixes are read when an `EmbeddingClient` is constructed, and used exactly as given, including a space
at the end. They are part of the [space](../concepts/embedding-spaces.md) that is built with them. A
database URL looks like `postgresql://user:password@host:5432/database`; `postgres://` and
`postgresql+psycopg://` work too.

## Variables of the providers

{theirs}

## Folders

The embedded server keeps its data in `OMOP_EMB_DATA_DIR`. If that is not set, it uses `/var/lib/omop-emb` for
root, and for other users `omop-emb` inside the data folder: `$XDG_DATA_HOME`, or `~/.local/share`. [Cache
files](caches.md) are in `omop-emb` inside `$XDG_CACHE_HOME`, or `~/.cache`, and can be deleted.
"""
_MODELS_PAGE = """\
# Models and providers

{note}
What each provider is asked, what it answers, and its limits. How HTTP services are asked is data,
`omop_emb/data/providers.toml`, which also says where each request was read; models are in
`omop_emb/data/models.toml`. [Choose a provider](../how-to/providers.md) says how to set one up. A role that
is a field is sent by itself, and a prefix beside it is refused.

## Providers

| provider | asked at | sent | role | shorter vectors | answer | most texts of one request |
|---|---|---|---|---|---|---|
{providers}

In the column of answers, `*` is each entry of a list. Every answer may be numbers or base64; vectors are
checked and brought to unit length. A text that is longer than the model reads is refused where the service
can be told so (`truncate`, `truncation`).

## Models

Prices are US dollars per million tokens, with the day and the page of each. Other models work too, if you
give their settings.

| model | reads | dimensions | tokens | document's and query's role | texts of a request | price |
|---|---|---|---|---|---|---|
{models}

The same models cost something else behind other providers:

| model | price |
|---|---|
{prices}
"""


def commands() -> Iterator[tuple[str, click.Context]]:
    """Each command's full name, "omop-emb" first, with the context that renders its help."""

    def walk(command: click.Command, name: str, parent: click.Context | None) -> Iterator[Any]:
        # click keeps two columns of the terminal free.
        context = command.make_context(
            name, [], parent=parent, resilient_parsing=True, terminal_width=WIDTH - 2
        )
        yield context.command_path, context
        if isinstance(command, click.Group):
            for child in command.list_commands(context):
                subcommand = command.get_command(context, child)
                assert subcommand is not None
                if not subcommand.hidden:
                    yield from walk(subcommand, child, context)

    yield from walk(import_module("omop_emb.cli.main").cli, "omop-emb", None)


def cli_page() -> str:
    """docs/reference/cli.md: the help of every command."""
    parts = [
        "# Commands\n",
        _NOTE,
        "Data goes to stdout, messages and progress to stderr. Exit codes: 0 done, 1 an error, explained in "
        "one line, 2 wrong usage, 3 finished, but some rows or texts were skipped.\n",
    ]
    for name, context in commands():
        parts += [f"## {name}\n", f"```text\n{context.get_help().rstrip()}\n```\n"]
    return "\n".join(parts)


def python_page() -> str:
    """docs/reference/python-api.md: the public names of `omop_emb`."""
    parts = [
        "# Python API\n",
        _NOTE,
        "Import everything below from `omop_emb`. All errors are subclasses of `OmopEmbError`; the top of "
        "`omop_emb/errors.py` shows the tree.\n",
    ]
    for name in sorted(omop_emb.__all__):
        body = _described(name, getattr(omop_emb, name))
        parts += [f"## {name}\n", f"```text\n{body.rstrip()}\n```\n"]
    return "\n".join(parts)


def _described(name: str, value: Any) -> str:
    if isinstance(value, type) and issubclass(value, Enum):
        values = "\n".join(f"{name}.{member.name} = {member.value!r}" for member in value)
        return f"{_documentation(value)}\n\n{values}"
    if not isinstance(value, type):
        return f"{_signature(name, value)}\n{textwrap.indent(_documentation(value), '    ')}"
    signature = name if issubclass(value, Exception) else _signature(name, value)
    parts = [f"class {signature}\n{textwrap.indent(_documentation(value), '    ')}"]
    members = {name: member for kind in reversed(value.__mro__[:-1]) for name, member in vars(kind).items()}
    for member_name, member in members.items():
        if member_name.startswith("_"):
            continue
        if isinstance(member, property):
            title = member_name
        elif inspect.isfunction(member):
            title = _signature(member_name, member)
        elif isinstance(member, classmethod):
            title = _signature(f"{name}.{member_name}", getattr(value, member_name))
        else:
            continue
        described = f"{title}\n{textwrap.indent(_documentation(member), '    ')}"
        parts.append(textwrap.indent(described, "    "))
    return "\n\n".join(parts)


def _documentation(value: Any) -> str:
    return inspect.getdoc(value) or ""


def _signature(name: str, value: Any) -> str:
    """The signature as source code, with one parameter per line if it is long."""
    signature = inspect.signature(value)
    if isinstance(value, type):
        signature = signature.replace(return_annotation=inspect.Signature.empty)
    parameters = [item for item in signature.parameters.values() if item.name != "self"]
    short = f"{name}{signature.replace(parameters=parameters)}"
    short = _without_quotes(short)
    if len(short) <= WIDTH - 10:
        return short
    lines: list[str] = []
    for before, item in zip([None, *parameters], parameters, strict=False):
        starts = item.kind is item.KEYWORD_ONLY and (before is None or before.kind is not item.KEYWORD_ONLY)
        if starts and (before is None or before.kind is not item.VAR_POSITIONAL):
            lines.append("    *,")
        lines.append(_without_quotes(f"    {item},"))
    returned = signature.return_annotation
    arrow = "" if returned is inspect.Signature.empty else _without_quotes(f" -> {returned}")
    return "\n".join([f"{name}(", *lines, f"){arrow}"])


def _without_quotes(signature: str) -> str:
    """Without the quotes around annotations; an empty default keeps its own."""
    return signature.replace("''", '""').replace("'", "")


def variables_page() -> str:
    """docs/reference/variables.md: every variable that omop-emb reads."""
    ours = [variable for variable in VARIABLES if variable.name.startswith("OMOP_EMB_")]
    theirs = [variable for variable in VARIABLES if not variable.name.startswith("OMOP_EMB_")]
    return _VARIABLES_PAGE.format(note=_NOTE, ours=_table(ours), theirs=_table(theirs))


def _table(variables: Iterable[Variable]) -> str:
    rows = [f"| `{variable.name}` | {variable.meaning} |" for variable in variables]
    return "\n".join(["| variable | meaning |", "|---|---|", *rows])


def models_page() -> str:
    """docs/reference/models.md: what each provider is asked and answers, and what is known of each model."""
    assert set(_CASES) == set(profile_names()), "a provider without a line"
    providers = [
        *_SDK_PROVIDERS,
        *(_profile_row(name, *case) for name, cases in _CASES.items() for case in cases),
    ]
    models = [_model_row(known) for known in known_models()]
    prices = [f"| `{one['name']}` | {_price(one)} |" for one in other_prices()]
    return _MODELS_PAGE.format(
        note=_NOTE,
        providers="\n".join("| " + " | ".join(row) + " |" for row in providers),
        models="\n".join(models),
        prices="\n".join(prices),
    )


# The models that stand for each way in which a provider is asked: a name, and a variable that is set.
_CASES: dict[str, list[tuple[str, str, str]]] = {
    "openai": [("", "any", ""), (" elsewhere", "any", "OPENAI_BASE_URL")],
    "azure": [(", v1", "any", ""), (", classic", "any", "OPENAI_API_VERSION")],
    "cohere": [(" v3", "embed-english-v3.0", ""), (" v4, v5", "embed-v4.0", "")],
    "voyage": [("", "voyage-3.5", "")],
    "jina": [(" v3, v4", "jina-embeddings-v3", ""), (", others", "any", "")],
    "mistral": [("", "mistral-embed", "")],
    "bedrock": [
        (" Titan v2", "amazon.titan-embed-text-v2:0", ""),
        (" Cohere v3", "cohere.embed-english-v3", ""),
        (" Cohere v4", "cohere.embed-v4:0", ""),
    ],
    "vllm": [("", "any", "")],
    "tei": [("", "any", "")],
    "lmstudio": [("", "any", "")],
    "llamacpp": [("", "any", "")],
}
_SDK_PROVIDERS = [
    (
        "`local`",
        "ONNX in this process",
        "texts",
        "prefix; MedCPT: two encoders",
        "cut here",
        "vectors",
        "256",
    ),
    (
        *("`ollama`", "`/api/embed`, by Ollama's library", "`input`, `truncate` false", "prefix"),
        *("`dimensions`", "`embeddings`", "64"),
    ),
    (
        *("`gemini` 001", "`batchEmbedContents`, by google-genai", "one `content` a text"),
        *("`taskType`", "`outputDimensionality`", "`embeddings.values`", "100; 20,000 tokens"),
    ),
    (
        *("`gemini` 2", "the same", "one `content` a text, or of several parts", "prefix"),
        *("`outputDimensionality`", "`embeddings.values`", "100; 20,000 tokens"),
    ),
    (
        *(
            "`gemini` on Vertex AI, with partners' models (MaaS)",
            "`predict`, `embedContent` or `batchEmbedContents`",
        ),
        *(
            "one text a request for Gemini and MaaS",
            "as above",
            "`outputDimensionality`",
            "`embeddings.values`",
        ),
        "1, or 250; 16,000 tokens",
    ),
]


def _profile_row(provider: str, title: str, model: str, variable: str) -> tuple[str, ...]:
    value = "http://server/v1" if variable.endswith("_URL") else "version"
    with pytest.MonkeyPatch.context() as patch:
        for entry in VARIABLES:
            patch.delenv(entry.name, raising=False)
        if variable:
            patch.setenv(variable, value)
        profile = profile_of(provider, model)
    texts = f"`{profile.input_field}`" + (", one text" if profile.is_single else "")
    more = {**profile.fields, **profile.options}
    sent = [texts, *(f"`{name}` {_value(value)}" for name, value in more.items())]
    values = [value for value in (profile.document, profile.query, *profile.other_roles) if value]
    role = f"`{profile.role_field}`: {', '.join(values) or 'a name'}" if profile.role_field else "prefix"
    address = variable if variable.endswith("_URL") else profile.url or profile.url_variable
    limit = f"{profile.batch_texts:,}"
    if profile.batch_tokens < 1_000_000:
        limit += f"; {profile.batch_tokens:,} tokens"
    return (
        f"`{provider}`{title}",
        f"`{profile.path}` of `{address}`".replace("|", "\\|"),
        "; ".join(sent),
        role,
        f"`{profile.dimensions_field}`" if profile.dimensions_field else "cut here",
        f"`{profile.vectors}`" if profile.vectors else "the list itself",
        limit,
    )


def _value(value: Any) -> str:
    return json.dumps(value).replace('"', "")


def _model_row(known: KnownModel) -> str:
    role = {"prefix": "prefix", "task": "field"}.get(known.role, known.role)
    if known.role in ("prefix", "task"):
        said = [
            f"`{json.dumps(text)[1:-1]}`".replace("|", "\\|") if text else "none"
            for text in (known.document, known.query)
        ]
        role += f": {' and '.join(said)}"
    price = (
        _price(vars(known)) if known.price is not None else ("not known" if charges(known.name) else "free")
    )
    lengths = ", ".join(map(str, (known.dimensions, *known.matryoshka)))
    limit = "" if known.batch_texts is None else f"{known.batch_texts:,}"
    names = ", ".join(f"`{name}`" for name in (known.name, *known.aliases))
    return f"| {names} | {known.reads} | {lengths} | {known.max_tokens:,} | {role} | {limit} | {price} |"


def _price(entry: Mapping[str, Any]) -> str:
    batch = f", in batches {entry['batch_price']:g}" if entry.get("batch_price") is not None else ""
    for what in ("image", "audio"):
        if entry.get(f"{what}_price") is not None:
            batch += f", {what} {entry[f'{what}_price']:g}"
    return f"{entry['price']:g}{batch} ([{entry['price_date']}]({entry['price_source']}))"


PAGES = {
    "docs/reference/models.md": models_page,
    "docs/reference/cli.md": cli_page,
    "docs/reference/python-api.md": python_page,
    "docs/reference/variables.md": variables_page,
}

if __name__ == "__main__":
    for path, page in PAGES.items():
        (ROOT / path).write_text(page())
