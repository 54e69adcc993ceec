// Trains a cell to answer "hello" with "ohlol", one epoch after the other, and draws the loss.
import { clear, colour, dot, line } from "./canvas.js";
import { hex } from "./wasm.js";

const EPOCHS = 15;
const LETTERS = "ehlo";
const TARGET = "ohlol";
const MILLISECONDS_PER_EPOCH = 120; // so that one can watch; the computation takes microseconds

/** Trains at once: the lines of the tutorial's log, the losses, the hash of the weights, and the time it took. */
export function train(wasm, seed) {
  const epochs = [];
  wasm.hello_start(seed);
  const start = performance.now();
  for (let epoch = 1; epoch <= EPOCHS; epoch++) {
    const loss = wasm.hello_epoch();
    const answer = [...wasm.numbers.subarray(0, 5)].map((letter) => LETTERS[letter]).join("");
    epochs.push({ loss, answer });
  }
  return { epochs, milliseconds: performance.now() - start, hash: hex(wasm.hello_hash()) };
}

const logLine = ({ answer, loss }, i) =>
  `Predicted string: ${answer}, Epoch [${i + 1}/${EPOCHS}] loss=${loss.toFixed(4)}`;

function draw(canvas, epochs) {
  const { context, width, height } = clear(canvas);
  const [left, right, top, bottom] = [34, 12, 12, 26];
  const most = Math.ceil(Math.max(8, ...epochs.map(({ loss }) => loss)));
  const x = (epoch) => left + ((epoch - 1) / (EPOCHS - 1)) * (width - left - right);
  const y = (loss) => top + (1 - loss / most) * (height - top - bottom);
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = colour("faint");
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (let loss = 0; loss <= most; loss += 2) {
    line(context, [[left, y(loss)], [width - right, y(loss)]], colour("rule"), 1);
    context.fillText(loss, left - 8, y(loss));
  }
  context.textAlign = "center";
  for (const epoch of [1, 5, 10, 15]) context.fillText(epoch, x(epoch), height - 10);
  context.textAlign = "left";
  context.fillText("loss", left + 6, top + 4);
  context.textAlign = "right";
  context.fillText("epoch", width - right, height - bottom - 10);
  line(context, epochs.map(({ loss }, i) => [x(i + 1), y(loss)]), colour("network"), 2.5);
  epochs.forEach(({ loss, answer }, i) => {
    dot(context, [x(i + 1), y(loss)], 4, answer === TARGET ? colour("good") : colour("network"));
  });
}

/** The five letters of an answer; right ones are coloured. */
function spell(element, answer) {
  element.replaceChildren(
    ...[...TARGET].map((right, i) => {
      const letter = document.createElement("span");
      letter.textContent = answer[i] ?? "·";
      letter.className = answer[i] === right ? "right" : "";
      return letter;
    }),
  );
}

/** Shows the training on the page, now and when the button is pressed. */
export function showHello(wasm) {
  const get = (id) => document.getElementById(`hello-${id}`);
  const [canvas, log, form, seed] = [get("curve"), get("log"), get("form"), get("seed")];
  let shown = [];
  let timer = 0;

  function run(slowly) {
    clearInterval(timer);
    const { epochs, milliseconds, hash } = train(wasm, BigInt(seed.value || 0));
    get("hash").textContent = hash;
    // Browsers tell the time in tenths of a millisecond.
    get("time").textContent = milliseconds < 0.1 ? "less than 0.1 ms" : `${milliseconds.toFixed(1)} ms`;
    let epoch = slowly ? 0 : EPOCHS - 1;
    const show = () => {
      epoch += 1;
      shown = epochs.slice(0, epoch);
      log.textContent = shown.map(logLine).join("\n");
      log.scrollTop = log.scrollHeight;
      spell(get("answer"), epochs[epoch - 1].answer);
      draw(canvas, shown);
      if (epoch === EPOCHS) clearInterval(timer);
    };
    show();
    if (slowly) timer = setInterval(show, MILLISECONDS_PER_EPOCH);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(true);
  });
  window.addEventListener("resize", () => draw(canvas, shown));
  run(false);
}
