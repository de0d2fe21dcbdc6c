// A WAV file of 16-bit mono samples from pieces that are encoded as they come: ending a clip costs nothing.

const HEADER = 44; // bytes

/** The WAV file of pieces of 16-bit samples. */
export function wave(pieces, rate) {
  const size = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
  return new Blob([header(size, rate), ...pieces], { type: "audio/wav" });
}

function header(size, rate) {
  const view = new DataView(new ArrayBuffer(HEADER));
  const letters = (at, text) => [...text].forEach((letter, n) => view.setUint8(at + n, letter.charCodeAt(0)));
  letters(0, "RIFF");
  view.setUint32(4, HEADER - 8 + size, true);
  letters(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // size of this section
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * 2, true); // bytes a second
  view.setUint16(32, 2, true); // bytes a frame
  view.setUint16(34, 16, true); // bits a sample
  letters(36, "data");
  view.setUint32(40, size, true);
  return view.buffer;
}
