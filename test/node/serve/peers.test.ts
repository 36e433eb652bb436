import assert from "node:assert/strict";
import type { Body } from "#base/body.ts";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { answering, startLoopbackOrigin } from "../../support/loopback-origin.ts";
import { type PictureOrigin, startPictureOrigin } from "../../support/picture-origin.ts";
import { pngLike } from "../../support/pictures.ts";
import { quickRenderer, startNodes, type TestNode } from "./fleet-of-nodes.ts";
import { wholeBodyOf } from "../../support/whole-body.ts";
import { turnsUntil } from "../../support/turns-until.ts";

test("three nodes, 300 names in three variants each, asked at random: each fetched once, rendered once", async (t) => {
  const origin = await startPictureOrigin(t);
  const names = Array.from({ length: 300 }, (_, index) => `shop/${index}.png`);
  for (const name of names) origin.names.set(name, pngLike(`the bytes of ${name}`));
  const renderer = quickRenderer();
  const world = await startNodes(t, origin.url, { sites: { fra: 3 }, renderer });
  const random = seededRandom(7);
  const anyNode = () => world.nodes[Math.floor(random() * 3)] as (typeof world.nodes)[number];
  const asked = names.flatMap((name) => [10, 20, 30].flatMap((widthPx) => [1, 2, 3].map(() => ({ name, widthPx }))));
  for (let index = asked.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random() * (index + 1));
    [asked[index], asked[other]] = [asked[other] as (typeof asked)[number], asked[index] as (typeof asked)[number]];
  }
  const etags = new Map<string, Set<string | null>>();
  for (let index = 0; index < asked.length; index += 50) {
    await Promise.all(
      asked.slice(index, index + 50).map(async ({ name, widthPx }) => {
        const { status, etag } = await anyNode().get(name, { widthPx });
        assert.equal(status, 200);
        const seen = etags.get(`${name} ${widthPx}`) ?? new Set();
        etags.set(`${name} ${widthPx}`, seen.add(etag));
      }),
    );
  }
  // Each hedge may be answered too, or be cancelled before the origin sees it.
  const mostQuestions = 300 + world.nodes.reduce((sum, node) => sum + node.hedges(), 0);
  const { questions, bodies } = origin.counts();
  assert.equal(bodies, questions);
  assert.ok(questions >= 300 && questions <= mostQuestions, `300 … ${mostQuestions} questions: ${questions}`);
  assert.equal(renderer.renders().length, 900);
  assert.equal(new Set(renderer.renders()).size, 900);
  assert.equal(etags.size, 900);
  assert.ok([...etags.values()].every((seen) => seen.size === 1));
  assert.ok(world.nodes.every((node) => node.peerCounts().relayed > 0 && node.counts().renders > 200));
});

function picturesOf(names: readonly string[], origin: PictureOrigin): void {
  for (const name of names) origin.names.set(name, pngLike(`the bytes of ${name}`));
}

const until = async (isSo: () => boolean | Promise<boolean>): Promise<void> => await turnsUntil(isSo, 5);

function bytesOf(body: Body): Buffer {
  assert.ok(body.kind === "bytes");
  return body.bytes;
}

