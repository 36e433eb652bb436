/** What the origin of the cases says. */
import type { ScriptedOrigin } from "../http/scripted-origin.ts";
import { etag, lastModified } from "./raw-case.ts";

export function tellOrigin(origin: ScriptedOrigin): void {
  const fresh = ["Cache-Control", "max-age=60"] as const;
  origin.say("/a", { fields: [fresh, ["ETag", etag], ["Last-Modified", lastModified]], body: "0123456789" });
  origin.say("/a?probe", { fields: [fresh, ["X-Probe", "1"]], body: "probe" });
}
