"""No audio file is silently shortened: whole, cut, joined and of unknown length, it is decoded whole or refused."""

from __future__ import annotations

import builtins
import io
import os
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phi4mm.errors import InputError
from phi4mm.processing.audio import open_audio
from phi4mm.processing.audio_file import decode
from phi4mm.protocol.messages import Audio
from tests.processing.audio_files import (
    MEDIA,
    decoded,
    ffmpeg,
    of_libsndfile,
    of_pyav,
    outcome,
    sound,
    with_lame,
    with_libsndfile,
    with_pyav,
    wrong,
)

RATE = 16_000


def tokens(data: bytes) -> int:
    return len(open_audio(Audio(data))[0])


def mp3(seconds: float = 20) -> bytes:
    """Of a varying bit rate, by libsndfile: silence and a tone take turns."""
    samples = sound(int(seconds * RATE))
    samples[(np.arange(len(samples)) // RATE) % 3 > 0] = 0
    return with_libsndfile(samples, RATE, "MP3")


def without_information(data: bytes) -> bytes:
    return data[data.find(data[:2], 4) :]


def test_every_format_of_libsndfile_is_whole_or_refused() -> None:
    """A format whose cut or joined file passes for a shorter one, one by one."""
    files = list(of_libsndfile())
    assert len(files) > 60
    assert [line for file in files for line in wrong(file)] == []


def test_every_format_of_pyav_is_whole_or_refused() -> None:
    """The same for files of another writer, and for containers that libsndfile does not read."""
    files = list(of_pyav())
    assert len(files) == len(MEDIA)
    assert [line for file in files for line in wrong(file)] == []


def test_case_a2_an_mp3_without_its_information_frame_is_whole() -> None:
    """libsndfile takes the length from an average of the first frames: a third of the sound was missing."""
    data = mp3()
    whole, bare = decoded(data), decoded(without_information(data))
    assert len(bare) >= len(whole) == 20 * RATE
    # The bare one keeps what the encoder put in front.
    late = 1105 - 529
    assert any(
        np.abs(bare[shift : shift + len(whole)][:-2000] - whole[: len(bare) - shift][:-2000]).max() < 1e-3
        for shift in (late, 576, 1105)
        if len(bare) - shift >= len(whole) - 2000
    )


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_case_a3_an_mp3_of_one_bit_rate_of_another_encoder_is_whole(rate: int) -> None:
    """Its stated length was an estimate, which its decoded length missed: refused as cut short."""
    data = with_lame(sound(49 * rate, rate), rate)
    got = decoded(data)
    assert len(got) == len(ffmpeg(data)) - 529
    assert len(got) >= 49 * rate
    with pytest.raises(InputError, match="cut short: its last frame needs"):
        decoded(data[:-50])


@pytest.mark.parametrize("format", ["MP3", "FLAC", "OGG", "WAV", "AIFF", "AU", "CAF", "NIST"])
def test_case_a4_files_end_to_end_are_read_to_the_end(format: str) -> None:
    """The first clip alone was taken for all."""
    one = with_libsndfile(sound(), RATE, format)
    other = with_libsndfile(sound(20_001)[::-1].copy(), RATE, format)
    np.testing.assert_array_equal(decoded(one + other), np.concatenate([decoded(one), decoded(other)]))


def test_case_a4_joined_clips_of_two_rates_are_one_at_16_khz() -> None:
    """The second would be heard at the pitch of the first."""
    for format in ("FLAC", "MP3", "OGG"):
        wide, narrow = with_libsndfile(sound(), 32_000, format), with_libsndfile(sound(), 8_000, format)
        got, rate = open_audio(Audio(wide + narrow))
        assert rate == 16_000
        assert abs(len(got) - (15_000 + 60_000)) <= 2


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_case_a4_an_ogg_without_its_last_page_is_cut_short(subtype: str) -> None:
    """Cut between two pages it looked complete."""
    data = with_libsndfile(sound(200_000), RATE, "OGG", subtype)
    pages = [at for at in range(len(data)) if data.startswith(b"OggS", at)]
    assert len(pages) > 4
    for at in pages[3:]:
        with pytest.raises(InputError, match="cut short: its Ogg stream has no last page"):
            decoded(data[:at])
    with pytest.raises(InputError, match=r"cut short: the Ogg stream before byte \d+ has no last page"):
        decoded(data[: pages[-1]] + data)
    with pytest.raises(InputError, match="does not follow the one before"):
        decoded(data[: pages[-2]] + data[pages[-1] :])
    damaged = bytearray(data)
    damaged[pages[-1] - 9] ^= 1
    with pytest.raises(InputError, match="wrong checksum"):
        decoded(bytes(damaged))


def test_case_a4_what_follows_the_sound_is_refused_unless_it_is_a_tag() -> None:
    """A second file of another format, or samples behind the stated size, were dropped."""
    wav = with_libsndfile(sound(), RATE, "WAV")
    for format in ("WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF", "NIST"):
        data = with_libsndfile(sound(), RATE, format)
        with pytest.raises(InputError, match=r"damaged|cut short"):
            decoded(data + with_libsndfile(sound(), RATE, "FLAC" if format == "OGG" else "OGG"))
        assert len(decoded(data + b"TAG" + bytes(125))) >= 30_000, format
    stale = wav[:40] + struct.pack("<I", 20_000) + wav[44:]
    with pytest.raises(InputError, match="damaged"):
        decoded(stale)
    assert len(decoded(wav + b"LIST" + struct.pack("<I", 4) + b"INFO")) == 30_000


@pytest.mark.parametrize("stated", [0, 0x7FFF_F000, 0x7FFF_FF00, 0x8000_0000, 0xFFFF_FFDB, 0xFFFF_FFFF])
def test_case_a5_a_wav_written_to_a_pipe_is_whole(stated: int) -> None:
    """Refused as cut short, or for holding no samples."""
    wav = with_libsndfile(sound(), RATE, "WAV")
    piped = wav[:40] + struct.pack("<I", stated) + wav[44:]
    np.testing.assert_array_equal(decoded(piped), decoded(wav))
    with pytest.raises(InputError, match="a second file begins at byte"):
        decoded(piped * 2)
    with pytest.raises(InputError, match="cut short"):
        decoded(wav[:40] + struct.pack("<I", 0x7FFF_EFFF) + wav[44:])


def test_case_a6_a_flac_of_unknown_length_is_whole() -> None:
    """Refused as longer than 1800 seconds."""
    data = bytearray(with_libsndfile(sound(100_000), RATE, "FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert len(decoded(bytes(data))) == 100_000
    for at in (len(data) - 1, len(data) - 4000, len(data) // 2):
        with pytest.raises(InputError, match="cut short"):
            decoded(bytes(data[:at]))


def test_case_a13_an_mp3_is_read_beside_a_file_that_libsndfile_takes_for_its_fork(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bad data offset` for every MP3 without a tag, by path or bytes."""
    monkeypatch.chdir(tmp_path)
    data = mp3(1)
    for name in ("._", "._x", "._sound.mp3"):
        Path(name).write_bytes(b"")
    Path("sound.mp3").write_bytes(data)
    for source in (data, "sound.mp3", os.fspath(tmp_path / "sound.mp3")):
        assert len(open_audio(Audio(source))[0]) == RATE


def test_tags_around_and_between_the_frames_hold_no_sound() -> None:
    """A tag in the middle, as joined files have it, would end the sound."""
    data = mp3(2)
    id3v2, id3v1 = b"ID3\x03\0\0\0\0\x01\0" + bytes(128), b"TAG" + bytes(125)
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0xA000_0000) + bytes(8)
    ape += b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0x8000_0000) + bytes(8)
    tagged = id3v2 + bytes(100) + data + ape + id3v1
    np.testing.assert_array_equal(decoded(tagged), decoded(data))
    assert len(decoded(tagged[: 138 + 100 + len(data) + 64 + 128] + id3v2 + data)) == 2 * len(decoded(data))
    with pytest.raises(InputError, match="cut short: it ends within a tag"):
        decoded(b"ID3\x03\0\0\x7f\x7f\x7f\x7f" + data)


def test_a_wrong_count_in_an_information_frame_is_found() -> None:
    """A stale one shortened the sound, a frame that was lost went unnoticed."""
    data = bytearray(mp3(3))
    at = data.index(b"Xing") + 8
    frames = struct.unpack(">I", data[at : at + 4])[0]
    data[at : at + 4] = struct.pack(">I", frames // 2)
    assert len(decoded(bytes(data))) >= 3 * RATE
    data[at : at + 4] = struct.pack(">I", frames + 2)
    with pytest.raises(InputError, match=f"cut short: it states {frames + 2} frames, {frames} are there"):
        decoded(bytes(data))


def test_what_needs_pyav_says_so_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Format not recognised` for the files of every telephone names no way out."""
    load = builtins.__import__

    def without_pyav(name: str, *rest: Any, **more: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return load(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_pyav)
    boxes = b"".join(struct.pack(">I4s", 16, name) + bytes(8) for name in (b"ftyp", b"moov", b"mdat"))
    for data, name in ((boxes, "MP4, M4A or MOV"), (b"\x1aE\xdf\xa3\x80", "WebM or Matroska")):
        with pytest.raises(InputError, match=rf"is {name}, which needs PyAV: pip install 'phi4mm\[media\]'"):
            decoded(data)


def test_live_streams_that_state_no_length_are_read() -> None:
    """What a browser records has no length and no index."""
    webm = with_pyav(sound(100_000, 48_000), "webm", "libopus", 48_000, live="1")
    assert len(decoded(webm)) == 100_000
    mp4 = with_pyav(sound(100_000, 48_000), "mp4", "aac", 48_000, movflags="frag_keyframe+empty_moov+default_base_moof")
    assert len(decoded(mp4)) >= 100_000
    for data in (webm, mp4):
        with pytest.raises(InputError, match="cut short"):
            decoded(data[: len(data) - 31])


def test_a_file_with_two_audio_tracks_is_refused() -> None:
    """One of two languages would be dropped."""
    av: Any = pytest.importorskip("av", reason="PyAV is not installed")
    file = io.BytesIO()
    with av.open(file, "w", format="mov") as output:
        for stream in [output.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in range(2)]:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.int16), "s16", "mono")
            frame.rate = RATE
            output.mux(stream.encode(frame))
    with pytest.raises(InputError, match="with 2 audio tracks; expected one"):
        decoded(file.getvalue())


def test_the_limit_of_length_holds_for_joined_and_unknown_lengths() -> None:
    """A limit for each part would let a file of many parts through."""
    for format in ("MP3", "OGG", "FLAC", "WAV"):
        with pytest.raises(InputError, match="longer than 3 seconds"):
            list(decode(io.BytesIO(with_libsndfile(sound(), RATE, format) * 2), 3.0))
    with pytest.raises(InputError, match=r"more than 1000 clips"):
        decoded(with_libsndfile(sound(8), RATE, "WAV") * 1001)


def test_flipped_and_missing_bytes_are_read_or_refused_within_bounds() -> None:
    """Prevents any other exception than InputError, and a hang, in the walks over the containers and in PyAV."""
    chooser = random.Random(7)
    short = sound(3_000)
    files = [with_libsndfile(short, RATE, format) for format in ("MP3", "OGG", "FLAC", "W64", "CAF", "NIST", "RF64")]
    if _has_pyav():
        files += [with_pyav(short, *media) for media in MEDIA[:16]]
    for whole in files:
        for _ in range(30):
            data = bytearray(whole)
            for _ in range(3):
                data[chooser.randrange(64 if chooser.random() < 0.5 else len(data))] = chooser.randrange(256)
            if chooser.random() < 0.3:
                del data[chooser.randrange(len(data)) :][: chooser.randrange(1, 50)]
            if data:
                found = outcome(bytes(data))
                assert not isinstance(found, str) or " at 0x" not in found


def _has_pyav() -> bool:
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True
