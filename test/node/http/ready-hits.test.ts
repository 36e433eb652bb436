/**
 * Ready responses against those that are decided on one by one: the same bytes, except for Server-Timing, for any
 * conditions and ranges; and when they are no longer used.
 */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { Writable } from "node:stream";
import { test } from "node:test";
import { type Random, seededRandom } from "#base/random.ts";
import type { Pin } from "#base/body.ts";
import type { Host } from "#document/schema/hosts.ts";
import { headerBlockOf } from "../../../node/cache/object.ts";
import { deliver } from "../../../node/deliver/deliver.ts";
import type { Delivery, StoredResponse } from "../../../node/deliver/outcome.ts";
import type { FrontRequest } from "../../../node/front/connection.ts";
import { joinedBytesMax, openLaneSink } from "../../../node/front/lane-sink.ts";
import { fieldsIn, newRequestHead, readRequestHead } from "../../../node/front/request-head.ts";
import { openReadyMemory } from "../../../node/front/ready/ready-memory.ts";
import { openReadyHits, type ReadyHits } from "../../../node/http/ready-hits.ts";
import { type FakeClock, fakeClock } from "../../support/fake-clock.ts";
import { fleetWith } from "../../support/fleet.ts";
import { rounds, seedOr } from "../../support/long.ts";
import { openTransfers } from "../../support/transfers.ts";

const node = "fra1";
const keepAliveSeconds = 65;
const [host] = fleetWith({ hosts: [{ name: "img.cdn.test", kind: "images" }] }).hosts as [Host];

interface Scene {
  readonly clock: FakeClock;
  readonly ready: ReadyHits;
  readonly uses: [StoredResponse, number][];
}

function scene({ hasLanes = false } = {}): Scene {
  const clock = fakeClock();
  const uses: [StoredResponse, number][] = [];
  const noteUses = (stored: StoredResponse, times: number): void => void uses.push([stored, times]);
  const used = { images: { noteUses }, assets: { noteUses } };
  const memory = openReadyMemory(new ArrayBuffer(2 ** 17), 3);
  const ready = openReadyHits({
    node,
    memory,
    hasLanes,
    settle: () => undefined,
    used,
    keepAliveSeconds,
    clock,
  });
  return { clock, ready, uses };
}

/** A request on a connection that keeps what is sent. */
function asked(text: string, clock: FakeClock): { request: FrontRequest; sent: () => string } {
  const chunks: Buffer[] = [];
  const socket = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(Buffer.from(chunk));
      done();
    },
  }) as unknown as Socket;
  const bytes = Buffer.from(text, "latin1");
  const head = newRequestHead();
  assert.equal(readRequestHead(bytes, 0, bytes.length, head), "whole", text);
  const date = (): string => new Date(clock.wallMs()).toUTCString();
  const sink = openLaneSink(socket, { date, keepAliveSeconds, joined: Buffer.alloc(joinedBytesMax) });
  sink.begin();
  return { request: { bytes, head, socket, sink }, sent: () => Buffer.concat(chunks).toString("latin1") };
}

function get(target: string, fields: readonly string[] = [], method = "GET"): string {
  return [`${method} ${target} HTTP/1.1`, "Host: img.cdn.test", ...fields, "", ""].join("\r\n");
}

function hit(
  clock: FakeClock,
  body: Buffer,
  more: Partial<Delivery> & { bornAgoMs?: number; pairs?: [string, string][] } = {},
): Delivery {
  const { bornAgoMs = 0, pairs = [["Content-Type", "image/webp"]], ...rest } = more;
  const bornAtMs = clock.wallMs() - bornAgoMs;
  const lifetimeSeconds = 3600;
  return {
    outcome: { word: "hit", tier: "memory", ttlSeconds: Math.ceil(lifetimeSeconds - bornAgoMs / 1000) },
    status: 200,
    headerBlock: headerBlockOf(pairs),
    headers: [["Cache-Control", "public, max-age=60"]],
    body: { kind: "bytes", bytes: body },
    lengthBytes: body.length,
    etag: '"tag"',
    lastModified: null,
    ageSeconds: Math.floor(bornAgoMs / 1000),
    timings: {},
    stored: { key: "k", foundBy: "a.jpg", bornAtMs, lifetimeSeconds, selectedBy: [] },
    ...rest,
  };
}

