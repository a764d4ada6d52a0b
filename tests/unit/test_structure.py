"""The shape of the code: which way imports point, who may read what, what the package holds."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("omop_emb/**/*.py"), *ROOT.glob("cli/**/*.py"), *ROOT.glob("sql/**/*.py")])

# The map, from the top down. A module may import from its own layer and from those below it; the two
# halves in the middle know nothing of each other. Names are modules, and stand for the modules that
# continue them too: "vocabulary" covers vocabulary_load.
LAYERS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("cli",),),
    (("demo", "diagnosis"),),
    (("mapping", "frames"),),
    (("indexing", "estimate"),),
    (("interface",),),
    (
        ("embeddings", "providers", "vectors", "models", "prefixes"),
        (
            "search",
            "lookup",
            "store",
            "spaces",
            "tables",
            "vocabulary",
            "migrations",
            "database",
            "server",
            "recipe",
            "sql",
            "binary",
            "filters",
            "transactions",
            "build",
            "matrix",
            "ranking",
            "planner",
            "statements",
            "counts",
            "recall",
        ),
    ),
    (("config", "records", "errors", "atomic"),),
)


def _module(path: Path) -> str:
    """A file's module below omop_emb: "records", "providers.local", "cli.main"; "" for the package itself."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "omop_emb":
        parts = parts[1:]
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


MODULES = {_module(path): path for path in SOURCES}


def _place(module: str) -> tuple[int, int] | None:
    """The layer and the half within it that a module belongs to."""
    top = module.split(".")[0]
    for layer, halves in enumerate(LAYERS):
        for half, names in enumerate(halves):
            if any(top == name or top.startswith(f"{name}_") for name in names):
                return layer, half
    return None


def _imports(module: str, path: Path) -> Iterator[tuple[str, int]]:
    """The modules below omop_emb that a file imports, wherever in it, with the line."""
    from omop_emb import _HOME

    def below(name: str, line: int) -> Iterator[tuple[str, int]]:
        if name == "omop_emb" or name.startswith("omop_emb."):
            yield name.removeprefix("omop_emb").removeprefix("."), line

    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from below(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
                package = package[: len(package) - (node.level - 1)]
                base = ".".join([*package, *(node.module or "").split(".")]).strip(".")
            elif node.module == "omop_emb" or (node.module or "").startswith("omop_emb."):
                base = (node.module or "").removeprefix("omop_emb").removeprefix(".")
            else:
                continue
            for alias in node.names:
                whole = f"{base}.{alias.name}".strip(".")
                if whole in MODULES:
                    yield whole, node.lineno
                elif base == "" and alias.name in _HOME:
                    yield _HOME[alias.name], node.lineno
                else:
                    yield base, node.lineno


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_a_module_has_its_place_on_the_map_and_imports_only_downwards(module: str) -> None:
    place = _place(module)
    assert place is not None, f"{module} is not on the map: add it to LAYERS where it belongs"
    for imported, line in _imports(module, MODULES[module]):
        if imported == "":
            continue  # the package itself: its version
        other = _place(imported)
        assert other is not None, f"{module}:{line} imports {imported}, which is not on the map"
        assert other[0] >= place[0], f"{module}:{line} imports {imported}, which stands above it"
        assert other[0] > place[0] or other[1] == place[1], (
            f"{module}:{line} imports {imported}, which is of the other half"
        )


def test_the_map_names_no_module_twice() -> None:
    names = [name for halves in LAYERS for half in halves for name in half]
    assert len(names) == len(set(names))


def test_the_import_reader_sees_every_way_of_importing(tmp_path: Path) -> None:
    source = tmp_path / "sample.py"
    source.write_text(
        "import omop_emb.records\n"
        "from omop_emb import config, EmbeddingRole\n"
        "from omop_emb.errors import InputError\n"
        "def later():\n"
        "    from ..providers import x\n"
        "    from . import records\n"
    )
    found = [name for name, _ in _imports("mapping.sample", source)]
    assert sorted(found) == ["config", "errors", "mapping.records", "providers", "records", "records"]


def _tops(path: Path) -> set[str]:
    tops: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            tops |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            tops.add(node.module.split(".")[0])
    return tops


CLI = sorted(ROOT.glob("cli/**/*.py"))
_SQL = re.compile(
    r"\b(select\s[^;]*\sfrom\s|insert\s+into\s|update\s+\S+\s+set\s|delete\s+from\s"
    r"|(create|alter|drop)\s+(table|schema|index|view)\b)",
    re.IGNORECASE,
)


def _texts(path: Path) -> Iterator[str]:
    """String constants that are not docstrings or other bare strings."""
    tree = ast.parse(path.read_text())
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node.value


@pytest.mark.parametrize("path", CLI, ids=lambda path: path.name)
def test_the_command_line_knows_neither_sql_nor_numpy(path: Path) -> None:
    assert not _tops(path) & {"numpy", "pandas", "sqlalchemy", "psycopg", "pgvector"}
    assert not [text for text in _texts(path) if _SQL.search(text)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_config_reads_the_environment(path: Path) -> None:
    if path == ROOT / "omop_emb/config.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        assert name not in {"environ", "environb", "getenv", "putenv"}, f"line {getattr(node, 'lineno', 0)}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_in_its_first_line_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, "no docstring"
    assert docstring.splitlines()[0].endswith((".", ":")), docstring.splitlines()[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_printed_but_through_render(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]


_SILENCED = re.compile(
    r"#\s*(?:noqa\b(?::\s*[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)?|type:\s*ignore(?:\[[^\]]*\])?)"
)


def _unexplained(source: str) -> list[int]:
    """Lines that silence a checker and say not why, on the line itself or in a comment above it."""
    lines = source.splitlines()
    found = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and _SILENCED.search(token.string):
            reason = _SILENCED.sub("", token.string).strip(" #-:—")
            number = token.start[0]
            above = lines[number - 2].strip() if number > 1 else ""
            if not reason and not above.startswith("#"):
                found.append(number)
    return found


@pytest.mark.parametrize(
    "path",
    sorted([*SOURCES, *ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_what_silences_a_checker_says_why(path: Path) -> None:
    assert _unexplained(path.read_text()) == []


def test_an_unexplained_silence_is_seen() -> None:
    source = "\n".join(
        [
            "a = 1  # noqa: S101, S603",
            "b = 2  # noqa: S101 - a reason",
            "# why",
            "c = 3  # type: ignore[misc]",
            "d = 4  # type: ignore[misc]",
            "",
        ]
    )
    assert _unexplained(source) == [1, 5]


def test_the_package_list_equals_the_folders() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("omop_emb/**/__init__.py")}
    for package, folder in project["tool"]["setuptools"]["package-dir"].items():
        for path in (ROOT / folder).glob("**/__init__.py"):
            folders.add(".".join([package, *path.parent.relative_to(ROOT / folder).parts]))
    assert listed == folders


def test_each_extra_that_an_error_names_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("MissingExtraError"):
                extra = node.args[1] if len(node.args) > 1 else None
                if isinstance(extra, ast.Constant):
                    assert extra.value in extras, f"{path.name}:{node.lineno}"
