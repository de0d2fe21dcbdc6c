"""`generate` reads prompts back from tensors alone: token for token what phi4mm's own API gives, or a clear error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
    """Text, two images, image with speech, speech: five media, two clips of different length."""
    return dict(processor(text=[TEXT, IMAGES, BOTH, AUDIO], images=ALL_IMAGES, audios=CLIPS))


@pytest.fixture(scope="module")
def prompts(small: Model) -> list[Prompt]:
    """The rows of `batch` as phi4mm itself makes them."""
    make = small.processor.prompt
    images, audios = [Image(source) for source in ALL_IMAGES], [Audio(*clip) for clip in CLIPS]
    return [
        make(TEXT),
        make(IMAGES, images[:2]),
        make(BOTH, images[2:], audios[:1]),
        make(AUDIO, [], audios[1:]),
    ]


def alone(small: Model, prompt: Prompt, params: SamplingParams) -> tuple[int, ...]:
    return small.submit(prompt, params).finish().ids


def seen(span: MediaSpan) -> bytes:
    """The digest of what the encoder reads, from crops or from floats that are ready."""
    return media_digest(span.data if isinstance(span.data, AudioFrames) else to_tiles(span.data))


def test_prompts_survive_the_way_through_tensors(batch: Tensors, prompts: list[Prompt], small: Model) -> None:
    """Equal digests mean that the encoders see the same bytes, whatever padding the batch added."""
    arrays = {name: tensor.numpy() for name, tensor in batch.items()}
    back = from_arrays(arrays, small.processor, vocab_size=small.config.text.vocab_size)
    assert [prompt.ids for prompt in back] == [prompt.ids for prompt in prompts]
    for one, other in zip(back, prompts, strict=True):
        assert [(s.kind, s.start, s.length, seen(s)) for s in one.spans] == [
            (s.kind, s.start, s.length, seen(s)) for s in other.spans
        ]


def test_a_mixed_batch_equals_each_prompt_alone(
    model: AutoModelForCausalLM, processor: AutoProcessor, batch: Tensors, prompts: list[Prompt], small: Model
) -> None:
    """Left padding, crop padding and clip padding must not reach the model; answers are padded after their end."""
    made = model.generate(**batch, max_new_tokens=12)
    expected = [alone(small, prompt, SamplingParams(max_tokens=12)) for prompt in prompts]
    longest = max(map(len, expected))
    assert made.dtype == torch.int64
    assert torch.equal(made[:, :-longest], batch["input_ids"])
    pad = processor.tokenizer.pad_token_id
    assert made[:, -longest:].tolist() == [[*ids, *[pad] * (longest - len(ids))] for ids in expected]


def test_shorter_answers_keep_their_end_and_are_padded(
    model: AutoModelForCausalLM, processor: AutoProcessor, prompts: list[Prompt], small: Model
) -> None:
    """Scripts find the end of an answer by its end token; here the stop string ends one row early."""
    free = [alone(small, prompts[0], SamplingParams(max_tokens=8, temperature=1.0, seed=s)) for s in (5, 6)]
    texts = [small.processor.tokenizer.decode(ids, skip_special=False) for ids in free]
    stop = next(c for c in texts[0] if c.isascii() and c not in texts[1])
    made = model.generate(
        **processor(text=[TEXT, TEXT]), max_new_tokens=8, do_sample=True, top_k=0, seed=5, stop_strings=[stop]
    )
    first = made[0, -8:].tolist()
    length = next(n for n in range(1, 9) if stop in small.processor.tokenizer.decode(first[:n], skip_special=False))
    assert first == [*free[0][:length], *[processor.tokenizer.pad_token_id] * (8 - length)]
    assert length < 8
    assert made[1, -8:].tolist() == list(free[1])


def test_sampling_keywords_and_config_mean_what_they_say(
    model: AutoModelForCausalLM, processor: AutoProcessor, prompts: list[Prompt], small: Model
) -> None:
    """Each option must reach the sampler; a keyword wins over the config, and do_sample=False is greedy."""
    inputs = processor(text=TEXT)
    options: dict[str, Any] = {"temperature": 2.0, "top_k": 9, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.3}
    sampled = SamplingParams(**options, seed=3, max_tokens=10)
    expected = list(alone(small, prompts[0], sampled))
    config = GenerationConfig(max_new_tokens=99, do_sample=True, **options)
    for made in (
        model.generate(**inputs, generation_config=config, max_new_tokens=10, seed=3),
        model.generate(**inputs, **options, do_sample=True, max_new_tokens=10, seed=3),
    ):
        assert made[0, inputs.input_ids.shape[1] :].tolist() == expected
    greedy = model.generate(
        **inputs, generation_config=replace(config, repetition_penalty=1.0, max_new_tokens=10), do_sample=False
    )
    assert tuple(greedy[0, inputs.input_ids.shape[1] :].tolist()) == alone(
        small, prompts[0], SamplingParams(max_tokens=10)
    )


def test_sampling_without_a_seed_follows_torchs_own(model: AutoModelForCausalLM, processor: AutoProcessor) -> None:
    """Scripts make sampling repeatable with torch.manual_seed; rows of one prompt must differ all the same."""
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


def test_empty_tensors_and_none_are_media_that_are_not_there(
    model: AutoModelForCausalLM, processor: AutoProcessor
) -> None:
    """The published processor gives empty tensors for missing media, and scripts pass them on."""
    inputs = processor(text=TEXT)
    expected = model.generate(**inputs, max_new_tokens=3)
    nothing: Tensors = {
        "input_image_embeds": torch.tensor([]),
        "image_sizes": torch.tensor([]),
        "audio_attention_mask": None,
    }
    ids = inputs.input_ids
    assert torch.equal(model.generate(**inputs, **nothing, max_new_tokens=3, num_logits_to_keep=1), expected)
    assert torch.equal(model.generate(input_ids=ids, max_new_tokens=3), expected)


def test_one_published_mode_serves_a_batch_of_one_kind(model: AutoModelForCausalLM, processor: AutoProcessor) -> None:
    """The published processor states one mode for all rows."""
    inputs: Tensors = dict(processor(text=[AUDIO, AUDIO], audios=CLIPS))
    expected = model.generate(**inputs, max_new_tokens=3)
    assert torch.equal(model.generate(**inputs | {"input_mode": torch.tensor([2])}, max_new_tokens=3), expected)


def without(name: str) -> Callable[[Tensors, Processor], Tensors]:
    return lambda batch, _: {key: tensor for key, tensor in batch.items() if key != name}


def changed(name: str, change: Callable[[Tensor], object]) -> Callable[[Tensors, Processor], Tensors]:
    return lambda batch, _: batch | {name: change(batch[name].clone())}


def one_placeholder_less(batch: Tensors, processor: Processor) -> Tensors:
    ids = batch["input_ids"].clone()
    row, at = (ids == processor.tokenizer.id(Special.IMAGE)).nonzero()[0].tolist()
    ids[row, at] = 0
    return batch | {"input_ids": ids}


def swapped_rows(batch: Tensors, processor: Processor) -> Tensors:
    order = torch.tensor([0, 2, 1, 3])
    return batch | {name: batch[name][order] for name in ("input_ids", "attention_mask", "input_mode")}


def put(tensor: Tensor, index: tuple[int, ...], value: float) -> Tensor:
    tensor[index] = value
    return tensor


CONTRADICTIONS = {
    "a placeholder is missing": (
        one_placeholder_less,
        r"input_ids hold (\d+) image placeholders and the 3 given fill (?!\1\b)\d+; pass input_ids and media of one",
    ),
    "media are missing": (
        lambda batch, _: {k: t for k, t in batch.items() if "audio" not in k},
        "input_ids hold 18 audio placeholders and the 0 given fill 0",
    ),
    "rows changed places": (swapped_rows, r"row 1 holds 10 placeholders where image 1 fills 13"),
    "no ids": (without("input_ids"), r"input_ids is missing; pass what a processor made, as in generate\(\*\*inputs\)"),
    "ids of another model": (
        changed("input_ids", lambda ids: put(ids, (0, -1), 640)),
        r"input_ids run from \d+ to 640; the model has ids 0 to \d+",
    ),
    "ids without rows": (changed("input_ids", lambda ids: ids[0]), r"input_ids has shape .*; expected \(any, any\)"),
    "ids that are no numbers of tokens": (
        changed("input_ids", lambda ids: ids.float()),
        "input_ids is float32; expected whole numbers",
    ),
    "no tensor": (changed("input_ids", lambda ids: ids.tolist()), "input_ids is a list; expected a tensor"),
    "padding on the right": (
        changed("attention_mask", lambda mask: mask.flip(1)),
        "attention_mask of row 0 is not zeros followed by at least one 1; pad prompts on the left",
    ),
    "a row of nothing": (changed("attention_mask", lambda mask: put(mask, (2,), 0)), "attention_mask of row 2 is not"),
    "a mask of another batch": (
        changed("attention_mask", lambda mask: mask[:, 1:]),
        r"attention_mask has shape \(4, \d+\); expected \(4, \d+\)",
    ),
    "half of an image": (
        without("image_sizes"),
        "image_sizes is missing; input_image_embeds, image_sizes, image_attention_mask belong together",
    ),
    "sizes of half a crop": (
        changed("image_sizes", lambda sizes: put(sizes, (1, 0), 84)),
        "image_sizes of image 2 are 84 x 168; expected whole crops of 56, at most 6 of them",
    ),
    "sizes beyond the pixels": (
        changed("image_sizes", lambda sizes: put(sizes, (1, 0), 56 * 2**40)),
        "image_sizes of image 2 are",
    ),
    "crops of another model": (
        changed("input_image_embeds", lambda pixels: pixels[..., :28]),
        r"input_image_embeds has shape \(3, 7, 3, 56, 28\); expected \(any, any, 3, 56, 56\)",
    ),
    "a hole in an image": (
        changed("image_attention_mask", lambda mask: put(mask, (0, 1, 1, 1), 0)),
        "image_attention_mask of image 1 is no rectangle of image from the top left into each of its 1 x 1 crops",
    ),
    "a pixel that is no number": (
        changed("input_image_embeds", lambda pixels: put(pixels, (1, 0, 0, 0, 0), float("nan"))),
        "image 2 holds NaN or infinite numbers",
    ),
    "pixels in bytes": (
        changed("input_image_embeds", lambda pixels: pixels.to(torch.uint8)),
        "image 1 is uint8; expected finite float32 numbers",
    ),
    "clips without their mask": (
        without("audio_attention_mask"),
        "audio_embed_sizes of clip 1 is 5 and its 98 frames make 13 tokens; pass both, and audio_attention_mask",
    ),
    "a hole in a clip": (
        changed("audio_attention_mask", lambda mask: put(mask, (1, 3), 0)),
        "audio_attention_mask is not ones followed by zeros",
    ),
    "the mode of another row": (
        changed("input_mode", lambda mode: put(mode, (3,), 3)),
        r"input_mode of row 3 is 3 and its media make it 2 \(0 text, 1 image, 2 audio, 3 both\)",
    ),
    "one mode for a mixed batch": (changed("input_mode", lambda mode: mode[1:2]), "input_mode of row 0 is 1"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_tensors_that_contradict_each_other_are_refused(
    model: AutoModelForCausalLM, batch: Tensors, small: Model, case: str
) -> None:
    """Each would otherwise give a row the wrong media, or end in an error of torch that names no cause."""
    change, error = CONTRADICTIONS[case]
    with pytest.raises(InputError, match=error):
        model.generate(**change(batch, small.processor), max_new_tokens=1)


def test_generate_refuses_what_it_does_not_do(model: AutoModelForCausalLM, processor: AutoProcessor) -> None:
    """An option that is swallowed changes every answer in silence."""
    inputs = processor(text=TEXT)
    with pytest.raises(ConfigError, match=r"generate: unknown keyword max_new_token; did you mean max_new_tokens\?"):
        model.generate(**inputs, max_new_token=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="num_beams is 4; answers are decoded with 1 beam"):
        model.generate(**inputs, num_beams=4)
    with pytest.raises(
        ConfigError, match=r"eos_token_id is 5; this model's answers end at \(\d+, \d+\), so leave it out"
    ):
        model.generate(**inputs, generation_config=GenerationConfig(eos_token_id=5))
    with pytest.raises(ConfigError, match=r"generation_config is a dict; expected phi4mm\.compat\.GenerationConfig"):
        model.generate(**inputs, generation_config={})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="temperature is -1"):
        model.generate(**inputs, temperature=-1.0, do_sample=True)


def test_a_refused_row_leaves_nothing_running(
    model: AutoModelForCausalLM, processor: AutoProcessor, small: Model
) -> None:
    """A row that is too long ends the call; rows before it must not go on taking part in every later step."""
    filler = small.processor.tokenizer.encode_text("hello" * 200)
    long = torch.tensor([filler[-1:] * 192] * 2)
    mask = torch.ones_like(long)
    mask[0, :190] = 0
    with pytest.raises(InputError, match="the prompt has 192 tokens and the context holds 192"):
        model.generate(input_ids=long, attention_mask=mask)
    model.to("cpu")  # refused while anything runs


def test_a_model_does_not_move_away_from_its_answers(small: Model, prompts: list[Prompt]) -> None:
    """Keys and values stay on the old device; the next step would end in an error of torch."""
    with small.submit(prompts[0], SamplingParams(max_tokens=3)) as stream:
        with pytest.raises(CapacityError, match="1 answers are running; finish or close them before the model moves"):
            small.move("cpu")
        assert stream.finish().ids == alone(small, prompts[0], SamplingParams(max_tokens=3))
    small.move("cpu")


def test_loading_takes_the_cards_keywords_and_says_what_it_refuses(small_folder: Path) -> None:
    """Keywords that are taken without effect are listed; all others must mean something or be named."""
    load = AutoModelForCausalLM.from_pretrained
    model = load(
        small_folder,
        device_map="auto" if not torch.cuda.is_available() else "cpu",
        torch_dtype=torch.bfloat16,
        trust_remote_code=True,
        _attn_implementation="flash_attention_2",
    )
    assert (model.dtype, model.device, model.config.vision.image_size) == (torch.bfloat16, torch.device("cpu"), 56)
    assert model.cpu().eval().to(torch.device("cpu")) is model
    with pytest.raises(ConfigError, match=r"unknown keyword device_mapp; did you mean device_map\?"):
        load(small_folder, device_mapp="cpu")
    with pytest.raises(ConfigError, match="attn_implementation is 'paged'; expected one of eager, sdpa, flash"):
        load(small_folder, attn_implementation="paged")
    with pytest.raises(ConfigError, match="dtype is 'float64'; expected one of auto, float32"):
        load(small_folder, torch_dtype=torch.float64)
    with pytest.raises(ConfigError, match="device is 'tpu'; expected one of auto, cpu, cuda"):
        load(small_folder, device_map="tpu")
    with pytest.raises(ConfigError, match=r"device is \{'': 0\}; expected 'cpu', 'cuda', 'cuda:1' or 'auto'"):
        load(small_folder, device_map={"": 0})  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without CUDA")
def test_cuda_where_there_is_none_is_refused(
    model: AutoModelForCausalLM, processor: AutoProcessor, small_folder: Path
) -> None:
    """Running on the CPU in silence looks like a hang with the published weights."""
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
    """`.cuda()` after loading must move every tensor, the audio encoder's buffers among them."""
    here = AutoModelForCausalLM.from_pretrained(small_folder, torch_dtype="float32")
    expected = here.generate(**batch, max_new_tokens=3)
    there = here.cuda()
    assert there.device.type == "cuda"
    inputs = {name: tensor.cuda() for name, tensor in batch.items()}
    assert torch.equal(there.generate(**inputs, max_new_tokens=3).cpu(), expected)
