"""Errors: every exception that omop-emb raises on purpose.

OmopEmbError
├── ConfigurationError            a variable, option or argument that cannot be used
│   └── MissingExtraError         an optional dependency that is not installed
├── InputError                    texts, ids, vectors or files that a call cannot take
│   └── UnknownValueError         a domain, vocabulary or class that does not exist; names the nearest
├── ProviderError                 the embedding provider failed or answered wrongly
│   ├── ProviderUnavailableError  an outage, timeout or broken answer; trying again may help
│   │   └── RateLimitError        too many requests for now
│   ├── ProviderRefusedError      a key, right, model or setting that the provider does not accept
│   ├── QuotaExhaustedError       a quota that only time or money renews; run again later, nothing is lost
│   ├── InvalidAnswerError        an answer that cannot be this model's embeddings
│   └── TextRejectedError         single texts that the provider cannot embed; names their positions
├── DatabaseError                 the database cannot be reached or used
│   ├── DamageError               the server's files have lost or altered pages
│   ├── ServerError               the embedded server does not start, stop or answer
│   └── MigrationError            the schema is newer, altered, or cannot be migrated
├── VocabularyError               a vocabulary that cannot be read or loaded
├── ShrinkError                   a vocabulary or space that would lose over a fifth of what it holds
└── SpaceError                    an embedding space that does not exist or does not fit
    ├── SpaceNotFoundError
    └── SpaceMismatchError        model, dimensions or prefixes differ from the space's

The message is what a user reads: what was expected, what was found, what to run next; one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class OmopEmbError(Exception):
    """Base of all errors raised by omop-emb; its text is one line for a user."""


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
