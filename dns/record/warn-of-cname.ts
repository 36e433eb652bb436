/** A warning that several record types share. */
import type { Surroundings } from "./record-type.ts";

/** For types whose target must have addresses (RFC 2181 §10.3, RFC 2782); clients may refuse a CNAME there. */
export function warnOfCname(type: string, target: string, around: Surroundings): void {
  if (target === ".") return;
  const name = around.whole(target);
  if (around.isCname(name))
    around.warn({
      path: around.at(),
      message: `the ${type} target ${name} of ${around.owner} is a CNAME: some clients refuse it`,
    });
}
