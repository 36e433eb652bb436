/** The client of BIRD's control socket: against a real BIRD, and against whoever else may sit behind that path. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { createReplyReader, openBirdControl } from "../../../../../deploy/cli/verbs/bgp/bird-control.ts";
import { bfdSessionsOf, readBirdState, sessionsOf } from "../../../../../deploy/cli/verbs/bgp/bird-state.ts";
import { needsProgram } from "../../../../support/needs.ts";
import { temporaryDirectory } from "../../../../support/temporary.ts";
import { runBird } from "../../../support/running-bird.ts";

const settings = (port: number): string => `log stderr all;
router id 192.0.2.10;
protocol device {}
protocol bgp edge0 {
  local 127.0.0.1 port ${port} as 64500; neighbor 127.0.0.2 as 64500;
  passive on; multihop; hold time 3; graceful restart off;
  ipv4 { import all; export none; };
}
protocol bgp offers {
  local 127.0.0.1 port ${port} as 64500; neighbor 127.0.0.3 as 64500;
  passive on; multihop; ipv4 { import all; export none; };
}
`;

test("a real BIRD says who it is and how its sessions are", async (t) => {
  if (!needsProgram(t, "bird")) return;
  const bird = await runBird(t, settings);
  const control = await openBirdControl(bird.socket);
  t.after(control.close);
  const state = await readBirdState(control);
  assert.match(state.version ?? "", /^2\./);
  assert.equal(state.routerId, "192.0.2.10");
  assert.deepEqual(
    state.sessions.map(({ name, neighbor, neighborAs, localAs, state: at, importedCount }) => {
      return [name, neighbor, neighborAs, localAs, at, importedCount];
    }),
    [
      ["edge0", "127.0.0.2", 64500, 64500, "Passive", 0],
      ["offers", "127.0.0.3", 64500, 64500, "Passive", 0],
    ],
  );
  assert.deepEqual(state.bfd, []);
});

test("it can look, and change nothing", async (t) => {
  if (!needsProgram(t, "bird")) return;
  const bird = await runBird(t, settings);
  const control = await openBirdControl(bird.socket);
  t.after(control.close);
  for (const order of ["disable edge0", "configure", "down"]) await assert.rejects(control.ask(order), /Access denied/);
  await assert.rejects(control.ask("dance"), /BIRD says: .*syntax error/);
  await assert.rejects(control.ask("show status\ndown"), /one line/);
  // After a refusal it goes on.
  assert.equal((await control.ask("show status")).code, 13);
});

/** Somebody else behind the path, who says `words` to whoever comes. */
async function pretender(t: TestContext, say: (socket: Socket) => void): Promise<string> {
  const path = join(await temporaryDirectory(t), "ctl");
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    say(socket);
  });
  server.listen(path);
  await once(server, "listening");
  t.after(() => server.close());
  return path;
}

test("who is not BIRD, is silent, says too much or goes away ends the question, not the program", async (t) => {
  const greeting = "0001 BIRD 2.0.12 ready.\n0016 Access restricted\n";
  const cases: [what: (socket: Socket) => void, says: RegExp][] = [
    [(socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"), /not BIRD's control socket/],
    [() => undefined, /did not answer within 1000 ms/],
    [(socket) => socket.write("0001 BIRD"), /did not answer within 1000 ms/],
    [(socket) => socket.end(), /closed its control socket/],
    [(socket) => socket.write("x".repeat(2 * 1024 * 1024)), /longer than 1048576 bytes/],
    [(socket) => socket.write(`1000-${"x".repeat(100)}\n`.repeat(20_000)), /longer than 1048576 bytes/],
    [(socket) => socket.write(`${greeting}0000\n`), /sent an unexpected answer/],
    [(socket) => socket.write("0001 BIRD 2.0.12 ready.\n8007 Access denied\n"), /BIRD|not asked/],
  ];
  for (const [say, says] of cases) {
    const path = await pretender(t, say);
    await assert.rejects(async () => {
      const control = await openBirdControl(path, 1000);
      await control.ask("show status").finally(control.close);
    }, says);
  }
  await assert.rejects(openBirdControl("/nowhere/bird.ctl"), /ENOENT/);
});

test("a reply is the same however the bytes come", () => {
  const text = [
    "2002-Name       Proto      Table      State  Since         Info",
    "1002-edge0      BGP        ---        up     11:58:02.832  Established   ",
    " more of it",
    "+something on the side",
    "0000 ",
    "1000-BIRD 2.0.12",
    "0013 Daemon is up and running",
    "0009",
    "",
  ].join("\n");
  const whole = createReplyReader()(text);
  assert.deepEqual(
    whole.map(({ code, lines }) => [code, lines.length]),
    [
      [0, 4],
      [13, 2],
      [9, 1],
    ],
  );
  assert.deepEqual(whole[0]?.lines[2], { code: 1002, text: "more of it" });
  for (let cut = 1; cut < text.length; cut++) {
    const read = createReplyReader();
    assert.deepEqual([...read(text.slice(0, cut)), ...read(text.slice(cut))], whole);
  }
});

test("sessions and BFD are read out of what BIRD prints for people", () => {
  const lines = `router1    BGP        ---        up     11:58:03.773  Established
  BGP state:          Established
    Neighbor address: 2001:db8:1::1
    Neighbor AS:      65001
    Local AS:         64500
    Neighbor ID:      10.0.0.9
    Local capabilities
      Multiprotocol
        AF announced: ipv4 ipv6
      Graceful restart
    Neighbor capabilities
      Graceful restart
    Session:          external AS4
    Hold timer:       6.240/9
  Channel ipv4
    Routes:         0 imported, 2 exported, 0 preferred
  Channel ipv6
    Routes:         0 imported, 1 exported, 0 preferred
edge0      BGP        ---        start  11:58:02.832  Passive       Socket: Connection closed
  BGP state:          Passive
    Neighbor address: 127.0.0.2
    Local capabilities
      Multiprotocol
    Neighbor capabilities
      Graceful restart
    Last error:       Socket: Connection closed`
    .split("\n")
    .map((text) => ({ code: 1002 + (text.startsWith(" ") ? 4 : 0), text }));
  const [router, edge] = sessionsOf(lines);
  assert.deepEqual(router, {
    name: "router1",
    neighbor: "2001:db8:1::1",
    neighborAs: 65001,
    localAs: 64500,
    state: "Established",
    lastError: undefined,
    holdSeconds: 9,
    hasGracefulRestart: true,
    importedCount: 0,
    exportedCount: 3,
  });
  assert.deepEqual(
    [edge?.state, edge?.lastError, edge?.hasGracefulRestart],
    ["Passive", "Socket: Connection closed", false],
  );
  const bfd = [
    "bfd1:",
    "IP address                Interface  State      Since         Interval  Timeout",
    "192.0.2.1                 eth0       Up         11:58:02.830    0.300    0.900",
    "2001:db8:1::1             ---        Down       2026-11-21 11:58:02    1.000    0.000",
  ].map((text) => ({ code: 1020, text }));
  assert.deepEqual(bfdSessionsOf(bfd), [
    { address: "192.0.2.1", isUp: true, intervalMs: 300, timeoutMs: 900 },
    { address: "2001:db8:1::1", isUp: false, intervalMs: 1000, timeoutMs: 0 },
  ]);
});
