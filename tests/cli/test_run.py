from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

import PIL.Image
import pytest

import phi4mm
from phi4mm.cli import question, run
from phi4mm.cli.main import main
from phi4mm.errors import InputError
from phi4mm.protocol.messages import Audio, Image, Message, Tool, ToolCall
from phi4mm.protocol.request import ResponseFormat
from phi4mm.protocol.response import Reply, TokenLogprobs, Usage
from phi4mm.protocol.sampling import SamplingParams
from tests.cli.fake_model import FakeModel

Pipe = Callable[[bytes], None]
TypeLines = Callable[[Sequence[str | type[BaseException]]], None]
SIGN = str(Path(__file__).parents[2] / "examples" / "stop_sign.png")


def wrong_use(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Runs a command line that must end with exit code 2; returns what it prints to stderr."""
    with pytest.raises(SystemExit) as exit:
        main(argv)
    assert exit.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_only_the_answer_goes_to_stdout(model: FakeModel, capsys: pytest.CaptureFixture[str]) -> None:
    """A shell that captures stdout must get the answer and nothing else."""
    assert main(["run", "nano", "-p", "hello"]) == 0
    assert capsys.readouterr() == ("1 é\n", "")
    assert model.calls[0].messages == [Message.user("hello")]
    assert model.streams[0].closed


def test_an_answer_beyond_ascii_is_escaped_on_an_ascii_stdout(
    model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some pipes and consoles take only ASCII; an answer in French must not end in a traceback."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["run", "nano", "-p", "hello"]) == 0
    assert written.getvalue() == b"1 \\xe9\n"


def test_media_come_before_the_text_in_the_order_given(model: FakeModel) -> None:
    """The model was trained with media first; several values and repeated flags are both accepted."""
    main(["run", "nano", "--image", "a.png", "b.png", "--audio", "x.wav", "--image", "c.png", "-p", "what?"])
    media = (Image("a.png"), Image("b.png"), Image("c.png"), Audio("x.wav"))
    assert model.calls[0].messages == [Message.user(*media, "what?")]


def test_a_spoken_question_needs_no_prompt(model: FakeModel) -> None:
    """Audio can hold the question; an empty text part must not be added, as it would be refused."""
    assert main(["run", "nano", "--audio", "question.wav"]) == 0
    assert model.calls[0].messages == [Message.user(Audio("question.wav"))]


@pytest.mark.parametrize(
    ("options", "name", "folders"),
    [
        ([], "auto", {}),
        (["--adapter", "none"], "none", {}),
        (["--adapter", "speech"], "speech", {}),
        (["--adapter", "mine=some/folder"], "mine", {"mine": "some/folder"}),
    ],
)
@pytest.mark.parametrize("prompt", [["-p", "hi"], ["-p", "hi", "--json"], ["-p", "hi", "--raw"]])
def test_the_adapter_is_chosen_and_loaded(
    model: FakeModel, options: list[str], name: str, folders: dict[str, str], prompt: list[str]
) -> None:
    """For text, JSON and raw prompts: an adapter that is loaded but not used would answer like the plain model."""
    assert main(["run", "nano", *prompt, *options]) == 0
    assert (model.adapters, model.folders) == ([name], folders)


def test_every_turn_of_a_chat_uses_the_adapter(model: FakeModel, type_lines: TypeLines) -> None:
    """Not only the first one."""
    type_lines(["one", "two"])
    assert main(["run", "nano", "--adapter", "mine=some/folder"]) == 0
    assert model.adapters == ["mine", "mine"]


def test_the_system_message_comes_first(model: FakeModel) -> None:
    """The chat format has the system message before all others."""
    main(["run", "nano", "-p", "hi", "--system", "be brief"])
    assert model.calls[0].messages == [Message.system("be brief"), Message.user("hi")]


@pytest.mark.parametrize(
    ("argv", "piped", "prompt"),
    [
        ([], b"from a pipe\n", "from a pipe"),
        (["-p", "sum up:", "-"], b"line 1\nline 2\n", "sum up:\nline 1\nline 2"),
        (["sum up:", "-"], b"line 1\n", "sum up:\nline 1"),
        (["-"], b"line 1\n", "line 1"),
        (["-p", "-"], b"line 1\n", "line 1"),
        (["-p", "hi", "-"], b"\n", "hi"),
        ([], "né€".encode(), "né€"),
        (["-p", "hi"], b"rest of the script\n", "hi"),
        (["hi", "there"], b"rest of the script\n", "hi\nthere"),
    ],
)
def test_stdin_is_the_prompt_or_follows_it_where_it_is_asked_for(
    model: FakeModel, pipe: Pipe, argv: list[str], piped: bytes, prompt: str
) -> None:
    """`cat page | phi4mm run nano "sum up:" -` is how shells are used; the shell's last line break is not text."""
    pipe(piped)
    assert main(["run", "nano", *argv]) == 0
    assert model.calls[0].messages == [Message.user(prompt)]


@pytest.mark.parametrize("argv", [["--audio", "a.wav"], ["-p", "hi"], ["hi"], ["--image", "a.png", "what?"]])
def test_case_a7_and_a8_stdin_of_a_shell_loop_is_left_alone(
    model: FakeModel, monkeypatch: pytest.MonkeyPatch, argv: list[str]
) -> None:
    """`while read f; do phi4mm run nano --audio "$f"; done < list` does every file, and an open pipe does not hang."""
    reader, writer = os.pipe()  # nobody writes: to read it would block for ever
    with os.fdopen(reader) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert main(["run", "nano", *argv]) == 0
    os.close(writer)


def test_media_can_come_from_stdin(model: FakeModel, pipe: Pipe) -> None:
    """`ffmpeg ... - | phi4mm run nano --audio - "Transcribe."`."""
    pipe(b"RIFF")
    assert main(["run", "nano", "--audio", "-", "-p", "write it down"]) == 0
    assert model.calls[0].messages == [Message.user(Audio(b"RIFF"), "write it down")]


def test_stdin_is_named_once(model: FakeModel, capsys: pytest.CaptureFixture[str]) -> None:
    """The second reader would find nothing."""
    assert "- names stdin 2 times; it can be read once" in wrong_use(capsys, "run", "nano", "--audio", "-", "-p", "-")


@pytest.mark.parametrize(
    ("argv", "images", "text"),
    [
        (["--image", "a.png", "What is this?"], ["a.png"], "What is this?"),
        (["--image", "a.png", "b.png"], ["a.png", "b.png"], None),
        (["--image", "a.png", "my holiday.png", "-p", "both"], ["a.png", "my holiday.png"], "both"),
        (["What is this?", "--image", "a.png"], ["a.png"], "What is this?"),
    ],
)
def test_a_question_after_the_files_is_the_question(
    model: FakeModel, argv: list[str], images: list[str], text: str | None
) -> None:
    """As people type it; a name that looks like a file stays one, and is then missed by name."""
    assert main(["run", "nano", *argv]) == 0
    assert model.calls[0].messages == [Message.user(*map(Image, images), *([text] if text else []))]


@pytest.mark.parametrize("argv", [["run", "nano", "-p", "hi"], ["run", "nano", "-p", "hi", "--json"], ["doctor"]])
@pytest.mark.parametrize(("to", "told"), [(">&-", "stdout is closed"), ("> /dev/full", "No space left on device")])
def test_case_b8_output_that_cannot_be_written_is_one_line(argv: list[str], to: str, told: str) -> None:
    """A traceback, or success with nothing written, hides that the answer is lost."""
    if not Path("/dev/full").exists():
        pytest.skip("needs Linux's /dev/full")
    command = f"exec {shlex.quote(sys.executable)} -m phi4mm {shlex.join(argv)} {to}"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_piped_binary_file_is_refused(model: FakeModel, pipe: Pipe, capsys: pytest.CaptureFixture[str]) -> None:
    """An image piped by mistake must not become a prompt of replacement characters."""
    pipe(b"ok \xff\xd8")
    assert main(["run", "nano"]) == 1
    told = "phi4mm run: stdin is not UTF-8 text at byte 3; name files by --image or --audio, or pipe one to --audio -\n"
    assert capsys.readouterr() == ("", told)


def test_endless_piped_text_is_refused_before_it_fills_memory(
    model: FakeModel, pipe: Pipe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cat /dev/zero | phi4mm run nano` must end."""
    monkeypatch.setattr(question, "MAX_TEXT_BYTES", 10)
    pipe(b"x" * 11)
    assert main(["run", "nano"]) == 1
    assert "longer than 10 bytes; pipe in less" in capsys.readouterr().err


def test_json_is_one_object_with_the_whole_reply(model: FakeModel, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs parse stdout as one JSON object."""
    model.tool_calls = (ToolCall("weather", {"city": "Orléans"}),)
    assert main(["run", "nano", "-p", "hi", "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == {
        "text": "1 é",
        "finish_reason": "tool_calls",
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 2,
            "image_tokens": 0,
            "audio_tokens": 0,
            "cached_tokens": 0,
            "cached_media": 0,
        },
        "tool_calls": [{"name": "weather", "arguments": {"city": "Orléans"}}],
    }
    assert out.count("\n") == 1


def test_a_raw_prompt_reaches_the_model_unchanged(model: FakeModel, capsys: pytest.CaptureFixture[str]) -> None:
    """--raw is for prompts in the published format; wrapping them in a chat would double the special tokens."""
    prompt = "<|user|><|image_1|>hi<|end|><|assistant|>"
    assert main(["run", "nano", "--raw", "-p", prompt, "--image", "a.png"]) == 0
    assert model.raw == [(prompt, ("a.png",), ())]
    assert capsys.readouterr().out == f"raw {prompt}\n"
    assert main(["run", "nano", "--raw", "-p", prompt, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == f"raw {prompt}"


@pytest.mark.parametrize("flag", [["--n", "2"], ["--logprobs", "0"]])
def test_options_that_only_json_shows_are_refused_without_it(
    flag: list[str], model: FakeModel, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their results would be computed and then dropped."""
    with pytest.raises(SystemExit) as exit:
        main(["run", "nano", "-p", "hi", *flag])
    assert exit.value.code == 2
    assert "--n above 1 and --logprobs need JSON output; add --json" in capsys.readouterr().err
    assert model.calls == []


def test_json_shows_log_probabilities_and_alternatives(capsys: pytest.CaptureFixture[str]) -> None:
    """Each alternative has the same keys as the first answer."""
    entry = TokenLogprobs(5, -0.5, ((5, -0.5), (7, -1.5)), -0.25)
    one = Reply("a", "stop", Usage(1, 1, 0, 0), (), (5,), (entry,))
    run._print_json(replace(one, alternatives=(replace(one, text="b"),)))
    answer = json.loads(capsys.readouterr().out)
    shown = {"token": 5, "logprob": -0.5, "top": [[5, -0.5], [7, -1.5]], "sampling_logprob": -0.25}
    assert answer["logprobs"] == [shown]
    assert [other["text"] for other in answer["alternatives"]] == ["b"]
    assert answer["alternatives"][0]["logprobs"] == answer["logprobs"]


def test_every_sampling_parameter_has_its_flag(model: FakeModel, capsys: pytest.CaptureFixture[str]) -> None:
    """A field that is added to SamplingParams must appear on the command line by itself."""
    values = {
        "temperature": 0.7,
        "top_k": 5,
        "top_p": 0.9,
        "min_p": 0.1,
        "repetition_penalty": 1.2,
        "presence_penalty": 0.3,
        "frequency_penalty": 0.4,
        "logit_bias": ((5, -100.0), (7, 2.5)),
        "stop": ("a", "b"),
        "seed": 3,
        "max_tokens": 7,
        "n": 2,
        "logprobs": 1,
    }
    assert set(values) == {field.name for field in fields(SamplingParams)}
    argv = []
    for name, value in values.items():
        for one in value if isinstance(value, tuple) else (value,):
            argv += ["--" + name.replace("_", "-"), "=".join(map(str, one)) if isinstance(one, tuple) else str(one)]
    assert main(["run", "nano", "-p", "hi", "--json", *argv]) == 0
    assert model.calls[0].params == SamplingParams(**values)  # type: ignore[arg-type]
    assert main(["run", "nano", "-p", "hi"]) == 0
    assert model.calls[1].params == SamplingParams()


def test_wrong_options_are_wrong_use_and_load_no_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody should wait for 11 GB to load before a misspelled option is reported."""
    monkeypatch.setattr(phi4mm, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    prompt = ("run", "nano", "-p", "hi")
    assert "temperature is -1.0; expected a number from 0 to 100" in wrong_use(capsys, *prompt, "--temperature", "-1")
    assert "temperature is nan" in wrong_use(capsys, *prompt, "--temperature", "nan")
    assert "'5' is no ID=BIAS, as in 5=-100" in wrong_use(capsys, *prompt, "--logit-bias", "5")
    assert "a stop string has 0 characters" in wrong_use(capsys, *prompt, "--stop", "")
    assert "invalid int value: 'many'" in wrong_use(capsys, *prompt, "--max-tokens", "many")
    assert "device is 'tpu'; expected one of auto, cpu, cuda" in wrong_use(capsys, *prompt, "--device", "tpu")
    assert "--temp" in wrong_use(capsys, *prompt, "--temp", "1")
    assert "leave out --system and --tools" in wrong_use(capsys, *prompt, "--raw", "--system", "x")


@pytest.mark.parametrize("argv", [[], ["--json"], ["--raw", "--image", "a.png"]])
def test_a_missing_prompt_is_wrong_use(model: FakeModel, capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    """A script has no terminal to chat at: waiting for input would hang it."""
    assert "there is no prompt; write one after the model, or pipe one in" in wrong_use(capsys, "run", "nano", *argv)


def test_an_empty_prompt_at_a_terminal_is_wrong_use_and_no_chat(
    model: FakeModel, capsys: pytest.CaptureFixture[str], type_lines: TypeLines
) -> None:
    """`phi4mm run nano -p "$question"` of an empty variable would sit there and wait."""
    type_lines(["never"])
    assert "there is no prompt" in wrong_use(capsys, "run", "nano", "-p", "")
    assert model.calls == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "cannot be read as JSON: "),
        (b"[" * 100_000, "cannot be read as JSON: "),
        (b"\xff\xfe", "cannot be read as JSON: "),
        (b'{"name": "f"}', "holds a dict; expected a list of tools"),
        (b" " * (run.MAX_JSON_BYTES + 1), "has 1048577 bytes; expected a list of tools of at most 1048576"),
        (None, "not found; expected a list of tools"),
    ],
)
def test_a_bad_tools_file_is_named(
    model: FakeModel, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes | None, message: str
) -> None:
    """The file may be broken, nested too deep, too large, of the wrong type, or missing."""
    path = tmp_path / "tools.json"
    if content is not None:
        path.write_bytes(content)
    assert main(["run", "nano", "-p", "hi", "--tools", str(path)]) == 1
    err = capsys.readouterr().err
    assert str(path) in err
    assert message in err
    assert err.count("\n") == 1


def test_tools_reach_the_model(model: FakeModel, tmp_path: Path) -> None:
    """A tool declared as in the model card is passed on."""
    flat = {"name": "weather", "description": "of a city", "parameters": {"city": {"type": "str"}}}
    path = tmp_path / "tools.json"
    path.write_text(json.dumps([flat]))
    assert main(["run", "nano", "-p", "hi", "--tools", str(path)]) == 0
    assert model.calls[0].tools == (Tool("weather", "of a city", {"city": {"type": "str"}}),)


@pytest.mark.parametrize(
    ("argv", "response_format"),
    [
        (["--schema", "SCHEMA"], ResponseFormat(schema={"type": "object"})),
        (["--regex", "[ab]+"], ResponseFormat(regex="[ab]+")),
        (["--choice", "yes", "--choice", "no"], ResponseFormat(choice=("yes", "no"))),
        ([], None),
    ],
)
@pytest.mark.parametrize("how", [[], ["--json"]])
def test_the_response_format_reaches_the_model(
    model: FakeModel, tmp_path: Path, how: list[str], argv: list[str], response_format: ResponseFormat | None
) -> None:
    """If it were dropped, the answer would be free text, which the script that reads it cannot parse."""
    path = tmp_path / "schema.json"
    path.write_text('{"type": "object"}')
    assert main(["run", "nano", "-p", "hi", *how, *(str(path) if word == "SCHEMA" else word for word in argv)]) == 0
    assert model.calls[0].response_format == response_format


def test_the_response_format_holds_for_every_answer_of_a_chat(model: FakeModel, type_lines: TypeLines) -> None:
    """The flag must not be ignored at a terminal."""
    type_lines(["one", "two"])
    assert main(["run", "nano", "--choice", "yes"]) == 0
    assert [call.response_format for call in model.calls] == [ResponseFormat(choice=("yes",))] * 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "holds a list; expected a JSON schema"),
        (b"{", "cannot be read as JSON: "),
        (None, "not found; expected a JSON schema"),
    ],
)
def test_a_bad_schema_file_is_named(
    model: FakeModel, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes | None, message: str
) -> None:
    """The error names the file, and comes before the model is loaded."""
    path = tmp_path / "schema.json"
    if content is not None:
        path.write_bytes(content)
    assert main(["run", "nano", "-p", "hi", "--schema", str(path)]) == 1
    err = capsys.readouterr().err
    assert str(path) in err
    assert message in err
    assert model.calls == []


def test_two_response_formats_or_one_with_a_raw_prompt_are_wrong_use(
    model: FakeModel, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such options would be ignored, so they are refused."""
    prompt = ("run", "nano", "-p", "hi")
    assert "not allowed with argument --regex" in wrong_use(capsys, *prompt, "--regex", "a", "--choice", "b")
    assert "leave out --schema, --regex and --choice" in wrong_use(capsys, *prompt, "--raw", "--regex", "")
    assert main([*prompt, "--regex", ""]) == 1
    assert "regex has 0 characters; expected 1 to 4096" in capsys.readouterr().err


def test_a_request_that_cannot_work_gives_one_line_and_exit_code_1(
    model: FakeModel, capsys: pytest.CaptureFixture[str]
) -> None:
    """Users need to know which image is damaged, not a traceback."""

    def refuse(messages: Sequence[Message]) -> Iterator[str]:
        raise InputError("a.png is cut off; give a whole image")

    model.answer = refuse
    assert main(["run", "nano", "-p", "hi", "--image", "a.png"]) == 1
    assert capsys.readouterr().err == "phi4mm run: a.png is cut off; give a whole image\n"


def test_ctrl_c_ends_a_single_answer_and_keeps_what_was_written(
    model: FakeModel, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stream must be closed, or the engine would go on with the request; shells expect exit code 130."""

    def interrupted(messages: Sequence[Message]) -> Iterator[str]:
        yield "so far"
        raise KeyboardInterrupt

    model.answer = interrupted
    assert main(["run", "nano", "-p", "hi"]) == 130
    assert capsys.readouterr() == ("so far\n", "")
    assert model.streams[0].closed


def test_a_missing_model_gives_one_line_without_a_traceback(tmp_path: Path) -> None:
    """Runs the program as a shell does: stdout empty, one line on stderr, exit code 1."""
    command = [sys.executable, "-m", "phi4mm", "run", str(tmp_path / "no-such-folder"), "-p", "hi"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("phi4mm run: ")
    assert "no-such-folder" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("word", ["Hello.", "OUT", "what is in a/b?"])
def test_case_c_a_prompt_without_a_model_says_what_to_type(
    word: str, capsys: pytest.CaptureFixture[str], pipe: Pipe
) -> None:
    """It said that there was no prompt, to one who had typed nothing else, or had misspelt a folder."""
    pipe(b"")
    assert main(["run", word]) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        f"phi4mm run: model {word!r} is no folder, nor a hub id such as owner/name; if it is a prompt"
    )
    assert said.endswith(f"type phi4mm run nano {shlex.quote(word)}\n")


@pytest.mark.parametrize(
    "argv", [["-p", "Hello."], ["-p", "Hello.", "--json"], ["--raw", "-p", "<|user|>Hi<|end|><|assistant|>"]]
)
def test_an_answer_that_is_cut_says_so(argv: list[str], capsys: pytest.CaptureFixture[str], pipe: Pipe) -> None:
    """A transcript that ends in the middle would look complete; JSON has the finish reason."""
    pipe(b"")
    assert main(["run", "nano", *argv, "--max-tokens", "2"]) == 0
    told = "phi4mm run: the answer was cut at --max-tokens 2; give a larger number for the rest\n"
    assert capsys.readouterr().err == ("" if "--json" in argv else told)


def test_case_c_an_image_that_is_refused_has_one_line(tmp_path: Path) -> None:
    """Pillow's warning, with a line of its source, came before the error."""
    PIL.Image.new("L", (12000, 9000)).save(tmp_path / "big.png")
    command = [sys.executable, "-m", "phi4mm", "run", "nano", "--image", str(tmp_path / "big.png"), "-p", "hi"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert "12000 x 9000 pixels; expected at least 1 and at most 89478485" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "option"), [(["a.PNG", "What?"], "--image"), (["my clip.wav"], "--audio"), ([SIGN], "--image")]
)
def test_case_c_a_file_in_place_of_the_prompt_is_refused(
    words: list[str], option: str, model: FakeModel, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model was asked about the letters of the file's name, and answered."""
    with pytest.raises(SystemExit) as exit:
        main(["run", "nano", *words])
    assert exit.value.code == 2
    assert f"is a file's name; did you mean {option}?" in capsys.readouterr().err
    assert model.calls == []


def test_case_c_a_file_of_any_name_is_refused_as_prompt_but_not_after_p(model: FakeModel, tmp_path: Path) -> None:
    """An image without an ending; -p says that it is text."""
    (tmp_path / "image").touch()
    with pytest.raises(SystemExit):
        main(["run", "nano", str(tmp_path / "image")])
    assert main(["run", "nano", "-p", "a.png"]) == 0
    assert [call.messages for call in model.calls] == [[Message.user("a.png")]]


def test_case_c_a_missing_file_whose_name_has_spaces_is_no_question(model: FakeModel) -> None:
    """The image was left out, and the model asked about its name."""
    assert main(["run", "nano", "--image", SIGN, "my holiday photo.png"]) == 0
    assert [call.messages for call in model.calls] == [[Message.user(Image(SIGN), Image("my holiday photo.png"))]]


@pytest.mark.parametrize(("data", "told"), [(b"x", 1), (b"", 0)])
def test_case_c_data_that_stay_on_stdin_are_told(
    data: bytes, told: int, model: FakeModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A piped document was ignored without a word. An open pipe with nothing in it is not waited for."""
    receive, send = os.pipe()
    os.write(send, data)
    with os.fdopen(receive) as reader, os.fdopen(send, "w"):
        monkeypatch.setattr(sys, "stdin", reader)
        assert main(["run", "nano", "Hello."]) == 0
        assert capsys.readouterr().err.count("stdin was not read; put - where it belongs") == told
        assert not data or os.read(receive, 1) == data


def test_case_c_an_endless_image_is_refused_at_the_size_of_images(
    model: FakeModel, pipe: Pipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--image - < /dev/zero` read a gigabyte, the limit of sound."""
    assert question.MAX_MEDIA_BYTES["image"] == 64 * 2**20
    monkeypatch.setitem(question.MAX_MEDIA_BYTES, "image", 10)
    pipe(b"x" * 11)
    assert main(["run", "nano", "--image", "-", "What?"]) == 1
    assert "longer than 10 bytes" in capsys.readouterr().err


@pytest.mark.parametrize("code", [0, 1])
def test_case_c_notes_for_a_closed_stderr_are_dropped(code: int) -> None:
    """Notes and errors came among the answers."""
    asked = "--max-tokens 1 Hello." if code == 0 else "--image gone.png"
    command = f"exec {shlex.quote(sys.executable)} -m phi4mm run nano {asked} 2>&-"
    done = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == code
    assert len(done.stdout.splitlines()) == (1 if code == 0 else 0)
    assert "phi4mm" not in done.stdout
