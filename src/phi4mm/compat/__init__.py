"""The names that the model card uses: its script runs when its import of `transformers` becomes `phi4mm.compat`."""

from phi4mm.compat.generation_config import GenerationConfig
from phi4mm.compat.inputs import Inputs
from phi4mm.compat.keywords import refuse_name as __getattr__  # noqa: F401  Python calls it
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
