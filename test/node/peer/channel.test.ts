import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { RequestListener, ServerResponse } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { systemClock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { silentLog } from "#base/log.ts";
import { openPeerClient, type PeerClient, type PeerRequest } from "../../../node/peer/client.ts";
import { channelKeys, channelTls } from "../../../node/peer/keys.ts";
import { listenForPeers, type PeerListener } from "../../../node/peer/peer-listener.ts";
import type { Member } from "../../../node/peer/members.ts";
import { type FakeClock, fakeClock } from "../../support/fake-clock.ts";
import { keptLog } from "../../support/kept-log.ts";
import { turnsUntil } from "../../support/turns-until.ts";

type Secrets = readonly Uint8Array[];
const [secretA, secretB, secretC] = [randomBytes(32), randomBytes(32), randomBytes(32)] as const;

const echo: RequestListener = (asked, response) => {
  const chunks: Buffer[] = [];
  asked.on("data", (chunk: Buffer) => chunks.push(chunk));
  asked.on("end", () => {
    const { method, url, headers } = asked;
    const body = JSON.stringify({ method, url, headers, body: Buffer.concat(chunks).toString() });
    response.writeHead(200, { "content-length": Buffer.byteLength(body) }).end(body);
  });
};

interface Node {
  listener: PeerListener;
  member: Member;
  know: (...secrets: Secrets) => void;
  lines: ReturnType<typeof keptLog>["lines"];
}

async function startNode(
  t: TestContext,
  secrets: Secrets,
  application: RequestListener = echo,
  options: Partial<Pick<Parameters<typeof listenForPeers>[0], "limits" | "waitsMs" | "clock">> = {},
): Promise<Node> {
  let known = secrets;
  const { log, lines } = keptLog();
  const listener = await listenForPeers({
    host: "127.0.0.1",
    port: 0,
    secrets: () => known,
    application,
    clock: systemClock,
    log,
    ...options,
  });
  t.after(() => listener.close(0));
  return {
    listener,
    member: memberAt(listener.port),
    know(...next) {
      known = next;
    },
    lines,
  };
}

function memberAt(port: number, name = "fra2"): Member {
  return { name, node: name, site: "fra", host: "127.0.0.1", port };
}

interface Asker {
  client: PeerClient;
  know: (...secrets: Secrets) => void;
  ask: (member: Member, parts?: Partial<PeerRequest>) => ReturnType<PeerClient["request"]>;
  /** The whole answer's body. */
  text: (member: Member, parts?: Partial<PeerRequest>) => Promise<string>;
}

function startAsker(
  t: TestContext,
  secrets: Secrets,
  options: Partial<Parameters<typeof openPeerClient>[0]> = {},
): Asker {
  let known = secrets;
  const client = openPeerClient({
    self: "fra1",
    site: "fra",
    secrets: () => known,
    clock: systemClock,
    log: silentLog,
    connectTimeoutsMs: { withinSite: 10_000, betweenSites: 10_000 },
    ...options,
  });
  t.after(() => client.close());
  const ask: Asker["ask"] = (member, parts = {}) =>
    client.request(member, { method: "GET", path: "/", timeoutMs: 10_000, ...parts });
  return {
    client,
    know(...next) {
      known = next;
    },
    ask,
    text: async (member, parts) => await (await ask(member, parts)).body.text(),
  };
}

const unreachable = (error: unknown): boolean => error instanceof NearcastError && error.code === "PEER_UNREACHABLE";

/** A TCP server that does what it is told to with each connection. */
async function startSocketServer(t: TestContext, accept: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined).once("close", () => sockets.delete(socket));
    accept(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

test("nodes with one secret talk: method, path, fields, body, and who asks", async (t) => {
  const { member, listener } = await startNode(t, [secretA]);
  const { text, client } = startAsker(t, [secretA]);
  const said = JSON.parse(
    await text(member, { method: "POST", path: "/v1/hot?a=b", headers: { "nearcast-role": "owner" }, body: "keys" }),
  ) as { method: string; url: string; headers: Record<string, string>; body: string };
  assert.equal(`${said.method} ${said.url} ${said.body}`, "POST /v1/hot?a=b keys");
  assert.equal(said.headers["nearcast-role"], "owner");
  assert.equal(said.headers["nearcast-from"], "fra1");
  for (let number = 0; number < 20; number += 1) await text(member);
  assert.ok(client.counts().connections <= 2, "connections are kept");
  assert.equal(listener.counts().handshakes, client.counts().connections);
});

test("sixty-four requests at once are answered over as many connections, and those are used again", async (t) => {
  const { member, listener } = await startNode(t, [secretA]);
  const { text, client } = startAsker(t, [secretA]);
  for (let round = 0; round < 3; round += 1) {
    const paths = Array.from({ length: 64 }, (_, at) => `/${round}/${at}`);
    const answers = await Promise.all(paths.map((path) => text(member, { path })));
    for (const [at, answer] of answers.entries()) assert.ok(answer.includes(`"${paths[at]}"`), answer);
  }
  assert.ok(listener.counts().handshakes <= 64, `${listener.counts().handshakes} connections`);
  assert.deepEqual([client.counts().requests, client.counts().failures], [192, 0]);
});

test("who does not know the secret is refused, and nothing secret is logged", async (t) => {
  const rows: [what: string, theirs: Secrets, ours: Secrets][] = [
    ["another secret", [secretA], [secretB]],
    ["the server knows none yet", [], [secretA]],
    ["we know none yet", [secretA], []],
    ["one that was rotated away twice", [secretC, secretB], [secretA]],
  ];
  for (const [what, theirs, ours] of rows) {
    let asked = 0;
    const { member, listener, lines } = await startNode(t, theirs, (request, response) => {
      asked += 1;
      echo(request, response);
    });
    const { ask, client } = startAsker(t, ours);
    await assert.rejects(ask(member), unreachable, what);
    assert.equal(asked, 0, what);
    assert.equal(listener.counts().handshakes, 0, what);
    assert.equal(client.isShunned(member), ours.length > 0, `${what}: without a secret nobody can be blamed`);
    const said = JSON.stringify(lines);
    for (const secret of [secretA, secretB, secretC]) {
      assert.ok(!said.includes(secret.toString("hex")) && !said.includes(secret.toString("base64url")));
    }
  }
});

test("during a rotation nodes talk whoever heard of it first, with the current secret or the one before", async (t) => {
  const rows: [what: string, theirs: Secrets, ours: Secrets, previousSecrets: number][] = [
    ["both have", [secretB, secretA], [secretB, secretA], 0],
    ["only they have", [secretB, secretA], [secretA], 0],
    ["only we have", [secretA], [secretB, secretA], 1],
    ["they are one ahead, and we have not heard", [secretC, secretB], [secretB, secretA], 0],
  ];
  for (const [what, theirs, ours, previousSecrets] of rows) {
    const { member } = await startNode(t, theirs);
    const { text, client } = startAsker(t, ours);
    assert.match(await text(member), /"GET"/, what);
    assert.equal(client.counts().previousSecrets, previousSecrets, what);
  }
});

test("two rotations under load lose no request, and afterwards the first secret is worth nothing", async (t) => {
  const { member, listener, know: tellServer } = await startNode(t, [secretA]);
  const { text, client, know: tellClient } = startAsker(t, [secretA]);
  const load = { isOver: false, answered: 0 };
  t.after(() => {
    load.isOver = true;
  });
  const worker = async (): Promise<void> => {
    while (!load.isOver) {
      assert.match(await text(member), /"GET"/);
      load.answered += 1;
    }
  };
  const workers = Promise.all(Array.from({ length: 16 }, worker));
  const more = async (): Promise<void> => {
    const goal = load.answered + 200;
    await Promise.race([workers, turnsUntil(() => load.answered >= goal)]);
  };
  await more();
  tellClient(secretB, secretA); // the client is the first to hear
  await more();
  tellServer(secretB, secretA);
  await more();
  tellServer(secretC, secretB); // the server is
  await more();
  tellClient(secretC, secretB);
  await more();
  load.isOver = true;
  await workers;
  const { failures, previousSecrets } = client.counts();
  assert.equal(failures, 0);
  assert.ok(previousSecrets > 0, "while the server had not heard, the previous secret was used");
  assert.ok(listener.counts().handshakes >= 3, "connections were renewed");
  const late = startAsker(t, [secretA]);
  await assert.rejects(late.ask(member), unreachable);
});

test("a connection whose secret is no longer accepted gets one more answer, and idle ones are closed", async (t) => {
  const clock = fakeClock();
  const { listener, know } = await startNode(t, [secretA], echo, { clock });
  const busy = await openChannel(t, listener.port, secretA);
  const idle = await openChannel(t, listener.port, secretA);
  const idleClosed = once(idle, "close");
  know(secretB, secretA);
  clock.advance(60_000);
  assert.match(
    await exchange(busy, "GET /1 HTTP/1.1\r\n\r\n"),
    /connection: keep-alive/i,
    "the previous one is accepted",
  );
  know(secretC, secretB);
  const busyClosed = once(busy, "close");
  assert.match(await exchange(busy, "GET /2 HTTP/1.1\r\n\r\n"), /connection: close/i);
  await busyClosed;
  await turnsUntil(() => listener.counts().connections === 1);
  clock.advance(1000); // it is seen to be stale
  clock.advance(29_000);
  assert.equal(listener.counts().connections, 1);
  clock.advance(1000);
  await idleClosed;
});

/** A connection by hand that proves this secret. */
async function openChannel(t: TestContext, port: number, secret: Uint8Array, options = {}): Promise<TLSSocket> {
  const [key] = channelKeys(() => [secret])();
  assert(key !== undefined);
  const socket = connectTls({
    host: "127.0.0.1",
    port,
    ...channelTls,
    checkServerIdentity: () => undefined,
    pskCallback: () => key,
    ...options,
  });
  socket.on("error", () => undefined);
  t.after(() => socket.destroy());
  await once(socket, "secureConnect");
  return socket.resume();
}

/** Sends a request and resolves with what comes next. */
async function exchange(socket: TLSSocket, request: string): Promise<string> {
  const came = once(socket, "data");
  socket.write(request);
  const [chunk] = (await came) as [Buffer];
  return chunk.toString("latin1");
}

test("no session outlives its secret: nothing is resumed, and there is but one suite", async (t) => {
  const { listener } = await startNode(t, [secretA]);
  let session: Buffer | undefined;
  const first = await openChannel(t, listener.port, secretA);
  first.on("session", (offered: Buffer) => {
    session = offered;
  });
  await exchange(first, "GET / HTTP/1.1\r\n\r\n");
  assert.equal(first.getCipher().name, "ECDHE-PSK-CHACHA20-POLY1305");
  session ??= first.getSession();
  const second = await openChannel(t, listener.port, secretA, { session });
  assert.equal(second.isSessionReused(), false);
  const others = connectTls({ host: "127.0.0.1", port: listener.port, rejectUnauthorized: false });
  const [error] = (await once(others, "error")) as [NodeJS.ErrnoException];
  assert.match(error.code ?? "", /HANDSHAKE_FAILURE|PROTOCOL_VERSION/);
});

test("what is no peer costs one line a second: HTTP in the clear, garbage, nothing at all, too many", async (t) => {
  const waitsMs = { handshake: 200 };
  const { listener, lines, member } = await startNode(t, [secretA], echo, { limits: { handshakes: 3 }, waitsMs });
  const speak = async (bytes: string | Buffer): Promise<void> => {
    const socket = connect(listener.port, "127.0.0.1");
    await new Promise<void>((resolve) => {
      socket
        .on("error", () => undefined)
        .once("close", resolve)
        .resume()
        .write(bytes);
    });
  };
  await speak("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await speak(randomBytes(4096));
  await speak(Buffer.concat([Buffer.from([22, 3, 1, 0xff, 0xff]), randomBytes(70_000)]));
  await speak(""); // until the handshake's deadline
  assert.equal(listener.counts().handshakesRefused, 4);
  await Promise.all(Array.from({ length: 10 }, () => speak("")));
  assert.equal(listener.counts().handshakesRefused, 14);
  assert.equal(lines.filter(({ level }) => level === "warn").length < 14, true, JSON.stringify(lines));
  assert.deepEqual(Object.keys(lines[0]?.facts ?? {}).toSorted(), [
    "from",
    "isSecretKnown",
    "reason",
    "refused",
    "underWay",
  ]);
  const { text } = startAsker(t, [secretA]);
  assert.match(await text(member), /"GET"/, "a peer is heard all the same");
});

test("a refused handshake is logged at once, those within the next second only with the one after", async (t) => {
  const clock: FakeClock = fakeClock();
  const { listener, lines } = await startNode(t, [secretA], echo, { clock });
  const speak = async (): Promise<void> => {
    const socket = connect(listener.port, "127.0.0.1");
    await new Promise<void>((resolve) => {
      socket
        .on("error", () => undefined)
        .once("close", resolve)
        .resume()
        .write("hello, is this the CDN?\r\n\r\n");
    });
  };
  for (let number = 0; number < 5; number += 1) await speak();
  clock.advance(1000);
  await speak();
  assert.deepEqual(
    lines.map(({ facts }) => facts["refused"]),
    [1, 5],
  );
});

test("a request whose body has no length, or too great a one, does not reach the application", async (t) => {
  const { listener, member } = await startNode(t, [secretA], echo, { limits: { bodyBytes: 10 } });
  const rows: [what: string, request: string, status: RegExp][] = [
    ["chunked", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", /^HTTP\/1.1 400 /],
    ["too long", `POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n${"a".repeat(11)}`, /^HTTP\/1.1 413 /],
    ["just right", `POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n${"a".repeat(10)}`, /^HTTP\/1.1 200 /],
    ["no HTTP", "hello\r\n\r\n", /^HTTP\/1.1 400 /],
    ["fields too long", `GET / HTTP/1.1\r\nX: ${"a".repeat(33_000)}\r\n\r\n`, /^HTTP\/1.1 431 /],
  ];
  for (const [what, request, status] of rows) {
    assert.match(await exchange(await openChannel(t, listener.port, secretA), request), status, what);
  }
  const { ask } = startAsker(t, [secretA]);
  const answer = await ask(member, { method: "POST", body: "a".repeat(11) });
  await answer.body.dump();
  assert.equal(answer.statusCode, 413);
});

test("a peer that takes the connection and never answers costs one deadline, and is shunned then", async (t) => {
  const clock = fakeClock();
  let came = (): void => undefined;
  const asked = new Promise<void>((resolve) => {
    came = resolve;
  });
  const { member } = await startNode(t, [secretA], () => {
    came();
  });
  const { ask, client } = startAsker(t, [secretA], { clock });
  const answer = assert.rejects(ask(member, { timeoutMs: 3000 }), unreachable);
  await asked;
  assert.equal(client.isShunned(member), false);
  clock.advance(3000);
  await answer;
  assert.equal(client.isShunned(member), true);
  await assert.rejects(ask(member), /failed recently/);
  assert.equal(client.counts().refused, 1);
});

test("so does one that takes the connection and never finishes the handshake", async (t) => {
  const clock = fakeClock();
  const port = await startSocketServer(t, () => undefined);
  const { ask, client } = startAsker(t, [secretA], { clock, connectTimeoutsMs: { withinSite: 500 } });
  const answer = assert.rejects(ask(memberAt(port)), unreachable);
  // undici begins to connect in this turn of the event loop or the next.
  await new Promise((resolve) => setImmediate(resolve));
  clock.advance(500);
  await answer;
  assert.equal(client.isShunned(memberAt(port)), true);
});

test("a slow answer does not shun a peer that answers others meanwhile", async (t) => {
  const clock = fakeClock();
  let came = (): void => undefined;
  const asked = new Promise<void>((resolve) => {
    came = resolve;
  });
  const { member } = await startNode(t, [secretA], (request, response) => {
    if (request.url === "/slow") came();
    else echo(request, response);
  });
  const { ask, text, client } = startAsker(t, [secretA], { clock });
  const slow = assert.rejects(ask(member, { path: "/slow", timeoutMs: 3000 }), unreachable);
  await asked;
  clock.advance(1000);
  await text(member);
  clock.advance(2000);
  await slow;
  assert.equal(client.isShunned(member), false);
});

test("a dead peer is not asked until it is back, which is found out without any request", async (t) => {
  const clock = fakeClock();
  const { log, lines } = keptLog();
  const node = await startNode(t, [secretA]);
  const { ask, text, client } = startAsker(t, [secretA], { clock, log });
  await text(node.member);
  await node.listener.close(0);
  await assert.rejects(ask(node.member), unreachable);
  for (let number = 0; number < 100; number += 1) await assert.rejects(ask(node.member), unreachable);
  assert.deepEqual([client.counts().refused, client.counts().shunned], [100, 1]);
  const settled = async (level: string, message: string): Promise<void> => {
    await turnsUntil(() => lines.some((line) => line.level === level && line.message === message));
    lines.length = 0;
  };
  clock.advance(1000);
  assert.equal(client.isShunned(node.member), true, "somebody knocks now");
  await settled("debug", "peer does not answer yet");
  const again = await listenForPeers({
    host: "127.0.0.1",
    port: node.listener.port,
    secrets: () => [secretA],
    application: echo,
    clock: systemClock,
    log: silentLog,
  });
  t.after(() => again.close(0));
  clock.advance(1999);
  assert.equal(client.isShunned(node.member), true);
  clock.advance(1);
  assert.equal(client.isShunned(node.member), true);
  await settled("info", "peer answers again");
  assert.equal(client.isShunned(node.member), false);
  assert.match(await text(node.member), /"GET"/);
  assert.equal(client.counts().shunned, 0);
});

test("a peer that fell silent and came back is found by the first knock, over a new connection", async (t) => {
  const { member } = await startNode(t, [secretA]);
  let isSilent = false;
  let isBack = false;
  let isDropped = false;
  let heard = (): void => undefined;
  /** Between us and the peer; a connection of before it fell silent is never heard again. */
  const port = await startSocketServer(t, (near) => {
    const far = connect(member.port, "127.0.0.1");
    const isOld = !isSilent;
    far.on("error", () => undefined).once("close", () => near.destroy());
    near.once("close", () => far.destroy());
    far.on("data", (bytes: Buffer) => near.write(bytes));
    near.on("data", (bytes: Buffer) => {
      if (!isSilent) far.write(bytes);
      else if (!isBack) heard();
      else if (isOld) isDropped = true;
      else far.write(bytes);
    });
  });
  const clock = fakeClock();
  const { log, lines } = keptLog();
  const { ask, text, client } = startAsker(t, [secretA], { clock, log });
  const far = memberAt(port);
  await Promise.all(Array.from({ length: 32 }, () => text(far)));
  const reached = new Promise<void>((resolve) => {
    heard = resolve;
  });
  isSilent = true;
  const answer = assert.rejects(ask(far, { timeoutMs: 3000 }), unreachable);
  await reached;
  clock.advance(3000);
  await answer;
  isBack = true;
  clock.advance(1000);
  assert.equal(client.isShunned(far), true);
  await turnsUntil(() => isDropped || lines.some(({ message }) => message === "peer answers again"));
  assert.equal(isDropped, false, "the knock went over a connection that is dead");
  assert.match(await text(far), /"GET"/);
});

test("a connection that is lost under a request costs nobody an answer, where it may be asked again", async (t) => {
  const seen = new Set<string>();
  const { member } = await startNode(t, [secretA], (request, response) => {
    const isFirst = !seen.has(request.url ?? "");
    seen.add(request.url ?? "");
    if (isFirst) request.socket.destroy();
    else echo(request, response);
  });
  const { text, ask, client } = startAsker(t, [secretA]);
  for (let number = 0; number < 10; number += 1) assert.match(await text(member, { path: `/${number}` }), /"GET"/);
  assert.deepEqual([client.counts().retried, client.counts().failures], [10, 0]);
  await assert.rejects(ask(member, { method: "POST", path: "/twice-is-not-once" }), unreachable);
  assert.equal(client.counts().retried, 10);
});

test("a body comes as it is made, and one that is cut fails where it is read", async (t) => {
  const steps: (() => void)[] = [];
  const { member } = await startNode(t, [secretA], (request, response) => {
    response.writeHead(200, { "content-length": 9 });
    response.write("one");
    steps.push(
      () => response.write("two"),
      () => {
        if (request.url === "/cut") request.socket.destroy();
        else response.end("six");
      },
    );
  });
  const { ask, client } = startAsker(t, [secretA]);
  for (const path of ["/whole", "/cut"]) {
    const answer = await ask(member, { path });
    const chunks = answer.body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    const next = async (): Promise<string | undefined> => {
      const step = await chunks.next();
      return step.done === true ? undefined : step.value.toString();
    };
    assert.equal(await next(), "one", "before the rest is made");
    steps.shift()?.();
    assert.equal(await next(), "two");
    steps.shift()?.();
    if (path === "/cut") await assert.rejects(next(), { code: "UND_ERR_SOCKET" });
    else assert.deepEqual([await next(), await next()], ["six", undefined]);
  }
  assert.equal(client.isShunned(member), false);
});

test("a large body passes whole, at the pace of who reads it", async (t) => {
  const bytes = randomBytes(8 * 1024 * 1024);
  const { member } = await startNode(t, [secretA], (_, response) => {
    response.writeHead(200, { "content-length": bytes.length }).end(bytes);
  });
  const { ask } = startAsker(t, [secretA]);
  const answer = await ask(member);
  const chunks: Buffer[] = [];
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(Buffer.concat(chunks).equals(bytes));
});

test("more requests than may be under way are refused at once, without blame", async (t) => {
  const waiting: (() => void)[] = [];
  const { member } = await startNode(t, [secretA], (request, response) => {
    waiting.push(() => {
      echo(request, response);
    });
    for (const answer of waiting.length >= 64 ? waiting.splice(0) : []) answer();
  });
  const { text, client } = startAsker(t, [secretA]);
  const all = await Promise.allSettled(Array.from({ length: 520 }, () => text(member)));
  const refused = all.filter(({ status }) => status === "rejected");
  assert.equal(refused.length, 8);
  assert.ok(refused.every((one) => one.status === "rejected" && unreachable(one.reason)));
  assert.equal(client.isShunned(member), false);
});

test("who stops to wait gets his own reason, and nobody is blamed", async (t) => {
  const { member } = await startNode(t, [secretA], () => undefined);
  const { ask, client } = startAsker(t, [secretA]);
  const gone = new AbortController();
  const answer = ask(member, { signal: gone.signal });
  gone.abort(new Error("the client left"));
  await assert.rejects(answer, /the client left/);
  await assert.rejects(ask(member, { signal: gone.signal }), /the client left/);
  assert.equal(client.isShunned(member), false);
});

test("a listener that closes lets answers end and takes no more; a client that closes cuts its own", async (t) => {
  let finish = (): void => undefined;
  let came = (): void => undefined;
  const asked = new Promise<void>((resolve) => {
    came = resolve;
  });
  const { member, listener } = await startNode(t, [secretA], (request, response) => {
    finish = () => {
      echo(request, response);
    };
    came();
  });
  const { text, ask } = startAsker(t, [secretA]);
  const answer = text(member);
  await asked;
  const closed = listener.close(60_000);
  await assert.rejects(startAsker(t, [secretA]).ask(member), unreachable);
  finish();
  assert.match(await answer, /"GET"/);
  await closed;
  await turnsUntil(() => listener.counts().connections === 0);

  const silent = await startNode(t, [secretA], () => undefined);
  const other = startAsker(t, [secretA]);
  const cut = assert.rejects(other.ask(silent.member), unreachable);
  await other.client.close();
  await cut;
  await assert.rejects(other.ask(silent.member), /stopping/);
  await assert.rejects(ask(member), unreachable);
});

test("an address that can't be bound is said, and leaves nothing behind", async (t) => {
  const { listener } = await startNode(t, [secretA]);
  await assert.rejects(
    listenForPeers({
      host: "127.0.0.1",
      port: listener.port,
      secrets: () => [],
      application: echo,
      clock: systemClock,
      log: silentLog,
    }),
    { code: "EADDRINUSE" },
  );
});

test("300 silent connections keep no peer out, from another address or from their own", async (t) => {
  const { listener, member } = await startNode(t, [secretA]);
  const silent = await Promise.all(
    Array.from({ length: 300 }, async () => {
      const socket = connect({ port: listener.port, host: "127.0.0.1", localAddress: "127.0.0.9" });
      socket.on("error", () => undefined);
      await once(socket, "connect");
      return socket;
    }),
  );
  t.after(() => {
    for (const socket of silent) socket.destroy();
  });
  const { text } = startAsker(t, [secretA]);
  assert.match(await text(member), /"GET"/);
  const sameAddress = connectTls({
    ...channelTls,
    host: "127.0.0.1",
    port: listener.port,
    localAddress: "127.0.0.9",
    checkServerIdentity: () => undefined,
    pskCallback: () => {
      const [key] = channelKeys(() => [secretA])();
      assert.ok(key);
      return { identity: key.identity, psk: key.psk };
    },
  } as ConnectionOptions);
  await once(sameAddress, "secureConnect");
  sameAddress.destroy();
  // Those beyond the address's share are closed at once, the others when the time for a handshake is over.
  assert.ok(listener.counts().connections <= 130, `${listener.counts().connections} connections`);
  await turnsUntil(() => listener.counts().connections <= 1);
});

test("a body may be silent for ten seconds, and an event stream for an hour, whatever was requested", async (t) => {
  const { member } = await startNode(t, [secretA], ({ url }, response) => {
    response.writeHead(200, { "content-type": url === "/events" ? "text/event-stream" : "text/plain" });
    response.write("data: 1\n\n");
    response.socket?.setTimeout(0);
  });
  for (const [path, silenceMs] of [
    ["/text", 10_000],
    ["/events", 3_600_000],
  ] as const) {
    const clock = fakeClock();
    const { ask } = startAsker(t, [secretA], { clock });
    const { body } = await ask(member, { path });
    let isCut = false;
    body.on("error", () => (isCut = true));
    body.resume();
    await turnsUntil(() => body.readableDidRead);
    clock.advance(silenceMs - 1000);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(isCut, false, path);
    clock.advance(silenceMs);
    await turnsUntil(() => isCut);
  }
});

test("a member whose connections slow bodies hold gets no requests until they end; it is not shunned", async (t) => {
  const dripping: ServerResponse[] = [];
  const node = await startNode(t, [secretA], (asked, response) => {
    if (asked.url !== "/drip") {
      echo(asked, response);
      return;
    }
    response.write("a");
    dripping.push(response);
  });
  const clock = fakeClock();
  const { ask, text, client } = startAsker(t, [secretA], { clock });
  const bodies: Awaited<ReturnType<Asker["ask"]>>["body"][] = [];
  for (let count = 0; count < 48; count += 1) bodies.push((await ask(node.member, { path: "/drip" })).body);
  assert.match(await text(node.member), /"GET"/, "they may be quick");
  clock.advance(1000);
  await assert.rejects(ask(node.member), unreachable);
  assert.equal(client.isShunned(node.member), false);
  for (const response of dripping) response.end();
  for (const body of bodies) assert.equal(await body.text(), "a");
  await turnsUntil(() => bodies.every(({ closed }) => closed));
  assert.match(await text(node.member), /"GET"/);
  assert.equal(client.counts().refused, 1);
});
