/** Loads koffi, the optional package for system calls that Node has no API for. */
import { createRequire } from "node:module";
import type koffiType from "koffi";

/** The message where koffi is needed but missing. */
export const koffiMissing = "koffi, an optional dependency, can't be loaded";

/** Undefined if the package is not installed. Does not use import(), because callers need the result at once. */
export function loadKoffi(): typeof koffiType | undefined {
  try {
    return createRequire(import.meta.url)("koffi") as typeof koffiType;
  } catch {
    return undefined;
  }
}
