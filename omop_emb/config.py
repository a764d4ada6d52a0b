"""Settings: environment variables and folders; only this module reads the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from omop_emb.errors import ConfigurationError

DEFAULT_MODEL = "local:all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Variable:
    """An environment variable, and in one sentence what it is for."""

    name: str
    meaning: str


VARIABLES = (
    Variable("OMOP_EMB_MODEL", f"the embedding model as provider:model; default {DEFAULT_MODEL}"),
    Variable(
        "OMOP_EMB_MODEL_FAMILY",
        "the known model behind your own name for it, such as the name of an Azure deployment",
    ),
    Variable("OMOP_EMB_DIMENSIONS", "a smaller Matryoshka size; vectors are cut and normalised again"),
    Variable("OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX", "prepended to every concept text, exactly as given"),
    Variable("OMOP_EMB_QUERY_EMBEDDING_PREFIX", "prepended to every query text, exactly as given"),
    Variable(
        "OMOP_EMB_DOCUMENT_EMBEDDING_TASK",
        "the task type for concept texts, for models that take one; by default that of a document in a "
        "search",
    ),
    Variable(
        "OMOP_EMB_QUERY_EMBEDDING_TASK",
        "the task type for query texts, for models that take one; by default that of a search query",
    ),
    Variable(
        "OMOP_EMB_CONCURRENCY", "simultaneous requests to a provider; the default depends on the provider"
    ),
    Variable("OMOP_EMB_THREADS", "threads of a local model; default one per CPU"),
    Variable("OMOP_EMB_REQUESTS_PER_MINUTE", "the most requests per minute to a provider; default no limit"),
    Variable("OMOP_EMB_TEXTS_PER_MINUTE", "the most texts per minute sent to a provider; default no limit"),
    Variable("OMOP_EMB_TOKENS_PER_MINUTE", "the most tokens per minute sent to a provider; default no limit"),
    Variable("OMOP_EMB_DATABASE_URL", "a PostgreSQL URL; if unset, the embedded server is used"),
    Variable("OMOP_EMB_DATA_DIR", "the embedded server's folder; default the user's data folder"),
    Variable(
        "OMOP_EMB_SEARCH_URL",
        "the Qdrant server for vector searches, as qdrant+http://HOST:PORT; if unset, the database",
    ),
    Variable("QDRANT_API_KEY", "the key for that Qdrant server"),
    Variable("OMOP_EMB_VOCABULARY_SCHEMA", "the schema with a CDM's concept and other vocabulary tables"),
    Variable(
        "OMOP_EMB_CACHE_GB",
        "the most disk space in GB that the cache files of bulk searches and mapping may use; default 20",
    ),
    Variable("OMOP_EMB_PRICES", "a TOML file with your own prices, see the how-to page on estimates"),
    Variable(
        "OMOP_EMB_SERVE_TOKEN",
        "the token that clients of `omop-emb serve` send; by default a new one at each start",
    ),
    Variable(
        "OMOP_EMB_REVIEWERS_FILE",
        "a file with the names and tokens of reviewers, see the how-to page on reviewers",
    ),
    Variable("OLLAMA_HOST", "where Ollama listens; default 127.0.0.1:11434"),
    Variable("OLLAMA_API_KEY", "the key for Ollama, if a proxy or Ollama's cloud requires one"),
    Variable("GEMINI_API_KEY", "the key for the Gemini API"),
    Variable(
        "GOOGLE_API_KEY",
        "the same; takes precedence over GEMINI_API_KEY. Without a project, the key for Vertex AI",
    ),
    Variable("GOOGLE_GENAI_USE_VERTEXAI", "if true, Gemini models are used through Vertex AI"),
    Variable("GOOGLE_GENAI_USE_ENTERPRISE", "the same; takes precedence over GOOGLE_GENAI_USE_VERTEXAI"),
    Variable("GOOGLE_CLOUD_PROJECT", "the project that Vertex AI bills"),
    Variable("GOOGLE_CLOUD_LOCATION", "the region of Vertex AI; default global"),
    Variable("OPENAI_BASE_URL", "an OpenAI-compatible endpoint; default https://api.openai.com/v1"),
    Variable("OPENAI_API_KEY", "the key for that endpoint"),
    Variable("AZURE_OPENAI_ENDPOINT", "the Azure OpenAI resource, https://NAME.openai.azure.com"),
    Variable("AZURE_OPENAI_API_KEY", "the key for that resource"),
    Variable("OPENAI_API_VERSION", "a version of Azure's classic API; if unset, its v1 API is used"),
    Variable("CO_API_URL", "Cohere's address; default https://api.cohere.com"),
    Variable("CO_API_KEY", "the key for Cohere"),
    Variable("COHERE_API_KEY", "the same; CO_API_KEY takes precedence"),
    Variable("VOYAGE_BASE_URL", "Voyage's address; default https://api.voyageai.com/v1"),
    Variable("VOYAGE_API_KEY", "the key for Voyage"),
    Variable("JINA_BASE_URL", "Jina's address; default https://api.jina.ai/v1"),
    Variable("JINA_API_KEY", "the key for Jina"),
    Variable("JINAAI_API_KEY", "the same; JINA_API_KEY takes precedence"),
    Variable("MISTRAL_BASE_URL", "Mistral's address; default https://api.mistral.ai/v1"),
    Variable("MISTRAL_API_KEY", "the key for Mistral"),
    Variable("VLLM_BASE_URL", "where vLLM listens; default http://localhost:8000/v1"),
    Variable("VLLM_API_KEY", "the key for vLLM, if it was started with one"),
    Variable("TEI_BASE_URL", "where text-embeddings-inference listens; default http://localhost:8080"),
    Variable("TEI_API_KEY", "the key for text-embeddings-inference, if it was started with one"),
    Variable("LMSTUDIO_BASE_URL", "where LM Studio listens; default http://localhost:1234/v1"),
    Variable("LMSTUDIO_API_KEY", "the key for LM Studio, if a proxy requires one"),
    Variable("LLAMACPP_BASE_URL", "where llama-server listens; default http://localhost:8080/v1"),
    Variable("LLAMA_API_KEY", "the key for llama-server, if it was started with one"),
    Variable("AWS_REGION", "the region of Bedrock, such as us-east-1"),
    Variable("AWS_DEFAULT_REGION", "the same; AWS_REGION takes precedence"),
    Variable("AWS_BEARER_TOKEN_BEDROCK", "a Bedrock key; if unset, requests are signed with AWS credentials"),
    Variable("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "another address for Bedrock, such as a private endpoint"),
)
SPACE_VARIABLES = (
    "OMOP_EMB_MODEL",
    "OMOP_EMB_DIMENSIONS",
    "OMOP_EMB_DOCUMENT_EMBEDDING_PREFIX",
    "OMOP_EMB_QUERY_EMBEDDING_PREFIX",
    "OMOP_EMB_DOCUMENT_EMBEDDING_TASK",
    "OMOP_EMB_QUERY_EMBEDDING_TASK",
)
"""Those that choose an embedding space."""
_KNOWN = frozenset(variable.name for variable in VARIABLES)
_PREFIXES = frozenset(name for name in _KNOWN if name.endswith("_PREFIX"))


def variable(name: str) -> str | None:
    """The value of a documented variable, without blanks around it; None where it is not set or blank.

    A prefix is taken exactly as it was set, as its blanks count; only an empty one counts as not set.
    """
    if name not in _KNOWN:
        raise LookupError(f"{name} is not documented in config.VARIABLES")
    value = os.environ.get(name, "")
    return (value if name in _PREFIXES else value.strip()) or None


def model() -> str:
    """The model that is asked for: OMOP_EMB_MODEL, else the packaged one."""
    return variable("OMOP_EMB_MODEL") or DEFAULT_MODEL


def positive_integer(name: str) -> int | None:
    """The value of a documented variable as a whole number above 0; None where it is not set.

    Raises:
        ConfigurationError: it is something else.
    """
    value = variable(name)
    if value is None:
        return None
    if re.fullmatch("0*[1-9][0-9]{0,8}", value) is None:
        raise ConfigurationError(f"{name} must be a whole number above 0; found {value[:20]!r}")
    return int(value)


def data_dir() -> Path:
    """The folder of the embedded server: OMOP_EMB_DATA_DIR, else /var/lib/omop-emb as root, else XDG's."""
    chosen = variable("OMOP_EMB_DATA_DIR")
    if chosen is not None:
        return Path(chosen).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/omop-emb")
    return _xdg("XDG_DATA_HOME", ".local/share")


