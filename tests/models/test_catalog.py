from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from zoomgap.errors import UsageError
from zoomgap.models import catalog
from zoomgap.models.catalog import MICRO_PATH, family_named, family_of, identify, open_model
from zoomgap.models.families import FAMILIES, UNKNOWN
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
        ("OpenGVLab/InternVL2_5-8B", "internvl"),
        ("zai-org/GLM-4.1V-9B-Thinking", "glm-4.1v"),
        ("glm4v", "glm-4.1v"),
        ("zai-org/GLM-4.5V", "glm-v"),
        ("GLM-4.6V-Flash", "glm-v"),
        ("gemini-2.5-flash", "gemini"),
        ("gpt-4o", "gpt"),
        ("gpt-5-mini", "gpt"),
        ("openai/o3", "gpt"),
        ("claude-sonnet-4-5", "claude"),
        ("moonshotai/Kimi-VL-A3B-Instruct", "kimi-vl"),
        ("moonshotai/Kimi-K2.5", "kimi-k2.5"),
        ("deepseek-ai/deepseek-vl2-tiny", "deepseek-vl2"),
        ("HuggingFaceTB/SmolVLM2-2.2B-Instruct", "smolvlm"),
        ("HuggingFaceM4/Idefics3-8B-Llama3", "idefics3"),
        ("google/gemma-3-4b-it", "gemma-3"),
        ("mistral-small-3.1", "mistral"),
        ("mistralai/Pixtral-12B-2409", "pixtral"),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "llama-4"),
        ("allenai/Molmo-7B-D-0924", "molmo"),
        ("Qwen/Qwen2-VL-7B", "qwen2-vl"),
        ("Qwen/Qwen3.5-9B", "qwen3.5"),
        ("llava-onevision", "unknown"),
        ("microsoft/phi-4", "unknown"),
        ("google/gemma-3n-E4B-it", "unknown"),
        ("my-o3-clone", "unknown"),
    ],
)
def test_family_by_name(name, family):
    assert family_of(name).name == family


def test_budgets_are_multiples_of_the_factor():
    for family in (*FAMILIES, UNKNOWN):
        for budget in (family.view_pixels, *family.crops):
            assert budget % family.factor**2 == 0
        assert family.crops.least < family.view_pixels
        assert family.crops.most == (128 * 128 if family.name == "micro" else family.view_pixels)


def test_crops_follow_the_view_and_never_cross():
    family = replace(family_named("qwen2.5-vl"), view_pixels=100_352)
    assert family.crops == (100_352, 100_352)
    assert replace(family, min_crop_pixels=784).crops == (784, 100_352)
    assert replace(family, crop_pixels=200_704).crops == (200_704, 200_704)


def test_a_family_has_one_name_a_pattern_and_a_source():
    names = [family.name for family in (*FAMILIES, UNKNOWN)]
    assert len(set(names)) == len(names)
    for family in FAMILIES:
        assert family.pattern
        assert len(family.source) > 20
        assert family_named(family.name) is family
    with pytest.raises(UsageError, match="'qwen' is not known: use one of micro"):
        family_named("qwen")


def test_what_a_template_does_not_render_is_not_called_natively():
    for family in (*FAMILIES, UNKNOWN):
        assert family.renders_tools or family.dialect != "native", family.name


def test_the_unknown_get_what_works_for_most():
    assert (UNKNOWN.convention, UNKNOWN.image_return, UNKNOWN.renders_tools) == ("relative_1000", "user", False)


@pytest.mark.parametrize(
    "changes", [{"view_pixels": 100}, {"crop_pixels": 783}, {"min_crop_pixels": 783}, {"max_images": 0}, {"factor": 0}]
)
def test_numbers_that_cannot_work_are_refused(changes):
    (name,) = changes
    with pytest.raises(ValueError, match=name):
        replace(family_named("qwen2.5-vl"), **changes)


def test_micro_agrees_with_its_checkpoint():
    family = family_named("micro")
    config = json.loads((MICRO_PATH / "processor_config.json").read_text(encoding="utf-8"))["image_processor"]
    assert family.factor == config["patch_size"] * config["merge_size"]
    assert family.min_pixels == config["size"]["shortest_edge"]
    assert family.max_pixels == config["size"]["longest_edge"]
    template = (MICRO_PATH / "chat_template.jinja").read_text(encoding="utf-8")
    assert family.renders_tools == ("tools" in template)
    assert family.dialect == "hermes"
    assert "<tool_call>" in template


def test_micro_is_as_it_was_trained():
    family = family_of("micro")
    assert (family.convention, family.factor, family.suffix) == ("relative_1000", 32, False)
    assert (family.view_pixels, *family.crops) == (65_536, 16_384, 16_384)


@pytest.mark.parametrize(
    ("config", "family"),
    [
        ({"model_type": "qwen3_vl", "text_config": {"hidden_size": 192}}, "micro"),
        ({"model_type": "qwen3_vl", "text_config": {"hidden_size": 2560}}, "qwen3-vl"),
        ({"model_type": "qwen3_vl", "text_config": {"hidden_size": 2560}, "zoomgap_micro": True}, "micro"),
        ({"model_type": "qwen2_5_vl"}, "qwen2.5-vl"),
        ({"model_type": "internvl"}, "internvl"),
        ({"model_type": "qwen2_vl"}, "qwen2-vl"),
        ({"model_type": "qwen3_5_moe"}, "qwen3.5"),
        ({"model_type": "internvl_chat"}, "internvl"),
        ({"model_type": "glm4v"}, "glm-4.1v"),
        ({"model_type": "glm4v_moe"}, "glm-v"),
        ({"model_type": "glm46v"}, "glm-v"),
        ({"model_type": "kimi_vl"}, "kimi-vl"),
        ({"model_type": "kimi_k25"}, "kimi-k2.5"),
        ({"model_type": "deepseek_vl_v2"}, "deepseek-vl2"),
        ({"model_type": "smolvlm"}, "smolvlm"),
        ({"model_type": "idefics3"}, "idefics3"),
        ({"model_type": "gemma3"}, "gemma-3"),
        ({"model_type": "mistral3"}, "mistral"),
        ({"model_type": "llama4"}, "llama-4"),
        ({"model_type": "molmo"}, "molmo"),
        ({"model_type": "paligemma"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_family_of_a_checkpoint_is_read_from_its_config(config, family, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert family_of(f"hf:{tmp_path}").name == family
    assert family_of(str(tmp_path)).name == family, "a server that serves a folder names the model by its path"
    assert str(config.get("model_type", "")) in identify(f"hf:{tmp_path}").by or family == "micro"


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


def test_an_endpoint_with_a_password_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match="ZOOMGAP_API_KEY") as caught:
        open_model("m", "http://me:hunter2@127.0.0.1:9/v1", lambda sha256: b"")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_name_of_a_family_is_a_model_of_it(family):
    assert identify(family.name).family == family
