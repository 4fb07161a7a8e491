from __future__ import annotations

import json
from dataclasses import fields

import pytest

from zoomgap.config import Config, Entry, config_path, load, settled
from zoomgap.errors import UsageError
from zoomgap.models.catalog import family_of
from zoomgap.models.families import FAMILIES, Family

NONE = Config()


@pytest.fixture
def write(tmp_path):
    """Writes a file and gives its path."""

    def file(text: str | bytes):
        path = tmp_path / "zoomgap.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return file


def test_the_file_is_looked_for_in_three_places(tmp_path):
    here, home, xdg = tmp_path / "here", tmp_path / "home", tmp_path / "xdg"
    environ = {"HOME": str(home)}
    for folder in (here, home / ".config/zoomgap", xdg / "zoomgap"):
        folder.mkdir(parents=True)
    assert config_path(environ, here) is None
    (home / ".config/zoomgap/config.toml").write_text("")
    assert config_path(environ, here) == home / ".config/zoomgap/config.toml"
    assert config_path({**environ, "XDG_CONFIG_HOME": str(xdg)}, here) is None
    (xdg / "zoomgap/config.toml").write_text("")
    assert config_path({**environ, "XDG_CONFIG_HOME": str(xdg)}, here) == xdg / "zoomgap/config.toml"
    (here / "zoomgap.toml").write_text("")
    assert config_path(environ, here) == here / "zoomgap.toml"
    named = tmp_path / "named.toml"
    with pytest.raises(UsageError, match="ZOOMGAP_CONFIG names"):
        config_path({**environ, "ZOOMGAP_CONFIG": str(named)}, here)
    named.write_text("")
    assert config_path({**environ, "ZOOMGAP_CONFIG": str(named)}, here) == named


