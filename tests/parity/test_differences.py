"""Where transformers' own model is wrong. Each test shows what it does, and what is right and why.

phi4mm is the measure: `rope96` equals numbers recorded from the published code (tests/golden). A test that fails
because transformers now agrees has done its work: move the case to test_agreement.py.

S tokens of one request, V vocabulary, D width, F mel frames.
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
ROW = 17  # rows of the encoder for one line of a crop: 16 averages and the line's end


def my_rows(model: Phi4MM, prompt: Prompt) -> Tensor:
    """(placeholders, D) of phi4mm."""
    with torch.inference_mode():
        rows = encode_media(model, prompt, CPU)
    assert rows is not None
    return rows


def media_prompt(*media: MediaData) -> Prompt:
    return make_prompt("media", media, 2)


def test_their_default_attention_runs_the_image_tower_causally_on_a_square_picture(
    rope96: Phi4MM, theirs: Theirs, bare: Theirs
) -> None:
    """Each patch must see the whole image: SigLIP is bidirectional.

    Their layers say `is_causal`; a mask overrules that, and there is none where no patch is padded. In eager attention
    the flag has no effect.
    """
    square, narrow = media_prompt(make_image(448, 448)), media_prompt(make_image(224, 448))
    assert error(encoder_tokens(theirs, inputs(square)), my_rows(rope96, square)) <= VALUES_BOUND
    assert error(encoder_tokens(bare, inputs(narrow)), my_rows(rope96, narrow)) <= VALUES_BOUND
    before = encoder_tokens(bare, inputs(square))
    assert error(before, my_rows(rope96, square)) > DIFFERENT
    other = media_prompt(with_black_end(to_tiles(make_image(448, 448))))
    assert torch.equal(encoder_tokens(bare, inputs(other))[0], before[0]), "the first patches see the last after all"
    assert error(my_rows(rope96, other)[0], my_rows(rope96, square)[0]) > VALUES_BOUND


def with_black_end(tiles: ImageTiles) -> ImageTiles:
    """The same image with its last patch black."""
    pixels = tiles.pixels.copy()
    pixels[1, :, -14:, -14:] = -1
    return replace(tiles, pixels=pixels)


def test_their_padded_patches_attend_and_leak_where_an_odd_number_is_valid(rope96: Phi4MM, theirs: Theirs) -> None:
    """A padded patch must attend to nothing, as in the flash attention that the published model runs with.

    Pooling averages 2 x 2 patches, so at an odd border a valid patch meets a padded one. Silencing what padded queries
    bring makes their model equal, which shows that nothing else differs.
    """
    tiles = to_tiles(make_image(448, 200))  # 15 valid lines of patches, of which the eighth line of averages has one
    prompt = media_prompt(tiles)
    right, found = my_rows(rope96, prompt), encoder_tokens(theirs, inputs(prompt))
    border = torch.zeros(len(right), dtype=torch.bool)
    border[7 * ROW : 8 * ROW - 1] = True
    assert error(found[~border], right[~border]) <= VALUES_BOUND
    assert error(found[border], right[border]) > DIFFERENT
    valid = torch.from_numpy(tiles.mask).flatten(1)[..., None]
    tower = theirs.model.embed_tokens_extend.image_embed.img_processor
    hooks = [
        layer.self_attn.out_proj.register_forward_pre_hook(lambda _, args: (args[0] * valid,))
        for layer in tower.encoder.layers
    ]
    try:
        assert error(encoder_tokens(theirs, inputs(prompt)), right) <= VALUES_BOUND
    finally:
        for hook in hooks:
            hook.remove()


def test_their_clips_of_different_length_change_each_other(rope96: Phi4MM, theirs: Theirs) -> None:
    """A clip's rows must not depend on what is batched with it.

    Their mask of valid frames is a boolean that is added to the scores: one more for every valid key, where padding
    needs minus infinity. The published code masks, yet lets padding into the last frame of the subsampling.
    """
    short, long = clip(8_000), clip(30_000)
    alone = my_rows(rope96, media_prompt(short)), my_rows(rope96, media_prompt(long))
    for one, right in zip((short, long), alone, strict=True):
        assert error(encoder_tokens(theirs, inputs(media_prompt(one))), right) <= VALUES_BOUND
    twice = encoder_tokens(theirs, inputs(media_prompt(long, long)))
    assert error(twice, torch.cat([alone[1], alone[1]])) <= VALUES_BOUND
    found = encoder_tokens(theirs, inputs(media_prompt(short, long))).split([len(rows) for rows in alone])
    assert error(found[0], alone[0]) > DIFFERENT
    assert error(found[1], alone[1]) <= VALUES_BOUND
    features = [torch.from_numpy(one.features) for one in (short, long)]
    assert rope96.audio is not None
    with torch.inference_mode():
        together = rope96.audio(padded(features), torch.tensor([len(f) for f in features]), ["speech", "speech"])
    for rows, right in zip(together, alone, strict=True):
        assert error(rows, right) <= VALUES_BOUND


def test_their_batch_has_one_rotary_table_for_all_rows(rope96: Phi4MM, theirs: Theirs) -> None:
    """A row's own length must choose its table: a short row beside one past the switch turns with the wrong angles."""
    short, near, far = (text_ids(name, count).tolist() for name, count in (("row", 20), ("near", 60), ("far", 150)))
    right = full_logits(rope96, Prompt(tuple(short)))[-1]
    adapted(theirs, None)
    assert error(logits(theirs, batch_of_ids(short, near), last=1)[0, 0], right) <= VALUES_BOUND
    assert error(logits(theirs, batch_of_ids(short, far), last=1)[0, 0], right) > DIFFERENT
    rows = BatchedSequence(len(short)), BatchedSequence(len(far), long_rope=True)
    with torch.inference_mode():
        mine = rope96(ForwardBatch(torch.tensor(short + far), rows, torch.tensor([len(short) - 1])))
    assert error(mine[0], right) <= VALUES_BOUND