test("what an owner gave is a hit from memory, with its age, and on the asker's disk is nothing of it", async (t) => {
  const origin = await startPictureOrigin(t);
  picturesOf(["a.png"], origin);
  // An hour and more between the clocks of the machines.
  const skewMs = (node: number): number => node * 4_000_000;
  const world = await startNodes(t, origin.url, { sites: { fra: 3 }, renderer: quickRenderer(), skewMs });
  const [owner, other] = [world.ownerOf("fra", "a.png"), world.otherOf("fra", "a.png")];
  await owner.get("a.png");
  world.skip(60);
  const first = await other.get("a.png");
  assert.equal(
    other.statusOf(first),
    `${owner.name}; hit; ttl=40; detail=memory, ${other.name}; fwd=uri-miss; stored; ttl=40; detail=owner`,
  );
  assert.equal(first.ageSeconds, 60);
  assert.equal(typeof first.timings.peerMs, "number");
  const again = other.getNow("a.png");
  assert.deepEqual(again?.outcome, { word: "hit", tier: "memory", ttlSeconds: 40 });
  assert.equal(again.ageSeconds, 60);
  await other.flushed();
  assert.deepEqual(other.diskEntries(), 0);
  world.skip(50);
  // Stale for both by now: answered at once, renewed behind, the unchanged variant not sent again.
  const stale = await other.get("a.png");
  assert.equal(stale.outcome.word, "stale");
  await until(async () => (await other.get("a.png")).outcome.word === "hit");
  assert.deepEqual(bytesOf((await other.get("a.png")).body), bytesOf(first.body));
  assert.deepEqual(origin.counts(), { questions: 2, bodies: 1 });
});

test("a name under which there is nothing is asked for once in a site, and remembered by each node", async (t) => {
  const origin = await startPictureOrigin(t);
  const world = await startNodes(t, origin.url, { sites: { fra: 3 }, renderer: quickRenderer() });
  for (const node of [...world.nodes, ...world.nodes]) assert.equal((await node.get("none.png")).status, 404);
  assert.equal(origin.counts().questions, 1);
  const other = world.otherOf("fra", "none.png");
  assert.equal((await other.get("none.png")).outcome.word, "hit");
  picturesOf(["none.png"], origin);
  for (const node of world.nodes) await node.event({ names: ["none.png"], reason: "put" });
  for (const node of world.nodes) assert.equal((await node.get("none.png")).status, 200);
  assert.equal(origin.counts().bodies, 1);
});

test("an owner that dies midway costs no request, and the next in rank takes its names over", async (t) => {
  const origin = await startPictureOrigin(t);
  const names = Array.from({ length: 60 }, (_, index) => `${index}.png`);
  picturesOf(names, origin);
  const world = await startNodes(t, origin.url, { sites: { fra: 3 }, renderer: quickRenderer() });
  const [fra1, fra2, fra3] = ["fra1", "fra2", "fra3"].map(world.node) as [TestNode, TestNode, TestNode];
  origin.delay(() => new Promise((resolve) => setTimeout(resolve, 20)));
  const asked = names.flatMap((name) => [fra1.get(name), fra2.get(name)]);
  await until(() => origin.counts().questions > 10);
  await fra3.kill();
  for (const { status } of await Promise.all(asked)) assert.equal(status, 200);
  origin.delay(null);
  world.setDown("fra3");
  for (const name of names) for (const node of [fra1, fra2]) assert.equal((await node.get(name)).outcome.word, "hit");
  // Only what the dead one was working on was asked for again: never by both who are left, and at most once more.
  assert.ok(origin.counts().questions <= 2 * names.length, `${origin.counts().questions} questions`);
});

test("an owner that no longer moves is not waited for once it has left the directory", async (t) => {
  const origin = await startPictureOrigin(t);
  picturesOf(["a.png"], origin);
  const renderer = quickRenderer();
  const world = await startNodes(t, origin.url, { sites: { fra: 2 }, renderer });
  const [owner, other] = [world.ownerOf("fra", "a.png"), world.otherOf("fra", "a.png")];
  const thaw = Promise.withResolvers<void>();
  renderer.hold(thaw.promise);
  const asked = other.get("a.png");
  await until(() => renderer.renders().length === 1);
  renderer.hold(Promise.resolve());
  world.setDown(owner.name);
  assert.equal((await asked).status, 200);
  assert.equal(other.counts().renders, 1);
  thaw.resolve();
});

