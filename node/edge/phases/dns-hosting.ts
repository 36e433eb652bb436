/**
 * Gives the DNS responder of an edge its inputs.
 *
 *   begin() ──▶ first update ──▶ answers on every thread: answers() is true
 *                   ▲
 *   refresh() ──────┘   document, site states or kept shares changed: the old ones stay in force meanwhile
 *
 * Before begin(), nothing is sent: no name is answered before every node has been judged once. Inputs are read when
 * they are needed, so the first update includes all changes from before it.
 */
import type { NearcastError } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import type { DnsInputs, DnsPart } from "./dns-responder.ts";

export interface DnsHosting {
  /**
   * Resolves when names are answered, which may be never if the document can't be compiled and no other one follows; at
   * once on a node without a responder.
   * @throws NearcastError CANNOT_LISTEN if shared ports can't be bound
   */
  begin: () => Promise<void>;
  refresh: () => void;
  setSoonestChanges: DnsPart["setSoonestChanges"];
  setSecrets: DnsPart["setCookieSecrets"];
  part: () => DnsPart | undefined;
  /** Whether names are answered: the first update is in force. */
  answers: () => boolean;
  /** Version of the fleet document that DNS answers are based on; 0 before the first. */
  version: () => number;
  status: () => Record<string, unknown> | null;
  close: () => Promise<void>;
}

export function openDnsHosting(deps: {
  /** Undefined: this node answers no DNS. */
  part: DnsPart | undefined;
  /** Null while there is no fleet document. */
  inputs: () => DnsInputs | null;
  soonestChangesMs: () => ReadonlyMap<string, number>;
  secrets: () => readonly Uint8Array[];
  log: Log;
}): DnsHosting {
  const { part, inputs, soonestChangesMs, secrets, log } = deps;
  let version = 0;
  /** Updates that were begun; the last of them that is in force. */
  let begun = 0;
  let inForce = 0;
  let hasBegun = false;
  let isClosed = false;
  const first = Promise.withResolvers<void>();

  async function update(started: DnsPart, taken: DnsInputs): Promise<void> {
    const number = (begun += 1);
    await started.update(taken);
    inForce = Math.max(inForce, number);
    version = taken.version;
    first.resolve();
  }

  function refresh(): void {
    const taken = inputs();
    if (part === undefined || taken === null || !hasBegun || isClosed) return;
    update(part, taken).catch((error: unknown) => {
      // After a stop nobody waits for the update.
      if (isClosed) return;
      // The first update binds shared ports; without them the start can't continue.
      if (version === 0 && (error as NearcastError).code === "CANNOT_LISTEN") {
        first.reject(error);
        return;
      }
      log.error(
        { version: taken.version, reason: (error as Error).message },
        version === 0 ? "DNS does not answer yet" : "DNS keeps answering as before",
      );
    });
  }

  return {
    async begin() {
      if (part === undefined || isClosed) return;
      hasBegun = true;
      part.setCookieSecrets(secrets());
      part.setSoonestChanges(soonestChangesMs());
      refresh();
      await first.promise;
      log.info({ addresses: part.addresses(), geo: part.geo(), threads: part.threads() }, "DNS answers");
    },
    refresh,
    setSoonestChanges: (msBySite) => part?.setSoonestChanges(msBySite),
    setSecrets: (fleetSecrets) => part?.setCookieSecrets(fleetSecrets),
    part: () => part,
    answers: () => version > 0,
    version: () => version,
    status() {
      if (part === undefined) return null;
      const [addresses, threads, connections] = [part.addresses(), part.threads(), part.connections()];
      // False while answers are still based on an older document, or on older states of sites.
      const isCurrent = begun > 0 && inForce === begun;
      return { version, isCurrent, geo: part.geo(), addresses, threads, connections, ...part.stats() };
    },
    async close() {
      isClosed = true;
      await part?.close();
    },
  };
}
