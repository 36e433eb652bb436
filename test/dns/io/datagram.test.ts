import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { seededRandom } from "#base/random.ts";
import { newCounters, readStats } from "../../../dns/counters.ts";
import { createCookies } from "../../../dns/guard/cookie.ts";
import { openDatagram } from "../../../dns/io/datagram.ts";
import type { Transport } from "../../../dns/io/transport.ts";
import { createResponder } from "../../../dns/responder.ts";
import type { Snapshot } from "../../../dns/snapshot.ts";
import { udpSuite } from "./udp-suite.ts";

udpSuite("datagram", async (addresses) => {
  const counters = newCounters();
  let snapshot: Snapshot | undefined;
  const { respond } = createResponder({
    snapshot: () => snapshot,
    counters,
    cookies: createCookies(),
    rateLimit: undefined,
    amplificationMax: 0,
    identity: { nsid: undefined, version: undefined, id: undefined },
    random: seededRandom(1),
    nowMs: systemClock.wallMs,
    onFailure: (error) => {
      throw error;
    },
  });
  const transports: Transport[] = [];
  for (const address of addresses) {
    transports.push(await openDatagram(address, { respond, counters, log: silentLog }));
  }
  return {
    addresses: transports.map(({ address }) => address),
    stats: () => readStats([counters]),
    publish: (next) => {
      snapshot = next;
    },
    close: async () => {
      await Promise.all(transports.map((transport) => transport.close()));
    },
  };
});
