/** The rate limit as properties: what one network gets at the most, and what it can do to others. */
import { seededRandom, type Random } from "#base/random.ts";
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { createRateLimit, newRateTable, type RateLimit } from "../../../dns/guard/rate-limit.ts";
import { maskIp, parseIp, type IpAddress } from "../../../dns/wire/address.ts";

const seed = Number(process.env["SEED"] ?? 20_261_122);
const startMs = Date.UTC(2026, 10, 22);

/** Hash tables from the seed, so that a failure can be seen again. */
function limitOf(responsesPerSecond: number, slip = 0, slots?: number): RateLimit {
  const table = newRateTable(slots, fillFrom(seededRandom(seed)));
  return createRateLimit({ responsesPerSecond, slip }, table);
}

function fillFrom(random: Random): (words: Uint32Array) => void {
  return (words) => {
    for (let i = 0; i < words.length; i++) words[i] = random() * 0x1_0000_0000;
  };
}

function address(text: string): IpAddress {
  const parsed = parseIp(text);
  assert.ok(parsed !== undefined, text);
  return parsed;
}

const victim = address("192.0.2.7");

function randomAddress(random: Random, family: 4 | 6): IpAddress {
  const one: IpAddress = { family, bytes: new Uint8Array(16) };
  for (let i = 0; i < (family === 4 ? 4 : 16); i++) one.bytes[i] = Math.floor(random() * 256);
  return one;
}

test("a burst of one second's worth passes at once, then as many a second as were set", () => {
  for (const rate of [1, 2, 3, 7, 100, 999, 5000, 100_000]) {
    const limit = limitOf(rate);
    let passed = 0;
    for (let i = 0; i < rate * 2; i++) if (limit.decide(victim, startMs) === 0) passed++;
    assert.equal(passed, rate, `burst at ${rate} a second`);
    passed = 0;
    // Ten seconds of asking twice as often as allowed.
    for (let i = 1; i <= rate * 20; i++) {
      if (limit.decide(victim, startMs + (i * 500) / rate) === 0) passed++;
    }
    assert.ok(Math.abs(passed - rate * 10) <= Math.max(1, rate / 100), `${passed} in ten seconds at ${rate} a second`);
  }
});

test("no window of a second ever lets more than rate and burst through, however the queries come", () => {
  const random = seededRandom(seed);
  for (let round = 0; round < 60; round++) {
    const rate = 1 + Math.floor(random() * 50);
    const limit = limitOf(rate);
    const passedAt: number[] = [];
    let nowMs = startMs;
    for (let i = 0; i < 3000; i++) {
      const pace = random();
      nowMs += pace < 0.7 ? 0 : pace < 0.98 ? random() * 40 : random() * 3000;
      if (limit.decide(victim, nowMs) === 0) passedAt.push(nowMs);
    }
    let first = 0;
    passedAt.forEach((at, last) => {
      while (at - (passedAt[first] ?? 0) > 1000) first++;
      const passed = last - first + 1;
      assert.ok(passed <= 2 * rate + 1, `SEED=${seed} round ${round}: ${passed} in a second at ${rate}`);
    });
    assert.ok(passedAt.length >= rate);
  }
});

test("who asks less often than the limit is never limited", () => {
  const random = seededRandom(seed);
  const limit = limitOf(50);
  let nowMs = startMs;
  for (let i = 0; i < 20_000; i++) {
    nowMs += 20 + random() * 5;
    assert.equal(limit.decide(victim, nowMs), 0, `SEED=${seed} query ${i}`);
  }
});

test("a /24 and a /56 count as one network, their neighbours as others", () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ["192.0.2.1", "192.0.2.255", true],
    ["192.0.2.1", "192.0.3.1", false],
    ["0.0.0.1", "0.0.0.2", true],
    ["2001:db8:1:200::1", "2001:db8:1:2ff:ffff::1", true],
    ["2001:db8:1:200::1", "2001:db8:1:300::1", false],
    ["2001:db8:1:200::1", "2001:db9:1:200::1", false],
    ["192.0.2.1", "c000:201::", false],
    ["0.0.0.0", "::", false],
  ];
  for (const [one, other, isSame] of cases) {
    const limit = limitOf(1);
    assert.equal(limit.decide(address(one), startMs), 0);
    assert.equal(limit.decide(address(other), startMs), isSame ? 2 : 0, `${one} and ${other}`);
  }
});

