// Runs a WASI program, as `cargo test` for wasm32-wasip1 makes it: node --no-warnings wasi.mjs FILE.wasm ARGUMENTS
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const [file, ...args] = process.argv.slice(2);
const wasi = new WASI({
  version: "preview1",
  args: [file, ...args],
  env: process.env,
  preopens: { "/": "/" },
  returnOnExit: true,
});
const module = await WebAssembly.compile(await readFile(file));
// Debian's C library for WASI is older than Rust's: it lacks what starts threads. A call of it is told that it cannot.
const EAGAIN = 6;
const env = {};
for (const { module: from, name } of WebAssembly.Module.imports(module)) {
  if (from === "env") env[name] = () => EAGAIN;
}
const instance = await WebAssembly.instantiate(module, { ...wasi.getImportObject(), env });
process.exitCode = wasi.start(instance);
