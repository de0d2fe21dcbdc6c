"""What people give as an image or a sound: paths, URLs, base64, file objects, arrays and tensors."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import soundfile
import torch

from phi4mm.checkpoint.hub import resolve
from phi4mm.errors import ConfigError, InputError
from phi4mm.processing.audio import open_audio
from phi4mm.processing.image import image_size, open_image
from phi4mm.processing.openai_messages import as_message
from phi4mm.processing.processor import Processor
from phi4mm.processing.resampling import resample
from phi4mm.protocol.messages import Audio, Image, Message
from tests.processing.audio_files import F32, sound, with_libsndfile

WAV = with_libsndfile(sound(4_000), 16_000, "WAV", "FLOAT")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def png(width: int = 9, height: int = 5) -> bytes:
    file = io.BytesIO()
    PIL.Image.effect_noise((width, height), 90).convert("RGB").save(file, "PNG")
    return file.getvalue()


def pixels(source: object) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    opened = open_image(Image(source))
    assert opened.size == image_size(Image(source))
    return np.asarray(opened)


def heard(source: object, rate: int | None = None) -> F32:
    return open_audio(Audio(source, rate))[0]


PNG = png()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (base64.b64encode(bytes(range(256)) * 9_000).decode(), "looks like base64, where a path is expected; give its"),
        ("x" * 3_000_000 + "!", "cannot be read: File name too long"),
        ("/no/such/" + "folder/" * 300 + "a.png", "does not exist"),
        ("https://example.com/a.png?" + "x" * 4000, "is a URL, and nothing is fetched here; download it, and give its"),
        ("s3://bucket/a.png", "is a URL, and nothing is fetched here"),
        ("data:image/png,%89PNG", "is a data URI that is not in base64; expected data:TYPE;base64,DATA"),
        ("data:image/png;base64,%%%" + "x" * 4000, "is not base64"),
        ("data:image/png;base64,", "is empty"),
    ],
)
def test_case_c_what_is_no_path_is_refused_in_a_few_words(source: str, message: str) -> None:
    """Three megabytes of base64 came back as an error of three megabytes."""
    for refused in (lambda: pixels(source), lambda: heard(source)):
        with pytest.raises(InputError, match=re.escape(message)) as caught:
            refused()
        assert len(str(caught.value)) < 250


def test_case_c_the_error_of_a_long_path_shows_its_end() -> None:
    """The name of the file says which one is meant."""
    with pytest.raises(InputError, match=r"image '\.\.\..*/holiday\.png' does not exist"):
        pixels("/no/such" * 40 + "/holiday.png")


def test_case_c_data_uris_paths_and_file_objects_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data URI holds its bytes, `~` is the home folder, and a file object is put back to where it stood."""
    expected, samples = pixels(PNG), heard(WAV)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "a.wav").write_bytes(b"in front" + WAV)
    coded = base64.b64encode(PNG).decode()
    lines = "\n".join(coded[at : at + 76] for at in range(0, len(coded), 76))
    for source in (
        f"data:image/png;base64,{coded}",
        f"DATA:;BASE64,{lines}",
        "~/a.png",
        Path("~/a.png"),
        bytearray(PNG),
    ):
        np.testing.assert_array_equal(pixels(source), expected)
    with (tmp_path / "a.png").open("rb") as image, (tmp_path / "a.wav").open("rb") as clip:
        np.testing.assert_array_equal(pixels(image), expected)
        clip.seek(8)
        for _ in range(2):
            np.testing.assert_array_equal(heard(clip), samples)
        assert clip.tell() == 8
    np.testing.assert_array_equal(heard(f"data:audio/wav;base64,{base64.b64encode(WAV).decode()}"), samples)