test("each n-th limited query of a network slips, whatever others do; with 0 none does", () => {
  for (const slip of [1, 2, 3, 10]) {
    const limit = limitOf(1, slip);
    const others = address("198.51.100.1");
    limit.decide(victim, startMs);
    limit.decide(others, startMs);
    const decisions = Array.from({ length: 60 }, (_, index) => {
      if (index % 3 === 0) limit.decide(others, startMs);
      return limit.decide(victim, startMs);
    });
    decisions.forEach((decision, index) => {
      assert.equal(decision, (index + 1) % slip === 0 ? 1 : 2, `slip ${slip}, limited query ${index + 1}`);
    });
  }
  const limit = limitOf(1);
  limit.decide(victim, startMs);
  for (let i = 0; i < 100; i++) assert.equal(limit.decide(victim, startMs), 2);
});

test("a network that floods harms no other, in the smallest table too", () => {
  const random = seededRandom(seed);
  for (const slots of [8, 64, 65_536]) {
    const limit = limitOf(10, 2, slots);
    const others = Array.from({ length: 500 }, (_, index) => randomAddress(random, index % 2 === 0 ? 4 : 6));
    let limitedFloods = 0;
    for (let tick = 0; tick < 400; tick++) {
      const nowMs = startMs + tick * 5;
      for (let i = 0; i < 50; i++) if (limit.decide(victim, nowMs) !== 0) limitedFloods++;
      const other = others[tick % others.length];
      assert.ok(other !== undefined);
      assert.equal(limit.decide(other, nowMs), 0, `SEED=${seed} tick ${tick}, ${slots} slots`);
    }
    // In a full group of 8 the flooding network's bucket is the fullest, so it stays and the flood stays limited.
    assert.ok(limitedFloods >= 20_000 - 10 - 20 - 1, `${limitedFloods} of the flood were limited, ${slots} slots`);
  }
});

test("forged senders from everywhere limit nobody, and a bucket that limits outlives them", () => {
  const random = seededRandom(seed);
  const limit = limitOf(5, 0, 64);
  for (let i = 0; i < 10; i++) limit.decide(victim, startMs);
  for (let i = 0; i < 50_000; i++) {
    const one = randomAddress(random, i % 2 === 0 ? 4 : 6);
    assert.equal(limit.decide(one, startMs + i / 1000), 0, `SEED=${seed} query ${i}`);
  }
  assert.equal(limit.decide(victim, startMs + 60), 2);
});

test("few networks lose their bucket while it matters: 8,192 active ones in a table of 65,536", () => {
  const random = seededRandom(seed);
  const limit = limitOf(1);
  const networks = new Map<string, IpAddress>();
  while (networks.size < 8192) {
    const one = randomAddress(random, networks.size % 2 === 0 ? 4 : 6);
    maskIp(one, one.family === 4 ? 24 : 56);
    networks.set(Buffer.from(one.bytes).toString("hex") + String(one.family), one);
  }
  for (const one of networks.values()) assert.equal(limit.decide(one, startMs), 0);
  let forgotten = 0;
  for (const one of networks.values()) if (limit.decide(one, startMs + 1) === 0) forgotten++;
  assert.ok(forgotten <= 3, `SEED=${seed}: ${forgotten} of 8,192 were forgotten`);
});

test("time that goes back lets at most another burst through, and limits nobody for longer than a second more", () => {
  for (const backMs of [1, 500, 999, 1001, 2500, 3_600_000]) {
    const limit = limitOf(10);
    for (let i = 0; i < 20; i++) limit.decide(victim, startMs);
    const laterMs = startMs - backMs;
    let passed = 0;
    for (let i = 0; i < 100; i++) if (limit.decide(victim, laterMs) === 0) passed++;
    assert.ok(passed <= 10, `${backMs} ms back: ${passed} passed`);
    assert.equal(limit.decide(victim, laterMs + 2000), 0, `${backMs} ms back, 2 s later`);
  }
});

test("a jump far ahead empties the buckets and nothing else", () => {
  const limit = limitOf(10);
  for (let i = 0; i < 20; i++) limit.decide(victim, startMs);
  let passed = 0;
  for (let i = 0; i < 100; i++) if (limit.decide(victim, startMs + 1e9) === 0) passed++;
  assert.equal(passed, 10);
});

test("threads that share a table share the limit", () => {
  const table = newRateTable();
  const limits = Array.from({ length: 4 }, () => createRateLimit({ responsesPerSecond: 100, slip: 0 }, table));
  let passed = 0;
  for (let i = 0; i < 1000; i++) if (limits[i % 4]?.decide(victim, startMs) === 0) passed++;
  assert.equal(passed, 100);
});

