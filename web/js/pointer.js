// A network that learns where the pointer will be, drawn while it learns.
import { clear, colour, dot, line } from "./canvas.js";

const AHEAD = [4, 8, 12, 16]; // frames, as in programs/src/pointer.rs
const FARTHEST = AHEAD.at(-1);
const NEURONS = 24;
const FRAME = 1000 / 60; // milliseconds: the network's steps are of this length on every screen
const PIECES_PER_FRAME = 8;
const TRAIL = 75;
const AWAY_AFTER = 2500; // milliseconds without a movement, then the recorded path goes on
const BLEND = 30; // frames from one hand to the other
const CHART_FRAMES = 60 * 60;
const PRACTICE = 60 * 60; // frames
const PRACTICE_PER_TICK = 40;

/** The network and how far it and the straight line are from the truth; positions are in heights of the drawing. */
export class Forecast {
  constructor(wasm, seed) {
    this.wasm = wasm;
    this.trail = [];
    this.neurons = new Float32Array(NEURONS);
    this.network = [];
    this.straight = [];
    this.errors = []; // of every frame: [network, straight line], averaged over the last second or so
    this.microseconds = 0;
    this.frames = 0;
    wasm.pointer_start(BigInt(seed));
  }

  /** One frame: what will be, what has come of what was foretold, and some training. */
  advance([x, y]) {
    const { wasm, trail } = this;
    const start = performance.now();
    wasm.pointer_advance(x, y);
    const positions = AHEAD.map((_, i) => [wasm.numbers[2 * i], wasm.numbers[2 * i + 1]]);
    this.neurons.set(wasm.numbers.subarray(2 * AHEAD.length, 2 * AHEAD.length + NEURONS));
    wasm.pointer_train(PIECES_PER_FRAME);
    this.microseconds += 0.05 * ((performance.now() - start) * 1000 - this.microseconds);

    const [x0, y0] = trail.at(-1)?.at ?? [x, y];
    const straight = AHEAD.map((ahead) => [x + ahead * (x - x0), y + ahead * (y - y0)]);
    trail.push({ at: [x, y], network: positions.at(-1), straight: straight.at(-1) });
    if (trail.length > TRAIL) trail.shift();
    [this.network, this.straight] = [positions, straight];

    this.frames += 1;
    if (this.frames > TRAIL) {
      const before = trail.at(-1 - FARTHEST);
      const distance = ([a, b]) => Math.hypot(a - x, b - y);
      const now = [distance(before.network), distance(before.straight)];
      const last = this.errors.at(-1) ?? now;
      this.errors.push(last.map((mean, i) => mean + 0.02 * (now[i] - mean)));
      if (this.errors.length > CHART_FRAMES) this.errors.shift();
    }
  }
}

function drawPath(canvas, forecast) {
  const { context, width, height } = clear(canvas);
  const place = ([x, y]) => [x * height, y * height];
  const trail = forecast.trail.map(({ at }) => place(at));
  const now = trail.at(-1);
  if (!now) return;
  for (let i = 1; i < trail.length; i++) {
    context.globalAlpha = i / trail.length;
    line(context, [trail[i - 1], trail[i]], colour("ink"), 2.5);
  }
  context.globalAlpha = 1;
  context.setLineDash([2, 7]);
  line(context, [now, place(forecast.straight.at(-1))], colour("straight"), 2);
  context.setLineDash([]);
  const curve = [now, ...forecast.network.map(place)];
  line(context, curve, colour("network"), 3.5);
  curve.slice(1).forEach((point, i) => dot(context, point, 3 + i, colour("network")));
  dot(context, now, 7, colour("ink"));
}