def test_load_reads_the_file_that_counts(monkeypatch, tmp_path):
    path = tmp_path / "any.toml"
    path.write_text('[models."m"]\nfactor = 28\n')
    monkeypatch.setenv("ZOOMGAP_CONFIG", str(path))
    assert load() == Config(path, (Entry("m", {"factor": 28}),))
    monkeypatch.delenv("ZOOMGAP_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert load() == NONE


def test_an_entry_is_found_by_name_then_by_pattern(write):
    config = load(write('[models."my-*"]\nfactor = 14\n[models."My-VL"]\nfactor = 28\n[models."*"]\nfactor = 16\n'))
    assert [config.entry(name).name for name in ("My-VL", "my-vl", "MY-other", "else")] == [
        "My-VL",
        "my-*",
        "my-*",
        "*",
    ]
    assert NONE.entry("my-vl") is None


def test_what_the_file_says_goes_over_the_catalog_and_options_over_the_file(write):
    path = write(
        '[models."my-vl"]\nfamily = "qwen2.5-vl"\nview_pixels = 784000\ndialect = "native"\nrenders_tools = true\n'
    )
    found = settled("my-vl", {"view_pixels": 392_000, "convention": None}, load(path))
    assert found.family.name == "qwen2.5-vl"
    assert (found.family.convention, found.family.factor) == ("absolute", 28)
    assert (found.family.view_pixels, found.family.dialect, found.family.renders_tools) == (392_000, "native", True)
    assert found.origin["view_pixels"] == "an option"
    assert found.origin["dialect"] == f'{path}, [models."my-vl"]'
    assert found.origin["convention"] == f'family qwen2.5-vl, named by {path}, [models."my-vl"]'
    assert set(found.origin) == {field.name for field in fields(Family)}
    assert found.warnings == ()


def test_without_a_word_of_the_user_it_is_the_catalog():
    for name in ("micro", "Qwen/Qwen3-VL-8B-Instruct", "gpt-4o"):
        found = settled(name, config=NONE)
        assert found.family == family_of(name)
        assert found.warnings == ()
        assert found.origin["factor"] == f"family {found.family.name}, by its name"


def test_an_option_names_the_family():
    found = settled("my-vl", {"family": "gemini"}, NONE)
    assert found.family.convention == "relative_1000_yx"
    assert found.origin["name"] == "family gemini, named by an option"


def test_an_unknown_model_is_warned_of_until_its_convention_is_settled():
    found = settled("llava-onevision", config=NONE)
    assert (found.family.name, found.family.convention) == ("unknown", "relative_1000")
    (warning,) = found.warnings
    assert "llava-onevision" in warning
    assert "zoomgap models probe" in warning
    assert settled("llava-onevision", {"factor": 14}, NONE).warnings
    assert settled("llava-onevision", {"convention": "relative_1"}, NONE).warnings == ()


def test_a_checkpoint_is_settled_by_its_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "glm4v_moe"}))
    found = settled(f"hf:{tmp_path}", config=NONE)
    assert found.family.name == "glm-v"
    assert found.origin["convention"] == "family glm-v, by model_type 'glm4v_moe' of its config.json"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[models", "no TOML"),
        (b"\xff\xfe", "UTF-8"),
        ("x = " + "[" * 50_000, "no TOML"),
        ("[endpoints]\nurl = 1\n", "'endpoints' is not known"),
        ("models = 3\n", "models is no table"),
        ("[models]\nm = 3\n", 'models."m"] is no table'),
        ("[models.qwen2.5-vl]\nfactor = 28\n", "in quotes"),
        ('[models."m"]\nfactr = 28\n', "did you mean 'factor'"),
        ('[models."m"]\nzzz = 28\n', "use family, "),
        ('[models."m"]\nname = "n"\n', "'name' is no field"),
        ('[models."m"]\npattern = "n"\n', "'pattern' is no field"),
        ('[models."m"]\nfactor = "28"\n', "factor is '28': give a whole number"),
        ('[models."m"]\nfactor = true\n', "factor is True: give a whole number"),
        ('[models."m"]\nview_pixels = 1e6\n', "view_pixels is 1000000.0: give a whole number"),
        ('[models."m"]\nsuffix = 1\n', "suffix is 1: give true or false"),
        ('[models."m"]\nsource = 1\n', "source is 1: give text in quotes"),
        ('[models."m"]\nconvention = "pixels"\n', "convention is 'pixels': use one of relative_1000"),
        ('[models."m"]\nconvention = ["absolute"]\n', "use one of"),
        ('[models."m"]\ndialect = "xml"\n', "use one of native, hermes, json"),
        ('[models."m"]\nresize = "tiles"\n', "use one of none, smart_resize"),
        ('[models."m"]\nimage_return = "system"\n', "use one of user"),
        ('[models."m"]\nfamily = 3\n', "family is 3"),
        ('[models."m"]\nfamily = "qwen"\n', "family is 'qwen': use one of micro, "),
        ('[models."m"]\nfamily = """a\nb"""\n', "family is 'a"),
    ],
)
def test_what_is_wrong_in_the_file_is_one_line_with_its_name(text, says, write):
    path = write(text)
    with pytest.raises(UsageError) as raised:
        load(path)
    message = str(raised.value)
    assert message.startswith(str(path))
    assert says in message
    assert "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize(
    "text",
    [
        'api_key = "sk-123"\n',
        '[models."m"]\napi_key = "sk-123"\n',
        '[models."m"]\nOPENAI_API_KEY = "sk-123"\n',
        '[endpoint]\nextra = [{ token = "sk-123" }]\n',
        '[models]\nsecret = "sk-123"\n',
        '[models."m".headers]\nAuthorization = "sk-123"\n',
    ],
)
def test_keys_of_services_are_refused_and_not_repeated(text, write):
    with pytest.raises(UsageError, match="ZOOMGAP_API_KEY in the environment") as raised:
        load(write(text))
    assert "sk-123" not in str(raised.value)


def test_a_model_may_be_called_after_a_key(write):
    assert load(write('[models."monkey-key"]\nfactor = 28\n')).entry("monkey-key")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"factor": 0}, "factor 0"),
        ({"factor": 32, "crop_pixels": 1000}, "crop_pixels 1000"),
        ({"view_pixels": -1}, "view_pixels -1"),
        ({"max_images": 0}, "max_images 0"),
        ({"resize": "smart_resize", "max_pixels": 100}, "max_pixels of at least"),
        ({"resize": "smart_resize", "min_pixels": 10_000, "max_pixels": 9_999}, "at least 10000"),
        ({"resize": "internvl", "max_pixels": 10**6}, "tile"),
        ({"resize": "claude", "max_pixels": 10**6}, "max_side"),
        ({"tile": -1}, "tile -1 is negative"),
    ],
)
def test_values_that_do_not_fit_one_another_are_named_with_their_place(values, says, write):
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in values.items())
    path = write(f'[models."m"]\n{lines}\n')
    for given, config, place in ((None, load(path), str(path)), (values, NONE, "an option")):
        with pytest.raises(UsageError) as raised:
            settled("m", given, config)
        assert place in str(raised.value)
        assert says in str(raised.value)
        assert "\n" not in str(raised.value)


def test_options_are_checked_as_the_file_is():
    with pytest.raises(UsageError, match=r"the options: convention is 'pixels'"):
        settled("m", {"convention": "pixels"}, NONE)


def test_every_family_can_be_named(write):
    for family in FAMILIES:
        path = write(f'[models."m"]\nfamily = "{family.name}"\n')
        assert settled("m", config=load(path)).family == family
