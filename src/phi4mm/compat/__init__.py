"""The model card's names: its script runs with `transformers` in its import line changed to `phi4mm.compat`."""

from phi4mm.compat.model import AutoModelForCausalLM, AutoProcessor, CardTokenizer, GenerationConfig, Inputs

__all__ = ["AutoModelForCausalLM", "AutoProcessor", "CardTokenizer", "GenerationConfig", "Inputs"]
