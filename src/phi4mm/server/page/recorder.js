// The microphone as a WAV file: an audio worklet records, so a busy page loses nothing and is never held up.

import { wave } from "./wave.js";

const RATE = 16000; // Hz, what the model hears
export const LONGEST = 30 * 60; // seconds, the longest clip that the model takes

/** One clip: `start`, then `stop` for a WAV blob, or `cancel`. `progress(seconds, peak)` comes ten times a second. */
export class Recorder {
  constructor(progress, ended) {
    Object.assign(this, { progress, ended, pieces: [], length: 0, stream: null, context: null, node: null });
  }

  /** Ask for the microphone and begin. Rejects with what the browser says: NotAllowedError and others. */
  async start() {
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false },
    });
    try {
      const source = this.connectable();
      await this.context.audioWorklet.addModule("recorder_worklet.js");
      this.node = new AudioWorkletNode(this.context, "recorder", { numberOfOutputs: 1, channelCount: 1 });
      this.node.port.onmessage = ({ data }) => this.take(data);
      source.connect(this.node).connect(this.context.destination); // it gives silence; unconnected it would not run
      await this.context.resume();
    } catch (error) {
      await this.cancel();
      throw error;
    }
  }

  /** A source at 16 kHz; at the microphone's own rate where the browser does not resample between the two. */
  connectable() {
    try {
      this.context = new AudioContext({ sampleRate: RATE });
      return this.context.createMediaStreamSource(this.stream);
    } catch (error) {
      if (error.name !== "NotSupportedError") throw error;
      this.context?.close();
      this.context = new AudioContext();
      return this.context.createMediaStreamSource(this.stream);
    }
  }

  take(data) {
    if (data === "end") {
      this.flushed?.();
      return;
    }
    this.pieces.push(data.samples);
    this.length += data.samples.length;
    this.progress(this.seconds, data.peak);
    if (this.seconds >= LONGEST) this.ended();
  }

  get seconds() {
    return this.context ? this.length / this.context.sampleRate : 0;
  }

  /** End, and give the clip. */
  async stop() {
    const flushed = new Promise((resolve) => (this.flushed = resolve));
    this.node.port.postMessage("stop");
    await flushed;
    const rate = this.context.sampleRate;
    await this.cancel();
    return wave(this.pieces, rate);
  }

  /** Give the microphone back. */
  async cancel() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    if (this.context && this.context.state !== "closed") await this.context.close();
  }
}
