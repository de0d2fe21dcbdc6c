// Where a message is written: text, attachments, microphone and camera. Gives {text, attachments} to `send`.

import { ACCEPTED, attachmentOf, MAX_FILES, preview } from "./attachment.js";
import { notify } from "./announcement.js";
import { openCamera } from "./camera.js";
import { byId, iconButton } from "./element.js";
import { CaptureBar } from "./capture_bar.js";

export class Composer {
  constructor({ send, stop, tools }) {
    Object.assign(this, { send, stopAnswer: stop, attachments: [], answering: false });
    this.form = byId("composer");
    this.field = byId("message");
    this.list = byId("attachments");
    this.chooser = byId("files");
    this.sendButton = byId("send");
    this.stopButton = byId("stop");
    this.chooser.accept = ACCEPTED;
    this.capture = new CaptureBar((file) => this.add([file]));
    byId("composer-tools").append(
      iconButton("attach", "Attach images or sound", () => this.chooser.click()),
      iconButton("camera", "Camera", () => openCamera((file) => this.add([file]))),
      iconButton("microphone", "Record sound", () => this.capture.start()),
      iconButton("tool", "Tools", tools, { id: "tools-button" }),
    );
    this.listen();
    this.refresh();
  }

  listen() {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.stopButton.addEventListener("click", () => this.stopAnswer());
    this.field.addEventListener("input", () => this.refresh());
    this.field.addEventListener("keydown", (event) => this.keydown(event));
    this.chooser.addEventListener("change", () => {
      this.add([...this.chooser.files]);
      this.chooser.value = "";
    });
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (!files.length || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      this.add(files);
    });
    this.listenToDrops();
  }

  listenToDrops() {
    const target = byId("drop");
    const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
    document.addEventListener("dragover", (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      target.hidden = false;
    });
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) target.hidden = true;
    });
    document.addEventListener("drop", (event) => {
      target.hidden = true;
      if (!carriesFiles(event)) return;
      event.preventDefault();
      this.add([...event.dataTransfer.files]);
    });
  }

  keydown(event) {
    if (event.isComposing) return;
    if (event.key === "Escape" && this.answering) this.stopAnswer();
    // On a phone Enter is a new line: its keyboard has no Shift+Enter.
    if (event.key === "Enter" && !event.shiftKey && !matchMedia("(pointer: coarse)").matches) {
      event.preventDefault();
      this.submit();
    }
  }

  /** Attach files; those that cannot be sent are named. */
  add(files) {
    for (const file of files) {
      if (this.attachments.length >= MAX_FILES) {
        notify(`At most ${MAX_FILES} files go with a message.`);
        break;
      }
      try {
        this.attachments.push(attachmentOf(file));
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        notify(error.message);
      }
    }
    this.draw();
    this.field.focus();
  }

  submit() {
    const text = this.field.value.trim();
    if (this.answering || (!text && !this.attachments.length)) return;
    if (this.send({ text, attachments: this.attachments }) === false) return;
    this.attachments = [];
    this.field.value = "";
    this.draw();
  }

  /** Put text into the field, for the reader to go on with. */
  fill(text) {
    this.field.value = text;
    this.refresh();
    this.field.focus();
  }

  /** Show stop in place of send while an answer comes. */
  setAnswering(answering) {
    const focused = document.activeElement;
    this.answering = answering;
    this.refresh();
    if (focused === this.sendButton || focused === this.stopButton) (answering ? this.stopButton : this.field).focus();
  }

  draw() {
    this.list.replaceChildren(...this.attachments.map((one) => preview(one, () => this.remove(one))));
    this.refresh();
  }

  remove(attachment) {
    this.attachments = this.attachments.filter((other) => other !== attachment);
    this.draw();
    this.field.focus();
  }

  refresh() {
    this.list.hidden = !this.attachments.length;
    this.sendButton.hidden = this.answering;
    this.stopButton.hidden = !this.answering;
    this.sendButton.disabled = !this.field.value.trim() && !this.attachments.length;
    if (!CSS.supports("field-sizing", "content")) {
      this.field.style.height = "auto";
      this.field.style.height = `${this.field.scrollHeight}px`;
    }
  }
}
