// Images and audio clips that go with a message: what is taken, and how it is shown.

import { element, icon, iconButton } from "./element.js";
import { newId } from "./conversation.js";

export const MAX_BYTES = 64 * 2 ** 20; // of one file
export const MAX_FILES = 64; // in a message, as many as the model takes images
/** Media types by kind. SVG is not among them: it is a program, not pixels. */
export const KINDS = {
  image: ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff", "image/x-portable-pixmap"],
  audio: ["audio/wav", "audio/x-wav", "audio/mpeg", "audio/flac", "audio/ogg", "audio/mp4", "audio/webm", "audio/aac"],
};
const BY_EXTENSION = {
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  png: "image/png",
  webp: "image/webp",
  gif: "image/gif",
  bmp: "image/bmp",
  tif: "image/tiff",
  tiff: "image/tiff",
  ppm: "image/x-portable-pixmap",
  wav: "audio/wav",
  mp3: "audio/mpeg",
  flac: "audio/flac",
  ogg: "audio/ogg",
  oga: "audio/ogg",
  opus: "audio/ogg",
  m4a: "audio/mp4",
  webm: "audio/webm",
  aac: "audio/aac",
};
const ALIASES = {
  "audio/x-flac": "audio/flac",
  "audio/x-m4a": "audio/mp4",
  "audio/mp3": "audio/mpeg",
  "audio/wave": "audio/wav",
  "audio/vnd.wave": "audio/wav",
  "video/webm": "audio/webm",
  "application/ogg": "audio/ogg",
  "image/jpg": "image/jpeg",
};

/** Characters that no attachment's name has. */
export const UNFIT = /[\u0000-\u001f\u007f-\u009f\u2028\u2029/\\]/g;

/** What the file dialog offers. */
export const ACCEPTED = [...KINDS.image, ...KINDS.audio, ...Object.keys(BY_EXTENSION).map((one) => `.${one}`)].join(
  ",",
);

/** An attachment of a file. Throws TypeError that says what is taken instead. */
export function attachmentOf(file, name = file.name) {
  const extension = /\.([a-z0-9]{1,5})$/i.exec(name ?? "")?.[1].toLowerCase();
  const given = file.type.split(";")[0].toLowerCase();
  const type = [ALIASES[given] ?? given, BY_EXTENSION[extension]].find((one) => kindOf(one) !== null);
  // Code to copy names the file: a name may lead into no other folder, and break no line.
  const plain = (name || "").replace(UNFIT, "_").slice(-255);
  const shown = (name || "The file").slice(0, 80);
  if (type === undefined)
    throw new TypeError(
      `${shown} is neither an image nor sound that can be read: ` +
        "JPEG, PNG, WebP, GIF, BMP or TIFF; WAV, MP3, FLAC, Ogg or M4A.",
    );
  if (file.size > MAX_BYTES)
    throw new TypeError(
      `${shown} has ${Math.ceil(file.size / 2 ** 20)} MB; at most ${MAX_BYTES / 2 ** 20} MB are sent.`,
    );
  if (file.size === 0) throw new TypeError(`${shown} is empty.`);
  const blob = file.type === type ? file : file.slice(0, file.size, type);
  return {
    id: newId(),
    kind: kindOf(type),
    name: plain || `${kindOf(type)}.${type.split("/")[1]}`,
    type,
    blob: new Blob([blob], { type }),
  };
}

function kindOf(type) {
  return Object.keys(KINDS).find((kind) => KINDS[kind].includes(type)) ?? null;
}

/** A preview; with `remove`, it can be taken back. */
export function preview(attachment, remove = null) {
  const content = attachment.kind === "image" ? imageOf(attachment) : soundOf(attachment);
  const gone = remove && iconButton("close", `Remove ${attachment.name}`, () => remove(attachment));
  return element("li", { class: `attachment ${attachment.kind}`, data: { kind: attachment.kind } }, content, gone);
}

function imageOf({ blob, name }) {
  const address = URL.createObjectURL(blob);
  const image = element("img", { alt: name, src: address, title: name });
  const release = () => URL.revokeObjectURL(address);
  image.addEventListener("load", release);
  image.addEventListener("error", () => {
    release(); // as TIFF, which browsers do not show
    image.replaceWith(element("span", { class: "file" }, icon("image"), element("span", { text: name })));
  });
  return image;
}

function soundOf({ blob, name }) {
  const player = element("audio", { controls: true, src: URL.createObjectURL(blob), aria: { label: name } });
  const label = element("span", { class: "file" }, icon("sound"), element("span", { text: name }));
  return element("div", { class: "sound" }, label, player);
}
