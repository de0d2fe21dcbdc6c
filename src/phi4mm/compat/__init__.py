"""The names that the model card uses: its script runs when its import of `transformers` becomes `phi4mm.compat`."""

from typing import NoReturn

from phi4mm.compat.generation_config import GenerationConfig
from phi4mm.compat.inputs import Inputs
from phi4mm.compat.model import AutoModelForCausalLM
from phi4mm.compat.processor import AutoProcessor
from phi4mm.compat.stopping import StoppingCriteria, StoppingCriteriaList
from phi4mm.compat.streamers import TextIteratorStreamer, TextStreamer
from phi4mm.compat.tokenizer import CardTokenizer
from phi4mm.compat.tokenizer import CardTokenizer as AutoTokenizer

__all__ = [
    "AutoModelForCausalLM",
    "AutoProcessor",
    "AutoTokenizer",
    "CardTokenizer",
    "GenerationConfig",
    "Inputs",
    "StoppingCriteria",
    "StoppingCriteriaList",
    "TextIteratorStreamer",
    "TextStreamer",
]

_CLASSES = "use the classes of phi4mm.compat; `model.config` has the sizes"
# The rows "refused" of the table "Names" in docs/guide/compat.md.
_INSTEAD = {
    "BitsAndBytesConfig": "quantize a folder by `phi4mm quantize`",
    **dict.fromkeys(("pipeline", "Trainer", "AutoConfig", "AutoModel", "Phi4MultimodalForCausalLM"), _CLASSES),
}


def __getattr__(name: str) -> NoReturn:
    """Raise AttributeError, for a name of transformers that is refused with what to do instead."""
    advice = _INSTEAD.get(name, f"expected one of {', '.join(__all__)}")
    raise AttributeError(f"phi4mm.compat has no {name:.60}; {advice}")
