/** The release that runs here, as package.json has it. */
import { readFileSync } from "node:fs";

const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version?: string };

/** Such as `1.4.0`; empty where the manifest does not say. */
export const release = manifest.version ?? "";
