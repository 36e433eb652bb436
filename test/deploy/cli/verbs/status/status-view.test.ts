import { deepEqual, equal, match, ok } from "node:assert/strict";
import { test } from "node:test";
import type { Reply } from "../../../../../deploy/cli/ask-nodes.ts";
import { type Witness, witnessOf } from "../../../../../deploy/cli/node-status.ts";
import { mapLines } from "../../../../../deploy/cli/verbs/status/status-map.ts";
import { statusLines } from "../../../../../deploy/cli/verbs/status/status-view.ts";

const origin = { url: "http://127.0.0.1:7070", isReached: true, reason: undefined, fleetVersion: 4 };
const place = (name: string) => ({ name, site: "fra", at: `http://${name}:8081` });

const sites = (nycState: string): object[] => [
  {
    name: "fra",
    place: { latitude: 50.11, longitude: 8.68, city: "Frankfurt" },
    state: "up",
    pressure: 0.42,
    requestsPerSecond: 840.04,
    keptShare: 1,
    addresses: ["192.0.2.80"],
    nodes: [
      {
        name: "fra1",
        state: "up",
        reason: "answers",
        requestsPerSecond: 840.04,
        loopDelayMs: 1.4,
        rendersWaiting: 3,
        release: "0.1.0",
        fleetVersion: 4,
        feedSeq: 17,
        announced: ["192.0.2.0/24"],
      },
      { name: "fra2", state: "down", reason: "nobody reaches it: timeout" },
    ],
  },
  {
    name: "nyc",
    place: { latitude: 40.71, longitude: -74.01 },
    state: nycState,
    keptShare: 0.8,
    addresses: ["198.51.100.80"],
    nodes: [],
  },
];

/** What a node said over the origin. */
const heard = (name: string, body: Record<string, unknown>): Witness =>
  witnessOf({ ...place(name), answer: { outcome: "answered", status: 200, body } }, "origin");

const bodyOf = (node: string, nycState: string): Record<string, unknown> => ({
  node,
  site: "fra",
  ready: true,
  unready: [],
  fleetVersion: 4,
  fleetSecret: "0123456789abcdef",
  feed: { state: "connected", position: { seq: 17 }, warning: "the origin has sent nothing for 5 s" },
  cache: { memory: { bytes: 2_000_000 }, disk: { bytes: 0 } },
  announce: { session: "established", announced: ["192.0.2.0/24"], isShuttingDown: true, reason: "drain" },
  sites: sites(nycState),
});

const answer = (node: string, nycState: string): Witness => heard(node, bodyOf(node, nycState));

test("one node's answer shows all sites and nodes, with load, release, feed and announcements", () => {
  const text = statusLines(origin, [answer("fra1", "up")], false).join("\n");
  match(text, /origin {2}http:\/\/127\.0\.0\.1:7070 {2}up, fleet version 4/);
  match(text, /fra1 +fra +ready +4 +connected +17 +2\.0 MB +0 B +01234567 +192\.0\.2\.0\/24 \(shutting down\)/);
  match(text, /fra +Frankfurt +up +42 % +840 +100 % +1\/2 +192\.0\.2\.80/);
  match(text, /nyc +- +up +- +- +80 % +0\/0 +198\.51\.100\.80/);
  match(text, /fra1 +fra +up +840 +1 ms +3 +0\.1\.0 +4 +17 +192\.0\.2\.0\/24 +answers/);
  match(text, /fra2 +fra +down +- .*nobody reaches it: timeout/);
  match(text, /fra1: lease: drain/);
  match(text, /fra1: the origin has sent nothing for 5 s/);
  ok(!text.includes("nodes disagree"));
});

test("a node without HTTPS is named if hosts redirect to it", () => {
  const bare = heard("fra1", { node: "fra1", tls: null, redirectingWithoutHttps: ["img.test"] });
  match(statusLines(origin, [bare], false).join("\n"), /fra1: serves no HTTPS, but redirects to it: img\.test/);
});