test("what a node owned once and still has on disk it serves from there, without asking the owner", async (t) => {
  const origin = await startPictureOrigin(t);
  picturesOf(["a.png"], origin);
  const world = await startNodes(t, origin.url, { sites: { fra: 2 }, renderer: quickRenderer() });
  const [owner, other] = [world.ownerOf("fra", "a.png"), world.otherOf("fra", "a.png")];
  await owner.get("a.png");
  await owner.flushed();
  owner.directory.ownersBefore = () => [other.member];
  owner.forgetVariantsInMemory();
  assert.deepEqual((await owner.get("a.png")).outcome, { word: "hit", tier: "disk", ttlSeconds: 100 });
  world.skip(150);
  // Renewed by the owner of now, which has to send nothing but its word.
  assert.equal((await owner.get("a.png")).outcome.word, "stale");
  await until(() => owner.peerCounts().relayed === 1);
});

test("a failure that the owner met is everybody's: neither origin nor decoder is tried by each node", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("broken.png", Buffer.from("no picture"));
  const world = await startNodes(t, origin.url, { sites: { fra: 3 } });
  for (const node of world.nodes) await assert.rejects(node.get("broken.png"), { code: "UNSUPPORTED_IMAGE" });
  assert.deepEqual(origin.counts(), { questions: 1, bodies: 1 });
  assert.equal(
    world.nodes.map((node) => node.counts().renderFailures).reduce((sum, one) => sum + one),
    1,
  );

  origin.fail(500);
  const other = world.otherOf("fra", "b.png");
  await assert.rejects(other.get("b.png"), { code: "ORIGIN_BAD_ANSWER" });
  assert.equal(origin.counts().questions, 2); // the owner's
});

test("in front of a failing origin an asker delivers what it has, whether its owner lives or not", async (t) => {
  const origin = await startPictureOrigin(t);
  picturesOf(["a.png"], origin);
  const world = await startNodes(t, origin.url, { sites: { fra: 2 }, renderer: quickRenderer() });
  const [owner, other] = [world.ownerOf("fra", "a.png"), world.otherOf("fra", "a.png")];
  await other.get("a.png");
  origin.fail(500);
  world.skip(250);
  const told = await other.get("a.png");
  // The owner has it too, and says since when.
  assert.match(other.statusOf(told), /^fra\d; fwd=stale; ttl=-150; detail=memory-origin-error, fra\d; fwd=stale; /);
  assert.equal(told.ageSeconds, 250);
  await owner.forgetEverything();
  const alone = await other.get("a.png");
  assert.deepEqual([alone.status, alone.outcome.word], [200, "stale"]);
  await owner.kill();
  world.setDown(owner.name);
  const dead = await other.get("a.png");
  assert.deepEqual([dead.status, dead.outcome.word], [200, "stale"]);
});

test("a purge that the asker knows and the owner does not yet: nothing older is sent or kept", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", pngLike("old"));
  const world = await startNodes(t, origin.url, { sites: { fra: 2 }, renderer: quickRenderer() });
  const [owner, other] = [world.ownerOf("fra", "a.png"), world.otherOf("fra", "a.png")];
  const old = await other.get("a.png");
  origin.names.set("a.png", pngLike("new"));
  const put = { names: ["a.png"], reason: "put" };
  await other.event(put);
  const asked = other.get("a.png"); // the owner waits for the purge
  await until(() => owner.peerCounts().waiting === 1);
  await owner.event(put);
  const fresh = await asked;
  assert.notEqual(fresh.etag, old.etag);
  assert.match(other.statusOf(fresh), /detail=owner$/);

  // One that never catches up says so, and the asker helps itself.
  origin.names.set("a.png", pngLike("newer"));
  await other.event(put);
  const newer = await other.get("a.png");
  assert.ok(newer.etag !== fresh.etag && newer.etag !== old.etag);
  assert.deepEqual([owner.peerCounts().behind, other.counts().renders], [1, 1]);
  assert.equal(other.getNow("a.png")?.etag, newer.etag);
});

