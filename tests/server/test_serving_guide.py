"""docs/serving.md: its Python runs, and its list of statuses is whole."""

from __future__ import annotations

import re

import pytest

from phi4mm.server.refused_routes import REFUSED_ROUTES
from tests.server.conftest import ROOT, SRC, RunningServer

SERVING = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


def test_the_python_answers_about_text_an_image_and_a_clip(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the first program of a new user."""
    monkeypatch.chdir(ROOT)
    found = re.search(r"^```python\n(.*?)^```", SERVING, re.DOTALL | re.MULTILINE)
    assert found
    exec(compile(found[1].replace("http://127.0.0.1:8000", server.url), "serving.md", "exec"), {})
    text, image, clip = capsys.readouterr().out.splitlines()
    assert text == "Hello! How can I help you?"
    assert "stop" in image.lower()
    assert len(clip.split()) >= 3


def test_every_status_of_the_server_is_listed() -> None:
    """Whoever writes a client reads this list."""
    source = "".join(path.read_text(encoding="utf-8") for path in (SRC / "phi4mm" / "server").glob("*.py"))
    given = set(re.findall(r"ApiError\(\s*([45]\d\d)", source)) | set(re.findall(r", (4\d\d)\)$", source, re.MULTILINE))
    assert {"400", "422", "503"} <= given
    assert given - set(re.findall(r"\b([45]\d\d)\b", SERVING)) == set()


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/audio/translations", "/v1/realtime"])
def test_routes_for_sound_say_what_takes_it(server: RunningServer, path: str) -> None:
    """The name of the model promises them; 404 reads as a wrong address."""
    assert path in REFUSED_ROUTES
    answer = server.http.post(path, json={})
    assert answer.status_code == 501
    assert "not yet; send input_audio to /v1/chat/completions" in answer.json()["error"]["message"]
