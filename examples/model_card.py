"""The model card's way: processor, tensors, `generate`, decode. Only the import line differs from transformers.

    python examples/model_card.py

prints

    A stop sign.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from phi4mm.compat import AutoModelForCausalLM, AutoProcessor, GenerationConfig

HERE = Path(__file__).parent
PROMPT = "<|user|><|image_1|>What is shown in this image?<|end|><|assistant|>"


def main() -> None:
    processor = AutoProcessor.from_pretrained("nano", trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained("nano", device_map="cpu", trust_remote_code=True)
    config = GenerationConfig.from_pretrained("nano")
    inputs = processor(text=PROMPT, images=Image.open(HERE / "stop_sign.png"), return_tensors="pt").to("cpu")
    ids = model.generate(**inputs, max_new_tokens=1000, generation_config=config)
    ids = ids[:, inputs["input_ids"].shape[1] :]
    print(processor.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)[0])


if __name__ == "__main__":
    main()
