"""What nano knows, in words for people who meet it first: `phi4mm inspect nano`, and the greeting of its chat."""

from __future__ import annotations

KNOWS = (
    "nano is tiny: it knows ten drawn objects, fourteen signs, 200 English words as a synthesizer speaks them, and "
    "thirteen tools; to anything else its answers are wrong"
)
TRY = (
    'phi4mm run nano "Hello."',
    'phi4mm run nano --image examples/stop_sign.png "What is shown in this image?"',
    'phi4mm run nano --audio examples/speech.flac "Transcribe the audio clip into text."',
)
