"""The shape of the code: which way imports point, who may read what, what the package holds."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import omop_emb

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("omop_emb/**/*.py"), *ROOT.glob("cli/**/*.py"), *ROOT.glob("sql/**/*.py")])

# The packages and modules of omop_emb, from the top down. A module may import from the floors below its own;
# what stands side by side on a floor, told apart by "|", never imports each other.
FLOORS = (
    "cli",
    "web | plots | spark",
    "service",
    "mapping",
    "interface | indexing",
    "search",
    "spaces",
    "vocabulary",
    "embeddings | database",
    "providers | server | disk_cache",
    "config | records | vectors | safe_files | machine",
    "errors | version | lazy | sql | arrays",
)
# The same inside mapping.
MAPPING_FLOORS = (
    "training",
    "file_job | evaluation",
    "mapper",
    "resources",
    "engine",
    "results",
    "settings",
    "ranking",
    "features | approvals",
    "retrieval | term_frames",
    "judge",
    "files | terms",
    "records",
)


def _floors(lines: tuple[str, ...]) -> dict[str, int]:
    return {name: floor for floor, line in enumerate(lines) for name in line.split(" | ")}


def _module(path: Path) -> str:
    """A file's module below omop_emb: "records", "providers.local", "cli.main"; "" for the package itself."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "omop_emb":
        parts = parts[1:]
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


MODULES = {_module(path): path for path in SOURCES}


def _imports(module: str, path: Path) -> Iterator[tuple[str, int]]:
    """The modules below omop_emb that a file imports, wherever in it, with the line."""

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
                elif base == "" and alias.name in omop_emb.__all__:
                    yield getattr(omop_emb, alias.name).__module__.removeprefix("omop_emb."), node.lineno
                else:
                    yield base, node.lineno


def _misplaced(floors: dict[str, int], parent: str, module: str) -> list[str]:
    """Imports of a module that do not point downwards, among what stands below `parent`."""
    prefix = f"{parent}." if parent else ""
    own = module.removeprefix(prefix).split(".")[0]
    assert own in floors, f"{module} has no floor: add it where it belongs"
    misplaced = []
    for imported, line in _imports(module, MODULES[module]):
        if not imported.startswith(prefix) or imported in ("", parent):
            continue
        other = imported.removeprefix(prefix).split(".")[0]
        assert other in floors, f"{module}:{line} imports {imported}, which has no floor"
        if other != own and floors[other] <= floors[own]:
            misplaced.append(f"{module}:{line} imports {imported}")
    return misplaced


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_imports_point_downwards_only(module: str) -> None:
    assert _misplaced(_floors(FLOORS), "", module) == []


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("mapping.")])
def test_imports_inside_mapping_point_downwards_only(module: str) -> None:
    assert _misplaced(_floors(MAPPING_FLOORS), "mapping", module) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    imports = {
        name: {imported for imported, _ in _imports(name, path) if imported != name}
        for name, path in MODULES.items()
        if path.name != "__init__.py"  # a face names its modules, and imports them at first use
    }
    finished: set[str] = set()
    trail: list[str] = []

    def follow(module: str) -> None:
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module in finished:
            return
        trail.append(module)
        for imported in sorted(imports.get(module, ())):
            follow(imported)
        finished.add(trail.pop())

    for module in imports:
        follow(module)


@pytest.mark.parametrize("path", sorted(ROOT.glob("cli/**/*.py")), ids=lambda path: path.name)
def test_the_command_line_imports_faces_of_packages_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.ImportFrom)
            and not node.level
            and (node.module or "").startswith("omop_emb.")
        ):
            module = (node.module or "").removeprefix("omop_emb.")
            assert "." not in module or MODULES[module].name == "__init__.py", f"{path.name}:{node.lineno}"
            face = MODULES[module]
            inside = {f"{module}.{alias.name}" for alias in node.names} & set(MODULES)
            assert face.name != "__init__.py" or not inside, f"{path.name}:{node.lineno}: {inside}"


