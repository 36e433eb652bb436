/** koffi, the optional package through which system calls are made that Node has no API for. */
import { createRequire } from "node:module";
import type koffiType from "koffi";

/** What to say where koffi is needed and missing. */
export const koffiMissing = "koffi, an optional dependency, can't be loaded";

/** Undefined where the package is not installed. Not by import(): callers need the answer at once. */
export function loadKoffi(): typeof koffiType | undefined {
  try {
    return createRequire(import.meta.url)("koffi") as typeof koffiType;
  } catch {
    return undefined;
  }
}
