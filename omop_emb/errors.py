"""Errors: every exception that omop-emb raises on purpose.

OmopEmbError
├── ConfigurationError            a variable, option or argument that cannot be used
│   └── MissingExtraError         an optional dependency that is not installed
├── InputError                    texts, ids, vectors or files that a call cannot take
│   ├── UnknownValueError         a domain, vocabulary or class that does not exist; names the nearest
│   └── UnknownConceptError       a concept id that the vocabulary lacks
├── ProviderError                 the embedding provider failed or answered wrongly
│   ├── ProviderUnavailableError  an outage, timeout or broken answer; trying again may help
│   │   └── RateLimitError        too many requests for now
│   ├── ProviderRefusedError      a key, right, model or setting that the provider does not accept
│   ├── QuotaExhaustedError       a quota that only time or money renews; run again later, nothing is lost
│   ├── InvalidAnswerError        an answer that cannot be this model's embeddings
│   └── TextRejectedError         single texts that the provider cannot embed; names their positions
├── DatabaseError                 the database cannot be reached or used
│   ├── DamageError               the server's files have lost or altered pages
│   ├── ExpensiveQueryError       a query took longer than it may; ask for less
│   ├── ServerError               the embedded server does not start, stop or answer
│   └── MigrationError            the schema is newer, altered, or cannot be migrated
├── BusyError                     a server has no place for one more request; trying again helps
├── VocabularyError               a vocabulary that cannot be read or loaded
├── ShrinkError                   a vocabulary or space that would lose over a fifth of what it holds
└── SpaceError                    an embedding space that does not exist or does not fit
    ├── SpaceNotFoundError
    └── SpaceMismatchError        model, dimensions or prefixes differ from the space's

The message is what a user reads: what was expected, what was found, what to run next; one line.
An unknown keyword is Python's own TypeError, with such a message: see checked_keywords().
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

# Line breaks, for Python or a terminal, and whatever else moves a cursor: names in foreign files hold any
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class OmopEmbError(Exception):
    """Base of all errors raised by omop-emb; its text is one line for a user."""

    def __str__(self) -> str:
        return _BREAKS.sub(" ", super().__str__())


class ConfigurationError(OmopEmbError):
    """A variable, option or argument has a value that cannot be used."""


class MissingExtraError(ConfigurationError):
    """An optional dependency is needed and not installed; the extra `extra` brings it."""

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{what} needs the extra '{extra}': run pip install '.[{extra}]' in the checkout")


class InputError(OmopEmbError):
    """Texts, ids, vectors or a file that a call cannot take; nothing was written."""


class UnknownValueError(InputError):
    """A filter names a value that does not exist.

    Attributes:
        kind: such as "domain".
        value: the unknown value.
        nearest: the closest existing values, best first.
    """

    def __init__(self, kind: str, value: str, nearest: Sequence[str]) -> None:
        self.kind, self.value, self.nearest = kind, value, tuple(nearest)
        hint = f"; did you mean {' or '.join(repr(name) for name in nearest)}?" if nearest else ""
        super().__init__(f"there is no {kind} {value!r}{hint}")


class UnknownConceptError(InputError):
    """The vocabulary has no such concept; `concept_id` is None if a code or text was given."""

    def __init__(self, message: str, *, concept_id: int | None = None) -> None:
        self.concept_id = concept_id
        super().__init__(message)


class ProviderError(OmopEmbError):
    """An embedding provider failed, refused, or answered with something that is not an embedding.

    Its text names provider, model, status and what to do; never a key, and never a text that was sent.
    """


class ProviderUnavailableError(ProviderError):
    """An outage, a timeout, a cut connection or a garbled answer: trying again may help.

    `retry_after_seconds` is how long the provider asks to wait; None where it does not say.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class RateLimitError(ProviderUnavailableError):
    """Too many requests, texts or tokens for now."""


class ProviderRefusedError(ProviderError):
    """A key, right, model or setting that the provider does not accept; trying again does not help."""


class QuotaExhaustedError(ProviderError):
    """A quota of the day or of the account is used up; what was done stays done."""


class InvalidAnswerError(ProviderError):
    """An answer that cannot be this model's embeddings, such as one of other dimensions."""


class TextRejectedError(ProviderError):
    """Single texts that the provider cannot embed, at `positions` of the given texts, counted from 0."""

    def __init__(self, message: str, *, positions: Sequence[int] = ()) -> None:
        self.positions = tuple(positions)
        super().__init__(message)


class BusyError(OmopEmbError):
    """A server has no place for one more request; trying again in a moment helps."""


class DatabaseError(OmopEmbError):
    """The database cannot be reached, or cannot do what is needed."""