def test_case_c_file_objects_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """One at its end, one of text, one that is closed, one that cannot seek."""
    written = io.BytesIO()
    written.write(PNG)
    closed = io.BytesIO(PNG)
    closed.close()

    class Pipe(io.RawIOBase):
        def readable(self) -> bool:
            return True

    for source, message in (
        (written, "file object, from where it stands, is empty"),
        (io.StringIO("x"), "reads str; open the file in binary mode, 'rb'"),
        (closed, "cannot be read (I/O operation on closed file"),
        (Pipe(), "give its bytes"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            pixels(source)


def test_case_c_an_unreadable_file_is_named(tmp_path: Path, processor: Processor) -> None:
    """Of twenty files, which one is damaged?"""
    (tmp_path / "half.png").write_bytes(PNG[:60])
    (tmp_path / "noise.wav").write_bytes(b"no sound at all")
    with pytest.raises(InputError, match=r"^image 2: '[^']*half\.png': the PNG image is damaged or cut short"):
        processor.chat([Message.user(Image(PNG), Image(tmp_path / "half.png"))])
    with pytest.raises(InputError, match=r"^audio 1: '[^']*noise\.wav': the audio clip cannot be decoded"):
        processor.chat([Message.user(Audio(tmp_path / "noise.wav"))])
    with (tmp_path / "half.png").open("rb") as file, pytest.raises(InputError, match=r"half\.png': the PNG image is"):
        pixels(file)


def test_case_c_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    """A clone without LFS holds small text files in place of images and sounds."""
    (tmp_path / "a.png").write_bytes(POINTER)
    with pytest.raises(InputError, match=r"a\.png': the image is a pointer of Git LFS.*run `git lfs pull`"):
        pixels(tmp_path / "a.png")
    with pytest.raises(InputError, match="the audio clip is a pointer of Git LFS"):
        heard(POINTER)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.bfloat16])
def test_case_c_tensors_and_arrays_of_either_layout_are_images(dtype: torch.dtype) -> None:
    """torchvision has channels first; an image must not be read as a strip of three lines."""
    expected = pixels(PNG)
    tensor = torch.from_numpy(expected.copy())
    tensor = tensor if dtype == torch.uint8 else (tensor / 255).to(dtype)
    atol = 1 if dtype == torch.bfloat16 else 0  # 8 bits of mantissa
    for source in (tensor, tensor.permute(2, 0, 1), tensor.permute(2, 0, 1).requires_grad_(dtype != torch.uint8)):
        np.testing.assert_allclose(pixels(source).astype(int), expected, atol=atol)
    np.testing.assert_array_equal(pixels(expected.transpose(2, 0, 1)), expected)
    # Where both the first and the last axis could be channels, the last one is.
    assert pixels(np.zeros((3, 7, 4), np.uint8)).shape == (3, 7, 3)
    with pytest.raises(InputError, match="runs from -1 to 1; expected 0 to 1"):
        pixels(torch.tensor([[-1.0, 1.0]]))
    with pytest.raises(InputError, match="is int64; expected uint8, or floats"):
        pixels(torch.zeros(4, 4, dtype=torch.int64))
    with pytest.raises(InputError, match="a Tensor cannot be read as an array"):
        pixels(torch.eye(4).to_sparse())


def test_case_c_tensors_lists_and_channels_first_are_sound() -> None:
    """torchaudio has channels first; a list of samples is what JSON gives."""
    expected = heard(WAV)
    tensor = torch.from_numpy(expected.copy())
    stereo = torch.stack([tensor * 2, tensor * 0])
    for source in (tensor, tensor.double().requires_grad_(), tensor[None], tensor[:, None], stereo, stereo.T):
        np.testing.assert_allclose(heard(source, 16_000), expected, atol=1e-6)
    np.testing.assert_array_equal(heard(expected.tolist(), 16_000), expected)
    np.testing.assert_array_equal(heard(expected, 16_000.0), expected)  # type: ignore[arg-type]
    np.testing.assert_array_equal(heard((expected, np.float64(16_000))), expected)
    wrong: tuple[tuple[object, object, str], ...] = (
        ([0.0, "a"], 16_000, "a list of samples is no array of numbers"),
        ([[0.0], [0.0, 1.0]], 16_000, "a list of samples is no array of numbers"),
        ([0.0, 0.1], None, "has rate None; expected its samples per second"),
        ([0.0, 0.1], float("nan"), "has rate nan"),
        (
            16_000,
            expected,
            r"rate array.* was given with a int; give a rate only with samples, as in \(samples, rate\)",
        ),
    )
    for given, rate, message in wrong:
        with pytest.raises(InputError, match=message):
            heard(given, rate)  # type: ignore[arg-type]