function drawErrors(canvas, errors, pixels) {
  const { context, width, height } = clear(canvas);
  const most = 1.1 * Math.max(0.02, ...errors.map((pair) => Math.max(...pair)));
  const x = (i) => ((i + CHART_FRAMES - errors.length) / CHART_FRAMES) * width;
  const y = (error) => height - 4 - (error / most) * (height - 22);
  line(context, [[0, y(0)], [width, y(0)]], colour("rule"), 1);
  [colour("network"), colour("straight")].forEach((style, which) => {
    const points = errors.map((pair, i) => [x(i), y(pair[which])]).filter((_, i) => i % 4 === 0);
    line(context, points, style, 2);
  });
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = colour("faint");
  context.textAlign = "left";
  context.fillText(`average miss, last 60 seconds (top: ${(most * pixels).toFixed(0)} px)`, 0, 12);
}

function drawNeurons(canvas, neurons) {
  const { context, width, height } = clear(canvas);
  const cell = width / NEURONS;
  neurons.forEach((h, i) => {
    context.globalAlpha = Math.min(1, Math.abs(h));
    context.fillStyle = h > 0 ? colour("network") : colour("straight");
    context.fillRect(i * cell + 1, 0, cell - 2, height);
    context.globalAlpha = 1;
    context.strokeStyle = colour("rule");
    context.lineWidth = 1;
    context.strokeRect(i * cell + 1.5, 0.5, cell - 3, height - 1);
  });
}

/** Runs it on the page. */
export function showPointer(wasm) {
  const get = (id) => document.getElementById(`pointer-${id}`);
  const canvas = get("path");
  let forecast = new Forecast(wasm, 1);
  let hand = null; // where the pointer is, if there is one
  let moved = -Infinity; // when it moved last
  let [byHand, blend, from] = [false, BLEND, [0, 0]];
  let recordedFrame = 0;
  let practice = 0; // frames of the recorded path that are still to be taken in haste

  function recorded() {
    wasm.pointer_recorded(recordedFrame++);
    const [x, y] = wasm.numbers;
    // Its unit square, in the middle of the drawing; narrower where the drawing is.
    const wide = canvas.clientWidth / canvas.clientHeight;
    return [wide / 2 + (x - 0.5) * Math.min(2.2, wide), y];
  }

  function frame() {
    const shouldBeByHand = practice === 0 && hand !== null && performance.now() - moved < AWAY_AFTER;
    if (shouldBeByHand !== byHand) {
      [byHand, blend, from] = [shouldBeByHand, 0, forecast.trail.at(-1)?.at ?? [0.5, 0.5]];
    }
    const target = byHand ? hand : recorded();
    blend = Math.min(BLEND, blend + 1);
    const share = blend / BLEND;
    const weight = share * share * (3 - 2 * share);
    forecast.advance(target.map((to, axis) => from[axis] + weight * (to - from[axis])));
  }

  function show() {
    const pixels = canvas.clientHeight;
    drawPath(canvas, forecast);
    get("who").textContent = practice
      ? "in haste along the recorded path"
      : byHand
        ? "this is your pointer"
        : "a recorded path; move your pointer in here to take over";
    drawErrors(get("errors"), forecast.errors, pixels);
    drawNeurons(get("neurons"), forecast.neurons);
    ["network", "straight"].forEach((who, i) => {
      const errors = forecast.errors.at(-1);
      get(who).textContent = errors ? `${(errors[i] * pixels).toFixed(0)} px` : "–";
    });
    get("practise").disabled = practice > 0;
    get("time").textContent = `${forecast.microseconds.toFixed(0)} µs`;
  }

  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    hand = [(event.clientX - box.left) / box.height, (event.clientY - box.top) / box.height];
    moved = performance.now();
  });
  canvas.addEventListener("pointerleave", () => (hand = null));
  get("practise").addEventListener("click", () => (practice = PRACTICE));
  get("forget").addEventListener("click", () => {
    forecast = new Forecast(wasm, 1);
    practice = 0;
  });

  let last = performance.now();
  function tick(now) {
    // After a pause, as in a hidden tab, it does not make up for what it missed.
    last = Math.max(last, now - 4 * FRAME);
    while (now - last >= FRAME) {
      last += FRAME;
      frame();
    }
    for (let i = 0; i < PRACTICE_PER_TICK && practice > 0; i++, practice--) frame();
    show();
    requestAnimationFrame(tick);
  }
  requestAnimationFrame(tick);
}
