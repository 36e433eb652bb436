/**
 * Does DNS keep its rate while pictures are rendered? A steady rate of queries is offered, first alone, then while the
 * edge's two decoders always have a cold picture to render. No core is reserved for the edge: its batch thread, its
 * decoders and the driver share the machine's cores, as they do in production.
 */
import { storeSubnetQueries } from "./lab/dns-queries.ts";
import { type HeldRate, hold, steadyRate, timeAnswers } from "./lab/dnsperf.ts";
import { digits, median, type Report, type Sample } from "./lab/figures.ts";
import type { Lab } from "./lab/lab.ts";
import { startNearcast } from "./lab/nearcast.ts";
import { renderBeside } from "./lab/rendering.ts";
import { takeTurns } from "./lab/rounds.ts";

/** Far above the query rate of any zone, yet low enough that the driver needs only part of its core. */
const offeredRate = 50_000;

export async function measureDnsWhileRendering(lab: Lab): Promise<Report> {
  const nearcast = await startNearcast(lab, {
    pin: "none",
    edge: (address) => ({ dns: { addresses: [{ host: address, port: 5300 }], responsesPerSecond: 0 } }),
  });
  const target = { name: "nearcast", program: nearcast.edge, address: nearcast.address, port: 5300 };
  const queries = await storeSubnetQueries(lab);
  const rendering = await renderBeside(nearcast);
  const lost = new Map<string, number[]>();

  const alone = "queries alone";
  const beside = "queries while two cold pictures are always being rendered";
  async function measure(name: string, seconds: number): Promise<Sample> {
    const cpuBefore = target.program.cpuMs();
    const held: HeldRate = await hold(lab, target, queries, seconds, offeredRate);
    const cpuMicros = ((target.program.cpuMs() - cpuBefore) * 1000) / (held.perSecond * seconds);
    lost.set(name, [...(lost.get(name) ?? []), held.lostPart]);
    return { requests: held.perSecond * seconds, perSecond: held.perSecond, cpuMicros, ...(await timesOf()) };
  }
  const timesOf = (): Promise<{ p50Ms: number; p99Ms: number }> => timeAnswers(lab, target, queries);
  const taken = await takeTurns(lab, [
    { name: alone, measure: (seconds) => measure(alone, seconds) },
    { name: beside, measure: (seconds) => rendering.during(() => measure(beside, seconds)) },
  ]);
  await nearcast.stop();
  const row = (name: string): string[] => {
    const list = taken.get(name) ?? [];
    const of = (key: keyof Sample): string => digits(median(list.map((sample) => sample[key])));
    const lostPercent = 100 * median(lost.get(name) ?? [Number.NaN]);
    return [name, of("perSecond"), `${lostPercent.toFixed(2)} %`, of("p50Ms"), of("p99Ms")];
  };
  return {
    question: "dns-while-rendering",
    tables: [
      {
        title: "Geo answers while cold pictures are rendered, all on the same cores",
        columns: ["nearcast", "answers/s", "lost", "p50 ms", "p99 ms"],
        rows: [row(alone), row(beside)],
      },
    ],
    notes: [
      `${offeredRate.toLocaleString("en")} queries a second offered, each with a client subnet; p50 and p99 at ` +
        `${steadyRate.toLocaleString("en")} a second; ${rendering.note()}`,
    ],
    absent: [],
    samples: { ...Object.fromEntries(taken), lost: Object.fromEntries(lost) },
  };
}