/** Offers a delivery as often as it takes to be remembered. */
function remember({ ready, clock }: Scene, text: string, delivery: Delivery): void {
  const { request } = asked(text, clock);
  for (let count = 0; count < 2; count += 1) ready.offer(request, host, delivery, clock.wallMs());
}

function answered({ ready, clock }: Scene, text: string): string | undefined {
  const { request, sent } = asked(text, clock);
  return ready.answer(request, clock.wallMs()) === undefined ? undefined : sent();
}

async function decided(clock: FakeClock, text: string, delivery: Delivery): Promise<string> {
  const { request, sent } = asked(text, clock);
  const { bytes, head, sink } = request;
  const method = head.isHead ? "HEAD" : "GET";
  const context = { node, startedMs: 0, nowMs: 0, rules: openTransfers(clock), share: () => "192.0.2.0/24" };
  await deliver({ method, headers: fieldsIn(bytes, head) }, delivery, sink, context);
  return sent();
}

const conditions = [
  'If-None-Match: "tag"',
  'If-None-Match: W/"tag"',
  'If-None-Match: "other"',
  'If-None-Match: "a", "tag"',
  "If-None-Match: *",
  'If-None-Match: "tag',
  "If-Modified-Since: Mon, 01 Jun 2026 00:00:00 GMT",
  'If-Match: "tag"',
  "If-Unmodified-Since: Mon, 01 Jun 2026 00:00:00 GMT",
  'If-Range: "tag"',
  'If-Range: "other"',
];

function randomRange(random: Random, length: number): string {
  const number = (): number => Math.floor(random() * length * 1.3);
  const forms = [
    () => `bytes=${number()}-${number()}`,
    () => `bytes=${number()}-`,
    () => `bytes=-${number()}`,
    () => `bytes=0-0`,
    () => `bytes=${length - 1}-`,
    () => `bytes=${length}-`,
    () => `bytes=0-99999999999999999999`,
    () => `bytes=0-1,4-5`,
    () => `Bytes=0-1`,
    () => `bytes= 0-1`,
    () => `bytes=-`,
    () => `bytes=a-b`,
    () => `bytes=1-0`,
    () => `bytes=-0`,
  ];
  return `Range: ${(forms[Math.floor(random() * forms.length)] as () => string)()}`;
}

test("any conditions and ranges get the same response as from a decision", async () => {
  const seed = seedOr(11);
  const random = seededRandom(seed);
  let taken = 0;
  const total = rounds(1500, 100_000);
  for (let round = 0; round < total; round += 1) {
    const one = scene();
    const body = Buffer.alloc(Math.floor(random() ** 3 * 3000), "abcdefghijk");
    const pairs: [string, string][] = [["Content-Type", "text/css"]];
    if (random() < 0.3) pairs.push(["Date", "Mon, 01 Jun 2026 00:00:00 GMT"]);
    if (random() < 0.3) pairs.push(["Content-Encoding", "gzip"], ["Link", "</x; ttl=3; detail=memory>"]);
    const etag = random() < 0.8 ? '"tag"' : random() < 0.5 ? 'W/"tag"' : null;
    const made = { pairs, etag, bornAgoMs: Math.floor(random() * 3_000_000) };
    const target = `/${round}.css`;
    remember(one, get(target), hit(one.clock, body, made));
    const passedMs = Math.floor(random() * 9000);
    one.clock.advance(passedMs);
    const fields: string[] = [];
    if (random() < 0.6) fields.push(randomRange(random, body.length));
    if (random() < 0.5) fields.push(conditions[Math.floor(random() * conditions.length)] as string);
    const text = get(target, fields, random() < 0.3 ? "HEAD" : "GET");
    const got = answered(one, text);
    if (got === undefined) continue;
    taken += 1;
    const now = hit(one.clock, body, { ...made, bornAgoMs: made.bornAgoMs + passedMs });
    assert.equal(got, await decided(one.clock, text, now), `SEED=${seed}, round ${round}: ${text}`);
  }
  assert.ok(taken > total / 3, `only ${taken} of ${total} requests were answered`);
});

