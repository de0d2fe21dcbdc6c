"""Adapters by name: any number in one batch, added and removed while requests run, never mixed up in the caches."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import torch

import phi4mm
from phi4mm import CapacityError, ChatRequest, ConfigError, EngineArgs, EngineError, InputError, SamplingParams
from phi4mm.api import Model
from phi4mm.checkpoint.adapters import write_adapter
from phi4mm.compat import AutoModelForCausalLM, AutoProcessor
from phi4mm.config.load import load_config
from phi4mm.model.adapter_weights import PROJECTIONS, AdapterWeights, projection_sizes

SHORT = SamplingParams(max_tokens=10)
QUESTION = "what is the colour of the small circle beside the large square"


def write_random(folder: Path, model: Path, seed: int, rank: int, projections: tuple[str, ...] = PROJECTIONS) -> Path:
    """A LoRA strong enough to change answers."""
    config = load_config(model)
    sizes, generator = projection_sizes(config.text), torch.Generator().manual_seed(seed)
    layers = {
        (layer, name): (
            torch.randn(rank, sizes[name][1], generator=generator) * 0.3,
            torch.randn(sizes[name][0], rank, generator=generator) * 0.3,
        )
        for layer in range(config.text.num_layers)
        for name in projections
    }
    write_adapter(AdapterWeights(layers, 2.0), folder, config=config)
    return folder


@pytest.fixture(scope="module")
def folders(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two user adapters of different ranks and targets, and a third to replace the first under its name."""
    parent = tmp_path_factory.mktemp("adapters")
    return {
        "mine": write_random(parent / "mine", small_folder, 1, 4),
        "yours": write_random(parent / "yours", small_folder, 2, 6, ("qkv_proj", "down_proj")),
        "mine again": write_random(parent / "again", small_folder, 3, 4),
    }


@pytest.fixture(scope="module")
def model(small_folder: Path, folders: dict[str, Path]) -> Iterator[Model]:
    adapters = {name: folders[name] for name in ("mine", "yours")}
    with phi4mm.load(small_folder, device="cpu", adapters=adapters, engine_args=EngineArgs(page_size=8)) as loaded:
        yield loaded


def make_image() -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8))


def make_audio() -> tuple[npt.NDArray[np.float32], int]:
    return np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32), 16000


def test_user_and_built_in_adapters_in_one_batch_equal_each_request_alone(model: Model) -> None:
    """Other sequences of the batch, with other adapters or none, must not change an answer."""
    requests = [
        ChatRequest(QUESTION, params=SHORT, adapter="mine"),
        ChatRequest(QUESTION, params=SHORT, adapter="yours"),
        ChatRequest(QUESTION, params=SHORT),
        ChatRequest(QUESTION, images=[make_image()], params=SHORT),
        ChatRequest(QUESTION, audios=[make_audio()], params=SHORT),
        ChatRequest(QUESTION, images=[make_image()], params=SHORT, adapter="mine"),
        ChatRequest(QUESTION, images=[make_image()], audios=[make_audio()], params=SHORT, adapter="yours"),
        ChatRequest(QUESTION, images=[make_image()], params=SHORT, adapter=None),
        ChatRequest(QUESTION, params=SHORT, adapter="vision"),
    ]
    alone = [model.batch([request])[0] for request in requests]
    assert model.batch(requests) == alone
    assert model.batch(requests[::-1]) == alone[::-1]
    ids = [reply.ids for reply in alone]
    assert len(set(ids)) == len(ids), "two answers are equal, so a mix-up would not be noticed"


def test_a_request_may_choose_another_adapter_than_the_published_rule(model: Model) -> None:
    """The default is vision with any image, speech with audio alone, none with text."""
    by_rule = model.chat(QUESTION, images=[make_image()], params=SHORT)
    assert model.chat(QUESTION, images=[make_image()], params=SHORT, adapter="vision") == by_rule
    assert model.chat(QUESTION, images=[make_image()], params=SHORT, adapter="speech") != by_rule
    assert model.chat(QUESTION, params=SHORT, adapter=None) == model.chat(QUESTION, params=SHORT)
    with pytest.raises(InputError, match="the model has no other adapter; it has vision, speech, mine, yours"):
        model.chat(QUESTION, adapter="other")


