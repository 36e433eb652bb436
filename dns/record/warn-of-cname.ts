/** A rule that several types share. */
import type { Surroundings } from "./record-type.ts";

/** For types whose target must be a name with addresses of its own: resolvers may refuse to go on at a CNAME. */
export function warnOfCname(type: string, target: string, around: Surroundings): void {
  if (target === ".") return;
  const name = around.whole(target);
  if (around.isCname(name)) around.warn({ path: around.at(), message: `${around.owner} ${type}: ${name} is a CNAME` });
}