def test_no_public_name_is_a_module_of_its_package_too() -> None:
    for name, path in MODULES.items():
        if path.name == "__init__.py":
            package = import_module(f"omop_emb.{name}".rstrip("."))
            assert not [public for public in getattr(package, "__all__", ()) if f"{name}.{public}" in MODULES]


@pytest.mark.parametrize("name", [name for name, path in MODULES.items() if path.name == "__init__.py"])
def test_each_name_of_a_face_can_be_imported(name: str) -> None:
    package = import_module(f"omop_emb.{name}".rstrip("."))
    for public in getattr(package, "__all__", ()):
        assert getattr(package, public) is not None


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


# Libraries that read what others have written: who imports one turns its errors into ours, or only writes.
FOREIGN_READERS = {"openpyxl", "pyarrow", "zipfile", "tokenizers", "tomllib", "lightgbm"}
BOUNDARIES = ("omop_emb.safe_files.foreign_errors", "omop_emb.safe_files.zip_archive")
WRITERS = {  # and who reads nothing but what ships with the package
    "mapping.files.excel_writer",
    "safe_files.foreign_errors",
    "mapping.files.table_writer",
    "mapping.files.workbook_archive",
    "mapping.ranking.trees",
    "mapping.terms.data_files",
    "embeddings.models",
    "providers.profiles",
}
# JSON that the package or the database holds, and answers within a connection's block.
READS_JSON = {
    "safe_files.foreign_text",
    "safe_files.sealed_folder",
    "safe_files.array_objects",
    "search.matrix",
    "mapping.files.result_json",
    "mapping.ranking.linear",
    "mapping.ranking.ranker_store",
    "providers.profile_connection",
}


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_foreign_readers_are_called_within_the_boundary(module: str) -> None:
    path = MODULES[module]
    tree = ast.parse(path.read_text())
    sources = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    if _tops(path) & FOREIGN_READERS and module not in WRITERS:
        assert sources & set(BOUNDARIES), f"{module} calls a reader outside of foreign_errors()"
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    if calls & {"json.loads", "json.load"} and not module.startswith("web"):
        assert module in READS_JSON, f"{module} reads JSON without parse_json()"


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
    assert not _tops(path) & {"numpy", "pandas", "sqlalchemy", "psycopg"}
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


def test_temporary_files_have_no_name() -> None:
    """What a killed process leaves of one with a name stays for ever, terms included."""
    named = re.compile(r"\b(mkdtemp|mkstemp|mktemp|NamedTemporaryFile|TemporaryDirectory)\b")
    assert [str(path) for path in SOURCES if named.search(path.read_text())] == []


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


# Bounds that keep files and calls readable; what does not fit into them is two things.
MOST_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 300, 60, 12
MOST_TOP_LEVEL, MOST_FLOORS, MOST_IN_MAPPING = 26, 12, 17  # omop_emb.plots and .spark are public names
# Library, commands and SQL. A feature that needs more raises this in its own commit, if it is worth it.
MOST_LINES_IN_ALL = 74_700


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Lines of a function's body without docstring, comments and blank lines."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return 0
    inside = lines[body[0].lineno - 1 : body[-1].end_lineno]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in inside)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short_and_take_few_parameters(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= MOST_LINES
    for function in _functions(path):
        arguments = function.args
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        taken = [one for one in parameters if one.arg not in ("self", "cls")]
        assert len(taken) <= MOST_PARAMETERS, f"{function.name}: {len(taken)} parameters"
        length = _code_lines(function, lines)
        assert length <= MOST_FUNCTION_LINES, f"{function.name}: {length} lines"


def test_the_house_has_few_rooms_and_floors() -> None:
    assert len(FLOORS) <= MOST_FLOORS
    assert len(_floors(FLOORS)) <= MOST_TOP_LEVEL
    inside_mapping = {name.split(".")[1] for name in MODULES if name.startswith("mapping.")}
    assert len(inside_mapping) <= MOST_IN_MAPPING


def test_library_and_command_line_stay_within_their_size() -> None:
    assert sum(len(path.read_text().splitlines()) for path in SOURCES) <= MOST_LINES_IN_ALL