def test_adapters_are_added_and_removed_while_requests_run(small_folder: Path, folders: dict[str, Path]) -> None:
    """An adapter cannot be removed while a request uses it."""
    with phi4mm.load(small_folder, device="cpu", engine_args=EngineArgs(page_size=8)) as model:
        long = SamplingParams(max_tokens=100)
        expected = model.chat(QUESTION, params=long)
        stream = model.stream(QUESTION, params=long)
        pieces = [next(stream)]
        model.add_adapter("mine", folders["mine"])
        assert list(model.adapters) == ["vision", "speech", "mine"]
        first = model.chat(QUESTION, params=SHORT, adapter="mine")
        assert first.ids != expected.ids[: len(first.ids)]
        running = model.stream(QUESTION, params=long, adapter="mine")
        next(running)
        with pytest.raises(CapacityError, match="1 answers are running with adapter mine"):
            model.remove_adapter("mine")
        running.close()
        model.remove_adapter("mine")
        assert list(model.adapters) == ["vision", "speech"]
        pieces += stream
        assert "".join(pieces) == expected.text
        with pytest.raises(InputError, match="the model has no mine adapter"):
            model.chat(QUESTION, adapter="mine")


def test_a_cached_prefix_of_another_adapter_or_version_is_never_used(
    small_folder: Path, folders: dict[str, Path]
) -> None:
    """Keys depend on the adapter, and a name may be used again for other weights."""
    with phi4mm.load(small_folder, device="cpu", engine_args=EngineArgs(page_size=8)) as model:
        none = model.chat(QUESTION, params=SHORT)
        model.add_adapter("mine", folders["mine"])
        mine = model.chat(QUESTION, params=SHORT, adapter="mine")
        assert (mine.usage.cached_tokens, mine.ids == none.ids) == (0, False)
        assert model.chat(QUESTION, params=SHORT, adapter="mine").usage.cached_tokens > 0
        model.remove_adapter("mine")
        model.add_adapter("mine", folders["mine again"])
        again = model.chat(QUESTION, params=SHORT, adapter="mine")
        assert (again.usage.cached_tokens, again.ids == mine.ids) == (0, False)
        assert model.chat(QUESTION, params=SHORT, adapter="mine") == again
        assert model.chat(QUESTION, params=SHORT) == none
    fresh = phi4mm.load(small_folder, device="cpu", adapters={"mine": folders["mine again"]})
    assert fresh.chat(QUESTION, params=SHORT, adapter="mine") == again


def test_wrong_adapter_names_and_folders_are_refused(model: Model, folders: dict[str, Path], tmp_path: Path) -> None:
    """With a message that names what is wrong, and no adapter is added."""
    before = model.adapters
    with pytest.raises(ConfigError, match=r"'auto'.*choose another name"):
        model.add_adapter("auto", folders["mine"])
    with pytest.raises(ConfigError, match="mine"):
        model.add_adapter("mine", folders["mine"])
    with pytest.raises(ConfigError, match="a/b"):
        model.add_adapter("a/b", folders["mine"])
    with pytest.raises((ConfigError, phi4mm.CheckpointError), match=r"adapter_config\.json"):
        model.add_adapter("other", tmp_path)
    with pytest.raises(ConfigError, match="other"):
        model.remove_adapter("other")
    assert model.adapters == before


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_a_quantized_model_runs_user_adapters(small_folder: Path, folders: dict[str, Path], quantize: str) -> None:
    """They are packed like the built-in ones. Answers are the same alone and in a batch.

    Without prefix caching: a prompt whose prefix is cached is prefilled in other shapes and rounds differently.
    """
    adapters = {name: folders[name] for name in ("mine", "yours")}
    engine_args = EngineArgs(enable_prefix_caching=False)
    with phi4mm.load(
        small_folder,
        device="cpu",
        quantize=quantize,  # type: ignore[arg-type]
        adapters=adapters,
        engine_args=engine_args,
    ) as model:
        requests = [ChatRequest(QUESTION, params=SHORT, adapter=name) for name in ("mine", "yours", None, "vision")]
        alone = [model.batch([request])[0] for request in requests]
        assert model.batch(requests) == alone
        assert len({reply.ids for reply in alone}) == 4


