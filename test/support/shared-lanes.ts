/** Lanes that all tests of a file share: starting a thread for each test would take most of its time. */
import { after, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { openStreamCalls } from "#base/system-calls.ts";
import { laneTlsMissing, lanesMissing, openLanes, type Lanes } from "../../node/front/lane/lanes.ts";
import type { SharedReady } from "../../node/front/lane/running-lane.ts";
import type { LaneTlsParts } from "../../node/front/lane/tls-orders.ts";
import { openReadyMemory } from "../../node/front/ready/ready-memory.ts";
import type { ServedCertificate } from "../../node/tls/certificate.ts";
import { type CertificateIndex, indexCertificates } from "../../node/tls/certificate-index.ts";
import { openTicketKeys } from "../../node/tls/ticket-keys.ts";
import { keptLog } from "./kept-log.ts";
import { needs } from "./needs.ts";

/** Lanes, and the memory of the responses that they may send. */
export interface SharedLanes {
  readonly lanes: Lanes;
  readonly ready: SharedReady;
}

const readyBytes = 16 * 1024 * 1024;

let lanes: Promise<Lanes> | undefined;

after(async () => {
  await (await lanes)?.close();
});

/** Undefined: there can be none here, and the test is skipped. */
export async function sharedLanes(t: TestContext): Promise<Lanes | undefined> {
  const missing = lanesMissing();
  if (!needs(t, missing === undefined, missing ?? "")) return undefined;
  lanes ??= openLanes({ count: 1, clock: systemClock, log: keptLog().log });
  return await lanes;
}

/** Lanes that send ready responses, for one test. Undefined: there can be none here, and the test is skipped. */
export async function lanesWithReady(
  t: TestContext,
  { count = 1, certificates }: { count?: number; certificates?: readonly ServedCertificate[] } = {},
): Promise<SharedLanes | undefined> {
  const missing = certificates === undefined ? undefined : laneTlsMissing();
  if (!needs(t, missing === undefined, missing ?? "")) return undefined;
  const calls = openStreamCalls();
  if (typeof calls === "string") {
    needs(t, false, calls);
    return undefined;
  }
  const arena = calls.viewArena(calls.mapArena(readyBytes));
  const ready = { memory: openReadyMemory(arena.bytes, 1), arena, keepAliveSeconds: 65 };
  const index = certificates === undefined ? undefined : indexCertificates(certificates, undefined, Date.now());
  const tls = index === undefined ? undefined : tlsParts(index);
  const opened = await openLanes({ count, ready, tls, clock: systemClock, log: keptLog().log });
  // The memory stays: whoever fills it may still run.
  t.after(() => opened.close());
  return { lanes: opened, ready };
}

function tlsParts(index: CertificateIndex): LaneTlsParts {
  const ticketKeys = openTicketKeys(() => [], systemClock);
  return { certificates: () => index, ticketKeys, protocols: ["h2", "http/1.1"] };
}