test("a purge counts from the moment at which it is in force in memory, not when its position is saved", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", pngLike("old"));
  const world = await startNodes(t, origin.url, { sites: { fra: 2 }, renderer: quickRenderer() });
  const [owner, other] = [world.ownerOf("fra", "a.png"), world.otherOf("fra", "a.png")];
  const old = await other.get("a.png");
  origin.names.set("a.png", pngLike("new"));
  const { moveOn } = other.eventInSteps({ names: ["a.png"], reason: "put" });
  const asked = other.get("a.png");
  await until(() => owner.peerCounts().waiting === 1);
  await owner.event({ names: ["a.png"], reason: "put" });
  assert.notEqual((await asked).etag, old.etag);
  await moveOn();
  assert.notEqual(other.getNow("a.png")?.etag, old.etag);
});

test("an answer that a purge overtakes on its way is given to those who asked before, and not kept", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", pngLike("old"));
  const renderer = quickRenderer();
  const world = await startNodes(t, origin.url, { sites: { fra: 2 }, renderer });
  const [owner, other] = [world.ownerOf("fra", "a.png"), world.otherOf("fra", "a.png")];
  const held = Promise.withResolvers<void>();
  renderer.hold(held.promise);
  const asked = other.get("a.png");
  await until(() => renderer.renders().length === 1);
  const remove = { names: ["a.png"], reason: "delete" };
  origin.names.set("a.png", 404);
  await other.event(remove);
  held.resolve();
  assert.equal((await asked).status, 200);
  assert.equal(other.getNow("a.png"), undefined);
  await owner.event(remove);
  assert.equal((await other.get("a.png")).status, 404);
});

test("a soft purge: the old variant is sent with its mark, so that each node goes on asking behind", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", pngLike("old"));
  const world = await startNodes(t, origin.url, { sites: { fra: 2 }, renderer: quickRenderer() });
  const [owner, other] = [world.ownerOf("fra", "a.png"), world.otherOf("fra", "a.png")];
  const old = await owner.get("a.png");
  const soft = { names: ["a.png"], reason: "purge", soft: true };
  for (const node of world.nodes) await node.event(soft);
  origin.names.set("a.png", pngLike("new"));
  assert.equal((await other.get("a.png")).etag, old.etag);
  await until(async () => (await other.get("a.png")).etag !== old.etag);
});

test("nodes that follow different logs keep nothing of each other", async (t) => {
  const origin = await startPictureOrigin(t);
  picturesOf(["a.png", "b.png"], origin);
  const world = await startNodes(t, origin.url, { sites: { fra: 2 }, renderer: quickRenderer() });
  const [owner, other] = [world.ownerOf("fra", "a.png"), world.otherOf("fra", "a.png")];
  owner.position = { originId: "origin-b", seq: 900 };
  assert.equal((await other.get("a.png")).status, 200);
  assert.deepEqual([owner.peerCounts().behind, other.counts().renders], [1, 1]);
  // One that follows none yet, because it has just started without the origin, is helped, but keeps nothing.
  await other.forgetEverything();
  other.position = null;
  for (let round = 0; round < 2; round += 1) {
    const told = await other.get("a.png");
    assert.equal(told.outcome.word === "miss" && !told.outcome.isStored && told.outcome.detail === "owner", true);
  }
  assert.equal(other.getNow("a.png"), undefined);
});

test("a busy owner refuses new renderings and no hits; who asked goes to the next, then does it itself", async (t) => {
  const origin = await startPictureOrigin(t);
  picturesOf(["a.png"], origin);
  const world = await startNodes(t, origin.url, { sites: { fra: 3 }, renderer: quickRenderer() });
  const owner = world.ownerOf("fra", "a.png");
  const last = world.nodes.find(({ directory }) => directory.ownersBefore("a.png").length === 2) as TestNode;
  const next = world.nodes.find((node) => node !== owner && node !== last) as TestNode;
  await owner.get("a.png", { widthPx: 1 });
  owner.setBusy(true);
  assert.match(last.statusOf(await last.get("a.png", { widthPx: 1 })), new RegExp(`^${owner.name}; hit`));
  assert.match(last.statusOf(await last.get("a.png", { widthPx: 2 })), new RegExp(`^${next.name}; fwd=uri-miss`));
  assert.deepEqual([owner.peerCounts().busy, next.counts().renders], [1, 1]);
  next.setBusy(true);
  assert.match(last.statusOf(await last.get("a.png", { widthPx: 3 })), new RegExp(`^${last.name}; fwd=uri-miss`));
  assert.equal(last.counts().renders, 1);
});

