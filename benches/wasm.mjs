// Runs a WASI program under Node, whose V8 is the engine that Envoy's default WebAssembly runtime embeds too (another
// release of it, and without Envoy around it). Give Node `--no-liftoff`, as Envoy's host switches V8's quick first
// compiler off: with it, the first rounds would run slow code and compete with the second compiler for the processors.
// The plugin's host functions are not there: nothing here calls them.
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";
import process from "node:process";

process.removeAllListeners("warning");
console.log(`Node ${process.version}, V8 ${process.versions.v8}: the engine family of Envoy's default runtime`);
const wasi = new WASI({ version: "preview1", args: process.argv.slice(2), returnOnExit: true });
const module = await WebAssembly.compile(await readFile(process.argv[2]));
const imports = wasi.getImportObject();
for (const { module: from, name } of WebAssembly.Module.imports(module)) {
  if (from === "wasi_snapshot_preview1") continue;
  imports[from] ??= {};
  imports[from][name] = () => { throw new Error(`${from}.${name} is not there in a benchmark`); };
}
// The library brings the start function of a plugin along, which a program does not have.
const { memory, _start } = (await WebAssembly.instantiate(module, imports)).exports;
process.exitCode = wasi.start({ exports: { memory, _start } });
