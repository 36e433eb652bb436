/** The DNS client of the command against servers that do everything but answer. */
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import { Packet } from "dns2";
import { queryDns, queryTimeoutMs } from "../../../deploy/cli/dns-query.ts";

const question = { name: "cdn.example.org", type: Packet.TYPE.A, isRecursive: false };
const answerBytesMax = 4096;
/** On top of the limit, for a busy machine. */
const slackMs = 2500;

/** The answer to this query, as an honest server sends it, or changed. */
function answerTo(query: Buffer, change: (packet: Packet) => void = () => undefined): Buffer {
  const packet = Packet.parse(query);
  packet.header.qr = 1;
  packet.header.aa = 1;
  const record = { name: question.name, type: Packet.TYPE.A, class: Packet.CLASS.IN, ttl: 60, address: "192.0.2.1" };
  packet.answers.push(record as Packet["answers"][number]);
  change(packet);
  return packet.toBuffer();
}

const truncated = (query: Buffer): Buffer =>
  answerTo(query, (packet) => {
    packet.header.tc = 1;
    packet.answers = [];
  });

interface Behaviour {
  udp?: (query: Buffer, reply: (message: Buffer) => void) => void | Promise<void>;
  tcp?: (query: Buffer, socket: Socket) => void;
}

/** A server on one port of UDP and TCP. */
async function serving(t: TestContext, { udp, tcp }: Behaviour, host = "127.0.0.1"): Promise<number> {
  const open = new Set<Socket>();
  const streams = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => undefined);
    socket.once("data", (chunk) => tcp?.(Buffer.from(chunk).subarray(2), socket));
  });
  streams.listen(0, host);
  await once(streams, "listening");
  const { port } = streams.address() as { port: number };
  const datagrams = createSocket(host.includes(":") ? "udp6" : "udp4");
  datagrams.on("message", (query, from) => {
    const reply = (message: Buffer): void => {
      datagrams.send(message, from.port, from.address);
    };
    void udp?.(query, reply);
  });
  datagrams.bind(port, host);
  await once(datagrams, "listening");
  t.after(() => {
    datagrams.close();
    streams.close();
    for (const socket of open) socket.destroy();
  });
  return port;
}

const framed = (message: Buffer): Buffer => {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
};

/** Asks the server; no socket may be left. */
async function ask(port: number, isTcp = false, host = "127.0.0.1"): Promise<Packet> {
  const clients = (): number =>
    process.getActiveResourcesInfo().filter((kind) => kind === "TCPSocketWrap" || kind === "UDPWrap").length;
  const before = clients();
  try {
    return await queryDns({ host, port }, question, { isTcp, answerBytesMax });
  } finally {
    // The server's side of a connection that was reset may be gone, too.
    const deadlineMs = performance.now() + slackMs;
    while (clients() > before + 1 && performance.now() < deadlineMs) await setTimeout(5);
    assert.ok(clients() <= before + 1, `${clients()} sockets after the query, ${before} before it`);
  }
}

async function takesLessThan<Result>(limitMs: number, work: () => Promise<Result>): Promise<Result> {
  const startMs = performance.now();
  try {
    return await work();
  } finally {
    const tookMs = Math.round(performance.now() - startMs);
    assert.ok(tookMs < limitMs, `${tookMs} ms`);
  }
}

test("an answer over UDP, over TCP, and over TCP after a truncated one", async (t) => {
  const tcp = (query: Buffer, socket: Socket): void => void socket.end(framed(answerTo(query)));
  const both = await serving(t, { udp: (query, reply) => reply(answerTo(query)), tcp });
  const cut = await serving(t, { udp: (query, reply) => reply(truncated(query)), tcp });
  for (const [port, isTcp] of [
    [both, false],
    [both, true],
    [cut, false],
  ] as const) {
    assert.equal((await ask(port, isTcp)).answers[0]?.address, "192.0.2.1");
  }
});

test("a truncated answer is asked for over TCP at an IPv6 address, too", async (t) => {
  const port = await serving(
    t,
    {
      udp: (query, reply) => reply(truncated(query)),
      tcp: (query, socket) => void socket.end(framed(answerTo(query))),
    },
    "::1",
  );
  assert.equal((await ask(port, false, "::1")).answers.length, 1);
});

test("a datagram that got lost is sent again", async (t) => {
  let seen = 0;
  const port = await serving(t, {
    udp(query, reply) {
      seen += 1;
      if (seen > 1) reply(answerTo(query));
    },
  });
  assert.equal((await ask(port)).answers.length, 1);
});

