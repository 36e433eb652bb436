/**
 * Can one client network keep the decoders from all others? One network requests normal cold pictures at a steady,
 * moderate rate: first alone, then while another has requested 15 PNG pictures of 8192 px at once. The edge has two
 * decoders. No core is reserved for it, as in production.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { coldPath, coldSource } from "./cold-render.ts";
import { digits, quantile, type Report } from "./lab/figures.ts";
import type { Lab } from "./lab/lab.ts";
import { type Nearcast, startNearcast } from "./lab/nearcast.ts";
import { photograph } from "./lab/photograph.ts";

const largeSource = "large.jpg";
const largeRequests = 15;
/** Each has a width of its own, so that each is rendered. */
const largestPx = 8192;
/** So rare that one decoder manages them, and those who request normally never wait for each other. */
const intervalMs = 1500;
const measuredMs = 30_000;
/** As long as the edge lets a client wait for a place and a rendering, and more. */
const timeoutMs = 60_000;
/** Source addresses of two networks. */
const [ordinary, greedy] = ["127.0.201.1", "127.0.202.1"];

interface Taken {
  readonly status: number;
  readonly ms: number;
}

export async function measureRenderFairness(lab: Lab): Promise<Report> {
  const nearcast = await startNearcast(lab, { pin: "none" });
  await nearcast.put(coldSource, await photograph(4000, 3000));
  await nearcast.put(largeSource, await photograph(largestPx, largestPx / 2));
  let variant = 0;
  const steadily = async (): Promise<Taken[]> => {
    const asked: Promise<Taken>[] = [];
    for (let sent = 0; sent < measuredMs / intervalMs; sent += 1) {
      asked.push(take(nearcast, ordinary, coldPath("webp", variant++)));
      await pause(intervalMs);
    }
    return await Promise.all(asked);
  };
  const alone = await steadily();
  const flood = Array.from({ length: largeRequests }, (_none, index) =>
    take(nearcast, greedy, `/${largeSource}?w=${largestPx - index}&fm=png`),
  );
  const beside = await steadily();
  const large = await Promise.all(flood);
  await nearcast.stop();

  const row = (name: string, list: readonly Taken[]): string[] => {
    const times = list.filter(({ status }) => status === 200).map(({ ms }) => ms);
    const of = (part: number): string => (times.length === 0 ? "–" : digits(quantile(times, part)));
    return [name, String(list.length), String(list.length - times.length), of(0.5), of(0.99)];
  };
  return {
    question: "render-fairness",
    tables: [
      {
        title: "Cold pictures of one client network, alone and beside another network's large ones",
        columns: ["requests", "number", "refused", "p50 ms", "p99 ms"],
        rows: [
          row("WebP of 800 px, alone", alone),
          row(`WebP of 800 px, while another network requests ${largeRequests} PNG of ${largestPx} px`, beside),
          row(`those PNG of ${largestPx} px, all at once`, large),
        ],
      },
    ],
    notes: [`a new variant of 12 megapixels every ${intervalMs} ms; two decoders`],
    absent: [],
    samples: { alone, beside, large },
  };
}

async function take({ url }: Nearcast, localAddress: string, path: string): Promise<Taken> {
  const beganMs = performance.now();
  const sent = request(new URL(path, url), { localAddress, agent: false, timeout: timeoutMs });
  sent.once("timeout", () => sent.destroy(new Error(`no response within ${timeoutMs} ms`)));
  sent.end();
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  for await (const chunk of response) assert(chunk !== undefined);
  return { status: response.statusCode ?? 0, ms: performance.now() - beganMs };
}
