/**
 * The thread of compiler.ts: loads geo data once, then compiles a snapshot for each new input and each new geo file.
 *
 *   inputs ──▶ zones (only when the document has changed) ──▶ steering ──▶ snapshot
 */
import assert from "node:assert/strict";
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { systemClock } from "#base/clock.ts";
import type { Fleet } from "#document/document.ts";
import type { Zone } from "#record/zone.ts";
import { unpackZones } from "#document/packed-zones.ts";
import type { CompilerSettings, FromCompiler, ToCompiler } from "./compiler.ts";
import { loadGeo, watchGeo, type Tell } from "./geo/database.ts";
import { compileSteering, type Steering } from "./steer/steering.ts";
import { compileZones } from "./zone/compile.ts";
import type { CompiledZones } from "./zone/compiled-zones.ts";

assert(parentPort !== null, "this file is the start of a thread");
const port = parentPort;
const { site, geo: geoSettings, geoCheckMs } = workerData as CompilerSettings;

const post = (message: FromCompiler): void => {
  port.postMessage(message);
};
const tell: Tell = (level, message, details) => {
  post({ kind: "log", level, message, details });
};

let geo = await loadGeo(geoSettings, tell);
let inputs: ToCompiler | undefined;
let fleet: Fleet | undefined;
let unpacked: readonly Zone[] | undefined;
let zones: { readonly of: Fleet; readonly version: number; readonly compiled: CompiledZones } | undefined;
let steering: Steering | undefined;

function compile(): void {
  if (inputs === undefined || fleet === undefined) return;
  const { order, version, siteStates, keptShares } = inputs;
  try {
    let problems: readonly string[] = [];
    if (zones?.of !== fleet || zones.version !== version) {
      const compilation = compileZones(fleet, version);
      zones = { of: fleet, version, compiled: compilation.compiled };
      ({ problems } = compilation);
    }
    steering = compileSteering({ fleet, self: site, states: siteStates, keptShares, geo }, steering);
    post({ kind: "snapshot", order, snapshot: { version, zones: zones.compiled, steering, geo }, problems });
  } catch (error) {
    post({ kind: "failed", order, reason: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
}

function take(message: ToCompiler): void {
  inputs = message;
  const { packedZones } = message;
  if (packedZones !== undefined) unpacked = packedZones === null ? undefined : unpackZones(packedZones);
  if (message.fleet !== undefined) fleet = { ...message.fleet, zones: unpacked ?? message.fleet.zones };
}

port.on("message", (message: ToCompiler) => {
  take(message);
  // Newer inputs make this one obsolete: only the last is compiled.
  for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
    take(next.message as ToCompiler);
  }
  compile();
});

watchGeo(geoSettings, {
  clock: systemClock,
  present: geo,
  onChange(tables) {
    geo = tables;
    compile();
  },
  tell,
  intervalMs: geoCheckMs,
});

post({ kind: "ready" });
