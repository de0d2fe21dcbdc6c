"""Cases in which transformers' own model is wrong. Each test shows what it computes, what is right, and why.

phi4mm is the reference: `rope96` matches numbers recorded from the published code (tests/golden). When a test fails
because transformers has fixed a case, move it to test_agreement.py.

D model width.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from phi4mm.diagnostics.verify import VALUES_BOUND, text_ids
from phi4mm.engine.encoders import encode_clip, encode_media
from phi4mm.model.batch import BatchedSequence, ForwardBatch
from phi4mm.model.phi4mm import Phi4MM
from phi4mm.processing.pixels import to_tiles
from phi4mm.protocol.inputs import ImageTiles, MediaData, Prompt
from phi4mm.protocol.sampling import SamplingParams
from tests.parity.theirs import (
    DIFFERENT,
    Theirs,
    adapted,
    batch_of_ids,
    encoder_tokens,
    error,
    inputs,
    logits,
    padded,
    their_answer,
)
from tests.prompts import clip, full_logits, make_image, make_prompt, run

CPU = torch.device("cpu")
LINE = 17  # embeddings per line of a crop: 16 averages of 2 x 2 patches and the line separator


def our_embeddings(model: Phi4MM, prompt: Prompt) -> Tensor:
    """(placeholders, D): the media embeddings that phi4mm computes."""
    with torch.inference_mode():
        embeddings = encode_media(model, prompt, CPU)
    assert embeddings is not None
    return embeddings


def media_prompt(*media: MediaData) -> Prompt:
    return make_prompt("media", media, 2)


def test_their_default_attention_is_causal_in_the_image_tower_for_a_square_image(
    rope96: Phi4MM, theirs: Theirs, bare: Theirs
) -> None:
    """Each patch must attend to the whole image: SigLIP is bidirectional.

    Their layers set `is_causal`. A mask overrides it, but there is no mask when no patch is padding. In eager attention
    the flag has no effect.
    """
    square, narrow = media_prompt(make_image(448, 448)), media_prompt(make_image(224, 448))
    assert error(encoder_tokens(theirs, inputs(square)), our_embeddings(rope96, square)) <= VALUES_BOUND
    assert error(encoder_tokens(bare, inputs(narrow)), our_embeddings(rope96, narrow)) <= VALUES_BOUND
    before = encoder_tokens(bare, inputs(square))
    assert error(before, our_embeddings(rope96, square)) > DIFFERENT
    other = media_prompt(with_black_end(to_tiles(make_image(448, 448))))
    assert torch.equal(encoder_tokens(bare, inputs(other))[0], before[0]), "the first patches attend to the last"
    assert error(our_embeddings(rope96, other)[0], our_embeddings(rope96, square)[0]) > VALUES_BOUND


def with_black_end(tiles: ImageTiles) -> ImageTiles:
    """The same image with a black last patch."""
    pixels = tiles.pixels.copy()
    pixels[1, :, -14:, -14:] = -1
    return replace(tiles, pixels=pixels)


def test_their_padding_patches_change_valid_ones_if_an_odd_number_of_lines_is_valid(
    rope96: Phi4MM, theirs: Theirs
) -> None:
    """The attention output of a padding patch must be zero, as in the flash attention of the published model.

    Pooling averages 2 x 2 patches, so at an odd border a valid patch is averaged with a padding patch. Setting the
    output of padding queries to zero makes their model equal, which shows that nothing else differs.
    """
    tiles = to_tiles(make_image(448, 200))  # 15 valid lines of patches, so the eighth line of averages has only one
    prompt = media_prompt(tiles)
    expected, actual = our_embeddings(rope96, prompt), encoder_tokens(theirs, inputs(prompt))
    border = torch.zeros(len(expected), dtype=torch.bool)
    border[7 * LINE : 8 * LINE - 1] = True
    assert error(actual[~border], expected[~border]) <= VALUES_BOUND
    assert error(actual[border], expected[border]) > DIFFERENT
    valid = torch.from_numpy(tiles.mask).flatten(1)[..., None]
    tower = theirs.model.embed_tokens_extend.image_embed.img_processor
    hooks = [
        layer.self_attn.out_proj.register_forward_pre_hook(lambda _, args: (args[0] * valid,))
        for layer in tower.encoder.layers
    ]
    try:
        assert error(encoder_tokens(theirs, inputs(prompt)), expected) <= VALUES_BOUND
    finally:
        for hook in hooks:
            hook.remove()


def test_their_clips_of_different_length_change_each_other(rope96: Phi4MM, theirs: Theirs) -> None:
    """The embeddings of a clip must not depend on the other clips of the batch.

    Their mask of valid frames is a boolean that is added to the scores: plus one for every valid key, instead of minus
    infinity for padding. The published code masks correctly, but padding enters its last frame of the subsampling.
    """
    short, long = clip(8_000), clip(30_000)
    alone = our_embeddings(rope96, media_prompt(short)), our_embeddings(rope96, media_prompt(long))
    for one, expected in zip((short, long), alone, strict=True):
        assert error(encoder_tokens(theirs, inputs(media_prompt(one))), expected) <= VALUES_BOUND
    twice = encoder_tokens(theirs, inputs(media_prompt(long, long)))
    assert error(twice, torch.cat([alone[1], alone[1]])) <= VALUES_BOUND
    actual = encoder_tokens(theirs, inputs(media_prompt(short, long))).split([len(embeddings) for embeddings in alone])
    assert error(actual[0], alone[0]) > DIFFERENT
    assert error(actual[1], alone[1]) <= VALUES_BOUND
    features = [torch.from_numpy(one.features) for one in (short, long)]
    assert rope96.audio is not None
    with torch.inference_mode():
        together = rope96.audio(padded(features), torch.tensor([len(f) for f in features]), ["speech", "speech"])
    for embeddings, expected in zip(together, alone, strict=True):
        assert error(embeddings, expected) <= VALUES_BOUND


def test_their_batch_uses_one_rotary_table_for_all_sequences(rope96: Phi4MM, theirs: Theirs) -> None:
    """A sequence's own length must choose its table: beside a long sequence a short one gets the wrong angles."""
    short, near, far = (text_ids(name, count).tolist() for name, count in (("row", 20), ("near", 60), ("far", 150)))
    expected = full_logits(rope96, Prompt(tuple(short)))[-1]
    adapted(theirs, None)
    assert error(logits(theirs, batch_of_ids(short, near), last=1)[0, 0], expected) <= VALUES_BOUND
    assert error(logits(theirs, batch_of_ids(short, far), last=1)[0, 0], expected) > DIFFERENT
    sequences = BatchedSequence(len(short)), BatchedSequence(len(far), long_rope=True)
    with torch.inference_mode():
        ours = rope96(ForwardBatch(torch.tensor(short + far), sequences, torch.tensor([len(short) - 1])))
    assert error(ours[0], expected) <= VALUES_BOUND


