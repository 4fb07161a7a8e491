"""The house keeps its shape: dependencies point one way, and the light commands stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import zoomgap

ROOT = Path(zoomgap.__file__).parent
BELOW = {
    "errors", "geometry", "records", "imaging", "decoded", "renditions", "grading", "prompts", "benchmarks", "models",
}  # fmt: skip
COMMANDS = {"cli_attention", "cli_bench", "cli_compare", "cli_distill", "cli_grade", "cli_models"}
ALLOWED = {
    "errors": set(),
    "pages": set(),
    "geometry": {"errors"},
    "records": {"errors", "geometry"},
    "imaging": {"errors", "geometry", "records"},
    "decoded": {"imaging"},
    "renditions": {"geometry", "records", "imaging", "decoded"},
    "grading": {"errors", "records"},
    "prompts": {"errors", "records"},
    "benchmarks": {"errors", "geometry", "records", "imaging", "pages"},
    "models": {"errors", "geometry", "records", "imaging"},
    "storage": BELOW,
    "agents": BELOW | {"storage"},
    "distill": BELOW | {"storage"},
    "compare": BELOW | {"storage", "pages"},
    "pipeline": BELOW | {"config", "storage", "agents", "distill", "compare"},
    "demo": BELOW | {"storage", "pipeline", "compare"},
    "console": {"errors", "records", "storage"},
    "console_bench": {"errors", "records", "imaging", "benchmarks", "console"},
    "options": set(),
    "config": {"errors", "records", "models"},
    "cli_bench": BELOW | {"options", "storage", "pipeline", "console", "console_bench"},
    "cli_models": {"errors", "models", "config", "console", "options"},
    "cli_distill": BELOW | {"options", "storage", "pipeline", "distill", "console", "console_bench"},
    "cli_grade": {"errors", "pipeline", "console", "options"},
    "cli_compare": {"errors", "pipeline", "console", "options"},
    "cli_attention": {"errors", "pipeline", "console", "options"},
    "cli": BELOW | COMMANDS | {"options", "storage", "pipeline", "demo", "console"},
    "__main__": {"cli"},
}
HEAVY_ALLOWED = {
    "models/local.py",
    "distill/pretrain.py",
    "distill/packing.py",
    "distill/guidance.py",
    "distill/encoding.py",
    "distill/optim.py",
    "distill/rows.py",
    "distill/train.py",
}


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Modules that a file imports, type-checking blocks left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module == "zoomgap" else {node.module}
    return found


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_dependencies_point_one_way(path):
    own = room(path)
    used = {name.split(".")[1] for name in imports(path) if name.startswith("zoomgap.") and name.count(".")}
    used -= {own, "__version__"}
    assert used <= ALLOWED[own], f"{own} may not import {used - ALLOWED[own]}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_are_imported_where_they_work(path):
    heavy = {name.split(".")[0] for name in imports(path, top_level_only=True)} & {"torch", "transformers"}
    assert not heavy or str(path.relative_to(ROOT)) in HEAVY_ALLOWED


def test_only_the_command_line_prints():
    printing = {
        str(path.relative_to(ROOT))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    }
    assert all(name.startswith(("cli", "console")) for name in printing)


@pytest.mark.parametrize("command", [["--help"], ["run", "--help"], ["distill", "train", "--help"]])
def test_help_loads_neither_torch_nor_transformers(command):
    code = (
        "import sys; from zoomgap.cli import main; sys.argv = ['zoomgap', *sys.argv[1:]]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('LOADED', [name for name in ('torch', 'transformers', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True).stdout
    assert "Usage" in out
    assert out.strip().endswith("LOADED []")
