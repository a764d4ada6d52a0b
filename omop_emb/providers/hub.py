"""A model's files from the Hugging Face hub: ONNX weights and JSON, nothing that could run."""

from __future__ import annotations

from pathlib import Path

from omop_emb.errors import ConfigurationError, MissingExtraError, ProviderUnavailableError

# No pickles, no Python: what is not listed is not fetched.
_FILES = (
    "onnx/model.onnx",
    "onnx/model.onnx_data",
    "model.onnx",
    "model.onnx_data",
    "*.json",
    "1_Pooling/*.json",
)


def hub_folder(name: str, *, revision: str | None = None) -> Path:
    """The folder that holds a hub model's files, fetched at the first use.

    A model that was fetched before is used as it is, without asking the hub: it does not change under an
    index. Name a revision to use another.

    Raises:
        MissingExtraError: huggingface-hub is not installed.
        ConfigurationError: there is no such model, or its licence must be accepted first.
        ProviderUnavailableError: the hub cannot be reached and the model is not on this machine.
    """
    try:
        from huggingface_hub import errors, snapshot_download
    except ImportError:
        raise MissingExtraError(f"the model local:{name}", "local") from None
    from httpx import HTTPError

    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=list(_FILES), local_files_only=True)
        )
    except errors.LocalEntryNotFoundError:
        pass
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_FILES)))
    except errors.GatedRepoError:
        raise ConfigurationError(
            f"{name} asks for its licence to be accepted: do so on the hub, then run hf auth login"
        ) from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        at = f" at revision {revision}" if revision else ""
        raise ConfigurationError(f"the hub has no model {name}{at}; a folder is named by its path") from None
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, HTTPError, OSError) as error:
        raise ProviderUnavailableError(
            f"{name} is not on this machine and the hub cannot be reached ({type(error).__name__}); "
            "fetch it elsewhere and name the folder: local:/path/to/folder"
        ) from None
