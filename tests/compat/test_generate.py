"""`generate` finds the prompts in tensors: the answers equal those of phi4mm.load, and bad tensors are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from phi4mm.compat import AutoModelForCausalLM, AutoProcessor, GenerationConfig
from phi4mm.compat.arrays import from_arrays
from phi4mm.errors import CapacityError, ConfigError, InputError
from phi4mm.inference.model import Model
from phi4mm.processing.pixels import to_tiles
from phi4mm.processing.processor import Processor, media_digest
from phi4mm.processing.tokenizer import Special
from phi4mm.protocol.inputs import AudioFrames, MediaSpan, Prompt
from phi4mm.protocol.messages import Audio, Image
from phi4mm.protocol.sampling import SamplingParams
from tests.compat.conftest import make_clip, make_image

IMAGE = "<|user|><|image_1|>what is in the image<|end|><|assistant|>"
IMAGES = "<|user|><|image_1|><|image_2|>what is in the image<|end|><|assistant|>"
AUDIO = "<|user|><|audio_1|>what is it<|end|><|assistant|>"
BOTH = "<|user|><|image_1|><|audio_1|><|end|><|assistant|>"
TEXT = "<|user|>hello world<|end|><|assistant|>"
ALL_IMAGES = [make_image(50, 50, 1), make_image(120, 80, 2), make_image(56, 20, 3)]
CLIPS = [make_clip(0.4, 3), make_clip(1.0, 4)]

Tensors = dict[str, Any]


@pytest.fixture(scope="module")
def batch(processor: AutoProcessor) -> Tensors:
    """Text, two images, image with speech, speech: five media items, with two clips of different length."""
    return dict(processor(text=[TEXT, IMAGES, BOTH, AUDIO], images=ALL_IMAGES, audios=CLIPS))


@pytest.fixture(scope="module")
def prompts(small: Model) -> list[Prompt]:
    """The prompts of `batch` as phi4mm's own processor makes them."""
    make = small.processor.prompt
    images, audios = [Image(source) for source in ALL_IMAGES], [Audio(*clip) for clip in CLIPS]
    return [
        make(TEXT),
        make(IMAGES, images[:2]),
        make(BOTH, images[2:], audios[:1]),
        make(AUDIO, [], audios[1:]),
    ]


def alone(small: Model, prompt: Prompt, params: SamplingParams) -> tuple[int, ...]:
    """The answer to a prompt that is not in a batch."""
    return small.submit(prompt, params).finish().ids


def features_digest(span: MediaSpan) -> bytes:
    """The digest of what the encoder reads, for crops as well as for tiles of floats."""
    return media_digest(span.data if isinstance(span.data, AudioFrames) else to_tiles(span.data))


def test_prompts_are_recovered_from_their_tensors(batch: Tensors, prompts: list[Prompt], small: Model) -> None:
    """Equal digests mean that the encoders read the same bytes, whatever padding the batch has."""
    arrays = {name: tensor.numpy() for name, tensor in batch.items()}
    recovered = from_arrays(arrays, small.processor, vocab_size=small.config.text.vocab_size)
    assert [prompt.ids for prompt in recovered] == [prompt.ids for prompt in prompts]
    for one, other in zip(recovered, prompts, strict=True):
        assert [(s.kind, s.start, s.length, features_digest(s)) for s in one.spans] == [
            (s.kind, s.start, s.length, features_digest(s)) for s in other.spans
        ]


def test_a_mixed_batch_equals_each_prompt_alone(
    model: AutoModelForCausalLM, processor: AutoProcessor, batch: Tensors, prompts: list[Prompt], small: Model
) -> None:
    """Left padding, crop padding and clip padding must not reach the model; answers are padded after their end."""
    generated = model.generate(**batch, max_new_tokens=12)
    expected = [alone(small, prompt, SamplingParams(max_tokens=12)) for prompt in prompts]
    longest = max(map(len, expected))
    assert generated.dtype == torch.int64
    assert torch.equal(generated[:, :-longest], batch["input_ids"])
    pad = processor.tokenizer.pad_token_id
    assert generated[:, -longest:].tolist() == [[*ids, *[pad] * (longest - len(ids))] for ids in expected]


def test_shorter_answers_keep_their_end_and_are_padded(
    model: AutoModelForCausalLM, processor: AutoProcessor, prompts: list[Prompt], small: Model
) -> None:
    """Scripts find the end of an answer by its end token; here the stop string ends one answer early."""
    free = [alone(small, prompts[0], SamplingParams(max_tokens=8, temperature=1.0, seed=s)) for s in (5, 6)]
    texts = [small.processor.tokenizer.decode(ids, skip_special=False) for ids in free]
    stop = next(c for c in texts[0] if c.isascii() and c not in texts[1])
    generated = model.generate(
        **processor(text=[TEXT, TEXT]), max_new_tokens=8, do_sample=True, top_k=0, seed=5, stop_strings=[stop]
    )
    first = generated[0, -8:].tolist()
    length = next(n for n in range(1, 9) if stop in small.processor.tokenizer.decode(first[:n], skip_special=False))
    assert first == [*free[0][:length], *[processor.tokenizer.pad_token_id] * (8 - length)]
    assert length < 8
    assert generated[1, -8:].tolist() == list(free[1])


