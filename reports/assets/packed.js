"use strict";

// Reads the data packed by reports/pages/samples/packed.py.

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function inflated(script) {
  const stream = new Blob([bytesOf(script.textContent)]).stream();
  return new Response(stream.pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}

// Columns of byte strings, one per example, in blocks that are inflated when needed.
class Blocks {
  static NOTHING = 2 ** 32 - 1;   // stands in place of the length of a missing string
  static KEPT = 32;

  constructor(kind, step, numExamples) {
    this.scripts = document.querySelectorAll(`script[data-piece=${kind}]`);
    this.step = step;
    this.numExamples = numExamples;
    this.opened = new Map();      // least recently used first
  }

  // Each column's bytes for one example, null if missing.
  async row(row) {
    const index = Math.floor(row / this.step);
    const block = this.opened.get(index) ?? this.open(index);
    this.opened.delete(index);
    this.opened.set(index, block);
    if (this.opened.size > Blocks.KEPT) this.opened.delete(this.opened.keys().next().value);
    return (await block).map((column) => column[row % this.step]);
  }

  async open(index) {
    const buffer = await inflated(this.scripts[index]);
    const numRows = Math.min(this.step, this.numExamples - index * this.step);
    const lengths = new DataView(buffer);
    const columns = [];
    for (let at = 0; at < buffer.byteLength;) {
      let start = at + 4 * numRows;
      const cells = [];
      for (let row = 0; row < numRows; row++) {
        const length = lengths.getUint32(at + 4 * row, true);
        const missing = length === Blocks.NOTHING;
        cells.push(missing ? null : new Uint8Array(buffer, start, length));
        start += missing ? 0 : length;
      }
      columns.push(cells);
      at = start;
    }
    return columns;
  }
}
