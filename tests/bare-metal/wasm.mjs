// Runs the check in a WebAssembly module.
import { readFileSync } from "node:fs";

const bytes = readFileSync(process.argv[2]);
const { check, tolerance, memory } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
const distance = check();
console.log(`module ${bytes.length} bytes, memory ${memory.buffer.byteLength} bytes`);
console.log(`the largest difference from the host's numbers is ${distance.toExponential(3)}`);
process.exitCode = distance <= tolerance() ? 0 : 1;