class DamageError(DatabaseError):
    """The server's files have lost or altered pages.

    Attributes:
        reason: the server's own message.
        relation: its kind and name, such as ("table", "omop_emb.space_1"); None where that is not known.
    """

    def __init__(
        self,
        reason: str,
        relation: tuple[str, str] | None = None,
        remedy: str = "run omop-emb index verify for each space, or restore a dump (omop-emb db restore)",
    ) -> None:
        self.reason, self.relation = reason, relation
        what = "a file of the database" if relation is None else " ".join(relation)
        super().__init__(f"{what} is damaged ({reason}): {remedy}")


class ExpensiveQueryError(DatabaseError):
    """A query took longer than its caller allows; asking for less helps, trying again does not."""


class ServerError(DatabaseError):
    """The embedded PostgreSQL server does not start, stop or answer."""


class MigrationError(DatabaseError):
    """The schema omop_emb was made by a newer version, was altered, or cannot be brought up to date."""


class VocabularyError(OmopEmbError):
    """A vocabulary cannot be read or loaded; nothing in the database was changed.

    `file` and `line` (1 is the header) say where, or are None.
    """

    def __init__(self, message: str, *, file: str | Path | None = None, line: int | None = None) -> None:
        self.file, self.line = file, line
        location = "" if file is None else f"{file}: " if line is None else f"{file}, line {line}: "
        super().__init__(f"{location}{message}")


class ShrinkError(OmopEmbError):
    """A vocabulary or space would lose over a fifth of what it holds; nothing was changed.

    With `allow_shrink` the change is made anyway.
    """


class SpaceError(OmopEmbError):
    """An embedding space cannot be used."""


class SpaceNotFoundError(SpaceError):
    """The requested embedding space does not exist."""


class SpaceMismatchError(SpaceError):
    """Model, dimensions, prefixes or revision differ from those of the space."""


_Public = TypeVar("_Public", bound=Callable[..., Any])

_LIMITS = tuple(
    "filter filters where domain domains domain_id vocabulary vocabularies vocabulary_id concept_class "
    "concept_classes standard standard_only valid_only".split()
)
_COUNTS = ("k", "top", "top_k", "n", "n_results", "num_results", "max_results", "limit", "size", "count")
_TEXTS = ("text", "texts", "query", "queries", "term", "terms", "names", "query_text", "query_texts")
# A keyword, and what other libraries, or other functions of ours, call it; spelled alike are found without.
_OTHER_NAMES = {
    "concept_filter": _LIMITS,
    "k": (*_COUNTS, "candidates"),
    "candidates": _COUNTS,
    "query_texts": _TEXTS,
    "concept_texts": (*_TEXTS, "documents", "concept_names"),
    "terms": _TEXTS,
    "text": _TEXTS,
    "texts": _TEXTS,
    "settings": (*_LIMITS, *_COUNTS, "concept_filter", "candidates", "options", "policy", "explain"),
    "concept_ids": ("ids",),
    "concept_id": ("id",),
    "query_embeddings": ("vectors", "query_vectors"),
    "embeddings": ("vectors",),
    "session": ("db", "con", "conn", "connection", "engine"),
    "engine": ("db", "con", "conn", "connection", "session"),
    "metric_type": ("metric", "distance"),
    "embedding_role": ("role",),
    "client": ("model", "embedder"),
    "url": ("dsn", "database_url"),
}


def checked_keywords(public: _Public) -> _Public:
    """The function, or the class with its public methods, which refuses an unknown keyword by name.

    Signatures, for type checkers and help(), stay.
    """
    if not isinstance(public, type):
        function: _Public = _checked(public)
        return function
    for name, member in list(vars(public).items()):
        if inspect.isfunction(member) and (name == "__init__" or not name.startswith("_")):
            setattr(public, name, _checked(member))
    return public


def _checked(function: Any) -> Any:
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return function
    known = [
        parameter.name
        for parameter in parameters
        if parameter.name != "self"
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    known_or_self = {*known, "self"}

    @wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        if not known_or_self.issuperset(keywords):
            name = type(args[0]).__name__ if function.__name__ == "__init__" else function.__name__
            unknown = next(keyword for keyword in keywords if keyword not in known_or_self)
            raise TypeError(f"{name}() has no keyword {unknown[:40]!r}; {_hint(unknown, known)}")
        return function(*args, **keywords)

    return call


def _hint(unknown: str, known: Iterable[str]) -> str:
    by_key = {_key(name): name for name in known}
    meant = by_key.get(_key(unknown))
    others = [name for name in by_key.values() if _key(unknown) in map(_key, _OTHER_NAMES.get(name, ()))]
    close = difflib.get_close_matches(_key(unknown), by_key, n=2, cutoff=0.6)
    names = [meant] if meant else others[:1] or [by_key[key] for key in close]
    if names:
        return f"did you mean {' or '.join(names)}?"
    return f"it has {', '.join(by_key.values())}" if by_key else "it has none"


def _key(name: str) -> str:
    return name.replace("_", "").casefold()
