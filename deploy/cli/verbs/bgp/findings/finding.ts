/** One result of `nearcast bgp check`, with advice. */
export type Level = "ok" | "warn" | "fail";

export interface Finding {
  readonly level: Level;
  readonly about:
    "plan" | "prefixes" | "addresses" | "kernel" | "dns" | "http" | "bird" | "guard" | "lease" | "routers";
  readonly what: string;
  /** A command, or the place to check. */
  readonly mend?: string;
}