test("a node whose own queue is full has one more rendering made by another before it answers 503", async (t) => {
  const origin = await startPictureOrigin(t);
  const names = Array.from({ length: 40 }, (_, index) => `${index}.png`);
  picturesOf(names, origin);
  const renderer = quickRenderer();
  const limits = { renderQueueMax: 1 };
  const world = await startNodes(t, origin.url, { sites: { fra: 2 }, renderer, decoders: 1, limits });
  const owner = world.ownerOf("fra", "0.png");
  const other = world.otherOf("fra", "0.png");
  const held = Promise.withResolvers<void>();
  renderer.hold(held.promise);
  const own = names.filter((name) => owner.directory.ownersBefore(name).length === 0).slice(0, 5);
  const asked = own.map((name, index) => owner.get(name, {}, `192.0.${index}.0/24`));
  // Four here, three have a place and one waits; the one that found no room is the other's.
  await until(() => owner.counts().turns.waiting === 1 && renderer.renders().length === 4);
  held.resolve();
  const answers = await Promise.all(asked);
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200, 200, 200],
  );
  assert.equal(answers.filter((answer) => owner.statusOf(answer).endsWith("detail=spill-fra")).length, 1);
  assert.equal(other.counts().renders, 1);
});

test("a full site has its misses made elsewhere, and no hits", async (t) => {
  const origin = await startPictureOrigin(t);
  picturesOf(["a.png"], origin);
  const world = await startNodes(t, origin.url, { sites: { fra: 2, nyc: 2 }, renderer: quickRenderer() });
  const [owner, other] = [world.ownerOf("fra", "a.png"), world.otherOf("fra", "a.png")];
  await owner.get("a.png", { widthPx: 1 });
  world.setFull("fra", ["nyc"]);
  // A spilled question is not spilled again, even when both think so.
  world.setFull("nyc", ["fra"]);
  assert.equal((await owner.get("a.png", { widthPx: 1 })).outcome.word, "hit");
  const maker = world.ownerOf("nyc", "a.png");
  const spilled = await other.get("a.png", { widthPx: 2 });
  assert.equal(
    other.statusOf(spilled),
    `${maker.name}; fwd=uri-miss; stored; ttl=100; detail=rendered, ` +
      `${owner.name}; fwd=uri-miss; stored; ttl=100; detail=spill-nyc, ` +
      `${other.name}; fwd=uri-miss; stored; ttl=100; detail=owner`,
  );
  for (const node of [owner, other]) assert.equal((await node.get("a.png", { widthPx: 2 })).outcome.word, "hit");
  assert.deepEqual([owner.counts().renders, maker.counts().renders, owner.peerCounts().spilled], [1, 1, 1]);
  await maker.kill();
  await world.node(maker.name === "nyc1" ? "nyc2" : "nyc1").kill();
  assert.match(owner.statusOf(await owner.get("a.png", { widthPx: 3 })), /^fra\d; fwd=uri-miss; .*detail=rendered$/);
});

test("two nodes that take each other for the owner do not wait for each other", async (t) => {
  const origin = await startPictureOrigin(t);
  picturesOf(["a.png"], origin);
  const scripted = await startLoopbackOrigin(t, answering(200, { "cache-control": "max-age=60" }, "body"));
  const settings = { sites: { fra: 2 }, renderer: quickRenderer(), assetsOrigin: scripted.url };
  const world = await startNodes(t, origin.url, settings);
  const [fra1, fra2] = [world.node("fra1"), world.node("fra2")];
  fra1.directory.ownersBefore = () => [fra2.member];
  fra2.directory.ownersBefore = () => [fra1.member];
  const answers = await Promise.all([fra1.get("a.png"), fra2.get("a.png"), fra1.asset("/a"), fra2.asset("/a")]);
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200, 200],
  );
});

