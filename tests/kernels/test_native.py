"""The native matrix products agree with the references, and a library that cannot be trusted is not used."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4mm.kernels import panels, reference, select
from phi4mm.kernels.cpu import library as native
from phi4mm.kernels.cpu import ops
from phi4mm.kernels.packed_weight import Bits, pack, unpack

needs_compiler = pytest.mark.skipif(native.library() is None, reason=native.status().reason)


@needs_compiler
@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([4, 8]),
    st.integers(1, 9),
    st.integers(1, 130),
    st.integers(1, 70),
    st.booleans(),
    st.integers(0, 99),
)
def test_packed_products_agree_with_the_reference(
    bits: Bits, rows: int, inputs: int, outputs: int, half: bool, seed: int
) -> None:
    """Any shape, with whole tiles and groups or not. 8 bits change activations by up to 1/254 of their largest."""
    generator = torch.Generator().manual_seed(seed)
    weight = pack(torch.randn(outputs, inputs, generator=generator), bits)
    x = torch.randn(rows, inputs, generator=generator)
    if half:
        x = x.bfloat16()
    found = ops.packed_linear(x, weight).float()
    expected = reference.linear(x.float(), weight)
    step = x.float().abs().amax() / (254 if bits == 4 else 65534)
    bound = step * unpack(weight).abs().sum(-1) + 1e-5 * expected.abs().max() + (expected.abs() / 128 if half else 0)
    assert ((found - expected).abs() <= bound + 1e-6).all()


@needs_compiler
@pytest.mark.parametrize("bits", [4, 8])
def test_a_rows_result_does_not_depend_on_other_rows(bits: Bits) -> None:
    """Otherwise a request would get another answer in a batch than alone."""
    weight, x = pack(torch.randn(48, 96), bits), torch.randn(7, 96)
    together = ops.packed_linear(x, weight)
    for row in range(7):
        assert torch.equal(ops.packed_linear(x[row], weight), together[row])


@needs_compiler
@pytest.mark.parametrize("bits", [4, 8])
def test_the_number_of_threads_does_not_change_the_result(bits: Bits) -> None:
    """Answers must not depend on the machine's cores."""
    weight, x = pack(torch.randn(400, 96), bits), torch.randn(37, 96)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = ops.packed_linear(x, weight)
        torch.set_num_threads(2)
        assert torch.equal(ops.packed_linear(x, weight), one)
    finally:
        torch.set_num_threads(before)


@needs_compiler
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_make_the_row_nan(bits: Bits, bad: float) -> None:
    """Rounded to an integer, a NaN would become an ordinary number."""
    weight, x = pack(torch.randn(16, 64), bits), torch.randn(2, 64)
    x[1, 40] = bad
    found = ops.packed_linear(x, weight)
    assert found[0].isfinite().all()
    assert found[1].isnan().all()


@needs_compiler
@pytest.mark.parametrize("bits", [4, 8])
def test_the_largest_numbers_do_not_overflow(bits: Bits) -> None:
    """Sums of 16-bit products would wrap around silently if their bound were wrong."""
    for sign in (1.0, -1.0):
        weight = pack(torch.full((16, 64), sign), bits)
        for x in (torch.ones(1, 64), -torch.ones(1, 64), torch.ones(1, 64) * torch.tensor([1.0, -1.0]).repeat(32)):
            expected = reference.linear(x, weight)
            torch.testing.assert_close(ops.packed_linear(x, weight), expected, atol=1e-3, rtol=1e-3)


@needs_compiler
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_panels_unpacked_in_c_equal_the_reference(bits: Bits, dtype: torch.dtype) -> None:
    """Products of many rows use them."""
    weight = pack(torch.randn(70, 50), bits)
    found = torch.cat([ops.unpack(weight, 0, 2, dtype), ops.unpack(weight, 2, 5, dtype)])[:70]
    assert torch.equal(found, unpack(weight).to(dtype))
    x = torch.randn(40, 50, dtype=dtype)
    torch.testing.assert_close(panels.packed_linear(x, weight, torch.float32, ops.unpack), reference.linear(x, weight))


