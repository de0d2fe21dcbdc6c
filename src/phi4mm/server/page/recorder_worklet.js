// Runs on the audio thread: mixes to mono, makes 16-bit samples, and posts them with their loudness ten times a second.

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Int16Array(Math.round(sampleRate / 10));
    this.filled = 0;
    this.peak = 0;
    this.running = true;
    this.port.onmessage = () => {
      this.post();
      this.port.postMessage("end");
      this.running = false;
    };
  }

  post() {
    if (this.filled) this.port.postMessage({ samples: this.samples.slice(0, this.filled), peak: this.peak });
    this.filled = 0;
    this.peak = 0;
  }

  process([channels]) {
    for (let n = 0; n < (channels[0]?.length ?? 0); n += 1) {
      let value = 0;
      for (const channel of channels) value += channel[n];
      value = Math.max(-1, Math.min(1, value / channels.length));
      this.peak = Math.max(this.peak, Math.abs(value));
      this.samples[this.filled] = value * 32767;
      this.filled += 1;
      if (this.filled === this.samples.length) this.post();
    }
    return this.running;
  }
}

registerProcessor("recorder", Recorder);
