"""The example of the model card as a script: model, image and audio come from the command line.

Written for transformers and CUDA; only the import line is changed.
"""

import io
import sys
from pathlib import Path
from urllib.request import urlopen

import soundfile
from PIL import Image

from phi4mm.compat import AutoModelForCausalLM, AutoProcessor, GenerationConfig

model_path, image_path, audio_path = sys.argv[1:]
image_url, audio_url = Path(image_path).resolve().as_uri(), Path(audio_path).resolve().as_uri()

processor = AutoProcessor.from_pretrained(model_path, trust_remote_code=True)
model = AutoModelForCausalLM.from_pretrained(
    model_path,
    device_map="cuda",
    torch_dtype="auto",
    trust_remote_code=True,
    _attn_implementation="flash_attention_2",
).cuda()
generation_config = GenerationConfig.from_pretrained(model_path)

user, assistant, end = "<|user|>", "<|assistant|>", "<|end|>"

# A question about an image.
prompt = f"{user}<|image_1|>What is shown in this image?{end}{assistant}"
image = Image.open(urlopen(image_url))
inputs = processor(text=prompt, images=image, return_tensors="pt").to("cuda:0")
generate_ids = model.generate(**inputs, max_new_tokens=1000, generation_config=generation_config)
generate_ids = generate_ids[:, inputs["input_ids"].shape[1] :]
response = processor.batch_decode(generate_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)[0]
print(f"image: {response}")

# An audio clip to write down and translate.
prompt = f"{user}<|audio_1|>Transcribe the audio clip into text.{end}{assistant}"
audio, samplerate = soundfile.read(io.BytesIO(urlopen(audio_url).read()))
inputs = processor(text=prompt, audios=[(audio, samplerate)], return_tensors="pt").to("cuda:0")
generate_ids = model.generate(**inputs, max_new_tokens=1000, generation_config=generation_config)
generate_ids = generate_ids[:, inputs["input_ids"].shape[1] :]
response = processor.batch_decode(generate_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)[0]
print(f"audio: {response}")
