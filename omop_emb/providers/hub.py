"""A model's files from the Hugging Face hub: ONNX weights and JSON, nothing that could run."""

from __future__ import annotations

from pathlib import Path

from omop_emb.errors import ConfigurationError, MissingExtraError, ProviderError

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
        ProviderError: the hub cannot be reached and the model is not on this machine. It has been asked
            several times by then, so it is not the kind of error that is tried again.
    """
    try:
        from huggingface_hub import errors, snapshot_download
    except ImportError:
        raise MissingExtraError(f"the model local:{name}", "local") from None
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
    except Exception as error:
        # Which HTTP library its faults come from unwrapped is a matter of its version.
        of_http = type(error).__module__.partition(".")[0] in ("httpx", "httpx2")
        if not of_http and not isinstance(
            error, (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError)
        ):
            raise
        raise ProviderError(
            f"{name} is not on this machine and the hub cannot be reached ({type(error).__name__}); "
            "fetch it elsewhere and name the folder: local:/path/to/folder"
        ) from None
