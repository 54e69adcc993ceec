// The same networks in plain JavaScript, and how many steps a second each way makes.

/** Cuts typed arrays out of the weights that the module leaves, one tensor after the other, each input-major. */
function cutter(weights) {
  let at = 0;
  return (count) => weights.slice(at, (at += count)); // a copy: the buffer is used again
}

/** Adds the product of a vector and an input-major matrix. */
function multiply(sums, x, matrix) {
  const columns = sums.length;
  for (let i = 0; i < x.length; i++) {
    const factor = x[i];
    for (let j = 0, at = i * columns; j < columns; j++, at++) sums[j] += factor * matrix[at];
  }
}

/** A tanh cell and a linear layer: `h = tanh(x W_ih + b_ih + h W_hh + b_hh)`, `y = h W + b`. */
function tanhNetwork(weights, inputs, neurons) {
  const cut = cutter(weights);
  const [w_ih, w_hh, b_ih, b_hh] = [inputs * neurons, neurons * neurons, neurons, neurons].map(cut);
  const [w, b] = [neurons * 2, 2].map(cut);
  const [h, sums, y] = [new Float32Array(neurons), new Float32Array(neurons), new Float32Array(2)];
  return (x) => {
    for (let j = 0; j < neurons; j++) sums[j] = b_ih[j] + b_hh[j];
    multiply(sums, x, w_ih);
    multiply(sums, h, w_hh);
    for (let j = 0; j < neurons; j++) h[j] = Math.tanh(sums[j]);
    y.set(b);
    multiply(y, h, w);
    return y;
  };
}

/** A GRU and a linear layer. The gates r, z, n lie one behind the other in each row. */
function gruNetwork(weights, inputs, neurons) {
  const cut = cutter(weights);
  const row = 3 * neurons;
  const [w_ih, w_hh, b_ih, b_hh] = [inputs * row, neurons * row, row, row].map(cut);
  const [w, b] = [neurons * 2, 2].map(cut);
  const [h, y] = [new Float32Array(neurons), new Float32Array(2)];
  const [of_x, of_h] = [new Float32Array(row), new Float32Array(row)];
  const sigmoid = (a) => 1 / (1 + Math.exp(-a));
  return (x) => {
    of_x.set(b_ih);
    of_h.set(b_hh);
    multiply(of_x, x, w_ih);
    multiply(of_h, h, w_hh);
    for (let j = 0; j < neurons; j++) {
      const r = sigmoid(of_x[j] + of_h[j]);
      const z = sigmoid(of_x[neurons + j] + of_h[neurons + j]);
      const n = Math.tanh(of_x[2 * neurons + j] + r * of_h[2 * neurons + j]);
      h[j] = n + z * (h[j] - n);
    }
    y.set(b);
    multiply(y, h, w);
    return y;
  };
}

export const NETWORKS = [
  { name: "8 neurons", about: "tanh, 3 inputs: a sensor", inputs: 3, neurons: 8, make: tanhNetwork },
  { name: "32 neurons", about: "GRU, 8 inputs: a gesture", inputs: 8, neurons: 32, make: gruNetwork },
  { name: "128 neurons", about: "tanh, 8 inputs: a sound", inputs: 8, neurons: 128, make: tanhNetwork },
];

/** The network of one row, in JavaScript; `run(steps)` goes on and gives the last output. */
export function inJavaScript(wasm, which) {
  const { inputs, neurons, make } = NETWORKS[which];
  const count = wasm.race_start(which);
  const advance = make(wasm.numbers.subarray(0, count), inputs, neurons);
  const x = new Float32Array(inputs);
  let step = 0;
  return (steps) => {
    let y;
    for (let end = step + steps; step < end; step++) {
      for (let i = 0; i < inputs; i++) x[i] = ((step * (i + 3)) % 32) / 16 - 1;
      y = advance(x);
    }
    return y;
  };
}

/** The largest difference of the outputs of `steps` steps. */
export function difference(wasm, which, steps) {
  const run = inJavaScript(wasm, which);
  let worst = 0;
  for (let step = 0; step < steps; step++) {
    wasm.race_run(which, 1);
    const y = run(1);
    for (const i of [0, 1]) worst = Math.max(worst, Math.abs(y[i] - wasm.numbers[i]));
  }
  return worst;
}

/** Steps a second of `run`, which takes a number of steps: the best of three runs of about `milliseconds`. */
export function stepsPerSecond(run, milliseconds = 60) {
  const time = (steps) => {
    const start = performance.now();
    run(steps);
    return performance.now() - start;
  };
  let steps = 100;
  while (time(steps) < milliseconds / 3 && steps < 1e8) steps *= 2; // it warms up too
  return steps / (Math.min(time(steps), time(steps), time(steps)) / 1000);
}

/** All rows of the table, one after the other, with a pause between for the page to be drawn. */
export async function* measure(wasm) {
  for (let which = 0; which < NETWORKS.length; which++) {
    const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
    const apart = difference(wasm, which, 1000);
    await pause();
    const javaScript = stepsPerSecond(inJavaScript(wasm, which));
    await pause();
    const calls = stepsPerSecond((steps) => {
      for (let step = 0; step < steps; step++) wasm.race_run(which, 1);
    });
    await pause();
    const block = stepsPerSecond((steps) => wasm.race_run(which, steps));
    yield { which, apart, javaScript, calls, block };
    await pause();
  }
}

/** Fills the table on the page. */
export async function showRace(wasm) {
  const table = document.getElementById("race-rows");
  const button = document.getElementById("race-again");
  const format = (rate) => (rate >= 1e6 ? `${(rate / 1e6).toPrecision(3)} million` : `${Math.round(rate / 1000)} thousand`);
  async function run() {
    button.disabled = true;
    table.replaceChildren();
    for await (const { which, apart, javaScript, calls, block } of measure(wasm)) {
      const row = document.getElementById("race-row").content.cloneNode(true);
      const set = (name, text) => (row.querySelector(`.${name}`).textContent = text);
      set("name", NETWORKS[which].name);
      set("about", NETWORKS[which].about);
      const most = Math.max(javaScript, calls, block);
      for (const [name, rate] of Object.entries({ javaScript, calls, block })) {
        row.querySelector(`.${name} .bar`).style.width = `${(100 * rate) / most}%`;
        row.querySelector(`.${name} .rate`).textContent = format(rate);
        row.querySelector(`.${name} .times`).textContent = `${(rate / javaScript).toFixed(1)}×`;
      }
      set("apart", `outputs of 1000 steps agree within ${apart.toExponential(1)}`);
      table.append(row);
    }
    button.disabled = false;
  }
  button.addEventListener("click", run);
  await run();
}
