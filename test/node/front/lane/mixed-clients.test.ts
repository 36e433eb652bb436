/**
 * Clients of every kind at once, from a seed: they send requests in pieces, at once or one by one, read fast, slowly or
 * never, half-close, leave or reset in the middle. Whatever they do, each gets a prefix of exactly its own responses,
 * all of them unless it left, and nothing stays behind.
 */
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { systemClock } from "#base/clock.ts";
import { type Random, seededRandom } from "#base/random.ts";
import type { Answer } from "../../../../node/front/connection.ts";
import { laneTlsMissing, lanesMissing, openLanes } from "../../../../node/front/lane/lanes.ts";
import type { LaneTlsParts } from "../../../../node/front/lane/tls-orders.ts";
import { listen } from "../../../../node/http/listener.ts";
import { openTlsAcceptor } from "../../../../node/tls/acceptor.ts";
import { indexCertificates } from "../../../../node/tls/certificate-index.ts";
import { openTicketKeys } from "../../../../node/tls/ticket-keys.ts";
import { certificateFor, testAuthority } from "../../../support/certificates.ts";
import { keptLog } from "../../../support/kept-log.ts";
import { rounds, seedOr } from "../../../support/long.ts";
import { needs } from "../../../support/needs.ts";
import { turnsUntil } from "../../../support/turns-until.ts";
import { served } from "../../tls/secured.ts";
import { openDescriptors, readyLanes } from "./seen-from-outside.ts";

/** The body that belongs to a target `/KIND/LENGTH/…`, recognizable at every byte. */
function bodyOf(target: string): Buffer {
  const length = Number(target.split("/")[2]);
  return Buffer.alloc(length, `${target}|`);
}

/** The targets with `/hit` are answered by the front, at once or later; all others by the server. */
const answer: Answer = ({ bytes, head, sink }) => {
  const target = bytes.toString("latin1", head.targetStart, head.targetEnd);
  if (!target.startsWith("/hit")) return "relay";
  const body = bodyOf(target);
  sink.head(200, ["Content-Length", String(body.length)]);
  sink.end(body);
  return sink.pendingBytes() === 0 ? "sent" : sink.closed().then(() => "sent");
};

const clientTls: ConnectionOptions = { servername: "localhost", ca: testAuthority.certificatePem };

async function tlsParts(): Promise<LaneTlsParts> {
  const index = indexCertificates([served(await certificateFor(["localhost"]))], undefined, Date.now());
  return {
    certificates: () => index,
    ticketKeys: openTicketKeys(() => [], systemClock),
    protocols: ["http/1.1"],
  };
}

interface Plan {
  targets: string[];
  isPipelined: boolean;
  /** How the client ends when everything is sent, or after so many bytes. */
  end: "close" | "half-close" | "leave" | "reset";
  leavesAfterBytes: number;
  reads: "fast" | "slowly";
}

function planOf(random: Random, client: number): Plan {
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
  const targets = Array.from({ length: 1 + Math.floor(random() * 12) }, (_, index) => {
    const length = pick([0, 1, 100, 1000, 20_000, 300_000]);
    return `/${pick(["hit", "hit", "miss", "slow"])}/${length}/${client}/${index}`;
  });
  return {
    targets,
    isPipelined: random() < 0.5,
    end: pick(["close", "close", "half-close", "half-close", "leave", "reset"]),
    leavesAfterBytes: Math.floor(random() * 200_000),
    reads: pick(["fast", "fast", "slowly"]),
  };
}

/** What the client got: the bodies, of which the last may be incomplete. */
async function run(port: number, plan: Plan, random: Random, tls?: ConnectionOptions): Promise<Buffer> {
  const socket =
    tls === undefined
      ? connect({ port, host: "127.0.0.1" })
      : connectTls({ ...tls, port, host: "127.0.0.1", allowHalfOpen: true } as ConnectionOptions);
  if (tls !== undefined) socket.on("end", () => socket.end());
  socket.setNoDelay(true);
  socket.on("error", () => undefined);
  const chunks: Buffer[] = [];
  let gotBytes = 0;
  const leaves = plan.end === "leave" || plan.end === "reset";
  socket.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    gotBytes += chunk.length;
    if (leaves && gotBytes >= plan.leavesAfterBytes) {
      if (plan.end === "reset" && tls === undefined) socket.resetAndDestroy();
      else socket.destroy();
    } else if (plan.reads === "slowly") {
      socket.pause();
      setTimeout(() => socket.resume(), 1);
    }
  });
  const closed = new Promise<void>((resolve) => socket.on("close", () => resolve()));
  await Promise.race([send(socket, plan, random, () => Buffer.concat(chunks)), closed]);
  if (leaves) setTimeout(() => socket.destroy(), 50);
  await closed;
  return Buffer.concat(chunks);
}