test("with a shield each object is fetched from the origin once for the whole fleet", async (t) => {
  const origin = await startPictureOrigin(t);
  const names = Array.from({ length: 20 }, (_, index) => `${index}.png`);
  picturesOf(names, origin);
  const sites = { fra: 2, nyc: 2, ams: 2 };
  const world = await startNodes(t, origin.url, { sites, shield: "ams", renderer: quickRenderer() });
  await Promise.all(world.nodes.flatMap((node) => [...names, "none.png"].map((name) => node.get(name))));
  assert.deepEqual(origin.counts(), { questions: 21, bodies: 20 });
  const [owner, shield] = [world.ownerOf("nyc", "0.png"), world.ownerOf("ams", "0.png")];
  world.skip(60);
  const smaller = await owner.get("new.png").catch(() => null);
  assert.equal(smaller?.status, 404);
  // What the shield says has the shield's age.
  picturesOf(["late.png"], origin);
  await world.ownerOf("ams", "late.png").get("late.png");
  world.skip(30);
  const late = world.ownerOf("nyc", "late.png");
  const first = await late.get("late.png");
  assert.match(
    late.statusOf(first),
    /^ams\d; hit; ttl=70; detail=disk, nyc\d; fwd=uri-miss; stored; ttl=70; detail=shield-rendered$/,
  );
  assert.equal(first.ageSeconds, 30);
  // Stale everywhere: one question to the origin renews it for all.
  world.skip(80);
  const before = origin.counts().questions;
  await Promise.all(["fra", "nyc"].map(async (site) => await world.ownerOf(site, "0.png").get("0.png")));
  await until(async () => (await owner.get("0.png")).outcome.word === "hit");
  assert.equal(origin.counts().questions, before + 1);
  assert.ok(shield.counts().revalidations > 0);
  // The shield away: everyone helps himself.
  for (const node of world.nodes) if (node.site === "ams") await node.kill();
  picturesOf(["last.png"], origin);
  assert.match(owner.statusOf(await owner.get("last.png")), /detail=(?:rendered|owner)$/);
});

test("a put reaches all sites through the shield, in whichever order the nodes hear of it", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", pngLike("old"));
  const sites = { fra: 1, ams: 1 };
  const world = await startNodes(t, origin.url, { sites, shield: "ams", renderer: quickRenderer() });
  const [fra, ams] = [world.node("fra1"), world.node("ams1")];
  const old = await fra.get("a.png");
  origin.names.set("a.png", pngLike("new"));
  const put = { names: ["a.png"], reason: "put" };
  await fra.event(put);
  const asked = fra.get("a.png");
  await until(() => ams.peerCounts().waiting === 1);
  await ams.event(put);
  assert.notEqual((await asked).etag, old.etag);
  assert.equal((await fra.get("a.png")).outcome.word, "hit");
});

test("the shield tells what it has while the origin fails, and a broken way of its own hinders nobody", async (t) => {
  const origin = await startPictureOrigin(t);
  picturesOf(["a.png"], origin);
  const sites = { fra: 1, ams: 1 };
  const world = await startNodes(t, origin.url, { sites, shield: "ams", renderer: quickRenderer() });
  const [fra, ams] = [world.node("fra1"), world.node("ams1")];
  await ams.get("a.png");
  origin.fail(500);
  world.skip(250);
  const told = await fra.get("a.png");
  assert.equal(told.status, 200);
  assert.match(fra.statusOf(told), /^ams1; fwd=stale; ttl=-150; detail=disk-origin-error, fra1; fwd=uri-miss; /);
  assert.equal(told.ageSeconds, 250);
});

