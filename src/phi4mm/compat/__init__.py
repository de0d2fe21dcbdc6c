"""The names that the model card uses: its script runs when its import of `transformers` becomes `phi4mm.compat`."""

from phi4mm.compat.generation_config import GenerationConfig
from phi4mm.compat.model import AutoModelForCausalLM
from phi4mm.compat.processor import AutoProcessor, Inputs
from phi4mm.compat.tokenizer import CardTokenizer

__all__ = ["AutoModelForCausalLM", "AutoProcessor", "CardTokenizer", "GenerationConfig", "Inputs"]