async function send(socket: Socket, plan: Plan, random: Random, got: () => Buffer): Promise<void> {
  const { targets, isPipelined, end } = plan;
  for (const [index, target] of targets.entries()) {
    const isLast = index === targets.length - 1;
    const close = isLast && end === "close" ? "Connection: close\r\n" : "";
    const bytes = `GET ${target} HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(Math.floor(random() * 500))}\r\n${close}\r\n`;
    for (let at = 0; at < bytes.length;) {
      const length = random() < 0.7 ? bytes.length : 1 + Math.floor(random() * 200);
      socket.write(bytes.slice(at, at + length));
      at += length;
      if (at < bytes.length || !isPipelined) await new Promise(setImmediate);
    }
    if (isPipelined || isLast) continue;
    await turnsUntil(() => socket.destroyed || completeBodies(got()).length > index, 1);
  }
  if (end === "half-close") socket.end();
}

/** Reads responses with Content-Length. The rest is an incomplete one. */
function readBodies(bytes: Buffer): { bodies: Buffer[]; rest: Buffer } {
  const bodies: Buffer[] = [];
  let left = bytes;
  for (;;) {
    const end = left.indexOf("\r\n\r\n");
    if (end === -1) return { bodies, rest: Buffer.alloc(0) };
    const head = left.toString("latin1", 0, end);
    assert.match(head, /^HTTP\/1\.1 200 OK\r\n/);
    const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1]);
    const body = left.subarray(end + 4, end + 4 + length);
    if (body.length < length) return { bodies, rest: body };
    bodies.push(body);
    left = left.subarray(end + 4 + length);
  }
}

function completeBodies(bytes: Buffer): Buffer[] {
  return readBodies(bytes).bodies;
}

const clientsTotal = rounds(300, 5000);
const clientsAtOnce = 50;

for (const protocol of ["HTTP", "HTTPS"] as const) {
  const isSecure = protocol === "HTTPS";
  test(`${protocol}: whatever clients do, each gets its own responses, and nothing stays behind`, async (t) => {
    await mix(t, 0, isSecure);
  });

  test(`${protocol}: while lanes die, a client may get less, but nothing that is not its own`, async (t) => {
    await mix(t, 5, isSecure);
  });
}

async function mix(t: TestContext, deaths: number, isSecure: boolean): Promise<void> {
  const missing = lanesMissing() ?? (isSecure ? laneTlsMissing() : undefined);
  if (!needs(t, missing === undefined, missing ?? "")) return;
  const log = keptLog();
  const workers = readyLanes(t);
  const parts = isSecure ? await tlsParts() : undefined;
  const lanes = await openLanes({ count: 2, tls: parts, clock: systemClock, log: log.log });
  t.after(lanes.close);
  const acceptor = parts === undefined ? undefined : openTlsAcceptor({ ...parts, clock: systemClock });
  t.after(() => acceptor?.close());
  const listener = await listen(
    "127.0.0.1",
    0,
    (asked, response) => {
      const body = bodyOf(asked.url ?? "");
      const reply = (): void => {
        response.setHeader("Content-Length", String(body.length));
        response.end(body);
      };
      if (asked.url?.startsWith("/slow") === true) setTimeout(reply, 2);
      else reply();
    },
    { lanes, front: { answer, clock: systemClock, ...(acceptor === undefined ? {} : { tls: acceptor }) } },
  );
  t.after(() => listener.close(0));
  const seed = seedOr(12);
  const random = seededRandom(seed);
  const before = openDescriptors();
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let client = next; client < clientsTotal; client = next) {
      next += 1;
      const plan = planOf(random, client);
      const { bodies, rest } = readBodies(await run(listener.port, plan, random, isSecure ? clientTls : undefined));
      const about = `seed ${seed}, client ${client}: ${JSON.stringify(plan)}`;
      for (const [index, body] of bodies.entries()) {
        assert.ok(body.equals(bodyOf(plan.targets[index] ?? "/none/0")), `${about}, response ${index}`);
      }
      if (rest.length > 0) {
        const whole = bodyOf(plan.targets[bodies.length] ?? "/none/0");
        assert.ok(whole.subarray(0, rest.length).equals(rest), `${about}, the last response`);
      }
      const isPatient = plan.end === "close" || plan.end === "half-close";
      if (isPatient && deaths === 0) assert.equal(bodies.length, plan.targets.length, about);
    }
  };
  const clients = Promise.all(Array.from({ length: clientsAtOnce }, worker));
  for (let death = 1; death <= deaths; death += 1) {
    await turnsUntil(() => next >= (clientsTotal * death) / (deaths + 1) && workers.length === 1 + death, 1);
    await workers.at(-1)?.terminate();
    await turnsUntil(() => lanes.restarts() === death, 1);
  }
  await clients;
  await turnsUntil(() => lanes.counts().open === 0, 10);
  assert.deepEqual([lanes.counts().secured, lanes.counts().handshakes], [0, 0]);
  // Pairs are kept for the next sessions.
  await turnsUntil(() => openDescriptors() <= before + 2 * 2 * 64, 10);
  assert.deepEqual([log.lines.length, lanes.restarts()], [deaths, deaths]);
}
