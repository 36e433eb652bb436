/** The speaker on a real socket, against a peer whose every octet the test decides. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { systemClock } from "#base/clock.ts";
import { createFramer, type Message, readMessage } from "../../../node/announce/bgp/message.ts";
import { administrativeShutdown, describeNotification } from "../../../node/announce/bgp/notification.ts";
import { openDialer } from "../../../node/announce/dial.ts";
import { createSpeaker, type Speaker } from "../../../node/announce/speaker.ts";
import { until } from "../../support/world.ts";
import { framed, hex, openBody } from "./bgp/octets.ts";

const keepalive = framed(4, Buffer.alloc(0));
const settings = { as: 64_500, identifier: 0x7f_00_00_02, holdSeconds: 3 };
const wanted = { prefixes: ["192.0.2.0/24"], nextHops: ["10.0.0.1"], isShuttingDown: false };

interface Peer {
  host: string;
  port: number;
  /** The newest connection. */
  socket: () => Socket;
  connections: () => number;
  heard: () => readonly Message[];
}

/** A peer that reads, and says only what the test makes it say. */
async function startPeer(t: TestContext, onConnection: (socket: Socket) => void = () => undefined): Promise<Peer> {
  const sockets: Socket[] = [];
  const heard: Message[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    const take = createFramer();
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      for (const message of take(chunk)) heard.push(readMessage(message, true));
    });
    onConnection(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    host: "127.0.0.1",
    port: (server.address() as AddressInfo).port,
    socket() {
      const last = sockets.at(-1);
      assert.ok(last !== undefined, "nobody has connected");
      return last;
    },
    connections: () => sockets.length,
    heard: () => heard,
  };
}

function start(t: TestContext, peer: Peer): Speaker {
  const speaker = createSpeaker({
    dial: openDialer({ peer, source: "127.0.0.2" }),
    clock: systemClock,
    changed: () => undefined,
  });
  t.after(() => speaker.stop(administrativeShutdown("the test ends"), "over"));
  speaker.start(settings);
  return speaker;
}

const answerOpen = (socket: Socket): void => {
  socket.write(Buffer.concat([framed(1, openBody), keepalive]));
};
const isEstablished = (speaker: Speaker) => () => Promise.resolve(speaker.session().state === "established");
const kinds = (peer: Peer): string[] =>
  peer
    .heard()
    .map((message) => (message.type === "notification" ? describeNotification(message.notification) : message.type));

test("it comes from its own address, opens, announces what is wanted and marks the end of it", async (t) => {
  const peer = await startPeer(t, answerOpen);
  const speaker = start(t, peer);
  speaker.want(wanted);
  await until("the session stands", isEstablished(speaker));
  assert.equal(peer.socket().remoteAddress, "127.0.0.2");
  assert.deepEqual(speaker.announced(), wanted.prefixes);
  await until("all is heard", () => Promise.resolve(peer.heard().length >= 5));
  assert.deepEqual(kinds(peer).slice(0, 5), ["open", "keepalive", "update", "update", "update"]);
  const updates = peer.heard().flatMap((message) => (message.type === "update" ? [message.update] : []));
  assert.deepEqual(
    updates.map(({ announced, endOfRib }) => [announced.length, endOfRib]),
    [
      [1, undefined],
      [0, 4],
      [0, 6],
    ],
  );
});

test("messages that arrive octet by octet are understood", async (t) => {
  const peer = await startPeer(t, (socket) => {
    socket.setNoDelay(true);
    void (async () => {
      for (const octet of Buffer.concat([framed(1, openBody), keepalive])) {
        socket.write(Buffer.from([octet]));
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
  });
  await until("the session stands", isEstablished(start(t, peer)));
});

test("garbage is answered with its NOTIFICATION, and the connection ends", async (t) => {
  const peer = await startPeer(t, (socket) => {
    socket.write("HTTP/1.1 400 Bad Request\r\n\r\n");
  });
  const speaker = start(t, peer);
  await until("it complains", () => Promise.resolve(kinds(peer).includes("1/1 connection not synchronized")));
  assert.equal(speaker.session().lastNotification, "we said 1/1 connection not synchronized");
  await until("the connection ends", () => Promise.resolve(peer.socket().destroyed));
});

test("a ROUTE-REFRESH is answered with the routes of its family", async (t) => {
  const peer = await startPeer(t, answerOpen);
  const speaker = start(t, peer);
  speaker.want(wanted);
  await until("all is heard", () => Promise.resolve(peer.heard().length >= 5));
  const before = peer.heard().length;
  peer.socket().write(framed(5, hex("0001 00 01")));
  await until("it is said again", () => Promise.resolve(peer.heard().length > before));
  const [again] = peer.heard().slice(before);
  assert.ok(again?.type === "update");
  assert.equal(again.update.announced.length, 1);
});

test("a peer that asks and asks but does not read is left", async (t) => {
  const flood = Buffer.concat(Array.from({ length: 2000 }, () => framed(5, hex("0001 00 01"))));
  const peer = await startPeer(t, answerOpen);
  const speaker = start(t, peer);
  speaker.want({ ...wanted, prefixes: Array.from({ length: 100 }, (_, i) => `10.${i}.0.0/16`) });
  await until("the session stands", isEstablished(speaker));
  peer.socket().pause();
  let isLeft = false;
  const flooding = setInterval(() => {
    isLeft ||= speaker.session().state !== "established";
    if (!isLeft) peer.socket().write(flood);
  }, 5);
  t.after(() => {
    clearInterval(flooding);
  });
  await until("it is left", () => Promise.resolve(isLeft));
  assert.equal(speaker.session().lastNotification, "we said 6/8 out of resources");
});

test("other settings end the session with 6/6, and a new one begins; the same ones change nothing", async (t) => {
  const peer = await startPeer(t, answerOpen);
  const speaker = start(t, peer);
  await until("the session stands", isEstablished(speaker));
  speaker.start({ ...settings });
  assert.equal(speaker.session().state, "established");
  speaker.start({ ...settings, holdSeconds: 9 });
  assert.equal(speaker.session().state, "connecting");
  await until("the peer knows why", () => Promise.resolve(kinds(peer).includes("6/6 other configuration change")));
  await until("the session stands again", isEstablished(speaker));
  assert.equal(peer.connections(), 2);
});

test("the end is said, with a text, and nothing is left", async (t) => {
  const peer = await startPeer(t, answerOpen);
  const speaker = start(t, peer);
  await until("the session stands", isEstablished(speaker));
  await speaker.stop(administrativeShutdown("nearcast stops"), "closed");
  await until("it is heard", () => Promise.resolve(peer.socket().destroyed));
  assert.equal(kinds(peer).at(-1), '6/2 administrative shutdown: "nearcast stops"');
  assert.deepEqual([speaker.session().state, speaker.announced()], ["idle", []]);
});

test("routes that change while there is no session are sent when there is one", async (t) => {
  const peer = await startPeer(t);
  const speaker = start(t, peer);
  speaker.want(wanted);
  speaker.want({ ...wanted, prefixes: ["198.51.100.0/24"] });
  assert.deepEqual(speaker.announced(), []);
  await until("it has connected", () => Promise.resolve(peer.connections() > 0));
  answerOpen(peer.socket());
  await until("the session stands", isEstablished(speaker));
  assert.deepEqual(speaker.announced(), ["198.51.100.0/24"]);
});
