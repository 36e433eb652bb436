/** Visitors of the fleet (traffic.ts) for as long as a chapter lasts. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Network } from "./network.ts";
import type { TrafficPlan, TrafficReport } from "./traffic.ts";

const trafficScript = fileURLToPath(new URL("traffic.ts", import.meta.url));

export interface Visitors {
  /** They stop asking, and tell what they got. */
  leave: () => Promise<TrafficReport>;
}

/** Lets visitors ask, from the internet of `network`. They end with this process. */
export function visitorsOf({ pid }: Network, plan: TrafficPlan): Visitors {
  const words = ["--target", String(pid), "--net", "--", process.execPath, trafficScript, JSON.stringify(plan)];
  const child = spawn("nsenter", words, { stdio: ["pipe", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const gone = once(child, "close");
  return {
    async leave() {
      child.stdin.end();
      await gone;
      return JSON.parse(output) as TrafficReport;
    },
  };
}
