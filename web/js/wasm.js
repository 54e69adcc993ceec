// Loads page.wasm, and says clearly why if it cannot.

/** A module of one function that needs simd128: does the browser take it? */
const WITH_SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, // \0asm, version 1
  1, 5, 1, 96, 0, 1, 123, // type: () -> v128
  3, 2, 1, 0, // one function of it
  10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11, // i32.const 0, i8x16.splat, i8x16.popcnt
]);

export async function load(url) {
  if (typeof WebAssembly !== "object") {
    throw new Error("This browser has no WebAssembly. Any browser of the last years has it; some modes switch it off.");
  }
  if (!WebAssembly.validate(WITH_SIMD)) {
    throw new Error(
      "This browser has WebAssembly without SIMD. The page needs Chrome 91, Firefox 89, Safari 16.4 or later.",
    );
  }
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) {
    throw new Error(`${url} could not be loaded. Is it built (scripts/targets/web.sh build), and is the page served by HTTP?`);
  }
  const bytes = await response.arrayBuffer();
  const { instance } = await WebAssembly.instantiate(bytes);
  const { exports } = instance;
  return {
    ...exports,
    bytes: bytes.byteLength,
    /** The first numbers of the buffer. The memory never grows, so the view stays valid. */
    numbers: new Float32Array(exports.memory.buffer, exports.buffer(), 20000),
  };
}

/** A 64-bit hash, as the host prints it. */
export const hex = (hash) => BigInt.asUintN(64, hash).toString(16).padStart(16, "0");
