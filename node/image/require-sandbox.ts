/** The setting `decoders.sandbox`: what edge and origin do at their start where decoders must be sandboxed. */
import { ConfigError } from "#base/read-config.ts";
import type { DecoderPool } from "./pool.ts";

export const sandboxModes = ["auto", "required"] as const;
export type SandboxMode = (typeof sandboxModes)[number];

/** @throws ConfigError unless decoders can work in the sandbox, or the setting lets them work without */
export async function requireSandbox(mode: SandboxMode, decoders: Pick<DecoderPool, "ready">): Promise<void> {
  if (mode !== "required") return;
  try {
    await decoders.ready();
  } catch (error) {
    throw new ConfigError("the configuration", [
      {
        path: "decoders.sandbox",
        message:
          `is \`required\`, but no decoder works here: ${(error as Error).message}. ` +
          "Put that right, or set it to `auto`, with which a fault in a picture library reaches what this user reaches",
      },
    ]);
  }
}
