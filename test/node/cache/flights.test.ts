import assert from "node:assert/strict";
import { test } from "node:test";
import { createFlights, type Flight } from "../../../node/cache/flights.ts";

test("a second request joins the running work; who asks after its end starts over", async () => {
  const flights = createFlights<number>();
  const work = Promise.withResolvers<number>();
  let begun = 0;
  const begin = (): Promise<number> => {
    begun += 1;
    return work.promise;
  };
  const joined = Array.from({ length: 100 }, () => flights.join("k", begin));
  assert.deepEqual(
    joined.map(({ isCollapsed }) => isCollapsed),
    [false, ...Array.from({ length: 99 }, () => true)],
  );
  work.resolve(7);
  assert.deepEqual(new Set(await Promise.all(joined.map(({ result }) => result))), new Set([7]));
  assert.equal(begun, 1);
  assert.equal(flights.size(), 0);
  await flights.join("k", begin).result;
  assert.equal(begun, 2);
});

test("a failure reaches all who wait and poisons nothing", async () => {
  const flights = createFlights<number>();
  const work = Promise.withResolvers<number>();
  const joined = Array.from({ length: 3 }, () => flights.join("k", () => work.promise).result);
  work.reject(new Error("no"));
  for (const { status } of await Promise.allSettled(joined)) assert.equal(status, "rejected");
  assert.equal(await flights.join("k", () => Promise.resolve(1)).result, 1);
  assert.equal(flights.size(), 0);
});

test("an overtaken flight ends for those who wait, and nobody joins it any longer", async () => {
  const flights = createFlights<string>();
  const old = Promise.withResolvers<string>();
  const fresh = Promise.withResolvers<string>();
  let seen: Flight | undefined;
  const first = flights.join("k", (flight) => {
    seen = flight;
    return old.promise;
  });
  const other = flights.join("other", () => Promise.resolve("x"));
  flights.overtake((key) => key === "k");
  assert.equal(seen?.isOvertaken, true);
  const second = flights.join("k", () => fresh.promise);
  assert(!second.isCollapsed);
  old.resolve("old");
  assert.equal(await first.result, "old");
  // The end of the old one must not take the new one out of the table.
  assert(flights.join("k", () => Promise.resolve("third")).isCollapsed);
  fresh.resolve("fresh");
  assert.equal(await second.result, "fresh");
  assert.equal(await other.result, "x");
});

test("work that everyone has left is aborted, and nobody joins it; while one caller waits, it continues", async () => {
  const flights = createFlights<string>();
  const work = Promise.withResolvers<string>();
  const signals: AbortSignal[] = [];
  const begin = ({ signal }: Flight): Promise<string> => {
    signals.push(signal);
    return work.promise;
  };
  const clients = Array.from({ length: 3 }, () => new AbortController());
  const joined = clients.map(({ signal }) => flights.joinWhile("k", signal, begin).result);
  clients[0]?.abort();
  clients[1]?.abort();
  for (const left of joined.slice(0, 2)) await assert.rejects(left, { code: "BAD_REQUEST" });
  assert.equal(signals[0]?.aborted, false);
  clients[2]?.abort();
  await assert.rejects(joined[2] ?? assert.fail(), { code: "BAD_REQUEST" });
  assert.equal(signals[0]?.aborted, true);
  const later = flights.joinWhile("k", new AbortController().signal, begin);
  assert.equal(later.isCollapsed, false);
  const staying = flights.join("k", begin);
  assert.equal(staying.isCollapsed, true);
  work.resolve("done");
  assert.deepEqual(await Promise.all([later.result, staying.result]), ["done", "done"]);
  assert.equal(signals[1]?.aborted, false);
  assert.equal(flights.size(), 0);
});

test("a caller that has already left starts no work, and one that never leaves keeps it running", async () => {
  const flights = createFlights<string>();
  const work = Promise.withResolvers<string>();
  let signal: AbortSignal | undefined;
  const kept = flights.join("k", (flight) => {
    signal = flight.signal;
    return work.promise;
  });
  const gone = flights.joinWhile("k", AbortSignal.abort(), () => assert.fail());
  await assert.rejects(gone.result, { code: "BAD_REQUEST" });
  assert.equal(signal?.aborted, false);
  work.resolve("done");
  assert.equal(await kept.result, "done");
});
