/**
 * The lease against a real BIRD: what stands in BIRD's table while the process that holds it lives, is blocked, frozen,
 * killed, wrong, drained. Each test has a BIRD of its own.
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { type Bird, startBird } from "../support/bird.ts";
import { type Holder, prefixes, startHolder } from "../support/lease-holder.ts";
import { recordsDocument, zoneTextDocument } from "../support/long-documents.ts";
import { needsProgram } from "../support/needs.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { until } from "../support/world.ts";

async function held(bird: Bird): Promise<string[]> {
  return (await bird.routes()).map(({ prefix }) => prefix);
}

async function untilHeld(bird: Bird, expected: readonly string[]): Promise<void> {
  await until(`BIRD has ${expected.join(", ") || "nothing"}`, async () => {
    return (await held(bird)).join() === expected.join();
  });
}

async function untilSaid(holder: Holder, reason: RegExp): Promise<void> {
  await until(`it says ${String(reason)}`, () => Promise.resolve(reason.test(holder.told().at(-1)?.reason ?? "")));
}

// Most of them wait: for hold times, for back-off. Side by side they take a third of the time.
suite("a lease and BIRD", { concurrency: 4 }, () => {
  test("prefixes of both families stand in BIRD's table, reachable, and the lease says so", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const holder = startHolder(t, bird);
    await untilHeld(bird, prefixes);
    assert.deepEqual(await bird.routes(), [
      { prefix: prefixes[0], from: "edge0", localPref: 100, communities: "", nextHop: "10.9.9.9", isReachable: true },
      {
        prefix: prefixes[1],
        from: "edge0",
        localPref: 100,
        communities: "",
        nextHop: "2001:db8::9",
        isReachable: true,
      },
    ]);
    await untilSaid(holder, /^announced: its own answers are correct$/);
    const { session, announced, falls, lastNotification } = holder.state();
    assert.deepEqual([session, announced, falls, lastNotification], ["established", prefixes, 0, null]);
    // BIRD understood all that was said: it knows the family of each, and the end of the first round.
    const details = await bird.control("show", "protocols", "all", "edge0");
    assert.match(details, /Neighbor capabilities[^]*AF announced: ipv4 ipv6[^]*Route refresh[^]*4-octet AS numbers/);
  });

  test("killed: BIRD withdraws, and neither reconfigurations nor restarts of BIRD bring it back", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const holder = startHolder(t, bird);
    await untilHeld(bird, prefixes);
    holder.signal("SIGKILL");
    await untilHeld(bird, []);
    for (let i = 0; i < 20; i++) {
      assert.match(await bird.control("configure"), /Reconfigured/);
      assert.deepEqual(await held(bird), []);
    }
    await bird.restart("SIGKILL");
    assert.deepEqual(await held(bird), []);
    assert.match(await bird.control("enable", '"edge*"'), /already enabled/);
    assert.deepEqual(await held(bird), []);
  });

  test("a live lease outlasts reconfigurations, and answers when BIRD asks for its routes again", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const holder = startHolder(t, bird);
    await untilHeld(bird, prefixes);
    for (let i = 0; i < 5; i++) await bird.control("configure");
    await bird.control("reload", "in", "edge0");
    const updates = async (): Promise<number> =>
      Number(/Import updates:\s+(\d+)/.exec(await bird.control("show", "protocols", "all", "edge0"))?.[1]);
    await until("the IPv4 route came a second time", async () => (await updates()) >= 2);
    assert.deepEqual(await held(bird), prefixes);
    assert.equal(holder.state().falls, 0);
  });

  test("blocked: the worker withdraws while the main thread still stands, and comes back after it", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const holder = startHolder(t, bird);
    await untilHeld(bird, prefixes);
    await untilSaid(holder, /^announced: /);
    const before = holder.told().length;
    holder.say("block 10000");
    await untilHeld(bird, []);
    // Had it come to itself, it would have told: it was blocked all the time.
    assert.equal(holder.told().length, before);
    await untilHeld(bird, prefixes);
    assert.equal(holder.state().falls, 1);
    assert.match(holder.log(), /the main thread was blocked for \d+ ms/);
  });

  test("a fleet document of 4 MB is read while the lease is held", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const holder = startHolder(t, bird);
    await untilHeld(bird, prefixes);
    await untilSaid(holder, /^announced: /);
    for (const [index, text] of [zoneTextDocument(), recordsDocument()].entries()) {
      const file = join(await temporaryDirectory(t), "fleet.yaml");
      await writeFile(file, text);
      holder.say(`read ${file}`);
      await until("it is read", () => Promise.resolve((holder.log().match(/^read$/gm)?.length ?? 0) > index));
    }
    const { announced, falls } = holder.state();
    assert.deepEqual([announced, falls], [prefixes, 0]);
    assert.deepEqual(await held(bird), prefixes);
  });

  test("blocked, but alone: it stays announced, and is withdrawn in the next stall once others announce", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const holder = startHolder(t, bird);
    await untilHeld(bird, prefixes);
    holder.say("alone");
    await pause(1200); // it is looked at twice a second
    holder.say("block 2000");
    for (let n = 0; n < 10; n++) {
      await pause(150);
      assert.deepEqual(await held(bird), prefixes);
    }
    holder.say("others");
    await pause(2000);
    assert.equal(holder.state().falls, 0);
    holder.say("block 4000");
    await untilHeld(bird, []);
  });

  test("frozen: the hold time ends it; thawed, it says that it fell before it announces again", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const holder = startHolder(t, bird, { damping: { upMs: 1500 } });
    await untilHeld(bird, prefixes);
    await untilSaid(holder, /^announced: /);
    holder.signal("SIGSTOP");
    await untilHeld(bird, []);
    const before = holder.told().length;
    holder.signal("SIGCONT");
    await until("it has fallen", () => Promise.resolve(holder.state().falls === 1));
    await untilHeld(bird, prefixes);
    const announcement = () =>
      holder
        .told()
        .slice(before)
        .find(({ announced }) => announced.length > 0);
    await until("it says that it announces", () => Promise.resolve(announcement() !== undefined));
    assert.equal(announcement()?.falls, 1);
  });

  test("wrong answers take it back while another site is well, and right ones bring it again", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const holder = startHolder(t, bird);
    await untilHeld(bird, prefixes);
    holder.say("wrong");
    await untilHeld(bird, []);
    await untilSaid(holder, /^was withdrawn \(DNS over TCP at 192\.0\.2\.53: timeout\); not announced: DNS over TCP/);
    assert.equal(holder.state().session, "established");
    holder.say("right");
    await untilHeld(bird, prefixes);
    assert.equal(holder.state().falls, 1);
  });

  test("the last healthy site stays announced though it answers wrongly, and falls when another is well", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const holder = startHolder(t, bird);
    await untilHeld(bird, prefixes);
    holder.say("alone");
    holder.say("wrong");
    await untilSaid(
      holder,
      /^still announced as the last healthy site, although DNS over TCP at 192\.0\.2\.53: timeout$/,
    );
    assert.deepEqual(await held(bird), prefixes);
    assert.equal(holder.state().falls, 0);
    holder.say("others");
    await untilHeld(bird, []);
    assert.equal(holder.state().falls, 1);
  });

  test("who fell waits for its back-off while others are well, and for nothing once nobody else is", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const holder = startHolder(t, bird, { damping: { upMs: 2000, pardonMs: 0 } });
    await untilHeld(bird, prefixes);
    const fall = async (falls: number): Promise<void> => {
      holder.say("others"); // else the block alone would not take it down
      await pause(1200);
      holder.say("block 600");
      await until(`it fell ${falls} times`, () => Promise.resolve(holder.state().falls === falls));
    };
    for (let falls = 1; falls <= 4; falls++) {
      await fall(falls);
      holder.say("alone");
      await untilHeld(bird, prefixes);
    }
    await fall(5);
    await untilSaid(holder, /announces again when its own answers have been correct for 32 s$/);
    await untilHeld(bird, []);
    holder.say("alone");
    await untilHeld(bird, prefixes);
  });

  test("drain: GRACEFUL_SHUTDOWN with LOCAL_PREF 0 first, then the withdrawal; undrain brings it back", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const holder = startHolder(t, bird, { shutdownMs: 600_000 });
    await untilHeld(bird, prefixes);
    holder.say("drain");
    const isMarked = async (): Promise<boolean> =>
      (await bird.routes()).every(({ communities, localPref }) => communities === "(65535,0)" && localPref === 0);
    await until("the routes are marked", isMarked);
    assert.deepEqual(await held(bird), prefixes);
    await untilSaid(holder, /^draining: announced with GRACEFUL_SHUTDOWN$/);
    assert.equal(holder.state().isShuttingDown, true);
    holder.say("undrain");
    await until("the marks are gone", async () => (await bird.routes()).every(({ localPref }) => localPref === 100));
    assert.deepEqual(await held(bird), prefixes);
    holder.say("drain");
    await until("the routes are marked", isMarked);
    holder.say("hurry");
    await untilHeld(bird, []);
    await untilSaid(holder, /^withdrawn: drained$/);
    holder.say("undrain");
    await untilHeld(bird, prefixes);
    assert.equal(holder.state().falls, 0);
  });

  test("drained, but alone: it stays with GRACEFUL_SHUTDOWN until another announces", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const holder = startHolder(t, bird, { shutdownMs: 200 });
    await untilHeld(bird, prefixes);
    holder.say("alone");
    holder.say("drain");
    await untilSaid(
      holder,
      /^drained, but still announced with GRACEFUL_SHUTDOWN: no other node announces the same prefixes$/,
    );
    assert.ok((await bird.routes()).every(({ localPref }) => localPref === 0));
    assert.deepEqual(await held(bird), prefixes);
    holder.say("others");
    await untilHeld(bird, []);
    await untilSaid(holder, /^withdrawn: drained$/);
    holder.say("undrain");
    await untilHeld(bird, prefixes);
  });

  test("BIRD restarted, killed, disabled: the lease is back by itself, and names what BIRD said", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const holder = startHolder(t, bird);
    await untilHeld(bird, prefixes);
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await bird.restart(signal);
      await untilHeld(bird, prefixes);
    }
    await bird.control("disable", "edge0", '"maintenance"');
    await until("it knows why", () => {
      return Promise.resolve(
        holder.state().lastNotification === 'BIRD said 6/2 administrative shutdown: "maintenance"',
      );
    });
    await bird.control("enable", "edge0");
    await untilHeld(bird, prefixes);
    // It was never this node's own fault.
    assert.equal(holder.state().falls, 0);
  });

  test("a wrong AS number is named in words", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t, { as: 64_501 });
    const holder = startHolder(t, bird);
    await untilSaid(holder, /^no session with BIRD: (?:BIRD|we) said 2\/2 bad peer AS/);
    assert.match(holder.state().lastNotification ?? "", /^(?:BIRD|we) said 2\/2 bad peer AS$/);
    assert.deepEqual(await held(bird), []);
  });

  test("two processes hold one lease each: the prefixes stay while one of them lives", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t, { processes: 2 });
    const [first, second] = [startHolder(t, bird), startHolder(t, bird, { processIndex: 1, shutdownMs: 600_000 })];
    const from = async (): Promise<string> =>
      [...new Set((await bird.routes()).map((route) => route.from))].toSorted().join();
    await until("both hold it", async () => (await from()) === "edge0,edge1");
    second.say("drain");
    // The one that stays is preferred: routers see no change.
    await until("the second one is marked", async () => {
      return (await bird.routes()).some((route) => route.from === "edge1" && route.localPref === 0);
    });
    first.signal("SIGKILL");
    await until("the second one alone holds it", async () => (await from()) === "edge1");
    assert.deepEqual(await held(bird), prefixes);
    second.signal("SIGKILL");
    await untilHeld(bird, []);
  });

  test("a thread that dies takes its routes with it, is started again, and the fall counts", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const holder = startHolder(t, bird);
    await untilHeld(bird, prefixes);
    holder.say("end-thread");
    await untilHeld(bird, []);
    await untilHeld(bird, prefixes);
    assert.equal(holder.state().falls, 1);
    assert.match(holder.log(), /the lease thread died/);
  });

  test("a document without prefixes for this site ends the session with 6/3, one with them begins it", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const holder = startHolder(t, bird);
    await untilHeld(bird, prefixes);
    holder.say("prefixes");
    await untilHeld(bird, []);
    await untilSaid(holder, /^no cloud in the fleet document lists this site, so there is nothing to announce$/);
    await until("the session has ended", () => Promise.resolve(holder.state().session === "idle"));
    assert.equal(holder.state().lastNotification, "we said 6/3 peer de-configured");
    holder.say("prefixes 198.51.100.0/24,203.0.113.0/24");
    // BIRD's own filter lets in what it knows of, whatever the document says.
    await untilHeld(bird, ["198.51.100.0/24"]);
  });

  test("a clean end says why, and one without a word withdraws too", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    const closed = startHolder(t, bird);
    await untilHeld(bird, prefixes);
    closed.say("close");
    await untilHeld(bird, []);
    await untilSaid(closed, /^closed: this node is stopping$/);
    assert.match(
      await bird.control("show", "protocols", "all", "edge0"),
      /Received: Administrative shutdown: "nearcast stops"|Administrative shutdown/,
    );
    const exits = startHolder(t, bird, { processIndex: 0 });
    await untilHeld(bird, prefixes);
    exits.say("exit");
    await exits.ended;
    await untilHeld(bird, []);
  });
});