def test_a_new_worker_has_the_adapters_that_were_added(small_folder: Path, folders: dict[str, Path]) -> None:
    """A new process knows nothing of what was added to the process before it."""
    with phi4mm.load(small_folder, device="cpu", engine="process", adapters={"mine": folders["mine"]}) as model:
        model.add_adapter("yours", folders["yours"])
        before = [model.chat(QUESTION, params=SHORT, adapter=name) for name in ("mine", "yours")]
        stream = model.stream(QUESTION, params=SamplingParams(max_tokens=100))
        next(stream)
        os.kill(model._client.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        with pytest.raises(EngineError, match="the worker process died"):
            stream.finish()
        assert [model.chat(QUESTION, params=SHORT, adapter=name) for name in ("mine", "yours")] == before
        model.remove_adapter("yours")
        assert model.adapters == ("vision", "speech", "mine")
        with pytest.raises(ConfigError, match="yours"):
            model.remove_adapter("yours")


def test_a_new_worker_has_exactly_the_adapters_of_the_one_before(small_folder: Path, folders: dict[str, Path]) -> None:
    """One adapter was replaced, one removed, a built-in one removed: a new worker must repeat all three changes."""
    start = {"mine": folders["mine"], "yours": folders["yours"]}
    with phi4mm.load(small_folder, device="cpu", engine="process", adapters=start) as model:
        model.remove_adapter("mine")
        model.add_adapter("mine", folders["mine again"])
        model.remove_adapter("yours")
        model.remove_adapter("speech")
        before = model.chat(QUESTION, params=SHORT, adapter="mine")
        stream = model.stream(QUESTION, params=SamplingParams(max_tokens=100))
        next(stream)
        os.kill(model._client.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        with pytest.raises(EngineError, match="the worker process died"):
            stream.finish()
        assert model.chat(QUESTION, params=SHORT, adapter="mine") == before
        assert sorted(model.adapters) == ["mine", "vision"]


def test_an_adapter_whose_folder_was_deleted_fails_only_requests_that_name_it(
    small_folder: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    """One deleted folder made the next restart of the worker fail, and with it the whole model."""
    deleted, kept = tmp_path / "gone", folders["mine"]
    shutil.copytree(kept, deleted)
    with phi4mm.load(small_folder, device="cpu", engine="process", adapters={"gone": deleted, "mine": kept}) as model:
        expected = model.chat(QUESTION, params=SHORT, adapter="mine")
        shutil.rmtree(deleted)
        stream = model.stream(QUESTION, params=SamplingParams(max_tokens=100))
        next(stream)
        os.kill(model._client.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        with pytest.raises(EngineError, match="the worker process died"):
            stream.finish()
        assert model.chat(QUESTION, params=SHORT, adapter="mine") == expected
        with pytest.raises(InputError, match="the model has no gone adapter"):
            model.chat(QUESTION, adapter="gone")


def test_the_compat_model_loads_adapters(small_folder: Path, folders: dict[str, Path], model: Model) -> None:
    """With the methods that scripts for transformers call."""
    compat, processor = AutoModelForCausalLM.from_pretrained(small_folder), AutoProcessor.from_pretrained(small_folder)
    inputs = processor(f"<|user|>{QUESTION}<|end|><|assistant|>")

    def ids() -> tuple[int, ...]:
        return tuple(compat.generate(**inputs, max_new_tokens=10)[0, inputs["input_ids"].shape[1] :].tolist())

    plain = ids()
    compat.load_adapter(folders["mine"], "mine")
    assert ids() == model.chat(QUESTION, params=SHORT, adapter="mine").ids != plain
    compat.load_adapter(
        "any/folder", adapter_name="speech", device_map="cpu", adapter_kwargs={"subfolder": "speech-lora"}
    )
    assert ids() == model.chat(QUESTION, params=SHORT, adapter="speech").ids
    compat.load_adapter(folders["yours"].parent, "yours", adapter_kwargs={"subfolder": "yours"})
    assert ids() == model.chat(QUESTION, params=SHORT, adapter="yours").ids
    with pytest.raises(ConfigError, match="adapter_kwargs: unknown keyword revision"):
        compat.load_adapter(folders["mine"], "third", adapter_kwargs={"revision": "main"})
    compat.disable_adapters()
    assert ids() == plain
    compat.set_adapter("mine")
    compat.delete_adapter("mine")
    assert ids() == plain
    with pytest.raises(ConfigError, match="adapter 'mine' is not loaded; expected one of auto, vision, speech"):
        compat.set_adapter("mine")


def test_media_are_encoded_without_any_adapter(small_folder: Path) -> None:
    """The encoder cache was sized by adapters: without any, one image made the engine fail."""
    with phi4mm.load(small_folder, device="cpu") as model:
        expected = model.chat(QUESTION, images=[make_image()], params=SHORT, adapter=None)
        for name in model.adapters:
            model.remove_adapter(name)
        model.move("cpu")
        assert model.chat(QUESTION, images=[make_image()], params=SHORT, adapter=None) == expected
        with pytest.raises(InputError, match="the model has no vision adapter; it has none"):
            model.chat(QUESTION, images=[make_image()])