@needs_compiler
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 7])
def test_the_bfloat16_product_is_summed_in_float32(rows: int) -> None:
    """It may differ from float64 by no more than half a step of bfloat16."""
    x, weight = torch.randn(rows, 64).bfloat16(), torch.randn(24, 64).bfloat16()
    expected = x.double() @ weight.double().T
    found = ops.bfloat16_linear(x, weight)
    assert ((found.double() - expected).abs() <= expected.abs() / 256 + 1e-5).all()
    assert torch.equal(ops.bfloat16_linear(x[-1], weight), found[-1])


@needs_compiler
def test_the_library_loads_when_it_is_imported_first() -> None:
    """It needs the OpenMP library that torch loads, and could not be loaded when torch was not imported yet."""
    code = "from phi4mm.kernels.cpu import library; print(library.status().reason)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "compiled for this machine"


def test_without_a_compiler_everything_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, answers are only slower, and `doctor` says why."""
    monkeypatch.delenv("PHI4MM_NATIVE", raising=False)
    monkeypatch.setattr("phi4mm.kernels.cpu.library.shutil.which", lambda name: None)
    status = native._status.__wrapped__()
    assert status.library is None
    assert "no C compiler" in status.reason
    monkeypatch.setattr(native, "library", lambda: None)
    weight, x = pack(torch.randn(24, 64), 4), torch.randn(2, 64)
    torch.testing.assert_close(select.linear(x, weight), reference.linear(x, weight))


def test_a_cache_folder_that_others_can_write_to_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone who can write there could make this process run any code."""
    monkeypatch.delenv("PHI4MM_NATIVE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = native.cache_folder()
    folder.chmod(0o777)
    status = native._status.__wrapped__()
    assert status.library is None
    assert "can be written by others" in status.reason


STATUS = "from phi4mm.kernels.cpu import library; print(library.status().reason)"
COMPILES = "phi4mm compiles its native kernels for this machine, once"


def fresh_status(**environment: str) -> tuple[str, list[str]]:
    """The reason that a process of its own gives, and what it writes to stderr; the test's folder is its own."""
    done = subprocess.run(
        [sys.executable, "-c", STATUS],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PHI4MM_NATIVE": "1", **environment},
        cwd=environment["HOME"],
    )
    return done.stdout.strip(), done.stderr.splitlines()


@pytest.fixture
def quick_compiler(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH whose `cc` writes the library that was compiled before: the real one takes ten seconds."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "library").write_bytes(native._build().read_bytes()[: -native._DIGEST_SIZE])
    linked = f'for last; do [ "$named" = -o ] && cp {folder}/library "$last"; named=$last; done'
    (folder / "cc").write_text(f"#!/bin/sh\n{linked}\nexit 0\n")
    (folder / "cc").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@needs_compiler
@pytest.mark.parametrize("damage", ["empty", "text", "cut short", "no symbols"])
def test_case_b9_a_damaged_library_is_rebuilt(damage: str, tmp_path: Path, quick_compiler: str) -> None:
    """It was found again by each process, which then ran in torch for ever; one cut short could end the process."""
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PATH": quick_compiler}
    assert fresh_status(**home) == ("compiled for this machine", [COMPILES])
    (path,) = (tmp_path / "phi4mm" / "native").iterdir()
    whole = path.read_bytes()
    if damage == "no symbols":
        (tmp_path / "empty.c").write_text("int nothing;")
        subprocess.run(["cc", "-shared", "-fPIC", str(tmp_path / "empty.c"), "-o", str(path)], check=True)
    else:
        path.write_bytes({"empty": b"", "text": b"x\n", "cut short": whole[: len(whole) // 2]}[damage])
    assert fresh_status(**home) == ("compiled for this machine", [COMPILES])
    assert fresh_status(**home) == ("compiled for this machine", [])
    assert len(path.read_bytes()) == len(whole)


@needs_compiler
def test_case_b9_a_relative_cache_folder_is_never_used(
    tmp_path: Path, quick_compiler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever prepared the working folder would have their code loaded."""
    said, lines = fresh_status(HOME=str(tmp_path), XDG_CACHE_HOME="cache", PATH=quick_compiler)
    assert (said, lines) == ("compiled for this machine", [COMPILES])
    assert [path.name for path in tmp_path.iterdir()] == [".cache"]
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", "home")
    with pytest.raises(OSError, match="no absolute path"):
        native.cache_folder()


def test_case_b9_a_hanging_compiler_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Five files were waited for two minutes each, and for as long as what a killed compiler had started."""
    assert native.COMPILE_SECONDS == 20
    (tmp_path / "cc").write_text(f"#!/bin/sh\n(sleep 2; touch {tmp_path}/late)\nsleep 600\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.delenv("PHI4MM_NATIVE", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "COMPILE_SECONDS", 1)
    start = time.monotonic()
    status = native._status.__wrapped__()
    assert time.monotonic() - start < 3
    assert status.library is None
    assert "took more than 1 s in all" in status.reason
    assert caplog.messages == [COMPILES, f"phi4mm runs slowly: {status.reason}"]
    time.sleep(1.5)
    assert not (tmp_path / "late").exists()  # what the compiler had started ended with it


def test_case_b9_the_slow_path_says_so_in_one_line(tmp_path: Path) -> None:
    """A failing compiler's many lines, or none at all, left a user with a model ten times slower."""
    (tmp_path / "cc").write_text("#!/bin/sh\necho one >&2; echo two >&2; exit 1\n")
    (tmp_path / "cc").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    said, lines = fresh_status(HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path), PATH=path)
    assert lines == [COMPILES, f"phi4mm runs slowly: {said}"]
    assert said.endswith("cc failed: one two")
    assert fresh_status(HOME=str(tmp_path), PHI4MM_NATIVE="0") == ("turned off by PHI4MM_NATIVE=0", [])


@needs_compiler
def test_case_d1_threads_compile_the_kernels_once(tmp_path: Path) -> None:
    """Four threads compiled side by side, with 20 s for each: on a busy machine all of them could give up."""
    ask = "list(ThreadPoolExecutor(4).map(lambda _: library.status().reason, range(4)))"
    code = (
        f"from concurrent.futures import ThreadPoolExecutor; from phi4mm.kernels.cpu import library; print(set({ask}))"
    )
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PHI4MM_NATIVE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | home, check=True
    )
    assert done.stdout.strip() == "{'compiled for this machine'}"
    assert done.stderr.splitlines() == [COMPILES]


def test_gradients_flow_through_packed_weights() -> None:
    """Adapters can be trained on a quantized base."""
    x = torch.randn(3, 32, requires_grad=True)
    weight = pack(torch.randn(16, 32), 4)
    select.linear(x, weight).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, unpack(weight).sum(0).expand(3, -1))


@needs_compiler
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_add_linear_equals_the_product_that_is_added(bits: Bits, dtype: torch.dtype) -> None:
    """An adapter's second product is scaled and added to the base's, in some rows of it."""
    weight, x = pack(torch.randn(40, 64), bits), torch.randn(3, 64).to(dtype)
    y = torch.randn(7, 40).to(dtype)
    expected = y.clone()
    expected[2:5] = (y[2:5].float() + 0.5 * ops.packed_linear(x.float(), weight)).to(dtype)
    found = select.add_linear(y[2:5], x, weight, 0.5)
    torch.testing.assert_close(found, expected[2:5])
    torch.testing.assert_close(y, expected)


def test_case_c_a_processor_that_the_kernels_are_not_written_for_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Portable C is several times slower than AVX2, and looked like the fast path."""
    monkeypatch.delenv("PHI4MM_NATIVE", raising=False)
    built = native.find_compiler() and native._build()
    if not built:
        pytest.skip("needs a C compiler")
    monkeypatch.setattr(native, "_build", lambda: built)
    monkeypatch.setattr(native, "cpu_flags", lambda: ("asimd",))
    status = native._status.__wrapped__()
    assert status.library is not None
    assert "this processor has no AVX2" in status.reason
    assert caplog.messages == [f"phi4mm runs slowly: {status.reason}"]
    monkeypatch.setattr(native, "cpu_flags", lambda: ())  # a system that does not tell
    assert native._status.__wrapped__().reason == "compiled for this machine"
