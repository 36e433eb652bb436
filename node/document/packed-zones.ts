/**
 * The zones of a document in the form that threads exchange: packed in shared memory, so that the main thread, which
 * does not need their hundred thousand records, neither copies nor keeps them.
 *
 *   reading thread: parseFleet ─▶ packZones ──▶ main thread: a Fleet with the bytes ──▶ compiler thread: unpackZones
 *
 * The main thread's zones keep their ALIAS records: `nearcast explain` shows their targets.
 */
import { deserialize, serialize } from "node:v8";
import type { Fleet } from "./document.ts";
import type { Zone } from "#record/zone.ts";

/** The same document with its records packed. */
export function packZones(fleet: Fleet): Fleet {
  const bytes = serialize(fleet.zones);
  const packedZones = new SharedArrayBuffer(bytes.length);
  new Uint8Array(packedZones).set(bytes);
  const zones = fleet.zones.map((zone) => ({
    ...zone,
    records: zone.records.filter(({ type }) => type === "ALIAS"),
  }));
  return { ...fleet, zones, packedZones };
}

/** @param packedZones what packZones() of this same release made */
export function unpackZones(packedZones: SharedArrayBuffer): readonly Zone[] {
  return deserialize(new Uint8Array(packedZones)) as readonly Zone[];
}