def test_their_generate_forgets_the_prompt_where_it_crosses_the_switch(rope96: Phi4MM, theirs: Theirs) -> None:
    """The row must be prefilled again with the long factors and go on from all it has read.

    `generate` drops the cache and then still feeds one token: from there on each token follows from the last alone.
    """
    prompt = make_prompt("crossing", [clip(60_000)], 34)
    right = run(rope96, [prompt], SamplingParams(max_tokens=16))[0]
    switch = rope96.config.text.rope.original_max_positions
    crossing = switch + 1 - len(prompt.ids)  # the first answer token that follows from more than `switch` tokens
    adapted(theirs, "speech")
    found = their_answer(theirs, prompt, 16)
    assert found[:crossing] == right[:crossing]
    assert found[crossing] != right[crossing]
    for last, following in itertools.pairwise(found[crossing - 1 :]):
        assert int(logits(theirs, {"input_ids": torch.tensor([[last]])})[0, 0].argmax()) == following
    read = Prompt((*prompt.ids, *right[:crossing]), prompt.spans)
    assert int(logits(theirs, inputs(read), last=1)[0, 0].argmax()) == right[crossing]


@pytest.mark.parametrize("media", [make_image(224, 448), clip(24_000)], ids=["image", "clip"])
def test_from_pretrained_alone_runs_without_the_adapters_that_lie_in_the_folder(
    rope96: Phi4MM, bare: Theirs, media: MediaData
) -> None:
    """An image needs the vision adapter and a clip the speech adapter; the decoder alone was never trained on them.

    Nothing warns. What their class computes is exactly the decoder without LoRA.
    """
    prompt = make_prompt("adapter", [media], 6)
    found = logits(bare, inputs(prompt), last=1)[0, 0]
    assert error(found, full_logits(rope96, prompt)[-1]) > DIFFERENT
    (span,) = prompt.spans
    places = torch.arange(span.start, span.start + span.length)
    end = torch.tensor([len(prompt.ids) - 1])
    row = BatchedSequence(
        len(prompt.ids), adapter=None, long_rope=len(prompt.ids) > rope96.config.text.rope.original_max_positions
    )
    with torch.inference_mode():
        without = rope96(ForwardBatch(torch.tensor(prompt.ids), (row,), end, my_rows(rope96, prompt), places))[0]
    assert error(found, without) <= VALUES_BOUND


def test_their_batch_has_one_audio_projection_for_all_rows(rope96: Phi4MM, theirs: Theirs) -> None:
    """A clip without an image must go through the `speech` projection, whatever its neighbours are.

    Their class takes the `vision` projection for every row as soon as one row of the batch holds an image.
    """
    frames = clip(8_000)
    heard, seen = media_prompt(frames), media_prompt(make_image(448, 224))
    both = inputs(seen) | inputs(heard) | {"input_ids": batch_of_ids(seen.ids, heard.ids)["input_ids"]}
    found = encoder_tokens(theirs, both)[seen.spans[0].length :]
    with torch.inference_mode():
        assert error(found, encode_clip(rope96, frames, "vision", CPU)) <= VALUES_BOUND
    assert error(found, my_rows(rope96, heard)) > DIFFERENT