test("a node whose decoders have no sandbox is named, with the reason", () => {
  const decoders = { sandbox: "none", sandboxReason: "koffi can't be loaded" };
  const bare = heard("fra1", { node: "fra1", decoders });
  match(statusLines(origin, [bare], false).join("\n"), /fra1: decoders run without a sandbox: koffi can't be loaded/);
  ok(
    !statusLines(origin, [answer("fra1", "up")], false)
      .join("\n")
      .includes("sandbox"),
  );
});

test("a node that can't have the lanes it is to have is named, with the reason", () => {
  const slow = heard("fra1", { node: "fra1", lanes: { count: 0, absent: "the kernel refuses sendfile" } });
  match(statusLines(origin, [slow], false).join("\n"), /fra1: works without lanes: the kernel refuses sendfile/);
  const usual = heard("fra1", { node: "fra1", lanes: { count: 1, absent: null } });
  ok(!statusLines(origin, [usual], false).join("\n").includes("lanes"));
});

test("what a node tells to type is named as it is typed on this machine", () => {
  const unready = ["drained by an operator: `nearcast undrain` brings it back"];
  const drained = heard("fra1", { node: "fra1", ready: false, presence: "draining", unready });
  match(statusLines(origin, [drained], false).join("\n"), /fra1: drained by .*: `npx nearcast undrain` brings it back/);
});

test("where nodes see a site differently, it is said", () => {
  const lines = statusLines(origin, [answer("fra1", "up"), answer("fra2", "down")], false);
  deepEqual(lines.slice(-2), ["nodes disagree:", "  nyc is up for fra1; down for fra2"]);
});

test("a node that can't be reached and one of a release that says nothing are shown all the same", () => {
  const gone: Witness = {
    ...place("tyo1"),
    answer: { outcome: "failed", kind: "unreachable", reason: "connection refused" },
  };
  const old = heard("old1", {});
  const text = statusLines({ ...origin, isReached: false, reason: "refused" }, [gone, old], true).join("\n");
  match(text, /origin {2}http:\/\/127\.0\.0\.1:7070 {2}refused/);
  match(text, /tyo1 +fra +unreachable/);
  match(text, /tyo1: connection refused/);
  match(text, /old1 +fra +not ready/);
});

test("an answer that makes no sense costs its own line; the others are shown", () => {
  const cases: [what: string, body: Record<string, unknown>, why: RegExp][] = [
    ["an object among reasons", { unready: [{ toString: 1 }] }, /unready\[0\]: \{"toString":1\} must be a string/],
    ["an object as an address", { sites: [{ addresses: [{ toString: null }] }] }, /sites\[0\]\.addresses\[0\]/],
    ["300,000 sites", { sites: Array.from({ length: 300_000 }, () => ({})) }, /sites: must have at most 10000 entries/],
    [
      "20,000 nodes, in two sites",
      { sites: [1, 2].map(() => ({ nodes: Array.from({ length: 10_000 }, () => ({})) })) },
      /its answer lists 20000 nodes; at most 10000 are allowed/,
    ],
    ["a long name", { node: "w".repeat(900_000) }, /node: "w+\.\.\. must have at most 255 characters/],
    ["a place that is nowhere", { sites: [{ place: { latitude: 1e308, longitude: 0 } }] }, /latitude/],
    ["an endless number", { fleetVersion: Number.POSITIVE_INFINITY }, /fleetVersion/],
    ["a list for an object", { feed: [], cache: 7 }, /feed: \[\] must be an object/],
  ];
  for (const [what, body, why] of cases) {
    const lines = statusLines(origin, [heard("bad1", body), answer("fra1", "up")], true);
    match(lines.find((line) => line.startsWith("bad1 ")) ?? "", /^bad1 +fra +malformed[ -]+$/, what);
    match(lines.find((line) => line.startsWith("  bad1: ")) ?? "", why, what);
    ok(
      lines.some((line) => /^fra1 +fra +ready/.test(line)),
      what,
    );
    ok(
      lines.every((line) => line.length < 1000),
      what,
    );
  }
});

test("asked over the origin, a node has the names of its introduction, whatever it calls itself and its site", () => {
  const text = statusLines(origin, [heard("aaa", { ...bodyOf("zz1", "up"), site: "elsewhere" })], false).join("\n");
  match(text, /^aaa +fra +ready/m);
  match(text, /^the fleet, as aaa sees it:$/m);
  ok(!text.includes("zz1"));
  const reply: Reply = {
    ...place("http://[::1]:8081"),
    answer: { outcome: "answered", status: 200, body: { node: "b" } },
  };
  equal(witnessOf(reply, "admin").name, "b", "at a listener that the operator named, by its own");
});

test("the map marks each site at its place, with its name", () => {
  const lines = mapLines([
    { name: "fra", state: "up", latitude: 50.11, longitude: 8.68 },
    { name: "nyc", state: "draining", latitude: 40.71, longitude: -74.01 },
    { name: "tyo", state: "down", latitude: 35.68, longitude: 139.69 },
    { name: "end", state: "up", latitude: -90, longitude: 180 },
  ]);
  equal(lines.length, 22);
  ok(lines.every((line) => line.length <= 72));
  const text = lines.join("\n");
  for (const mark of ["● fra", "◐ nyc", "○ tyo", "end ●"]) ok(text.includes(mark), mark);
  deepEqual(mapLines([]), []);
});

test("names give way to the marks of other sites", () => {
  const text = mapLines([
    { name: "fra", state: "up", latitude: 50, longitude: 8 },
    { name: "par", state: "up", latitude: 49, longitude: 17 },
  ]).join("\n");
  ok(text.includes("fra ●.● par"), text);
});

test("a node is shown as draining whether an operator drained it or it is being stopped", () => {
  const stateOf = (facts: object): string | undefined => {
    const lines = statusLines(origin, [heard("fra1", { ...bodyOf("fra1", "up"), ready: false, ...facts })], false);
    return /^fra1 +fra +(\S+(?: ready)?) /m.exec(lines.join("\n"))?.[1];
  };
  equal(stateOf({ presence: "ready", standing: "draining" }), "draining");
  equal(stateOf({ presence: "draining", standing: "draining" }), "draining");
  equal(stateOf({ presence: "draining", standing: "listed" }), "draining");
  equal(stateOf({ presence: "ready", standing: "absent" }), "not ready");
});
