/** The channel between nodes: who is let in, and what a listener bounds. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { channelKeys, channelTls } from "../../../node/peer/keys.ts";
import { listenForPeers } from "../../../node/peer/peer-listener.ts";
import { type FakeClock, fakeClock } from "../../support/fake-clock.ts";
import { turnsUntil } from "../../support/turns-until.ts";
import {
  type Secrets,
  secretA,
  secretB,
  secretC,
  echo,
  startNode,
  startAsker,
  unreachable,
  openChannel,
  exchange,
} from "./channel-nodes.ts";

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
