from __future__ import annotations

import json
import subprocess
import sys

import pytest

from zoomgap.errors import UsageError
from zoomgap.models import catalog
from zoomgap.models.catalog import family_of, open_model
from zoomgap.models.local import LocalModel
from zoomgap.models.openai_api import EndpointModel


def no_image(sha: str) -> bytes:
    raise AssertionError(sha)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("micro", "micro"),
        ("checkpoints/micro/", "micro"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2.5-vl"),
        ("qwen2_5_vl", "qwen2.5-vl"),
        ("Qwen/Qwen3-VL-8B-Instruct", "qwen3-vl"),
        ("qwen3_vl_moe", "qwen3-vl"),
        ("OpenGVLab/InternVL3_5-8B", "internvl"),
        ("zai-org/GLM-4.5V", "glm"),
        ("glm4v", "glm"),
        ("gemini-2.5-flash", "gemini"),
        ("gpt-4o", "gpt"),
        ("openai/o3", "gpt"),
        ("llava-onevision", "unknown"),
        ("microsoft/phi-4", "unknown"),
        ("Qwen/Qwen2-VL-7B", "unknown"),
    ],
)
def test_family_by_name(name, family):
    assert family_of(name).name == family


def test_budgets_are_multiples_of_the_factor():
    for family in (*catalog.FAMILIES, catalog.UNKNOWN):
        for budget in (family.view_pixels, family.crop_pixels):
            assert budget % family.factor**2 == 0
            assert family.crop_pixels < family.view_pixels


def test_micro_is_as_it_was_trained():
    family = family_of("micro")
    assert (family.convention, family.factor, family.suffix) == ("relative_1000", 32, False)
    assert (family.view_pixels, family.crop_pixels) == (65_536, 16_384)


@pytest.mark.parametrize(
    ("config", "family"),
    [
        ({"model_type": "qwen3_vl", "text_config": {"hidden_size": 192}}, "micro"),
        ({"model_type": "qwen3_vl", "text_config": {"hidden_size": 2560}}, "qwen3-vl"),
        ({"model_type": "qwen3_vl", "text_config": {"hidden_size": 2560}, "zoomgap_micro": True}, "micro"),
        ({"model_type": "qwen2_5_vl"}, "qwen2.5-vl"),
        ({"model_type": "internvl"}, "internvl"),
        ({"model_type": "glm4v_moe"}, "glm"),
        ({"model_type": "gemma3"}, "unknown"),
    ],
)
def test_family_of_a_checkpoint_is_read_from_its_config(config, family, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert family_of(f"hf:{tmp_path}").name == family
    assert family_of(str(tmp_path)).name == family, "a server that serves a folder names the model by its path"


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_broken_checkpoints_are_usage_errors(content, tmp_path):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    for call in (lambda: family_of(f"hf:{tmp_path}"), lambda: open_model(f"hf:{tmp_path}", None, no_image)):
        with pytest.raises(UsageError) as raised:
            call()
        assert str(tmp_path) in str(raised.value)
        assert "\n" not in str(raised.value)


def test_missing_embedded_checkpoint_is_a_usage_error(monkeypatch, tmp_path):
    monkeypatch.setattr(catalog, "MICRO_PATH", tmp_path / "micro")
    with pytest.raises(UsageError, match="no checkpoint"):
        open_model("micro", None, no_image)


@pytest.mark.parametrize(
    ("model", "endpoint", "says"),
    [
        ("gpt-4o", None, "--endpoint"),
        ("gpt-4o", "localhost:8000", "http://"),
        ("hf:/x", "http://localhost:1/v1", "in process"),
    ],
)
def test_what_cannot_be_opened_names_what_can(model, endpoint, says):
    with pytest.raises(UsageError, match=says):
        open_model(model, endpoint, no_image)


async def test_open_model_opens(monkeypatch, tiny_checkpoint):
    endpoint = open_model("any", "http://localhost:1/v1", no_image)
    assert isinstance(endpoint, EndpointModel)
    await endpoint.aclose()
    monkeypatch.setattr(catalog, "MICRO_PATH", tiny_checkpoint)
    micro = open_model("micro", None, no_image, batch_size=3)
    assert isinstance(micro, LocalModel)
    assert (micro.name, micro.batch_size) == ("micro", 3)
    await micro.aclose()


def test_http_needs_no_torch():
    code = (
        "import sys; from zoomgap.models.catalog import open_model, family_of; family_of('micro');"
        "open_model('m', 'http://localhost:1/v1', None); sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
