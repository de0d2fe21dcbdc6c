"""Audio clips: features equal to the published code, correct resampling, damaged or hostile files refused."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from phi4mm.errors import InputError
from phi4mm.processing.audio import audio_tokens, log_mel, mel_frames, open_audio
from phi4mm.processing.resampling import resample
from phi4mm.protocol.inputs import F32
from phi4mm.protocol.messages import Audio

GOLDEN = Path(__file__).parents[1] / "golden" / "golden_tiny.npz"
with np.load(GOLDEN) as _file:
    GOLDEN_AUDIO = {key: _file[key] for key in _file.files if key.startswith("audio.")}


def noise(name: str, count: int) -> npt.NDArray[np.float64]:
    """The noise of the golden file: splitmix64 of the index, keyed by the CRC of the name."""
    with np.errstate(over="ignore"):
        z = np.arange(count, dtype=np.uint64) + (np.uint64(zlib.crc32(name.encode())) << np.uint64(32))
        z += np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def sweep(count: int, rate: int) -> F32:
    """The audio of the golden file: a rising tone, a steady one, a little noise."""
    t = np.arange(count) / rate
    tones = 0.3 * np.sin(2 * np.pi * (180 * t + 35 * t**1.5)) + 0.2 * np.sin(2 * np.pi * 660 * t)
    return (tones + 0.02 * noise(f"audio.{rate}", count)).astype(np.float32)


def tone(count: int, rate: int, hertz: float = 440.0) -> F32:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(count) / rate)).astype(np.float32)


def encoded(samples: npt.NDArray[Any], rate: int, format: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def wav(count: int = 16_000, **changes: int) -> bytes:
    """A 16-bit mono WAV whose header fields `riff`, `tag`, `channels`, `rate` and `data` can be changed."""
    body = (tone(count, 16_000) * 32767).astype("<i2").tobytes()
    header = {"riff": 36 + len(body), "tag": 1, "channels": 1, "rate": 16_000, "data": len(body), **changes}
    return (
        struct.pack("<4sI4s4sI", b"RIFF", header["riff"], b"WAVE", b"fmt ", 16)
        + struct.pack("<HHIIHH", header["tag"], header["channels"], header["rate"], header["rate"] * 2, 2, 16)
        + struct.pack("<4sI", b"data", header["data"])
        + body
    )


def samples(source: object, rate: int | None = None) -> F32:
    return open_audio(Audio(source, rate))[0]


@pytest.mark.parametrize("key", sorted(key for key in GOLDEN_AUDIO if key.endswith(".features")))
def test_features_and_tokens_equal_the_published_code(key: str) -> None:
    """Framing, pre-emphasis, scale, window, filters, floor and logarithm must agree, at both rates."""
    count, rate = map(int, key.split(".")[1].split("@"))
    features = log_mel(sweep(count, rate), rate)
    np.testing.assert_allclose(features, GOLDEN_AUDIO[key], atol=1e-3)
    assert audio_tokens(len(features)) == GOLDEN_AUDIO[key.replace("features", "tokens")][0]


def test_a_steady_tone_has_the_published_features() -> None:
    """These numbers were computed independently: the golden file and phi4mm could share an error."""
    wide, narrow = log_mel(tone(16_000, 16_000), 16_000), log_mel(tone(8_000, 8_000), 8_000)
    assert wide.shape == narrow.shape == (98, 80)
    np.testing.assert_allclose([wide.mean(), wide.std(), wide.min()], [13.21802, 2.97566, 9.85646], atol=1e-3)
    np.testing.assert_allclose(wide[0, [0, 5, 15, 40, 79]], [11.4617, 11.6078, 25.2017, 13.4962, 12.1886], atol=1e-3)
    np.testing.assert_allclose([narrow.mean(), narrow.std(), narrow.max()], [10.76138, 6.39068, 25.16867], atol=1e-3)
    np.testing.assert_allclose(narrow[0, [0, 15, 60, 79]], [11.6381, 25.1665, 12.9575, 0.0], atol=1e-3)


def test_frames_do_not_depend_on_the_block_they_are_computed_in() -> None:
    """The first frame of a block must not differ from the same frame inside a block."""
    clip = sweep(16_000 * 45, 16_000)
    at = 4_090
    whole, part = log_mel(clip, 16_000), log_mel(clip[at * 160 :], 16_000)
    np.testing.assert_allclose(whole[at : at + 20], part[:20], atol=1e-5)


def test_token_counts_of_long_clips() -> None:
    """One token stands for 8 frames, the last for fewer."""
    for count, frames, tokens in ((16_000, 98, 13), (640_399, 4000, 500), (640_400, 4001, 501)):
        features = log_mel(np.zeros(count, np.float32), 16_000)
        assert (len(features), audio_tokens(len(features))) == (frames, tokens)


def test_silence_is_exactly_zero() -> None:
    """The floor of the logarithm is 1 as published; with another one, silence would have other features."""
    assert not log_mel(np.zeros(600 * 16_000, np.float32), 16_000).any()


@pytest.mark.parametrize(("count", "rate"), [(1, 16_000), (399, 16_000), (400, 16_000), (199, 8_000)])
def test_clips_shorter_than_a_window_are_padded_with_zeros(count: int, rate: int) -> None:
    """The published code crashes on clips under 25 ms."""
    clip = tone(count, rate) + np.float32(0.1)
    padded = np.pad(clip, (0, rate // 40 - count))
    np.testing.assert_array_equal(log_mel(clip, rate), log_mel(padded, rate))
    assert len(log_mel(clip, rate)) == 1


def test_log_mel_refuses_other_rates() -> None:
    """The published code reads 44.1 kHz as if it were 16 kHz."""
    with pytest.raises(InputError, match="log_mel was given 44100 Hz; expected 16000 or 8000, so resample first"):
        log_mel(tone(4_000, 44_100), 44_100)


@pytest.mark.parametrize("rate", [11_025, 12_000, 22_050, 24_000, 44_100, 48_000, 96_000, 192_000, 655_350])
def test_every_rate_is_resampled_to_16_khz_at_the_right_pitch(rate: int) -> None:
    """The published code has a wrong pitch for rates that are not a multiple of 16 kHz."""
    clip, target = resample(tone(rate, rate), rate)
    assert target == 16_000
    assert abs(len(clip) - 16_000) <= 1
    np.testing.assert_allclose(clip[1000:15_000], tone(16_000, 16_000)[1000:15_000], atol=2e-3)


@pytest.mark.parametrize(("rate", "target"), [(4_000, 8_000), (7_999, 8_000), (8_000, 8_000), (16_000, 16_000)])
def test_narrow_band_audio_is_resampled_to_8_khz(rate: int, target: int) -> None:
    """The model has its own features for telephone audio, which must not be upsampled to 16 kHz."""
    clip, rate_after = resample(tone(rate, rate), rate)
    assert rate_after == target
    np.testing.assert_allclose(clip[500:-500], tone(target, target)[500 : len(clip) - 500], atol=2e-3)
    if rate == target:
        np.testing.assert_array_equal(clip, tone(rate, rate))


def test_resampling_does_not_alias() -> None:
    """Frequencies above the new limit must be filtered out; plain decimation would fold them back."""
    assert np.abs(resample(tone(48_000, 48_000, 10_000), 48_000)[0][2000:-2000]).max() < 1e-3


def test_resampling_in_blocks_equals_resampling_at_once() -> None:
    """In files of several blocks there must be no click between two of them."""
    clip = sweep(200_000, 44_100)
    np.testing.assert_allclose(samples(encoded(clip, 44_100, "WAV", "FLOAT")), resample(clip, 44_100)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("format", "subtype", "close"),
    [
        ("WAV", "PCM_U8", 0.02),
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "FLOAT", 0.0),
        ("WAV", "DOUBLE", 0.0),
        ("WAV", "ALAW", 0.03),
        ("WAV", "ULAW", 0.03),
        ("WAV", "MS_ADPCM", 0.1),
        ("WAVEX", "PCM_16", 1e-4),
        ("RF64", "PCM_16", 1e-4),
        ("W64", "PCM_16", 1e-4),
        ("AIFF", "PCM_16", 1e-4),
        ("AU", "PCM_16", 1e-4),
        ("CAF", "ALAC_16", 1e-4),
        ("FLAC", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 0.2),
        ("OGG", "OPUS", 0.2),
        ("MP3", "MPEG_LAYER_III", 0.2),
    ],
)
def test_every_common_encoding_is_read(format: str, subtype: str, close: float, tmp_path: Path) -> None:
    """The checks of containers must accept valid files, and samples must be in [-1, 1]."""
    clip = tone(16_000, 16_000)
    data = encoded(clip, 16_000, format, subtype)
    path = tmp_path / "clip.bin"
    path.write_bytes(data)
    decoded, rate = open_audio(Audio(path))
    assert rate == 16_000
    np.testing.assert_allclose(decoded[2000:14_000], clip[2000:14_000], atol=close)
    np.testing.assert_array_equal(samples(data), decoded)


def test_channels_are_averaged() -> None:
    """The second channel must not be dropped, or read as later samples."""
    left, right = tone(4_000, 16_000), tone(4_000, 16_000, 900)
    both = np.stack([left, right], 1)
    np.testing.assert_allclose(samples(encoded(both, 16_000, "WAV", "FLOAT")), (left + right) / 2, atol=1e-6)
    np.testing.assert_allclose(samples(both, 16_000), (left + right) / 2, atol=1e-6)
    np.testing.assert_allclose(samples((both, 16_000)), (left + right) / 2, atol=1e-6)
    for channels in (8, 64):
        many = np.repeat(left[:, None], channels, 1)
        np.testing.assert_allclose(samples(encoded(many, 16_000, "CAF", "FLOAT")), left, atol=1e-6)


def test_arrays_of_every_documented_dtype_are_equivalent() -> None:
    """Integer samples must be scaled to [-1, 1]."""
    clip = tone(4_000, 16_000)
    for array in (
        clip.astype(np.float64),
        clip.astype(np.float16),
        (clip * 32768).astype(np.int16),
        (clip.astype(np.float64) * 2**31).astype(np.int32),
    ):
        np.testing.assert_allclose(samples(array, 16_000), clip, atol=3e-4)


@pytest.mark.parametrize(
    ("array", "rate", "message"),
    [
        (np.zeros(10, np.uint8), 16_000, "is uint8; expected int16, int32 or floats"),
        (np.zeros(10), None, "has rate None; expected its samples per second"),
        (np.zeros(10), 16_000.5, "has rate 16000.5"),
        (np.zeros(10), 0, "has 0 samples per second; expected 4000 to 768000"),
        (np.zeros(10), -16_000, "has -16000 samples per second"),
        (np.zeros(10), 3_999, "has 3999 samples per second"),
        (np.zeros(0), 16_000, r"has shape \(0,\)"),
        (np.zeros((65, 16_000)), 16_000, r"has shape \(65, 16000\); expected \(n,\), \(n, channels\) or"),
        (np.zeros((10, 0)), 16_000, r"has shape \(10, 0\)"),
        (np.zeros((1, 1, 1)), 16_000, r"has shape \(1, 1, 1\)"),
        (np.array([0.0, np.nan]), 16_000, "NaN or infinite"),
        (np.array([0.0, -np.inf]), 16_000, "NaN or infinite"),
        (np.array([0.0, 32767.0]), 16_000, "samples reach 32767; expected .*, so divide them by the full scale"),
        (np.broadcast_to(np.float32(0), (28_800_001,)), 16_000, "longer than 1800 seconds .* cut it into pieces"),
    ],
)
def test_invalid_arrays_are_refused(array: object, rate: Any, message: str) -> None:
    """Scale, layout and rate must not be misread silently."""
    with pytest.raises(InputError, match=message):
        samples(array, rate)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", r"the audio clip is empty \(0 bytes\)"),
        (None, "an audio clip is of type NoneType; expected a path, bytes, a file object or an array"),
        ("no_such.wav", "audio clip 'no_such.wav' does not exist"),
        ("/dev/zero", "is not a regular file"),
        (random.Random(1).randbytes(4000), "cannot be decoded: .*; convert it to one of them"),
        (b"<html>not found</html>", "cannot be decoded: Format not recognised"),
        (b"\0\0\0\x18ftypisom" + bytes(400), "cannot be decoded"),
        (wav()[:12], "cannot be decoded"),
        (wav()[:36], "cannot be decoded"),
        (wav(0), "the audio clip has no samples|cannot be decoded"),
        (wav(channels=0), "cannot be decoded|0 channels"),
        (wav(channels=65), "cannot be decoded|65 channels; expected 1 to 64"),
        (wav(rate=0), "cannot be decoded|0 samples per second"),
        (wav(rate=1_000_000), "has 1000000 samples per second; expected 4000 to 768000"),
        (wav(rate=3_999), "has 3999 samples per second"),
        (wav(tag=0x11), "IMA ADPCM, which libsndfile decodes unsafely .*; convert it to PCM, FLAC or Opus"),
        (wav(data=64_000), "cut short: its header states 64000 bytes of samples, it has 32000; send the whole file"),
        (wav(data=0x7FFF_EFFF), "cut short: its header states 2147479551 bytes"),
        (b"RIFF\x10\0\0\0WAVE" + b"junk\0\0\0\0" * 2000, "more than 1000 chunks"),
        (encoded(np.array([0.0, np.nan]), 16_000, "WAV", "FLOAT"), "NaN or infinite"),
        (encoded(np.array([0.0, np.inf]), 16_000, "WAV", "DOUBLE"), "NaN or infinite"),
        (encoded(np.array([0.0, 1000.0]), 16_000, "WAV", "FLOAT"), "samples reach 1000"),
        (encoded(np.zeros(100), 16_000, "WAV", "IMA_ADPCM"), "IMA ADPCM"),
        (encoded(np.zeros(4000), 16_000, "W64", "IMA_ADPCM"), "IMA ADPCM"),
        (encoded(np.zeros(4000), 16_000, "AIFF", "IMA_ADPCM"), "IMA ADPCM"),
        (encoded(np.zeros(3 * 3600 * 4000, np.int16), 4000, "FLAC"), "longer than 1800 seconds"),
    ],
)
def test_damaged_and_hostile_audio_is_refused(source: object, message: str) -> None:
    """No crash, no audio bomb, no unsafe codec and no silently shortened clip; messages hold no memory addresses."""
    with pytest.raises(InputError, match=message) as caught:
        samples(source)
    assert " at 0x" not in str(caught.value)


@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("RF64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
        ("CAF", "ALAC_16"),
    ],
)
@pytest.mark.parametrize("part", [0.4, 0.7])
def test_an_audio_file_cut_in_the_middle_is_refused(format: str, subtype: str, part: float) -> None:
    """libsndfile reports no error, and half a file would be transcribed as if it were complete."""
    data = encoded(sweep(80_000, 16_000), 16_000, format, subtype)
    with pytest.raises(InputError, match=r"cut short|cannot be decoded") as caught:
        samples(data[: int(len(data) * part)])
    assert " at 0x" not in str(caught.value)


def test_audio_files_without_a_length_in_the_header_are_read() -> None:
    """Programs that write into a pipe leave sizes of 0 or of all ones, and a wrong RIFF size."""
    for changes in ({"riff": 0}, {"riff": 0xFFFF_FFFF}, {"riff": 0xFFFF_FFFF, "data": 0xFFFF_FFFF}):
        assert len(samples(wav(**changes))) == 16_000


def test_a_false_length_allocates_nothing() -> None:
    """A FLAC header of a few bytes can state hours of audio, within the limit or beyond it."""
    for claimed, message in ((2**36 - 1, "longer than 1800 seconds"), (16_000 * 1700, "cut short|cannot be decoded")):
        data = bytearray(encoded(tone(16_000, 16_000), 16_000, "FLAC"))
        data[21:26] = bytes([data[21] & 0xF0 | claimed >> 32, *(claimed & 0xFFFF_FFFF).to_bytes(4, "big")])
        with pytest.raises(InputError, match=message):
            samples(bytes(data))


def test_the_limit_of_length_can_be_set() -> None:
    """The check and the message must use the same number."""
    clip = tone(32_000, 16_000)
    assert len(open_audio(Audio(clip, 16_000), max_seconds=2)[0]) == 32_000
    for audio in (Audio(clip, 16_000), Audio(encoded(clip, 16_000))):
        with pytest.raises(InputError, match=r"longer than 1.5 seconds \(at least 2.0\)"):
            open_audio(audio, max_seconds=1.5)


def test_a_rate_given_with_a_file_is_refused() -> None:
    """A file states its own rate, so the argument would be ignored."""
    with pytest.raises(InputError, match="rate 8000 was given with an audio file, which has its own"):
        samples(wav(), 8_000)


def test_flipped_bytes_raise_nothing_but_input_errors() -> None:
    """A decoder may raise other exceptions on damaged data; none of them may reach the caller."""
    chooser = random.Random(5)
    messages: set[str] = set()
    for format, subtype in (("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "OPUS"), ("AU", "ULAW")):
        whole = encoded(tone(3_000, 16_000), 16_000, format, subtype)
        for _ in range(50):
            data = bytearray(whole)
            for _ in range(3):
                data[chooser.randrange(64 if chooser.random() < 0.7 else len(data))] = chooser.randrange(256)
            try:
                samples(bytes(data))
            except InputError as error:
                messages.add(str(error))
    assert len(messages) > 5
    assert not any(" at 0x" in message for message in messages)


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_case_b13_the_number_of_frames_follows_from_the_samples(rate: int) -> None:
    """A number that is off by one would refuse a clip that fits, or count one that does not."""
    for samples in (*range(1, 5), *range(rate // 40 - 2, rate // 40 + 2 * rate // 100 + 2), 12_345):
        assert mel_frames(samples, rate) == len(log_mel(np.zeros(samples, np.float32), rate))


def test_case_b2_an_array_of_sound_is_converted_in_blocks() -> None:
    """An array of 64 channels took 7 GB; 20 minutes of stereo took 0.9 GB and 15 s."""
    tracemalloc.start()
    long, rate = open_audio(Audio(np.broadcast_to(np.float32(0.25), (2_000_000, 64)), 16_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (long.shape, rate, long.min(), long.max()) == ((2_000_000,), 16_000, 0.25, 0.25)
    assert peak < 60e6  # the sound is 8 MB, all channels are 512 MB
    stereo = (np.random.default_rng(0).standard_normal((200_000, 2)) * 3_000).astype(np.int16)
    for rate in (48_000, 44_100):
        whole = resample((stereo / np.float32(32_768)).mean(axis=1, dtype=np.float32), rate)[0]
        np.testing.assert_allclose(open_audio(Audio(stereo, rate))[0], whole, atol=1e-6)
