"""Provider plug-ins: providers of other packages, found by their entry points in `omop_emb.providers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from omop_emb.errors import ConfigurationError, OmopEmbError, ProviderError
from omop_emb.providers.base import EmbeddingResponse, Limits, ModelInfo, Provider
from omop_emb.records import EmbeddingRole

GROUP = "omop_emb.providers"


@cache
def plugins() -> dict[str, tuple[EntryPoint, ...]]:
    """The entry points of installed packages, by the provider's name; more than one is a clash."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=GROUP):
        # A package may be installed twice on one path, and is then the same plug-in.
        if all(
            (other.value, _package(other)) != (entry.value, _package(entry))
            for other in found.get(entry.name, ())
        ):
            found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def plugin_findings(known: Sequence[str]) -> list[str]:
    """A line for each plug-in whose name is taken, by one of the `known` providers or by another plug-in."""
    lines = []
    for name, entries in sorted(plugins().items()):
        packages = " and ".join(sorted(map(_package, entries)))
        if name in known:
            lines.append(
                f"the provider {name!r} of {packages} is not used: omop-emb has its own provider of that name"
            )
        elif len(entries) > 1:
            lines.append(_clash(name, entries))
    return lines


def make_plugin_provider(
    name: str, model: str, *, dimensions: int | None, tasks: Mapping[EmbeddingRole, str]
) -> Provider:
    """The provider of a plug-in's model.

    Raises:
        ConfigurationError: the plug-in cannot be loaded, has its name from two packages, or does not offer
            what a Provider has.
    """
    entries = plugins()[name]
    if len(entries) > 1:
        raise ConfigurationError(_clash(name, entries))
    package, source = _package(entries[0]), f"{name}:{model}"
    try:
        factory = entries[0].load()
    except Exception as error:
        raise ConfigurationError(
            f"the provider {name!r} of {package} cannot be loaded ({type(error).__name__}): install it again"
        ) from error
    try:
        provider = factory(model, dimensions=dimensions, tasks=dict(tasks))
    except OmopEmbError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{source} cannot be set up: {package} fails ({type(error).__name__})"
        ) from error
    problem = _problem(provider, name, tasks)
    if problem:
        raise ConfigurationError(f"{source} cannot be used: its provider, of {package}, {problem}")
    return _Guarded(provider, package)


class _Guarded:
    """A plug-in's provider, whose own exceptions become one line."""

    def __init__(self, provider: Provider, package: str) -> None:
        self._provider, self._package = provider, package
        self.name, self.model = provider.name, provider.model
        self.limits, self.tasks = provider.limits, provider.tasks

    def embed_batch(
        self, texts: Sequence[str], role: EmbeddingRole, *, timeout_seconds: float
    ) -> EmbeddingResponse:
        """Embed texts with the plug-in."""
        try:
            response = self._provider.embed_batch(texts, role, timeout_seconds=timeout_seconds)
        except OmopEmbError:
            raise
        except Exception as error:
            raise self._failure(error) from error
        if not isinstance(response, EmbeddingResponse):
            raise ProviderError(
                f"{self.name}:{self.model}: {self._package} must return an EmbeddingResponse; found "
                f"{type(response).__name__}"
            )
        return response

    def model_info(self, *, timeout_seconds: float) -> ModelInfo:
        """What the plug-in knows about its model."""
        try:
            return self._provider.model_info(timeout_seconds=timeout_seconds)
        except OmopEmbError:
            raise
        except Exception as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> ProviderError:
        # Its message is not passed on: it may quote a text or a key.
        return ProviderError(f"{self.name}:{self.model}: {self._package} fails ({type(error).__name__})")


def _problem(provider: object, name: str, tasks: Mapping[EmbeddingRole, str]) -> str:
    """What a plug-in's provider lacks; "" for nothing."""
    if getattr(provider, "name", None) != name:
        return f"must have the name {name!r}"
    model = getattr(provider, "model", None)
    if not isinstance(model, str) or not model:
        return "must have its model's name in `model`"
    if not isinstance(getattr(provider, "limits", None), Limits):
        return "must have Limits in `limits`"
    own_tasks = getattr(provider, "tasks", None)
    if not isinstance(own_tasks, dict):
        return "must have a dict in `tasks`, empty if it takes no task types"
    if any(own_tasks.get(role) != task for role, task in tasks.items()):
        return "takes no task types: set a prefix for each role instead"
    missing = [
        method for method in ("embed_batch", "model_info") if not callable(getattr(provider, method, None))
    ]
    return f"must have the method {missing[0]}" if missing else ""


def _clash(name: str, entries: Sequence[EntryPoint]) -> str:
    packages = " and ".join(sorted(map(_package, entries)))
    return f"two packages offer the provider {name!r}, {packages}: uninstall one of them"


def _package(entry: EntryPoint) -> str:
    return "an unnamed package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
