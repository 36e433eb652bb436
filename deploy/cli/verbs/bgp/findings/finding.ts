/** One thing that `nearcast bgp check` found, and what to do about it. */
export type Level = "ok" | "warn" | "fail";

export interface Finding {
  readonly level: Level;
  readonly about:
    "plan" | "prefixes" | "addresses" | "kernel" | "dns" | "http" | "bird" | "guard" | "lease" | "routers";
  readonly what: string;
  /** A command, or the place to look at. */
  readonly mend?: string;
}