def test_sampling_keywords_and_config_reach_the_sampler(
    model: AutoModelForCausalLM, processor: AutoProcessor, prompts: list[Prompt], small: Model
) -> None:
    """A keyword takes precedence over the config, and do_sample=False is greedy."""
    inputs = processor(text=TEXT)
    options: dict[str, Any] = {"temperature": 2.0, "top_k": 9, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.3}
    sampled = SamplingParams(**options, seed=3, max_tokens=10)
    expected = list(alone(small, prompts[0], sampled))
    config = GenerationConfig(max_new_tokens=99, do_sample=True, **options)
    for generated in (
        model.generate(**inputs, generation_config=config, max_new_tokens=10, seed=3),
        model.generate(**inputs, **options, do_sample=True, max_new_tokens=10, seed=3),
    ):
        assert generated[0, inputs.input_ids.shape[1] :].tolist() == expected
    greedy = model.generate(
        **inputs, generation_config=config.updated({"repetition_penalty": 1.0, "max_new_tokens": 10}), do_sample=False
    )
    assert tuple(greedy[0, inputs.input_ids.shape[1] :].tolist()) == alone(
        small, prompts[0], SamplingParams(max_tokens=10)
    )


def test_sampling_without_a_seed_uses_torchs_generator(model: AutoModelForCausalLM, processor: AutoProcessor) -> None:
    """torch.manual_seed must make sampling repeatable; equal prompts of a batch must still get different answers."""
    inputs = processor(text=[TEXT, TEXT])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = model.generate(**inputs, do_sample=True, max_new_tokens=10)
        second = model.generate(**inputs, do_sample=True, max_new_tokens=10)
        torch.manual_seed(1)
        again = model.generate(**inputs, do_sample=True, max_new_tokens=10)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert first[0].tolist() != first[1].tolist()


def test_empty_tensors_and_none_count_as_missing_media(model: AutoModelForCausalLM, processor: AutoProcessor) -> None:
    """The published processor gives empty tensors for missing media, and scripts pass them on."""
    inputs = processor(text=TEXT)
    expected = model.generate(**inputs, max_new_tokens=3)
    missing: Tensors = {
        "input_image_embeds": torch.tensor([]),
        "image_sizes": torch.tensor([]),
        "audio_attention_mask": None,
    }
    ids = inputs.input_ids
    assert torch.equal(model.generate(**inputs, **missing, max_new_tokens=3, num_logits_to_keep=1), expected)
    assert torch.equal(model.generate(input_ids=ids, max_new_tokens=3), expected)


def test_one_mode_for_the_whole_batch_is_accepted_as_published(
    model: AutoModelForCausalLM, processor: AutoProcessor
) -> None:
    """The published processor gives one mode for all prompts of a batch."""
    inputs: Tensors = dict(processor(text=[AUDIO, AUDIO], audios=CLIPS))
    expected = model.generate(**inputs, max_new_tokens=3)
    assert torch.equal(model.generate(**inputs | {"input_mode": torch.tensor([2])}, max_new_tokens=3), expected)


def without(name: str) -> Callable[[Tensors, Processor], Tensors]:
    return lambda batch, _: {key: tensor for key, tensor in batch.items() if key != name}


def changed(name: str, change: Callable[[Tensor], object]) -> Callable[[Tensors, Processor], Tensors]:
    return lambda batch, _: batch | {name: change(batch[name].clone())}


def one_placeholder_removed(batch: Tensors, processor: Processor) -> Tensors:
    ids = batch["input_ids"].clone()
    row, at = (ids == processor.tokenizer.id(Special.IMAGE)).nonzero()[0].tolist()
    ids[row, at] = 0
    return batch | {"input_ids": ids}


def swapped_ids(batch: Tensors, processor: Processor) -> Tensors:
    order = torch.tensor([0, 2, 1, 3])
    return batch | {name: batch[name][order] for name in ("input_ids", "attention_mask", "input_mode")}


def put(tensor: Tensor, index: tuple[int, ...], value: float) -> Tensor:
    tensor[index] = value
    return tensor