test("a variant above a hundredth of the requests is soon in the memory of each node", async (t) => {
  const origin = await startPictureOrigin(t);
  picturesOf(["hot.png"], origin);
  const world = await startNodes(t, origin.url, { sites: { fra: 3 }, renderer: quickRenderer() });
  const other = world.otherOf("fra", "hot.png");
  await other.get("hot.png");
  const rest = world.nodes.filter((node) => node !== other);
  await until(() => {
    for (let index = 0; index < 50; index += 1) other.getNow("hot.png");
    return rest.every((node) => node.getNow("hot.png") !== undefined);
  });
  assert.equal(
    world.nodes.reduce((sum, node) => sum + node.counts().renders, 0),
    1,
  );
  assert.equal(
    rest.reduce((sum, node) => sum + node.peerCounts().replicated, 0),
    1,
  ); // the owner had it
});

test("a peer that hands over a script, a page or another format is refused, and the work is done here", async (t) => {
  const origin = await startPictureOrigin(t);
  const script = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
  const rows: [what: string, body: Buffer, type: string][] = [
    ["an SVG that says so", Buffer.from(script), "image/svg+xml"],
    ["an SVG that says PNG", Buffer.from(script), "image/png"],
    ["a page", Buffer.from("<!doctype html><script>alert(1)</script>"), "text/html"],
    ["a picture under another name", pngLike("x"), "text/html"],
    ["a picture in another format than was asked for", pngLike("x"), "image/png"],
  ];
  for (const [at, [what, body, type]] of rows.entries()) {
    const name = `a${at}.png`;
    picturesOf([name], origin);
    const honest = quickRenderer();
    // Whoever owns the name does what the row says.
    let evil = "";
    const evilRenderer = { render: () => Promise.resolve({ body, type, renderMs: 1 }) };
    const rendererOf = (node: string) => ({
      measure: honest.measure,
      render: (...order: Parameters<typeof honest.render>) =>
        node === evil ? evilRenderer.render() : honest.render(...order),
    });
    const world = await startNodes(t, origin.url, { sites: { fra: 2 }, rendererOf });
    evil = world.ownerOf("fra", name).name;
    const other = world.otherOf("fra", name);
    const wanted = what.includes("another format") ? ({ format: "webp" } as const) : {};
    const first = await other.get(name, wanted);
    assert.ok((await wholeBodyOf(first.body)).includes("rendered"), what);
    assert.equal(
      other.statusOf(first).split(", ").at(-1),
      `${other.name}; fwd=uri-miss; stored; ttl=100; detail=rendered`,
    );
    const { unfit, failed, relayed } = other.peerCounts();
    assert.deepEqual({ unfit, failed, relayed }, { unfit: 1, failed: 1, relayed: 0 }, what);
    assert.equal(honest.renders().length, 1, what);
    assert.equal((await other.get(name, wanted)).outcome.word, "hit", what);
  }
});

test("what an owner or a shield says is used only within the host's windows, however long it keeps it", async (t) => {
  for (const sites of [{ fra: 2 }, { fra: 1, nyc: 1 }]) {
    for (const { skipSeconds, was } of [
      { skipSeconds: 233, was: undefined },
      { skipSeconds: 1700, was: pngLike("old") },
    ]) {
      const origin = await startPictureOrigin(t);
      const world = await startNodes(t, origin.url, {
        sites,
        ...("nyc" in sites ? { shield: "nyc" } : {}),
        renderer: quickRenderer(),
        imagesHostOf: (node) => (node === "fra1" ? {} : { negativeSeconds: 600, freshSeconds: 86_400 }),
      });
      const asker = world.node("fra1");
      const [, keeper] = world.nodes;
      assert(keeper !== undefined);
      const names = Array.from({ length: 50 }, (_, index) => `${index}.png`);
      const name = "nyc" in sites ? "0.png" : names.find((one) => world.ownerOf("fra", one) === keeper);
      assert(name !== undefined);
      if (was !== undefined) origin.names.set(name, was);
      await keeper.get(name);
      origin.names.set(name, pngLike("new"));
      world.skip(skipSeconds);
      const what = `${Object.keys(sites).join(" ")}, ${skipSeconds} s`;
      const got = await asker.get(name);
      assert.deepEqual([got.status, got.ageSeconds], [200, null], what);
      assert.doesNotMatch(asker.statusOf(got), /ttl=-/, what);
      assert.equal(asker.peerCounts().unfit, 1, what);
    }
  }
});

