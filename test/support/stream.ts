/**
 * Clients that follow DNS: each asks again when its answer's time is over, and meanwhile sends to the address that it
 * chose of the answer. What fails is kept, with its address.
 */
import { setTimeout as pause } from "node:timers/promises";
import { Agent, request } from "undici";
import { ask } from "./ask.ts";

const clientsCount = 50;
const tickMs = 5;
/** Of all clients; past that a tick sends fewer, since the machine gives no more. */
const openMax = 400;

export interface Stream {
  /** Answers so far, by the address that gave them. */
  byAddress: () => ReadonlyMap<string, number>;
  counts: () => { answered: number; failures: readonly string[]; seconds: number };
  stop: () => Promise<void>;
}

/** @param resolvers the nameservers; one that does not answer is followed by the next, as resolvers do */
export function startStream(options: {
  host: string;
  path: string;
  perSecond: number;
  resolvers: readonly { host: string; port: number }[];
}): Stream {
  const { host, path, perSecond, resolvers } = options;
  const agent = new Agent({ connections: 16, keepAliveTimeout: 10_000 });
  const byAddress = new Map<string, number>();
  const failures: string[] = [];
  const clients = Array.from({ length: clientsCount }, () => ({ address: "", untilMs: 0 }));
  const counts = { open: 0, answered: 0, sent: 0 };
  const over = new AbortController();
  const beganMs = performance.now();
  let endedMs: number | undefined;

  async function askAny(): ReturnType<typeof ask> {
    let failure: unknown;
    for (const resolver of resolvers) {
      try {
        const asked = await ask(resolver, host, { timeoutMs: 1000 });
        if (asked.addresses.length > 0) return asked;
        // A server that is about to stop or has just begun may say so; but that there are no addresses is an answer.
        failure = new Error(`${resolver.host} answers ${asked.rcode} without an address`);
        if (asked.rcode === "NOERROR") break;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  async function addressFor(client: (typeof clients)[number]): Promise<string> {
    if (performance.now() < client.untilMs) return client.address;
    const { addresses, answer } = await askAny();
    const ttlSeconds = Math.min(...(answer.answers ?? []).map((one) => ("ttl" in one ? (one.ttl ?? 0) : 0)));
    client.address = addresses[Math.floor(Math.random() * addresses.length)] ?? "";
    client.untilMs = performance.now() + ttlSeconds * 1000;
    return client.address;
  }

  async function send(client: (typeof clients)[number]): Promise<void> {
    counts.open += 1;
    let address = "?";
    try {
      address = await addressFor(client);
      const url = `http://${address}:8080${path}`;
      const { statusCode, body } = await request(url, { dispatcher: agent, headers: { host } });
      const sizeBytes = (await body.arrayBuffer()).byteLength;
      if (statusCode !== 200 || sizeBytes === 0) failures.push(`${address}: ${statusCode}, ${sizeBytes} bytes`);
      byAddress.set(address, (byAddress.get(address) ?? 0) + 1);
      counts.answered += 1;
    } catch (error) {
      failures.push(`${address}: ${String(error)}`);
    } finally {
      counts.open -= 1;
    }
  }

  const running = (async () => {
    while (!over.signal.aborted) {
      const due = Math.floor(((performance.now() - beganMs) / 1000) * perSecond);
      // What the machine did not give is not made up for later.
      counts.sent = Math.max(counts.sent, due - openMax);
      for (; counts.sent < due && counts.open < openMax; counts.sent += 1) {
        const client = clients[counts.sent % clientsCount];
        if (client !== undefined) void send(client);
      }
      await pause(tickMs);
    }
    while (counts.open > 0) await pause(tickMs);
    await agent.close();
  })();

  return {
    byAddress: () => byAddress,
    counts: () => ({ answered: counts.answered, failures, seconds: ((endedMs ?? performance.now()) - beganMs) / 1000 }),
    async stop() {
      endedMs ??= performance.now();
      over.abort();
      await running;
    },
  };
}
