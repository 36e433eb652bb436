/** Names whose servers are slow, unknown or lie, over a real DNS server on the loopback. */
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { type LookUp, openLookUp } from "../../../node/fetch/look-up.ts";
import { openProbeAddresses } from "../../../node/fetch/probe-addresses.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

/** RFC 1035 §4.1: the query as an answer, with `rcode` and at most one address. */
function answerTo(query: Buffer, rcode: number, address?: Buffer): Buffer {
  const end = query.indexOf(0, 12) + 5; // behind the name, its type and class; whatever follows is EDNS
  const head = Buffer.from(query.subarray(0, end));
  head.writeUInt16BE(0x8180 | rcode, 2);
  head.writeUInt16BE(address === undefined ? 0 : 1, 6);
  head.writeUInt32BE(0, 8);
  if (address === undefined) return head;
  const record = Buffer.from([0xc0, 12, 0, address.length === 4 ? 1 : 28, 0, 1, 0, 0, 0, 60, 0, address.length]);
  return Buffer.concat([head, record, address]);
}

const addressOf: Readonly<Record<string, Buffer>> = {
  good: Buffer.from([192, 0, 2, 7]),
  inside: Buffer.from([169, 254, 169, 254]),
  self: Buffer.from([127, 0, 0, 1]),
  six: Buffer.from("20010db8000000000000000000000001", "hex"),
};
/** As the system's own look-up finds them. */
const systemNames: Readonly<Record<string, string>> = { "search.test": "192.0.2.9", localhost: "127.0.0.1" };

/** Answers `slow….test` never, `absent.test` and `search.test` with NXDOMAIN, the others with their address. */
async function open(t: TestContext): Promise<{ look: LookUp; systemAsked: string[] }> {
  const server = createSocket("udp4");
  t.after(() => {
    server.close();
  });
  server.on("message", (query, from) => {
    const name = query.subarray(13, 13 + (query[12] ?? 0)).toString();
    if (name.startsWith("slow")) return;
    const type = query.readUInt16BE(query.indexOf(0, 12) + 1);
    const address = addressOf[name];
    const isThere = address?.length === (type === 1 ? 4 : 16);
    const answer = answerTo(query, address === undefined ? 3 : 0, isThere ? address : undefined);
    server.send(answer, from.port, from.address);
  });
  server.bind(0, "127.0.0.1");
  await once(server, "listening");
  const hostsFile = join(await temporaryDirectory(t), "hosts");
  await writeFile(hostsFile, "# ours\n192.0.2.3 Slow-Listed.test other # and a remark\n\n192.0.2.4\tother\n");
  const systemAsked: string[] = [];
  const look = openLookUp({
    clock: systemClock,
    servers: [`127.0.0.1:${server.address().port}`],
    hostsFile,
    getAddress: async (name) => {
      systemAsked.push(name);
      const found = systemNames[name];
      if (found === undefined) throw Object.assign(new Error(`${name} is unknown`), { code: "ENOTFOUND" });
      return found;
    },
  });
  return { look, systemAsked };
}

test("250 names whose servers never answer hold up no other", async (t) => {
  const { look } = await open(t);
  const addresses = openProbeAddresses(systemClock, look);
  const slow = Array.from({ length: 250 }, (_, index) => addresses.of(`slow${index}.test`, 3000));
  let isGivenUp = false;
  for (const one of slow) one.catch(() => (isGivenUp = true));
  assert.equal(await addresses.of("good.test", 10_000), "192.0.2.7");
  assert.equal(isGivenUp, false, "before the first of them is given up");
  const ends = await Promise.allSettled(slow);
  assert.ok(ends.every(({ status }) => status === "rejected"));
});

test("a name without an answer fails by itself, and the system is not asked for it", async (t) => {
  const { look, systemAsked } = await open(t);
  await assert.rejects(look("slow.test"), { code: "ETIMEOUT" });
  assert.deepEqual(systemAsked, []);
});

test("the hosts file comes first, DNS next, and what DNS does not know is asked of the system", async (t) => {
  const { look, systemAsked } = await open(t);
  assert.equal(await look("slow-listed.test"), "192.0.2.3");
  assert.equal(await look("other"), "192.0.2.3");
  assert.equal(await look("six.test"), "2001:db8::1");
  assert.equal(await look("good.test"), "192.0.2.7");
  assert.deepEqual(systemAsked, []);
  assert.equal(await look("search.test"), "192.0.2.9");
  await assert.rejects(look("absent.test"), { code: "ENOTFOUND" });
  assert.equal(await look("localhost"), "127.0.0.1");
  assert.deepEqual(systemAsked, ["search.test", "absent.test", "localhost"]);
});

test("a name that leads where no other machine is is no node's", async (t) => {
  const { look } = await open(t);
  await assert.rejects(
    look("inside.test"),
    /inside\.test resolves to 169\.254\.169\.254, which can't be the address of another machine/,
  );
  await assert.rejects(look("self.test"), /resolves to 127\.0\.0\.1, which can't be the address of another machine/);
});
