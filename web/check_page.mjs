// Opens the page in headless Chromium: node check_page.mjs HASH FOLDER
// The weights trained there have to have HASH, the host's; everything on the page is used once; pictures go to FOLDER.
import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Chromium } from "./chromium.mjs";

const [hash, folder] = process.argv.slice(2);
const TYPES = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".wasm": "application/wasm" };
const root = fileURLToPath(new URL(".", import.meta.url));
const server = createServer(async ({ url }, response) => {
  const path = new URL(url, "http://localhost").pathname;
  const body = await readFile(join(root, path)).catch(() => null);
  response.writeHead(body ? 200 : 404, { "content-type": TYPES[extname(path)] ?? "text/plain" });
  response.end(body ?? "");
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const page = `http://127.0.0.1:${server.address().port}/index.html`;

const browser = await Chromium.start();
const text = (id) => browser.value(`document.getElementById("${id}").textContent`);
try {
  await mkdir(folder, { recursive: true });
  await browser.open(page, 1280, 900);
  await browser.until("document.body.dataset.state");
  assert.equal(await browser.value("document.body.dataset.state"), "ready", await text("error"));

  assert.equal(await text("hello-hash"), hash, "the page's weights are not the host's");
  assert.match((await text("hello-log")).split("\n").at(-1), /^Predicted string: ohlol, Epoch \[15\/15\] loss=2\.4/);
  console.log(`page.wasm: the page's hash is the host's, ${hash}`);

  // Another seed, other weights; the first seed again, the same.
  const train = (seed) =>
    browser.value(`document.getElementById("hello-seed").value = ${seed};
      document.getElementById("hello-form").requestSubmit(); document.getElementById("hello-hash").textContent`);
  assert.notEqual(await train(7), hash);
  assert.equal(await train(42), hash);
  await browser.until(`document.getElementById("hello-log").textContent.split("\\n").length === 15`);

  const rows = await browser.value(
    `[...document.querySelectorAll("#race-rows article")].map((row) => row.innerText.replaceAll(/\\s+/g, " "))`,
  );
  assert.equal(rows.length, 3);
  for (const row of rows) {
    console.log(row);
    assert.ok(Number(row.match(/agree within (\S+)/)[1]) < 1e-5, "JavaScript computes something else");
  }

  // After a minute of practice the network is nearer to the truth than the straight line.
  await browser.value(`document.getElementById("pointer-practise").click()`);
  await browser.until(`document.getElementById("pointer-practise").disabled`);
  await browser.until(`!document.getElementById("pointer-practise").disabled`);
  const [network, straight] = [await text("pointer-network"), await text("pointer-straight")];
  console.log(`a minute of practice: the network misses by ${network}, the straight line by ${straight}`);
  assert.ok(parseFloat(network) < parseFloat(straight));
  await writeFile(join(folder, "wide.png"), await browser.picture());

  // The pointer takes over.
  const box = await browser.value(`document.getElementById("pointer-path").getBoundingClientRect().toJSON()`);
  for (let i = 0; i < 20; i++) {
    const [x, y] = [box.left + box.width / 4 + 9 * i, box.top + box.height / 2 + 5 * i];
    await browser.send("Input.dispatchMouseEvent", { type: "mouseMoved", x, y });
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  await browser.until(`document.getElementById("pointer-who").textContent.includes("your pointer")`, 2);

  // A narrow screen: nothing is cut off at its side.
  await browser.open(`${page}?narrow`, 390, 844);
  await browser.until("document.body.dataset.state");
  await browser.until(`document.getElementById("pointer-network").textContent.endsWith("px")`);
  assert.equal(await browser.value("document.documentElement.scrollWidth"), 390);
  await writeFile(join(folder, "narrow.png"), await browser.picture());
  assert.deepEqual(browser.errors, []);

  // Without SIMD it says so.
  await browser.send("Page.addScriptToEvaluateOnNewDocument", { source: "WebAssembly.validate = () => false" });
  await browser.open(`${page}?without`, 1280, 900);
  await browser.until(`document.body.dataset.state === "failed"`, 10);
  assert.match(await text("error"), /WebAssembly without SIMD/);
  assert.equal(await browser.value(`document.getElementById("error").hidden`), false);
  await writeFile(join(folder, "without_simd.png"), await browser.picture());
  console.log(`pictures of it are in ${folder}`);
} finally {
  await browser.stop();
  server.close();
}