test("a shield that hands over no picture is refused, and the origin is asked", async (t) => {
  const origin = await startPictureOrigin(t);
  origin.names.set("a.png", Buffer.from("<!doctype html><script>alert(1)</script>"));
  const world = await startNodes(t, origin.url, {
    sites: { fra: 1, nyc: 1 },
    shield: "nyc",
    renderer: quickRenderer(),
  });
  await world.node("fra1").get("a.png");
  const { unfit, shielded } = world.node("fra1").peerCounts();
  assert.deepEqual({ unfit, shielded }, { unfit: 1, shielded: 0 });
  assert.deepEqual(origin.counts(), { questions: 2, bodies: 2 });
});

test("a silent origin behind an owner or a shield: each node serves its stale picture after the wait", async (t) => {
  const origin = await startPictureOrigin(t);
  picturesOf(["a.png", "b.png"], origin);
  const imagesHost = { staleWaitMs: 200 };
  const settings = { sites: { fra: 2, ams: 1 }, shield: "ams", renderer: quickRenderer(), imagesHost };
  const world = await startNodes(t, origin.url, settings);
  const owner = world.ownerOf("fra", "a.png");
  const other = world.otherOf("fra", "a.png");
  for (const node of world.nodes) await node.get("a.png");
  await world.ownerOf("fra", "b.png").get("b.png");
  world.skip(250);
  const silence = Promise.withResolvers<void>();
  origin.delay(() => silence.promise);
  for (const node of [other, owner, world.node("ams1")]) {
    const got = await node.get("a.png");
    assert.equal(got.status, 200, node.name);
    // Its own stale one, or that of the node that it asked, if that has waited before.
    assert.match(node.statusOf(got), /fwd=stale; ttl=-150; detail=(?:memory|disk)-origin-slow/);
  }
  // What this node does not hold, its owner has: it sends the stale one.
  const relayed = await world.otherOf("fra", "b.png").get("b.png");
  assert.match(
    world.otherOf("fra", "b.png").statusOf(relayed),
    /fwd=stale; ttl=-150; detail=(?:memory|disk)-origin-slow, /,
  );
  assert.equal(origin.counts().questions, 4, "one for each name, beside those of the start");
  silence.resolve();
  await until(async () => (await other.get("a.png")).outcome.word === "hit");
});

test("a client that leaves ends its questions: at the owner, at the shield and at the origin", async (t) => {
  let open = 0;
  const origin = await startLoopbackOrigin(t, (_request, response) => {
    open += 1;
    response.once("close", () => (open -= 1));
  });
  const settings = { sites: { fra: 2, ams: 1 }, shield: "ams", renderer: quickRenderer() };
  const world = await startNodes(t, origin.url, settings);
  for (const node of [world.ownerOf("fra", "a.png"), world.otherOf("fra", "a.png"), world.node("ams1")]) {
    const leaving = new AbortController();
    const staying = new AbortController();
    const asked = [leaving, staying].map(({ signal }) => node.get("a.png", {}, undefined, signal));
    await until(() => open === 1);
    leaving.abort();
    await assert.rejects(asked[0] ?? assert.fail(), { code: "BAD_REQUEST" });
    assert.equal(open, 1, "another client waits for it");
    staying.abort();
    await assert.rejects(asked[1] ?? assert.fail(), { code: "BAD_REQUEST" });
    const beginMs = performance.now();
    await until(() => open === 0);
    assert.ok(performance.now() - beginMs < 5000, node.name);
  }
});
