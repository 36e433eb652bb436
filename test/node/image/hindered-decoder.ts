/** A decoder as on a system where the sandbox hinders the work: it says so, and can work without. */
import { frameHead } from "../../../node/image/frame.ts";

const hindered = { outcome: "ready", sandbox: "broken", reason: "no thread could be started" };
const free = { outcome: "ready", sandbox: "none", reason: "it is switched off" };
process.stdin.resume();
process.stdout.write(frameHead(process.argv[2] === "auto" ? hindered : free, 0));
