"""Profile provider: the one adapter for every HTTP service that has a profile in data/providers.toml."""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from omop_emb.arrays import Vectors
from omop_emb.errors import (
    ConfigurationError,
    InvalidAnswerError,
    ProviderError,
    ProviderRefusedError,
    TextRejectedError,
)
from omop_emb.providers.base import EmbeddingResponse, Limits, ModelInfo
from omop_emb.providers.profile_connection import DimensionsRefusedError, ProfileConnection
from omop_emb.providers.profiles import Profile
from omop_emb.records import EmbeddingRole


class ProfileProvider:
    """A model behind a service that has a profile: OpenAI, Azure, Cohere, Voyage, vLLM, TEI ….

    A role that is a field of the request is sent by itself (`tasks`). Vectors are asked for as base64 where
    the service has it, which costs a tenth of decoding numbers, and cut to the dimensions. A service that
    refuses one of these options is sent requests without it: numbers are accepted in any case, and the client
    cuts vectors itself. If the service refuses the dimensions by name, vectors are cut only of a Matryoshka
    model (`is_matryoshka`).
    """

    def __init__(
        self,
        provider: str,
        model: str,
        *,
        dimensions: int | None = None,
        tasks: Mapping[EmbeddingRole, str] | None = None,
        is_matryoshka: bool = False,
    ) -> None:
        self.name, self.model = provider, model
        self._connection = ProfileConnection(provider, model)
        self._profile = profile = self._connection.profile
        if not profile.input_field:
            raise ConfigurationError(
                f"omop-emb does not know how to call {provider}:{model}: say which model it is with "
                "OMOP_EMB_MODEL_FAMILY (omop-emb models list shows those of the provider)"
            )
        self.tasks = _role_values(profile, self._connection.source, tasks or {})
        self._dimensions, self._is_matryoshka = dimensions, is_matryoshka
        self.limits = Limits(
            batch_texts=profile.batch_texts,
            batch_tokens=profile.batch_tokens,
            concurrency=profile.concurrency,
            query_timeout_seconds=profile.query_timeout_seconds,
            bulk_timeout_seconds=profile.bulk_timeout_seconds,
        )
        self._options: dict[str, Any] = dict(profile.options)
        if dimensions is not None and profile.dimensions_field:
            self._options[profile.dimensions_field] = dimensions
        self._knows_options = False

    def embed_batch(
        self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float
    ) -> EmbeddingResponse:
        """Embed texts with one POST."""
        options = self._options
        try:
            response = self._request(texts, role, options, timeout_seconds)
        except (TextRejectedError, DimensionsRefusedError) as error:
            if self._knows_options:
                raise
            # Before any request has succeeded, an option may be what is refused.
            response, options = self._request_with_fewer(texts, role, error, timeout_seconds)
        self._options, self._knows_options = options, True
        return response

    def model_info(self, *, timeout_seconds: float) -> ModelInfo:
        """Nothing: these services offer neither digest nor dimensions."""
        return ModelInfo()

    def _request_with_fewer(
        self, texts: Sequence[str], role: EmbeddingRole, error: ProviderError, timeout_seconds: float
    ) -> tuple[EmbeddingResponse, dict[str, Any]]:
        """The response without one option or without any, and the options that are left; else the error."""
        left_out = [{name} for name in self._options]
        if len(left_out) > 1:
            left_out.append(set(self._options))
        if isinstance(error, DimensionsRefusedError):
            left_out = [names for names in left_out if self._profile.dimensions_field in names]
        for names in left_out:
            options = {name: value for name, value in self._options.items() if name not in names}
            try:
                response = self._request(texts, role, options, timeout_seconds)
            except (TextRejectedError, ProviderRefusedError):
                continue
            received = len(response.vectors[0]) if len(response.vectors) else 0
            is_cut_here = self._dimensions is not None and received > self._dimensions
            if isinstance(error, DimensionsRefusedError) and is_cut_here and not self._is_matryoshka:
                break
            return response, options
        raise error from None

    def _request(
        self, texts: Sequence[str], role: EmbeddingRole, options: Mapping[str, Any], timeout_seconds: float
    ) -> EmbeddingResponse:
        profile = self._profile
        role_value = self.tasks.get(role)
        body = {
            profile.input_field: texts[0] if profile.is_single else list(texts),
            **({profile.role_field: role_value} if role_value else {}),
            **profile.fields,
            **options,
        }
        with self._connection.post(profile.path, body, timeout_seconds) as answer:
            values = _value(answer, profile.vectors, self._connection.source)
            vectors = _rows([values] if profile.is_single else values)
            counts = (_count(answer, path) for path in profile.tokens)
            tokens = next((count for count in counts if count), None)
        return EmbeddingResponse(vectors, tokens=tokens)


def _role_values(
    profile: Profile, source: str, chosen: Mapping[EmbeddingRole, str]
) -> dict[EmbeddingRole, str]:
    """The role field's value for each role, in place of which others may be chosen."""
    if chosen and not profile.role_field:
        raise ConfigurationError(f"{source} takes no task types: set a prefix for each role instead")
    allowed = [value for value in (profile.document, profile.query, *profile.other_roles) if value]
    for value in chosen.values():
        if allowed and value not in allowed:
            raise ConfigurationError(f"{source} has no task type {value!r}; there are {', '.join(allowed)}")
    values = {**profile.role_values, **chosen} if profile.role_field else {}
    return {role: value for role, value in values.items() if value}


def _value(answer: Any, path: str, source: str) -> Any:
    """What an answer has at a path; of a list, what each entry has there, in the order of their indexes."""
    for step in path.split(".") if path else ():
        if step == "*":
            answer = _in_order(answer, source)
        else:
            answer = [entry[step] for entry in answer] if isinstance(answer, list) else answer[step]
    return answer


def _in_order(entries: Sequence[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    by_index = {entry.get("index", position): entry for position, entry in enumerate(entries)}
    if by_index.keys() != set(range(len(entries))):
        raise InvalidAnswerError(f"{source} answered indexes that do not number its vectors")
    return [by_index[index] for index in range(len(entries))]


def _count(answer: Any, path: str) -> Any:
    for step in path.split("."):
        answer = answer.get(step) if isinstance(answer, dict) else None
    return answer


def _rows(vectors: Sequence[Any]) -> Vectors | Sequence[Any]:
    """The vectors, from base64 or from numbers."""
    if not len(vectors) or not isinstance(vectors[0], str):
        return vectors
    decoded = [binascii.a2b_base64(value) for value in vectors]
    if len({len(value) for value in decoded}) != 1:
        return [np.frombuffer(value, dtype="<f4").tolist() for value in decoded]
    return np.frombuffer(b"".join(decoded), dtype="<f4").reshape(len(decoded), -1)
