// Brings the page to life, or says why it cannot.
import { showHello } from "./hello.js";
import { showPointer } from "./pointer.js";
import { showRace } from "./race.js";
import { load } from "./wasm.js";

try {
  const wasm = await load("page.wasm");
  document.getElementById("size").textContent = `${(wasm.bytes / 1000).toFixed(0)} KB`;
  showHello(wasm);
  showPointer(wasm);
  await showRace(wasm);
  document.body.dataset.state = "ready";
} catch (error) {
  const message = document.getElementById("error");
  message.textContent = error.message;
  message.hidden = false;
  document.body.dataset.state = "failed";
  throw error;
}
