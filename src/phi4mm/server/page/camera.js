// The camera: a live view in a dialog, and a photograph of it.

import { element, icon } from "./element.js";
import { devicesAllowed, explain } from "./device_help.js";
import { modal } from "./modal.js";

const QUALITY = 0.92; // of JPEG

/** Open the camera; `taken` gets each photograph as a JPEG file. */
export async function openCamera(taken) {
  if (!devicesAllowed("camera")) return;
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "environment", width: { ideal: 1920 } },
    });
  } catch (error) {
    explain("camera", error);
    return;
  }
  const view = element("video", {
    class: "camera",
    autoplay: true,
    muted: true,
    playsInline: true,
    aria: { label: "What the camera sees" },
  });
  view.srcObject = stream;
  const take = element(
    "button",
    { type: "button", class: "button primary" },
    icon("camera"),
    element("span", { text: "Take photo" }),
  );
  take.disabled = true;
  view.addEventListener("loadeddata", () => {
    take.disabled = false;
    take.focus();
  });
  const dialog = modal("Camera", view, element("div", { class: "row end" }, take));
  take.addEventListener("click", async () => {
    taken(await photograph(view));
    dialog.close();
  });
  dialog.addEventListener("close", () => stream.getTracks().forEach((track) => track.stop()));
}

async function photograph(view) {
  const canvas = element("canvas");
  canvas.width = view.videoWidth;
  canvas.height = view.videoHeight;
  canvas.getContext("2d").drawImage(view, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
  return new File([blob], `photo-${stamp()}.jpg`, { type: "image/jpeg" });
}

/** The time as part of a file's name. */
export const stamp = () => new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-");
