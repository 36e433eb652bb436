/**
 * What the pool starts first: forbids io_uring in this process and becomes decoder.ts by execve, in a Node that never
 * had one (sandbox.ts says why). It loads nothing that looks at pictures. Where that can't be done, or the sandbox is
 * switched off, this very process becomes the decoder.
 */
import { fileURLToPath } from "node:url";
import { decoderEnvironment, forbidIoUring } from "./sandbox.ts";

const [node = process.execPath, , ...settings] = process.argv;
if (settings[0] === "auto" && process.execve !== undefined && (await forbidIoUring())) {
  const main = fileURLToPath(new URL("./decoder.ts", import.meta.url));
  process.execve(node, [node, ...process.execArgv, main, ...settings], decoderEnvironment);
}
await import("./decoder.ts");