test("answers with another id or from another port are passed over, also in a flood", async (t) => {
  const port = await serving(t, {
    async udp(query, reply) {
      const other = Buffer.from(answerTo(query));
      other.writeUInt16BE(query.readUInt16BE(0) ^ 1, 0);
      for (let count = 0; count < 500; count++) reply(other);
      reply(Buffer.alloc(0));
      reply(Buffer.alloc(3));
      await setTimeout(100);
      reply(answerTo(query));
    },
  });
  assert.equal((await ask(port)).answers.length, 1);
});

test("what is no answer to the query is an error that says so", async (t) => {
  const cases: [what: string, change: (query: Buffer) => Buffer, reason: RegExp][] = [
    ["the query itself", (query) => query, /something other than an answer/],
    [
      "another name",
      (query) => answerTo(query, ({ questions: [first] }) => Object.assign(first ?? {}, { name: "else.example.org" })),
      /another question/,
    ],
    ["no question", (query) => answerTo(query, (packet) => void (packet.questions = [])), /another question/],
    ["a datagram of 60 kB", (query) => Buffer.concat([answerTo(query), Buffer.alloc(60_000)]), /4096 at most/],
    ["a header alone", (query) => answerTo(query).subarray(0, 12), /malformed/],
    ["a name that points to itself", pointerLoop, /malformed.*cycle/],
  ];
  for (const [what, change, reason] of cases) {
    const port = await serving(t, {
      udp: (query, reply) => reply(change(query)),
      tcp: (query, socket) => void socket.end(framed(change(query))),
    });
    for (const isTcp of [false, true]) {
      const isShort = async (): Promise<Packet> => await ask(port, isTcp);
      await assert.rejects(takesLessThan(queryTimeoutMs, isShort), reason, `${what}, TCP: ${isTcp}`);
    }
  }
});

/** An answer whose record is owned by a name that points to itself. */
function pointerLoop(query: Buffer): Buffer {
  const empty = answerTo(query, (packet) => void (packet.answers = []));
  const record = Buffer.alloc(12);
  record.writeUInt16BE(0xc000 | empty.length, 0);
  empty.writeUInt16BE(1, 6);
  return Buffer.concat([empty, record]);
}

test("an error of the server is an answer, also without the question", async (t) => {
  const port = await serving(t, {
    udp(query, reply) {
      reply(
        answerTo(query, (packet) => {
          packet.header.rcode = Packet.RCODE.FORMERR;
          packet.questions = [];
          packet.answers = [];
        }),
      );
    },
  });
  assert.equal((await ask(port)).header.rcode, Packet.RCODE.FORMERR);
});

const drip = (message: Buffer, socket: Socket): void => {
  const octets = [...message].values();
  const timer = setInterval(() => {
    const { value, done } = octets.next();
    if (done === true || socket.destroyed) clearInterval(timer);
    else socket.write(Buffer.of(value));
  }, 500);
};
const flood = (socket: Socket): void => {
  const write = (): void => {
    while (!socket.destroyed && socket.write(Buffer.alloc(65_536, 0))) continue;
  };
  socket.on("drain", write);
  write();
};

for (const [what, tcp] of Object.entries<NonNullable<Behaviour["tcp"]>>({
  "says nothing": () => undefined,
  "drips octets": (query, socket) => {
    drip(framed(answerTo(query)), socket);
  },
  "ends half-way": (query, socket) => void socket.end(framed(answerTo(query)).subarray(0, 20)),
  "is reset": (_query, socket) => void socket.resetAndDestroy(),
  "announces more than is read": (_query, socket) => void socket.write(Buffer.of(0xff, 0xff)),
  "never stops": (_query, socket) => {
    flood(socket);
  },
})) {
  test(`the query fails in time, and no socket is left, when the TCP stream ${what}`, async (t) => {
    const port = await serving(t, { udp: (query, reply) => reply(truncated(query)), tcp });
    await assert.rejects(takesLessThan(queryTimeoutMs + slackMs, async () => await ask(port)));
  });
}

test("a server that leaves the connection open after its answer keeps nothing open here", async (t) => {
  const port = await serving(t, { tcp: (query, socket) => void socket.write(framed(answerTo(query))) });
  assert.equal((await ask(port, true)).answers.length, 1);
});

test("a silent server is given up in time", async (t) => {
  const port = await serving(t, {});
  await assert.rejects(
    takesLessThan(queryTimeoutMs + slackMs, async () => await ask(port)),
    /timed out after/,
  );
});