CONTRADICTIONS = {
    "a placeholder is missing": (
        one_placeholder_removed,
        r"input_ids hold (\d+) image placeholders, but the 3 image items need (?!\1\b)\d+; pass input_ids and",
    ),
    "media are missing": (
        lambda batch, _: {k: t for k, t in batch.items() if "audio" not in k},
        "input_ids hold 18 audio placeholders, but the 0 audio items need 0",
    ),
    "prompts in another order than the media": (
        swapped_ids,
        r"input_ids\[1\] holds 10 placeholders where image 1 needs 13",
    ),
    "no ids": (
        without("input_ids"),
        r"input_ids is missing; pass the result of a processor, as in generate\(\*\*inputs\)",
    ),
    "ids of another model": (
        changed("input_ids", lambda ids: put(ids, (0, -1), 640)),
        r"input_ids run from \d+ to 640; expected ids of this model, 0 to \d+",
    ),
    "ids without a batch dimension": (
        changed("input_ids", lambda ids: ids[0]),
        r"input_ids has shape .*; expected \(any, any\)",
    ),
    "ids that are floats": (
        changed("input_ids", lambda ids: ids.float()),
        "input_ids is float32; expected whole numbers",
    ),
    "a list for a tensor": (changed("input_ids", lambda ids: ids.tolist()), "input_ids is a list; expected a tensor"),
    "padding on the right": (
        changed("attention_mask", lambda mask: mask.flip(1)),
        r"attention_mask\[0\] is not zeros followed by at least one 1; pad prompts on the left",
    ),
    "a prompt without tokens": (
        changed("attention_mask", lambda mask: put(mask, (2,), 0)),
        r"attention_mask\[2\] is not",
    ),
    "a mask of another batch": (
        changed("attention_mask", lambda mask: mask[:, 1:]),
        r"attention_mask has shape \(4, \d+\); expected \(4, \d+\)",
    ),
    "an image without its size": (
        without("image_sizes"),
        "image_sizes is missing; pass input_image_embeds, image_sizes, image_attention_mask together",
    ),
    "sizes of half a crop": (
        changed("image_sizes", lambda sizes: put(sizes, (1, 0), 84)),
        r"image_sizes\[1\] is 84 x 168; expected multiples of 56 pixels and at most 6 crops",
    ),
    "sizes beyond the pixels": (
        changed("image_sizes", lambda sizes: put(sizes, (1, 0), 56 * 2**40)),
        r"image_sizes\[1\] is",
    ),
    "crops of another model": (
        changed("input_image_embeds", lambda pixels: pixels[..., :28]),
        r"input_image_embeds has shape \(3, 7, 3, 56, 28\); expected \(any, any, 3, 56, 56\)",
    ),
    "a hole in an image": (
        changed("image_attention_mask", lambda mask: put(mask, (0, 1, 1, 1), 0)),
        "image_attention_mask of image 1 is not a rectangle of ones from the top left into each of its 1 x 1 crops",
    ),
    "a pixel that is NaN": (
        changed("input_image_embeds", lambda pixels: put(pixels, (1, 0, 0, 0, 0), float("nan"))),
        "image 2 holds NaN or infinite numbers",
    ),
    "pixels in bytes": (
        changed("input_image_embeds", lambda pixels: pixels.to(torch.uint8)),
        "image 1 is uint8; expected finite float32 numbers",
    ),
    "clips without their mask": (
        without("audio_attention_mask"),
        r"audio_embed_sizes\[0\] is 5, but 98 frames need 13 placeholders; pass input_audio_embeds, audio_embed",
    ),
    "a hole in a clip": (
        changed("audio_attention_mask", lambda mask: put(mask, (1, 3), 0)),
        "audio_attention_mask is not ones followed by zeros",
    ),
    "the mode of another prompt": (
        changed("input_mode", lambda mode: put(mode, (3,), 3)),
        r"input_mode is 3 for prompt 3, whose media make it 2 \(0 text, 1 image, 2 audio, 3 both\)",
    ),
    "one mode for a mixed batch": (changed("input_mode", lambda mode: mode[1:2]), "input_mode is 1 for prompt 0"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_tensors_that_contradict_each_other_are_refused(
    model: AutoModelForCausalLM, batch: Tensors, small: Model, case: str
) -> None:
    """Otherwise a prompt would get the wrong media, or torch would raise an error that does not name the cause."""
    change, error = CONTRADICTIONS[case]
    with pytest.raises(InputError, match=error):
        model.generate(**change(batch, small.processor), max_new_tokens=1)


def test_generate_refuses_options_that_it_does_not_support(
    model: AutoModelForCausalLM, processor: AutoProcessor
) -> None:
    """An option that is ignored silently would change the answers."""
    inputs = processor(text=TEXT)
    with pytest.raises(ConfigError, match=r"generate: unknown keyword max_new_token; did you mean max_new_tokens\?"):
        model.generate(**inputs, max_new_token=3)
    with pytest.raises(ConfigError, match="generate: num_beams=4 is not supported; answers are decoded with 1 beam"):
        model.generate(**inputs, num_beams=4)
    with pytest.raises(ConfigError, match=r"generation_config is a dict; expected phi4mm\.compat\.GenerationConfig"):
        model.generate(**inputs, generation_config={})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="temperature is -1"):
        model.generate(**inputs, temperature=-1.0, do_sample=True)


def test_a_refused_prompt_leaves_no_request_running(
    model: AutoModelForCausalLM, processor: AutoProcessor, small: Model
) -> None:
    """A prompt that is too long ends the call; the requests of the prompts before it must be ended too."""
    filler = small.processor.tokenizer.encode_text("hello" * 200)
    long = torch.tensor([filler[-1:] * 192] * 2)
    mask = torch.ones_like(long)
    mask[0, :190] = 0
    with pytest.raises(InputError, match="the prompt has 192 tokens and the context holds 192"):
        model.generate(input_ids=long, attention_mask=mask)
    model.to("cpu")  # refused while anything runs


def test_a_model_is_not_moved_while_it_answers(small: Model, prompts: list[Prompt]) -> None:
    """Its keys and values would stay on the old device, and the next step would fail in torch."""
    with small.submit(prompts[0], SamplingParams(max_tokens=3)) as stream:
        with pytest.raises(CapacityError, match="1 answers are running; finish or close them before the model moves"):
            small.move("cpu")
        assert stream.finish().ids == alone(small, prompts[0], SamplingParams(max_tokens=3))
    small.move("cpu")


def test_loading_accepts_the_keywords_of_the_model_card_and_refuses_others(small_folder: Path) -> None:
    """A keyword that is neither supported nor documented as without effect must be refused by name."""
    load = AutoModelForCausalLM.from_pretrained
    model = load(
        small_folder,
        device_map={"": "auto" if not torch.cuda.is_available() else "cpu"},
        torch_dtype=torch.bfloat16,
        dtype="bfloat16",
        low_cpu_mem_usage=True,
        local_files_only=True,
        trust_remote_code=True,
        _attn_implementation="flash_attention_2",
    )
    assert (model.dtype, model.device, model.config.vision.image_size) == (torch.bfloat16, torch.device("cpu"), 56)
    assert model.cpu().eval().to(torch.device("cpu"), torch.bfloat16) is model
    with pytest.raises(ConfigError, match=r"unknown keyword device_mapp; did you mean device_map\?"):
        load(small_folder, device_mapp="cpu")
    with pytest.raises(ConfigError, match=r"load_in_4bit=True is not supported; quantize a folder by `phi4mm quantize"):
        load(small_folder, load_in_4bit=True)
    with pytest.raises(ConfigError, match="dtype is 'float64'; expected one of auto, float32"):
        load(small_folder, torch_dtype=torch.float64)
    with pytest.raises(ConfigError, match="device is 'tpu'; expected one of auto, cpu, cuda"):
        load(small_folder, device_map="tpu")
    with pytest.raises(ConfigError, match=r"device is \{'model': 0, 'head': 1\}; expected one of auto, cpu, cuda"):
        load(small_folder, device_map={"model": 0, "head": 1})
    with pytest.raises(
        ConfigError, match="dtype and torch_dtype are bfloat16 and float32; they are one, so give dtype"
    ):
        load(small_folder, dtype="float32", torch_dtype=torch.bfloat16)
    with pytest.raises(
        ConfigError, match=r"the model is in torch\.bfloat16, not torch\.float16; give from_pretrained dtype"
    ):
        model.to(torch.float16)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without CUDA")
def test_cuda_is_refused_on_a_machine_without_it(
    model: AutoModelForCausalLM, processor: AutoProcessor, small_folder: Path
) -> None:
    """With the published weights, running on the CPU instead would look like a hang."""
    for attempt in (
        lambda: AutoModelForCausalLM.from_pretrained(small_folder, device_map="cuda"),
        lambda: model.cuda(),
        lambda: model.cuda(0),
        lambda: processor(text=TEXT).to("cuda:0"),
    ):
        with pytest.raises(
            ConfigError, match=r"device is 'cuda(:0)?' but torch finds no CUDA .* use device 'cpu' or 'auto'"
        ):
            attempt()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_model_moves_to_cuda_and_answers_there(
    small_folder: Path, batch: Tensors, processor: AutoProcessor
) -> None:
    """`.cuda()` after loading must move every tensor, including the buffers of the audio encoder."""
    model = AutoModelForCausalLM.from_pretrained(small_folder, torch_dtype="float32")
    expected = model.generate(**batch, max_new_tokens=3)
    on_cuda = model.cuda()
    assert on_cuda.device.type == "cuda"
    inputs = {name: tensor.cuda() for name, tensor in batch.items()}
    assert torch.equal(on_cuda.generate(**inputs, max_new_tokens=3).cpu(), expected)
