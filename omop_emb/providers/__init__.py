"""Where vectors come from: each provider a module, and around all of them, once, what they have in common."""

from __future__ import annotations

from omop_emb import config
from omop_emb.errors import ConfigurationError
from omop_emb.providers.base import Provider

PROVIDERS = ("local", "ollama", "gemini", "openai")


def split_model(model: str) -> tuple[str, str]:
    """("ollama", "nomic-embed-text:v1.5") of "ollama:nomic-embed-text:v1.5".

    Raises:
        ConfigurationError: there is no such provider, or no model is named.
    """
    provider, _, name = model.strip().partition(":")
    if provider not in PROVIDERS or not name:
        raise ConfigurationError(
            f"a model is named provider:model, such as {config.DEFAULT_MODEL}, provider being one of "
            f"{', '.join(PROVIDERS)}; found {model!r}"
        )
    return provider, name


def make_provider(model: str, *, dimensions: int | None, threads: int | None = None) -> Provider:
    """The provider of a model, from its name and the environment; nothing is loaded or asked yet.

    Raises:
        ConfigurationError: the model's name cannot be used.
    """
    provider, name = split_model(model)
    if provider == "local":
        from omop_emb.providers.local import LocalProvider

        return LocalProvider(name, threads=threads or config.positive_integer("OMOP_EMB_THREADS"))
    raise ConfigurationError(f"there is no provider {provider!r}")
