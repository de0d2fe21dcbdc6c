// The bar in place of the message field while the microphone records: level, time, discard, attach.

import { announce } from "./announcement.js";
import { stamp } from "./camera.js";
import { devicesAllowed, explain } from "./device_help.js";
import { byId } from "./element.js";
import { LONGEST, Recorder } from "./recorder.js";

const QUIET = 0.0016; // -56 dB of full scale: the left end of the level

export class CaptureBar {
  constructor(done) {
    Object.assign(this, { done, recorder: null });
    this.bar = byId("capture");
    this.level = byId("capture-level");
    this.time = byId("capture-time");
    this.finish = byId("capture-done");
    byId("capture-cancel").addEventListener("click", () => this.cancel());
    this.finish.addEventListener("click", () => this.stop());
    this.bar.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.cancel();
    });
  }

  /** Ask for the microphone and show the bar. */
  async start() {
    if (this.recorder || !devicesAllowed("microphone")) return;
    this.recorder = new Recorder(
      (seconds, peak) => this.show(seconds, peak),
      () => this.stop(),
    );
    try {
      await this.recorder.start();
    } catch (error) {
      this.recorder = null;
      explain("microphone", error);
      return;
    }
    this.show(0, 0);
    this.setOpen(true);
    this.finish.focus();
    announce("Recording");
  }

  show(seconds, peak) {
    const whole = Math.floor(seconds);
    const left = LONGEST - whole;
    const clock = `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
    this.time.textContent = left <= 60 ? `${clock}, ${left} s left` : clock;
    this.level.value = Math.max(0, Math.log(Math.max(peak, QUIET) / QUIET) / Math.log(1 / QUIET));
  }

  async stop() {
    const recorder = this.recorder;
    if (!recorder) return;
    this.recorder = null;
    const clip = await recorder.stop();
    this.setOpen(false);
    this.done(new File([clip], `audio-${stamp()}.wav`, { type: "audio/wav" }));
    announce("The clip is attached");
  }

  async cancel() {
    const recorder = this.recorder;
    this.recorder = null;
    this.setOpen(false);
    byId("message").focus();
    await recorder?.cancel();
  }

  setOpen(open) {
    this.bar.hidden = !open;
    byId("writing").hidden = open;
  }
}
