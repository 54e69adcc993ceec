// The smallest module answers as the README's program does: the detector is quiet less than it is moving.
import { readFile } from "node:fs/promises";

const bytes = await readFile(new URL("inference.wasm", import.meta.url));
const { instance } = await WebAssembly.instantiate(bytes);
const { memory, input, output, advance, reset } = instance.exports;
const [x, y] = [new Float32Array(memory.buffer, input(), 3), new Float32Array(memory.buffer, output(), 2)];

// The same steps in JavaScript: eight equal neurons, so one number is all of the state.
let h = 0;
for (const acceleration of [[0, 0, 1], [0.1, 0, 0.9]]) {
  x.set(acceleration);
  advance();
  h = Math.tanh(0.25 * acceleration.reduce((sum, a) => sum + a) - 8 * 0.125 * h);
  for (const [i, bias] of [0, 1].entries()) {
    if (!(Math.abs(y[i] - (8 * 0.5 * h + bias)) < 1e-6)) throw new Error(`output ${i} is ${y[i]}`);
  }
}
const first = (reset(), x.set([0, 0, 1]), advance(), y[0]);
if (!(Math.abs(first - 4 * Math.tanh(0.25)) < 1e-6)) throw new Error("reset does not begin a new sequence");
console.log("inference.wasm: the outputs are those of the same steps in JavaScript");