def cache_dir() -> Path:
    """The folder for what can be made again: XDG_CACHE_HOME/omop-emb, else ~/.cache/omop-emb."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def one_blas_thread() -> None:
    """Let numpy multiply in one thread, for work that has threads of its own; call it before the import.

    OpenBLAS would start another for products of a few vectors and wait for it busily. What is set stays.
    """
    if not os.environ.get("OPENBLAS_NUM_THREADS"):
        os.environ["OPENBLAS_NUM_THREADS"] = "1"


@contextmanager
def one_openmp_thread() -> Iterator[None]:
    """Let a library that is loaded within use one thread; what is loaded before and after is not touched."""
    name = "OMP_NUM_THREADS"
    earlier = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if earlier is None:
            del os.environ[name]
        else:
            os.environ[name] = earlier


def no_telemetry() -> None:
    """Forbid onnxruntime and the hub's library to report their use; call it before they are imported."""
    os.environ.update(ORT_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_TELEMETRY="1")


def _xdg(name: str, fallback: str) -> Path:
    base = os.environ.get(name, "")
    return (Path(base) if base.startswith("/") else Path.home() / fallback) / "omop-emb"


def program_environment(**changes: str) -> dict[str, str]:
    """The environment for a program of PostgreSQL's: ours, whose PG* variables and home folder it reads."""
    return {**os.environ, **changes}
