"""A batch of texts to a provider: limited, retried, checked, and halved until a bad text stands alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from omop_emb.errors import (
    InvalidAnswerError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitError,
    TextRejectedError,
)
from omop_emb.providers.base import BatchTooLargeError, Provider, estimated_tokens
from omop_emb.providers.limiter import Limiter
from omop_emb.providers.retrying import Patience, with_retries
from omop_emb.providers.usage import Meter
from omop_emb.records import EmbeddingRole
from omop_emb.vectors import Matrix, as_matrix, unit_rows

# A text that every embedding model can embed: what fails for it is not the text's fault.
_HARMLESS = "aspirin"
# So many texts refused one by one, with none embedded in between, is no longer a matter of texts.
_REFUSED_IN_A_ROW = 25


@dataclass
class Outcome:
    """What became of a batch.

    Attributes:
        positions: those that were embedded, ascending.
        vectors: (len(positions), dimensions) float32 unit rows in that order.
        failures: position -> why that text cannot be embedded, without the text.
    """

    positions: list[int] = field(default_factory=list)
    vectors: Matrix = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    failures: dict[int, str] = field(default_factory=dict)


class Caller:
    """Asks one provider, and remembers what it has learnt about it.

    Attributes:
        batch_texts: most texts of one request; lowered when the provider finds a request too large.
    """

    def __init__(
        self, provider: Provider, *, dimensions: int | None, limiter: Limiter, meter: Meter, batch_texts: int
    ) -> None:
        self.batch_texts = batch_texts
        self._provider, self._limiter, self._meter = provider, limiter, meter
        self._source = f"{provider.name}:{provider.model}"
        self._dimensions = dimensions
        self._native: int | None = None
        self._answered: int | None = None
        self._works: set[EmbeddingRole] = set()
        self._refused = 0
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str], role: EmbeddingRole, patience: Patience) -> Outcome:
        """Embed texts whose prefix stands before them; a text that cannot be embedded is set aside.

        Raises:
            ProviderError: nothing can be embedded for now; what is to blame is not a text.
        """
        found: list[tuple[list[int], Matrix]] = []
        failures: dict[int, str] = {}
        pending = [list(range(len(texts)))]
        too_large = False
        while pending:
            part = pending.pop()
            try:
                matrix, useless = self._ask([texts[position] for position in part], role, patience)
            except BatchTooLargeError as error:
                if len(part) == 1:
                    self._refuse(part[0], str(error), failures)
                else:
                    too_large = True
                    pending += _halves(part)
                continue
            except RateLimitError:
                raise
            except (TextRejectedError, ProviderUnavailableError) as error:
                self._blame_texts(error, role, patience)
                # The provider works: from here on, a failure of this batch is the doing of a text.
                patience = patience.with_tries(2)
                if len(part) == 1:
                    self._refuse(part[0], str(error), failures)
                else:
                    pending += _halves(part)
                continue
            if useless and len(part) == 1:
                useless_row = TextRejectedError(f"{self._source} answers a vector of zeros or NaN")
                self._blame_texts(useless_row, role, patience)
                self._refuse(part[0], str(useless_row), failures)
                continue
            pending += [[part[index]] for index in useless]
            keep = sorted(set(range(len(part))) - set(useless))
            if keep:
                self._note_success(role)
                found.append(([part[index] for index in keep], matrix[keep] if useless else matrix))
        if len(texts) > 1 and not found:
            self._probe(TextRejectedError(next(iter(failures.values()))), role, patience)
        if too_large and not failures:
            # Not after a failure: then one long text may have been too large, and not the number of texts.
            self._learn_batch_size(max(len(positions) for positions, _ in found))
        return _joined(found, failures)

    def _ask(self, texts: list[str], role: EmbeddingRole, patience: Patience) -> tuple[Matrix, list[int]]:
        """The unit rows of one request, and which of them are of no use."""
        tokens = sum(map(estimated_tokens, texts))

        def before_attempt() -> None:
            self._limiter.acquire(
                texts=len(texts), tokens=tokens, longest_wait_seconds=patience.longest_limit_seconds
            )

        def attempt(timeout_seconds: float) -> Matrix:
            self._meter.count(requests=1)
            answer = self._provider.embed_batch(texts, role, timeout_seconds=timeout_seconds)
            self._meter.count(
                texts=len(texts),
                reported_tokens=answer.tokens or 0,
                estimated_tokens=tokens if answer.tokens is None else 0,
            )
            try:
                return as_matrix(answer.vectors, count=len(texts), source=self._source)
            except InvalidAnswerError as error:
                # A text that a server drops or splits spoils the order of all: only alone it can be told.
                raise TextRejectedError(str(error)) from None

        def after_failure(error: ProviderUnavailableError, wait: float) -> None:
            if isinstance(error, RateLimitError):
                self._limiter.pause(wait)

        matrix = with_retries(attempt, patience, before_attempt=before_attempt, after_failure=after_failure)
        self._check_dimensions(matrix.shape[1])
        return unit_rows(matrix, dimensions=self._dimensions)

    @property
    def answered_dimensions(self) -> int | None:
        """The length of the vectors that have come so far; None before the first."""
        return self._answered

    def expect(self, dimensions: int) -> None:
        """Say how long the model's own vectors are, before or after the first has come."""
        self._native = dimensions
        if self._answered is not None:
            self._check_dimensions(self._answered)

    def _check_dimensions(self, found: int) -> None:
        with self._lock:
            if self._answered is None and (self._native is None or found in (self._native, self._dimensions)):
                self._answered = found
            expected = self._answered or self._native
        if found != expected or (self._native is not None and found not in (self._native, self._dimensions)):
            expected = self._native if found == expected else expected
            raise InvalidAnswerError(
                f"{self._source} answered vectors of {found} dimensions, not {expected}: "
                "is there more than one model behind it?"
            )
        if self._dimensions is not None and found < self._dimensions:
            raise InvalidAnswerError(
                f"{self._source} answers {found} dimensions, fewer than the {self._dimensions} asked for; "
                f"set OMOP_EMB_DIMENSIONS to at most {found}"
            )

    def _blame_texts(self, error: ProviderError, role: EmbeddingRole, patience: Patience) -> None:
        """Raise the error if the texts are not to blame, where that is not known yet."""
        if role not in self._works or isinstance(error, ProviderUnavailableError):
            self._probe(error, role, patience)

    def _probe(self, error: ProviderError, role: EmbeddingRole, patience: Patience) -> None:
        """Raise the error if a harmless text fails too."""
        try:
            _, useless = self._ask([_HARMLESS], role, patience.with_tries(1))
        except (TextRejectedError, BatchTooLargeError):
            useless = [0]
        except ProviderUnavailableError as outage:
            raise error if isinstance(error, ProviderUnavailableError) else outage from None
        if useless:
            raise ProviderError(f"{error}; a harmless text fares no better, so it is a setting or the model")
        self._note_success(role)

    def _refuse(self, position: int, reason: str, failures: dict[int, str]) -> None:
        failures[position] = reason
        with self._lock:
            self._refused += 1
            if self._refused >= _REFUSED_IN_A_ROW:
                raise ProviderError(
                    f"{self._refused} texts in a row could not be embedded; the last: {reason}"
                )

    def _note_success(self, role: EmbeddingRole) -> None:
        with self._lock:
            self._works.add(role)
            self._refused = 0

    def _learn_batch_size(self, passed: int) -> None:
        with self._lock:
            self.batch_texts = max(1, min(self.batch_texts, passed))


def _halves(part: list[int]) -> list[list[int]]:
    middle = len(part) // 2
    return [part[middle:], part[:middle]]


def _joined(found: list[tuple[list[int], Matrix]], failures: dict[int, str]) -> Outcome:
    if len(found) == 1:
        return Outcome(positions=found[0][0], vectors=found[0][1], failures=failures)
    if not found:
        return Outcome(failures=failures)
    positions = np.concatenate([positions for positions, _ in found])
    order = np.argsort(positions)
    return Outcome(
        positions=positions[order].tolist(),
        vectors=np.concatenate([vectors for _, vectors in found])[order],
        failures=failures,
    )
