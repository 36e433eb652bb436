/** A process that holds a lease (test/node/announce/lease-holder.ts), for as long as a test. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import type { LeaseOptions } from "../../node/announce/lease-holding.ts";
import type { LeaseState } from "../../node/announce/lease-state.ts";
import type { Bird } from "./bird.ts";

const holderMain = new URL("../node/announce/lease-holder.ts", import.meta.url).pathname;
/** What a holder announces unless it is told otherwise. */
export const prefixes = ["192.0.2.0/24", "2001:db8:53::/48"];

export interface Holder {
  state: () => LeaseState;
  /** Each state that it has told, oldest first. */
  told: () => readonly LeaseState[];
  log: () => string;
  /** One order, as lease-holder.ts knows them. */
  say: (order: string) => void;
  signal: (signal: NodeJS.Signals) => void;
  ended: Promise<unknown>;
}

interface HolderSettings {
  prefixes?: readonly string[];
  processIndex?: number;
  damping?: LeaseOptions["damping"];
  shutdownMs?: number;
  as?: number;
  keyFile?: string;
}

/** A process that holds a lease; without settings its first right answer is enough. */
export function startHolder(t: TestContext, bird: Bird, settings: HolderSettings = {}): Holder {
  const { shutdownMs = 0, keyFile, ...rest } = settings;
  const options = {
    announce: {
      neighbor: { host: bird.host, port: bird.port },
      source: bird.edge,
      holdSeconds: 3,
      nextHops: ["10.9.9.9", "2001:db8::9"],
      shutdownMs,
      ...(keyFile === undefined ? {} : { keyFile }),
    },
    as: 64_500,
    prefixes,
    damping: { upMs: 0, rightsMin: 1 },
    processIndex: 0,
    ...rest,
  };
  const child = spawn(process.execPath, [holderMain, JSON.stringify(options)], { stdio: ["pipe", "pipe", "pipe"] });
  const told: LeaseState[] = [];
  let log = "";
  createInterface({ input: child.stdout }).on("line", (line) => {
    told.push(JSON.parse(line) as LeaseState);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  child.stdin.on("error", () => undefined); // it was killed
  const ended = once(child, "exit");
  t.after(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return {
    state() {
      const last = told.at(-1);
      assert.ok(last !== undefined, `it has told nothing yet: ${log}`);
      return last;
    },
    told: () => told,
    log: () => log,
    say: (order) => child.stdin.write(`${order}\n`),
    signal: (signal) => child.kill(signal),
    ended,
  };
}