test("a response is used from its second request on, for ten minutes, and no longer than it is fresh", async () => {
  const one = scene();
  const { ready, clock } = one;
  const text = get("/a.jpg");
  const delivery = hit(clock, Buffer.from("abc"), { bornAgoMs: 3_592_000 });
  const { request } = asked(text, clock);
  ready.offer(request, host, delivery, clock.wallMs());
  assert.equal(answered(one, text), undefined);
  ready.offer(request, host, delivery, clock.wallMs());
  assert.match(answered(one, text) ?? "", /^HTTP\/1\.1 200 OK\r\n/);
  clock.advance(7999);
  assert.match(answered(one, text) ?? "", /\r\nAge: 3599\r\nCache-Status: fra1; hit; ttl=1; detail=memory\r\n/);
  clock.advance(1);
  assert.equal(answered(one, text), undefined, "it is stale");
  remember(one, text, hit(clock, Buffer.from("abc")));
  clock.advance(599_999);
  assert.ok(answered(one, text));
  clock.advance(1);
  assert.equal(answered(one, text), undefined, "it was added ten minutes ago");
});

test("what is replaced, purged, or selected by another field is not used", () => {
  const one = scene();
  const { clock, ready } = one;
  const text = get("/a.jpg");
  const add = (more: Partial<Delivery> = {}): void => {
    remember(one, text, hit(clock, Buffer.from("abc"), more));
  };
  for (const end of [() => ready.forget("k"), () => ready.forget("a.jpg"), ready.outdate]) {
    add();
    assert.ok(answered(one, text));
    end();
    assert.equal(answered(one, text), undefined);
  }
  const stored = { key: "k", foundBy: "p", bornAtMs: clock.wallMs(), lifetimeSeconds: 60, selectedBy: ["origin"] };
  const never: Partial<Delivery>[] = [
    { stored },
    { status: 404 },
    { outcome: { word: "stale", tier: "memory", reason: "revalidating", ttlSeconds: -1 } },
    { body: { kind: "bytes", bytes: Buffer.alloc(64 * 1024 + 1) } },
  ];
  for (const more of never) {
    add(more);
    assert.equal(answered(one, text), undefined, JSON.stringify(Object.keys(more)));
  }
});

test("uses are reported together, once", async () => {
  const one = scene();
  const text = get("/a.jpg");
  remember(one, text, hit(one.clock, Buffer.from("abc")));
  for (let count = 0; count < 7; count += 1) assert.ok(answered(one, text));
  one.clock.advance(50);
  assert.deepEqual(
    one.uses.map(([{ key }, times]) => [key, times]),
    [["k", 7]],
  );
  one.clock.advance(500);
  assert.equal(one.uses.length, 1);
});

test("files are pinned for as long as their records last, for ten minutes at most, and until they are removed", () => {
  const one = scene({ hasLanes: true });
  const { clock, ready } = one;
  const open = new Set<number>();
  const removed = new Set<number>();
  const add = (number: number): void => {
    const lengthBytes = 100_000;
    const pin = (): Pin => {
      open.add(number);
      const release = (): void => assert.ok(open.delete(number), "each is released once");
      return { descriptor: 7, offset: 0, isRemoved: () => removed.has(number), release };
    };
    const unread = (): never => assert.fail("nothing reads it here");
    const body = { kind: "ranges", open: unread, borrow: unread, pin } as const;
    remember(one, get(`/${number}.jpg`), hit(clock, Buffer.alloc(0), { body, lengthBytes }));
  };
  for (let number = 0; number < 500; number += 1) add(number);
  const records = ready.counts().records;
  assert.ok(records > 20 && records < 400, `the ring holds ${records} records`);
  assert.ok(open.size >= records && open.size < 450, `${open.size} files for ${records} records`);
  removed.add(499);
  clock.advance(1000);
  assert.ok(!open.has(499) && open.has(498));
  clock.advance(599_000);
  assert.equal(open.size, 0);
  add(500);
  ready.close();
  assert.equal(open.size, 0);
});