def test_case_c_the_first_frame_of_a_gif_is_read() -> None:
    """As the published code does; transparency is white."""
    frames = [PIL.Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert pixels(file.getvalue())[3, 3].tolist() == [255, 0, 0]
    clear = PIL.Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 10, 10))
    file = io.BytesIO()
    clear.save(file, "GIF")
    assert pixels(file.getvalue())[[3, 20], [3, 20]].tolist() == [[0, 0, 255], [255, 255, 255]]


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (32_000, [0.02440613, 0.27871308, 0.46753974, 0.48629728]),
        (48_000, [0.04290952, 0.38592602, 0.48972321, 0.21265629]),
        (96_000, [0.10268289, 0.46942632, -0.21374508, -0.39073643]),
    ],
)
def test_multiples_of_16_khz_go_through_the_published_filter(rate: int, expected: list[float]) -> None:
    """The first samples by SciPy's resample_poly; another filter gives other features above 7 kHz."""
    samples = (np.sin(np.arange(300) * 0.3) * 0.5).astype(np.float32)
    out, target = resample(samples, rate)
    assert (len(out), target) == (-(-300 * 16_000 // rate), 16_000)
    np.testing.assert_allclose(out[:4], expected, atol=3e-7)


def test_a_filtered_clip_does_not_depend_on_its_blocks() -> None:
    """Files are decoded in blocks of 65,536 samples, arrays come whole."""
    samples = sound(200_001, 96_000)
    file = io.BytesIO()
    soundfile.write(file, samples, 96_000, format="WAV", subtype="FLOAT")
    whole = heard(samples, 96_000)
    assert len(whole) == -(-200_001 // 6)
    np.testing.assert_allclose(heard(file.getvalue()), whole, atol=1e-6)


class Broken:
    """Every way to read it fails, as somebody's own class may."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __getattr__(self, name: str) -> Callable[..., object]:
        if name not in self.names:
            raise AttributeError(name)
        return self._fail

    def _fail(self, *_: object) -> object:
        raise KeyError("mine")


class BrokenPath(os.PathLike[str]):
    def __fspath__(self) -> str:
        raise KeyError("mine")


@pytest.mark.parametrize("source", [Broken("read", "tell", "seek"), Broken("__array__"), BrokenPath()])
def test_case_c_objects_that_fail_are_an_input_error(source: object) -> None:
    """KeyError of somebody else's class; it is kept as the cause."""
    for refused in (lambda: pixels(source), lambda: heard(source, None)):
        with pytest.raises(InputError, match="mine") as caught:
            refused()
        assert isinstance(caught.value.__cause__, KeyError)


def test_case_c_an_image_without_pixels_is_refused() -> None:
    """It was divided by its height."""
    for refused in (image_size, open_image):
        with pytest.raises(InputError, match="the image has 0 x 0 pixels; expected at least 1 and"):
            refused(Image(PIL.Image.new("RGB", (0, 0))))


def test_case_c_samples_are_read_as_data_sets_give_them() -> None:
    """With a path beside them, as they are stored."""
    samples = sound(4_000)
    np.testing.assert_array_equal(heard({"array": samples, "sampling_rate": 16_000, "path": None}), samples)


def test_case_c_no_error_shows_the_secrets_of_a_url() -> None:
    """Errors are logged, and sent to people who ask why."""
    with pytest.raises(InputError, match="image 'https://host/x' is a URL"):
        pixels("https://user:PW@host/x?token=PW")
    with pytest.raises(ConfigError, match="model 'https://host/x' is a URL"):
        resolve("https://user:PW@host/x?token=PW#PW")
    with pytest.raises(InputError) as caught:
        as_message({"role": "user", "content": [{"type": "x", "url": "https://user:PW@h/x?t=PW"}, 5]}, 1)
    assert "PW" not in str(caught.value)