test("threads that count at the same moment lose little: never more than each alone would let through", async (t) => {
  const table = newRateTable();
  const threads = 3;
  const rate = 2000;
  const gate = new Int32Array(new SharedArrayBuffer(4));
  const module = new URL("../../../dns/guard/rate-limit.ts", import.meta.url).href;
  const source = `
    const { parentPort, workerData } = require("node:worker_threads");
    import(workerData.module).then(({ createRateLimit }) => {
      const limit = createRateLimit({ responsesPerSecond: workerData.rate, slip: 0 }, workerData.table);
      const address = { family: 4, bytes: new Uint8Array(16).fill(9) };
      Atomics.add(workerData.gate, 0, 1);
      while (Atomics.load(workerData.gate, 0) < workerData.threads);
      let passed = 0;
      for (let i = 0; i < 100_000; i++) if (limit.decide(address, 1_700_000_000_000) === 0) passed++;
      parentPort.postMessage(passed);
    });`;
  const workerData = { table, gate, threads, rate, module };
  const passed = await Promise.all(
    Array.from({ length: threads }, async () => {
      const worker = new Worker(source, { eval: true, workerData });
      // Should another one fail to start, it waits at the gate for ever.
      t.after(async () => await worker.terminate());
      const [count] = (await once(worker, "message")) as [number];
      return count;
    }),
  );
  const sum = passed.reduce((total, count) => total + count, 0);
  assert.ok(sum >= rate && sum <= rate * threads, `${passed.join(" + ")} passed of ${rate}`);
});

test("a clock that another thread read a little later does not undo the limit", () => {
  const table = newRateTable();
  const ahead = createRateLimit({ responsesPerSecond: 100, slip: 0 }, table);
  const behind = createRateLimit({ responsesPerSecond: 100, slip: 0 }, table);
  let passed = 0;
  for (let i = 0; i < 1000; i++) {
    if (ahead.decide(victim, startMs + 20) === 0) passed++;
    if (behind.decide(victim, startMs) === 0) passed++;
  }
  assert.ok(passed <= 102, `${passed} passed`);
});

test("two tables send networks to different groups: nobody outside can aim", () => {
  // Rivals that push the victim's bucket out of one table, all of them: in another table they do nothing to it.
  const random = seededRandom(seed);
  const slots = 4096;
  const table = (): SharedArrayBuffer => newRateTable(slots, fillFrom(random));
  const isForgotten = (rivals: readonly IpAddress[], buckets: SharedArrayBuffer): boolean => {
    const limit = createRateLimit({ responsesPerSecond: 1, slip: 0 }, buckets);
    limit.decide(victim, startMs);
    // A little later, so that theirs are fuller than the victim's.
    for (const rival of rivals) limit.decide(rival, startMs + 1);
    return limit.decide(victim, startMs + 2) === 0;
  };
  const known = table();
  let rivals = Array.from({ length: 8 * slots }, (_, index) => randomAddress(random, index % 2 === 0 ? 4 : 6));
  assert.ok(isForgotten(rivals, copyOf(known)));
  // Halves what pushes it out again and again, down to the eight that share its group.
  for (let part = rivals.length >> 1; part >= 1; part >>= 1) {
    for (let from = 0; from + part <= rivals.length;) {
      const fewer = rivals.toSpliced(from, part);
      if (isForgotten(fewer, copyOf(known))) rivals = fewer;
      else from += part;
    }
  }
  assert.equal(rivals.length, 8, `SEED=${seed}`);
  for (let other = 0; other < 50; other++) assert.ok(!isForgotten(rivals, table()), `SEED=${seed} table ${other}`);
});

function copyOf(table: SharedArrayBuffer): SharedArrayBuffer {
  const copy = new SharedArrayBuffer(table.byteLength);
  new Uint8Array(copy).set(new Uint8Array(table));
  return copy;
}

test("after a clock that went back, and each time that the table's time starts again, it remembers as many", () => {
  const random = seededRandom(seed);
  const wrapMs = Math.ceil(startMs / 2 ** 24) * 2 ** 24;
  for (const [beforeMs, afterMs] of [
    [startMs, startMs - 3_600_000],
    [wrapMs - 500, wrapMs + 1],
  ] as const) {
    const limit = limitOf(1, 0, 1024);
    for (let i = 0; i < 20_000; i++) limit.decide(randomAddress(random, 4), beforeMs);
    const networks = Array.from({ length: 100 }, () => randomAddress(random, 6));
    for (const one of networks) assert.equal(limit.decide(one, afterMs), 0);
    let remembered = 0;
    for (const one of networks) if (limit.decide(one, afterMs + 1) === 2) remembered++;
    assert.ok(remembered >= 99, `SEED=${seed}: ${remembered} of 100`);
  }
});

test("a table of another size than a power of two from 8 is refused", () => {
  for (const slots of [0, 4, 9, 100, 2.5, -8, Number.NaN]) {
    assert.throws(() => newRateTable(slots), /slots of the rate table: .* is not a power of two from 8/);
  }
});
