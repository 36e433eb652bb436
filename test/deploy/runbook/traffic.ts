/**
 * Visitors of the runbook's fleet: a process on the internet that asks for one picture after another, as browsers do.
 *
 *   node traffic.ts '{"nameservers":[…],"host":…,"paths":[…],"intervalMs":…}'   until its standard input ends
 *
 * It looks the host up at the zone's own nameservers, keeps the addresses for their TTL, and tries the next address
 * where one refuses the connection. It prints what it got, as one line of JSON.
 */
import { Resolver } from "node:dns/promises";
import { request } from "node:http";
import { machineClock } from "../../lab/machine-clock.ts";

export interface TrafficPlan {
  nameservers: string[];
  host: string;
  /** Each is asked for in its turn, from the first again when all were. */
  paths: string[];
  intervalMs: number;
}

export interface Failure {
  path: string;
  /** Since the first request. */
  atMs: number;
  what: string;
}

export interface TrafficReport {
  requests: number;
  /** Answers with a picture by the node that answered. */
  answeredBy: Record<string, number>;
  failures: Failure[];
}

/** A browser waits longer; nothing of this fleet does. */
const answerMs = 10_000;
const lookUp = { timeout: 1000, tries: 3 } as const;

const plan = JSON.parse(process.argv[2] ?? "") as TrafficPlan;
const resolver = new Resolver(lookUp);
resolver.setServers(plan.nameservers);
const report: TrafficReport = { requests: 0, answeredBy: {}, failures: [] };
const startMs = machineClock.monotonicMs();
let known = { addresses: [] as string[], untilMs: 0 };

async function addresses(): Promise<string[]> {
  if (machineClock.monotonicMs() < known.untilMs) return known.addresses;
  const records = await resolver.resolve4(plan.host, { ttl: true });
  const ttlSeconds = Math.min(...records.map(({ ttl }) => ttl));
  known = {
    addresses: records.map(({ address }) => address),
    untilMs: machineClock.monotonicMs() + 1000 * ttlSeconds,
  };
  return known.addresses;
}

async function get(address: string, path: string): Promise<{ status: number; bytes: number }> {
  return await new Promise((resolve, reject) => {
    const asked = request(
      { host: address, path, headers: { host: plan.host }, agent: false, signal: AbortSignal.timeout(answerMs) },
      (answer) => {
        let bytes = 0;
        answer.on("data", (chunk: Buffer) => (bytes += chunk.length));
        answer.once("error", reject);
        answer.once("end", () => resolve({ status: answer.statusCode ?? 0, bytes }));
      },
    );
    asked.once("error", reject);
    asked.end();
  });
}

async function visit(path: string): Promise<void> {
  const atMs = Math.round(machineClock.monotonicMs() - startMs);
  report.requests += 1;
  let what = "no address";
  try {
    for (const address of await addresses()) {
      try {
        const { status, bytes } = await get(address, path);
        if (status === 200 && bytes > 0) report.answeredBy[address] = (report.answeredBy[address] ?? 0) + 1;
        else report.failures.push({ path, atMs, what: `${status} with ${bytes} bytes from ${address}` });
        return;
      } catch (error) {
        what = `${address}: ${(error as Error).message}`;
        // Only a connection that was never made may be tried elsewhere; what broke off was lost.
        if (!/ECONNREFUSED|EHOSTUNREACH/.test(what)) break;
      }
    }
  } catch (error) {
    what = `look-up: ${(error as Error).message}`;
  }
  report.failures.push({ path, atMs, what });
}

let turn = 0;
const running = new Set<Promise<void>>();
const stop = machineClock.every(plan.intervalMs, () => {
  const visited = visit(plan.paths[turn++ % plan.paths.length] ?? "/");
  running.add(visited);
  void visited.then(() => running.delete(visited));
});
process.stdin.resume();
process.stdin.once("end", () => {
  stop();
  void Promise.all(running).then(() => process.stdout.write(`${JSON.stringify(report)}\n`));
});
