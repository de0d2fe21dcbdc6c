// What to do when the browser gives no microphone or camera.

import { element } from "./element.js";
import { codeBlock } from "./code_block.js";
import { modal } from "./modal.js";

/** Whether devices can be asked for; else how to get there is shown. */
export function devicesAllowed(what) {
  if (window.isSecureContext && navigator.mediaDevices) return true;
  insecure(what);
  return false;
}

/** Say what is wrong after getUserMedia rejected. */
export function explain(what, error) {
  const told = {
    NotAllowedError: [
      `The ${what} is not allowed`,
      `Allow the ${what} for this page: most browsers have a sign for it beside the address. ` +
        "Your system's privacy settings may refuse it to the browser too.",
    ],
    NotFoundError: [`No ${what} was found`, "Connect one, then try again. Files can be attached instead."],
    NotReadableError: [`The ${what} cannot be used`, "Another program may be using it. Close that, then try again."],
  };
  const [title, advice] = told[error.name] ?? [`The ${what} cannot be used`, `${error.name}: ${error.message}`];
  modal(title, element("p", { text: advice }));
}

function insecure(what) {
  const { port, protocol, hostname } = location;
  const number = port || (protocol === "https:" ? "443" : "80");
  modal(
    `The ${what} needs a secure address`,
    element("p", {
      text:
        `Browsers give a ${what} only to pages from https:// or from this computer itself. ` +
        `This page came from ${location.origin}. There are two ways:`,
    }),
    element("h3", { text: "Through SSH" }),
    element("p", { text: `On your computer, run this and open http://localhost:${number}` }),
    codeBlock(`ssh -L ${number}:localhost:${number} ${hostname}`, "shell"),
    element("h3", { text: "With TLS" }),
    element("p", {
      text: "Give the server a certificate, or put it behind a proxy that has one, and open the page by https://.",
    }),
    element("p", { text: "Until then, files can be attached." }),
  );
}
