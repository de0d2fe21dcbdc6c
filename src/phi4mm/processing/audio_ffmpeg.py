"""What libsndfile does not read (M4A, MP4, MOV, WebM, Matroska, MP2), through PyAV: the extra `media`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from phi4mm.errors import InputError
from phi4mm.processing.containers.part import Part, Sound, cut_short, damaged, undecodable

if TYPE_CHECKING:
    import av
    import av.container

_NAMES = {"mov": "MP4, M4A or MOV", "matroska": "WebM or Matroska", "mp3": "MPEG layer I or II"}
_CODECS = ("aac", "alac", "flac", "mp1", "mp2", "mp3", "opus", "vorbis", "pcm_")
_MAX_PACKET = 2**24  # bytes


def open_sound(part: Part) -> Sound:
    """Open a part of a file whose only audio track is to be decoded; other tracks are not read.

    raises  InputError when PyAV is not installed, for several audio tracks, and for codecs that are not listed here
    """
    name = _NAMES[str(part.demuxer)]
    try:
        import av
    except ImportError:
        raise InputError(
            f"the audio clip is {name}, which needs PyAV: pip install 'phi4mm[media]', or convert it to WAV or FLAC"
        ) from None
    try:
        # The demuxer is named, so that no other is tried; it gets a file object and no way to open another.
        container = av.open(part.section, "r", format=part.demuxer, metadata_errors="ignore")
        tracks = container.streams.audio
        if len(tracks) != 1:
            raise InputError(f"the audio clip is {name} with {len(tracks)} audio tracks; expected one, so extract it")
        track = tracks[0]
        # A codec that FFmpeg does not know has no context.
        codec = track.codec_context.name if track.codec_context else "an unknown codec"
        if not codec.startswith(_CODECS):
            raise undecodable(f"its {name} holds {codec}, which is not read.")
        # HE-AAC states half of its rate, so the first frame decides.
        frames = _frames(container, track)
        first = next(frames, None)
    except av.FFmpegError as error:
        raise undecodable(f"{error.strerror}.") from None
    if first is None:
        raise InputError("the audio clip has no samples")
    return Sound(*_kind(first)[:2], 0, _blocks(first, frames))


def _frames(container: av.container.InputContainer, track: av.AudioStream) -> Iterator[av.AudioFrame]:
    """Decoded frames. raises InputError when packets are missing or damaged."""
    heard = longest = 0  # in the track's time base
    with container:
        track.codec_context.options = {"err_detect": "explode"}
        for packet in container.demux(track):
            if packet.is_corrupt:
                raise cut_short("a packet of its sound is incomplete")
            if packet.size > _MAX_PACKET:
                raise damaged(f"a packet of its sound has {packet.size} bytes, at most {_MAX_PACKET} are read")
            heard += packet.duration or 0
            longest = max(longest, packet.duration or 0)
            yield from packet.decode()
    # In fragments the last packet may state no duration of its own.
    if track.duration and heard + longest < track.duration:
        share = heard / track.duration
        raise cut_short(f"{share:.1%} of the sound that it states are there")


def _blocks(first: av.AudioFrame, frames: Iterator[av.AudioFrame]) -> Iterator[npt.NDArray[Any]]:
    """(n, channels) float32 in [-1, 1]."""
    import av

    kind = _kind(first)
    # PyAV reads planes beyond the last where every channel has its own, so FFmpeg makes one of them.
    packed = av.AudioResampler("flt")
    try:
        for frame in itertools.chain([first], frames):
            if _kind(frame) != kind:
                raise damaged("its rate, its channels or its samples' format change on the way")
            for block in packed.resample(frame):
                yield block.to_ndarray().reshape(-1, kind[1])
    except av.FFmpegError as error:
        raise damaged(f"{error.strerror}") from None


def _kind(frame: av.AudioFrame) -> tuple[int, int, str]:
    """Rate, channels and format of the samples."""
    return frame.sample_rate, frame.layout.nb_channels, frame.format.name
