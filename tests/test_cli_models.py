from __future__ import annotations

import json
import tomllib

import pytest
import typer
from typer.testing import CliRunner

from zoomgap.cli_models import models_app
from zoomgap.errors import UsageError, ZoomgapError
from zoomgap.models import catalog
from zoomgap.models.families import FAMILIES, UNKNOWN
from zoomgap.models.scripted import ScriptedModel


@pytest.fixture(autouse=True)
def _no_files(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZOOMGAP_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))


def run(*words: str):
    return CliRunner().invoke(models_app, list(words), catch_exceptions=True)


def test_list_names_every_family():
    result = run("list")
    assert result.exit_code == 0
    for family in (*FAMILIES, UNKNOWN):
        assert family.name in result.stdout
    rows = json.loads(run("list", "--json").stdout)
    assert [row["name"] for row in rows] == [family.name for family in (*FAMILIES, UNKNOWN)]
    assert rows[2]["convention"] == "absolute"


def test_show_says_where_each_value_comes_from(tmp_path):
    (tmp_path / "zoomgap.toml").write_text('[models."my-*"]\nfamily = "qwen2.5-vl"\nmax_images = 3\n')
    result = run("show", "my-vl")
    assert result.exit_code == 0
    assert "absolute" in result.stdout
    assert "named by zoomgap.toml" in result.stdout
    assert result.stderr == ""
    shown = json.loads(run("show", "my-vl", "--json").stdout)
    assert (shown["family"]["convention"], shown["family"]["max_images"]) == ("absolute", 3)
    assert shown["origin"]["max_images"] == 'zoomgap.toml, [models."my-*"]'
    assert shown["warnings"] == []


def test_show_warns_of_an_unknown_model():
    result = run("show", "llava")
    assert result.exit_code == 0
    assert "zoomgap models probe" in result.stderr
    assert json.loads(run("show", "llava", "--json").stdout)["warnings"]


def test_errors_are_those_of_the_file_and_of_names(tmp_path):
    (tmp_path / "zoomgap.toml").write_text("[models")
    assert isinstance(run("show", "m").exception, UsageError)
    (tmp_path / "zoomgap.toml").unlink()
    assert isinstance(run("show", "hf:nowhere").exception, UsageError)
    assert isinstance(run("probe", "--model", "my-vl").exception, UsageError)


def test_probe_prints_an_entry(monkeypatch):
    asked = []

    def opened(model, endpoint, load_image, batch_size):
        asked.append((model, endpoint))
        return ScriptedModel(lambda request: "Lovely weather.", name=model)

    monkeypatch.setattr(catalog, "open_model", opened)
    words = (
        "probe",
        "--endpoint",
        "http://localhost:1/v1",
        "--model",
        "my-vl",
        "--max-images",
        "1",
        "--max-side",
        "64",
    )
    result = run(*words)
    assert result.exit_code == 0, result.exception
    assert tomllib.loads(result.stdout) == {"models": {"my-vl": {}}}
    assert '# convention: "unknown"; ' in result.stdout
    found = json.loads(run(*words, "--json").stdout)
    assert found["model"] == "my-vl"
    assert {key: found["findings"][0][key] for key in ("name", "value")} == {"name": "answers", "value": True}
    assert asked == [("my-vl", "http://localhost:1/v1")] * 2


def test_probe_of_a_model_that_does_not_answer_fails(monkeypatch):
    monkeypatch.setattr(catalog, "open_model", lambda *args, **options: ScriptedModel([]))
    result = run("probe", "--endpoint", "http://localhost:1/v1", "--model", "my-vl")
    assert isinstance(result.exception, ZoomgapError)
    assert "does not answer" in str(result.exception)
    assert result.stdout == ""


def test_every_command_has_an_example_and_json():
    group = typer.main.get_command(models_app)
    for name, command in group.commands.items():
        assert f"Example: zoomgap models {name}" in command.help
        assert "--json" in {option for parameter in command.params for option in parameter.opts}
