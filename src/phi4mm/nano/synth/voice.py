"""The voices of nano's speech, which synthesizer speaks with each, and which of them are held out.

language  training                                                     held out
en        espeak-ng, 73 voices (4 of 5 utterances)                     espeak-ng, 7 voices (4 of 5)
          flite: awb, kal16, slt                                       flite: rms
de fr es  espeak-ng, each accent of the language with each of          espeak-ng, each accent with each of
          the variants of the English training voices                  the variants held out in English
en        -                                                            piper: joe, for measuring alone

So no variant is heard in training in one language and held out in another, and no sound of piper is heard at all.
espeak-ng comes with pip install 'phi4mm[synth]', flite with apt-get install libflite1, piper with pip
install 'phi4mm[unheard]'.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from phi4mm.nano.synth import espeak, flite, piper
from phi4mm.nano.synth.example import Language
from phi4mm.nano.synth.split import Split
from phi4mm.nano.synth.utterance import Speech, Synthesizer, Voice

TRAIN_VOICES = tuple(
    """
    en-us en en-us+m1 en-us+m2 en-us+m3 en+m5 en-us+m7 en+m8 en-us+f1 en+f1 en-us+f3 en-us+f5 en+f3 en-us+Alex
    en-us+Alicia en-us+Andrea en+Gene en-us+Lee en-us+Michael en+Mike en-us+adam en-us+anika en+benjamin en-us+belinda
    en-us+caleb en-us+david en+edward en-us+ian en-us+iven en-us+john en-gb-scotland+linda en-us+paul en-us+quincy
    en-gb-x-rp+shelby en-us+steph en-us+travis en-gb-scotland+m3 en-gb-x-rp+f1 en-us+Andy en-us+Denis en-us+Diogo
    en-us+Hugo en-us+Jacky en-us+Marco en+Mario en-us+Reed en-us+Storm en+antonio en-us+aunty en-us+boris en-us+ed
    en-us+grandma en-us+grandpa en-us+gustave en-us+kaukovalta en-us+klatt2 en-us+klatt4 en-us+marcelo en-us+max
    en+michel en-us+miguel en-us+norbert en-us+pablo en-us+pedro en-us+rob en-us+sandro en-us+victor en-us+steph2
    en-us+iven3 en-gb-x-rp+adam en-gb-scotland+f3 en-us-nyc+m1 en-us+linda
    """.split()
)
HELD_OUT_VOICES = ("en-us+f2", "en-us+m4", "en+m6", "en-us+Annie", "en+f4", "en-us+robert", "en-us+zac")
FLITE_TRAIN, FLITE_HELD_OUT = ("awb", "kal16", "slt"), ("rms",)
FLITE_SHARE = 0.2  # of English
ACCENTS: dict[Language, tuple[str, ...]] = {"de": ("de",), "fr": ("fr", "fr-be", "fr-ch"), "es": ("es", "es-419")}
UNHEARD = Voice("joe", synthesizer="piper")  # a synthesizer that no training hears
SPEAK: dict[Synthesizer, Callable[[str, Voice], Speech]] = {
    "espeak-ng": espeak.speak,
    "flite": flite.speak,
    "piper": piper.speak,
}


def names(language: Language, split: Split) -> tuple[str, ...]:
    """espeak-ng's voices of a language and a split."""
    english = TRAIN_VOICES if split == "train" else HELD_OUT_VOICES
    if language == "en":
        return english
    variants = sorted({name.partition("+")[2] for name in english} - {""})
    return tuple(f"{accent}+{variant}" for accent in ACCENTS[language] for variant in variants)


def draw_voice(language: Language, split: Split, rng: random.Random) -> Voice:
    """A voice of `language` and `split` at a rate, pitch and volume drawn from `rng`."""
    if language == "en" and rng.random() < FLITE_SHARE:
        name = rng.choice(FLITE_TRAIN if split == "train" else FLITE_HELD_OUT)
        return Voice(name, rng.randint(130, 200), rng.randint(32, 68), synthesizer="flite")
    return draw_espeak(language, split, rng)


def draw_espeak(language: Language, split: Split, rng: random.Random) -> Voice:
    """`draw_voice` among espeak-ng's voices only."""
    name = rng.choice(names(language, split))
    return Voice(name, rng.randint(130, 200), rng.randint(32, 68), rng.randint(30, 75), rng.randint(60, 110))


def speak(text: str, voice: Voice) -> Speech:
    """`text` spoken by `voice`. Raises ConfigError when the synthesizer or the voice is missing."""
    return SPEAK[voice.synthesizer](text, voice)