def test_their_generate_loses_the_prompt_when_the_long_factors_begin(rope96: Phi4MM, theirs: Theirs) -> None:
    """At the LongRoPE switch the whole sequence must be prefilled again with the long factors.

    `generate` drops the cache but still feeds only one token, so each later token depends on the last token alone.
    """
    prompt = make_prompt("crossing", [clip(60_000)], 34)
    expected = run(rope96, [prompt], SamplingParams(max_tokens=16))[0]
    original_max = rope96.config.text.rope.original_max_positions
    crossing = original_max + 1 - len(prompt.ids)  # the first answer token after more than `original_max` tokens
    adapted(theirs, "speech")
    actual = their_answer(theirs, prompt, 16)
    assert actual[:crossing] == expected[:crossing]
    assert actual[crossing] != expected[crossing]
    for last, following in itertools.pairwise(actual[crossing - 1 :]):
        assert int(logits(theirs, {"input_ids": torch.tensor([[last]])})[0, 0].argmax()) == following
    whole = Prompt((*prompt.ids, *expected[:crossing]), prompt.spans)
    assert int(logits(theirs, inputs(whole), last=1)[0, 0].argmax()) == expected[crossing]


@pytest.mark.parametrize("media", [make_image(224, 448), clip(24_000)], ids=["image", "clip"])
def test_from_pretrained_alone_does_not_load_the_adapters_of_the_folder(
    rope96: Phi4MM, bare: Theirs, media: MediaData
) -> None:
    """An image needs the vision adapter and a clip the speech adapter; the decoder alone was never trained on them.

    There is no warning, and the result is exactly that of the decoder without LoRA.
    """
    prompt = make_prompt("adapter", [media], 6)
    actual = logits(bare, inputs(prompt), last=1)[0, 0]
    assert error(actual, full_logits(rope96, prompt)[-1]) > DIFFERENT
    (span,) = prompt.spans
    media_index = torch.arange(span.start, span.start + span.length)
    end = torch.tensor([len(prompt.ids) - 1])
    sequence = BatchedSequence(
        len(prompt.ids), adapter=None, long_rope=len(prompt.ids) > rope96.config.text.rope.original_max_positions
    )
    with torch.inference_mode():
        without = rope96(
            ForwardBatch(torch.tensor(prompt.ids), (sequence,), end, our_embeddings(rope96, prompt), media_index)
        )[0]
    assert error(actual, without) <= VALUES_BOUND


def test_their_batch_uses_one_audio_projection_for_all_sequences(rope96: Phi4MM, theirs: Theirs) -> None:
    """A clip without an image must use the `speech` projection, whatever the other sequences of the batch hold.

    Their class uses the `vision` projection for every sequence as soon as one of the batch holds an image.
    """
    frames = clip(8_000)
    audio, image = media_prompt(frames), media_prompt(make_image(448, 224))
    both = inputs(image) | inputs(audio) | {"input_ids": batch_of_ids(image.ids, audio.ids)["input_ids"]}
    actual = encoder_tokens(theirs, both)[image.spans[0].length :]
    with torch.inference_mode():
        assert error(actual, encode_clip(rope96, frames, "vision", CPU)) <= VALUES_BOUND
    assert error(actual, our_embeddings(rope96, audio)) > DIFFERENT
