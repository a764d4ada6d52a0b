"""Hugging Face hub: a model's files, ONNX weights and JSON only, nothing that could run."""

from __future__ import annotations

from pathlib import Path

from omop_emb.errors import ConfigurationError, MissingExtraError, ProviderError
from omop_emb.providers.no_telemetry import import_huggingface_hub

# No pickles, no Python: what is not listed is not downloaded.
_FILES = (
    "onnx/model.onnx",
    "onnx/model.onnx_data",
    "model.onnx",
    "model.onnx_data",
    "*.json",
    "1_Pooling/*.json",
)


def hub_folder(name: str, *, revision: str | None = None) -> Path:
    """The folder that holds a hub model's files, downloaded at the first use.

    A downloaded model is used without asking the hub again, so that it does not change under an index.
    ProviderError, which is not retried, stands for an unreachable hub: the hub library has retried already.
    """
    try:
        import_huggingface_hub()
        from huggingface_hub import errors, snapshot_download
    except ImportError:
        raise MissingExtraError(f"the model local:{name}", "local") from None
    files = list(_FILES)
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=files, local_files_only=True))
    except errors.LocalEntryNotFoundError:
        pass
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=files))
    except errors.GatedRepoError:
        raise ConfigurationError(
            f"you must accept the licence of {name} on the hub first, then run hf auth login"
        ) from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        at = f" at revision {revision}" if revision else ""
        raise ConfigurationError(f"the hub has no model {name}{at}; a folder is named by its path") from None
    except Exception as error:
        # It depends on the hub library's version which HTTP library's errors come through unwrapped.
        is_of_httpx = type(error).__module__.partition(".")[0] in ("httpx", "httpx2")
        is_of_hub = isinstance(error, (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError))
        if not is_of_httpx and not is_of_hub:
            raise
        raise ProviderError(
            f"{name} is not on this machine and the hub cannot be reached ({type(error).__name__}); "
            "download it elsewhere and name the folder: local:/path/to/folder"
        ) from None
