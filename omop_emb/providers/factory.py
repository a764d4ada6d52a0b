"""Provider factory: the provider behind a name such as "ollama:nomic-embed-text"."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from omop_emb import config
from omop_emb.errors import ConfigurationError
from omop_emb.providers.base import Provider
from omop_emb.providers.model_folder import MULTILINGUAL_MODEL
from omop_emb.providers.part_limits import PartLimits
from omop_emb.providers.plugins import make_plugin_provider, plugin_findings, plugins
from omop_emb.providers.profiles import profile_names, profile_of
from omop_emb.records import EmbeddingRole

_PROVIDERS = ("local", "ollama", "gemini", *profile_names())


def make_provider(
    model: str,
    *,
    dimensions: int | None = None,
    tasks: Mapping[EmbeddingRole, str] | None = None,
    is_matryoshka: bool = False,
    parts: PartLimits | None = None,
) -> Provider:
    """The provider of a model, set up from its name and the environment; nothing is loaded or sent yet.

    Args:
        model: provider:model.
        dimensions: for a provider that can cut vectors itself.
        tasks: task types in place of those that follow the role, where the provider has them.
        is_matryoshka: whether the model is known to be trained for shorter vectors.
        parts: what the model is known to read besides text; only Gemini is sent anything else.

    Raises:
        ConfigurationError: the model's name or a variable cannot be used.
        MissingExtraError: the provider's library is not installed.
    """
    provider, name = split_model(model)
    if provider == "gemini":
        from omop_emb.providers.gemini import GeminiProvider

        return GeminiProvider(name, dimensions=dimensions, tasks=tasks, parts=parts)
    if provider in profile_names():
        from omop_emb.providers.profile_provider import ProfileProvider

        return ProfileProvider(
            provider, name, dimensions=dimensions, tasks=tasks, is_matryoshka=is_matryoshka
        )
    if provider not in _PROVIDERS:
        return make_plugin_provider(provider, name, dimensions=dimensions, tasks=tasks or {})
    if tasks:
        raise ConfigurationError(f"{model} takes no task types: set a prefix for each role instead")
    if provider == "ollama":
        from omop_emb.providers.ollama import OllamaProvider

        return OllamaProvider(name, dimensions=dimensions)
    threads = config.positive_integer("OMOP_EMB_THREADS")
    if name == MULTILINGUAL_MODEL:
        from omop_emb.providers.multilingual_e5 import MultilingualE5Provider

        return MultilingualE5Provider(threads=threads)
    from omop_emb.providers.local import LocalProvider

    return LocalProvider(name, threads=threads)


def charges(model: str) -> bool:
    """Whether a model's provider charges for tokens, or may: a plug-in says nothing of it."""
    provider, _, name = model.partition(":")
    if provider in profile_names():
        return profile_of(provider, name).is_paid
    return provider == "gemini" or (provider not in _PROVIDERS and provider in plugins())


def plugin_problems() -> list[str]:
    """A line for each plug-in whose provider's name is taken."""
    return plugin_findings(_PROVIDERS)


def int8_model(model: str) -> str:
    """A local model's name with @int8: its weights are quantised on this machine, in a space of their own.

    Raises:
        ConfigurationError: it is not a local model.
    """
    provider, name = split_model(model)
    if provider != "local":
        raise ConfigurationError(f"omop-emb only quantises local models; found {model}: leave out --quantize")
    encoders = (part if "@int8" in part else f"{part}@int8" for part in name.split(","))
    return f"local:{','.join(encoders)}"


def split_model(
    model: str,
    *,
    what: str = "a model",
    example: str = config.DEFAULT_MODEL,
    known: Collection[str] | None = None,
) -> tuple[str, str]:
    """("ollama", "nomic-embed-text:v1.5") of "ollama:nomic-embed-text:v1.5".

    `known` are the providers there are, by default all, with those of plug-ins.
    """
    provider, _, name = model.strip().partition(":")
    is_known = provider in (known or _PROVIDERS)
    if not is_known and known is None:  # looking for plug-ins takes a while
        known = (*_PROVIDERS, *sorted(plugins()))
        is_known = provider in known
    if not is_known or not name:
        known = known or _PROVIDERS
        raise ConfigurationError(
            f"{what} must be named provider:model, such as {example}; providers are {', '.join(known)}; "
            f"found {model!r}"
        )
    return provider, name
