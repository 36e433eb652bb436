/**
 * Is a zone delegated as it should be? Asked from outside, the way a resolver goes:
 *
 *   resolver ──NS of each name above the zone──▶ the parent zone and its nameservers
 *   parent's nameservers ──NS and DS of the zone──▶ what is missing, extra, or signed
 *   the zone's nameservers ──SOA of the zone──▶ who does not answer, or not with authority (lame)
 */
import { canonicalAddress } from "#base/ip-text.ts";
import { type AskDns, type DnsReply, type DnsServer, rcodes } from "./ask-dns.ts";
import type { Delegation } from "./wanted-delegation.ts";

export interface Finding {
  readonly kind: "missing" | "extra" | "lame" | "signed";
  readonly text: string;
}

export interface CheckedDelegation {
  /** Undefined: it could not be found or asked. */
  readonly parent: { readonly zone: string; readonly servers: readonly string[] } | undefined;
  /** Why the parent was not asked; undefined: it was. */
  readonly problem: string | undefined;
  readonly findings: readonly Finding[];
}

/** A parent has up to 13 nameservers; that many agree, or one of them shows it. */
const parentServersMax = 4;

interface Asking {
  readonly ask: AskDns;
  readonly resolver: DnsServer;
  /** Where nameservers answer: 53, but for tests. */
  readonly port: number;
}

export async function checkDelegation(wanted: Delegation, asking: Asking): Promise<CheckedDelegation> {
  const [above, lame] = await Promise.all([askParent(wanted, asking), lameServers(wanted, asking)]);
  return { ...above, findings: [...above.findings, ...lame] };
}

async function askParent(wanted: Delegation, asking: Asking): Promise<CheckedDelegation> {
  const unasked = (problem: string): CheckedDelegation => ({ parent: undefined, problem, findings: [] });
  let parent: { zone: string; servers: string[] } | undefined;
  try {
    parent = await findParent(wanted.zone, asking);
  } catch (error) {
    const { host, port } = asking.resolver;
    return unasked(`the resolver ${host} port ${port} does not answer: ${(error as Error).message}`);
  }
  if (parent === undefined) return unasked(`the resolver ${asking.resolver.host} finds no zone above ${wanted.zone}`);
  const replies: { server: string; referral: DnsReply; signed: DnsReply | undefined }[] = [];
  await Promise.all(
    parent.servers.slice(0, parentServersMax).map(async (server) => {
      const [host] = await addressesOf(server, asking);
      if (host === undefined) return;
      const at = { host, port: asking.port };
      const referral = await replyOf(asking.ask(at, { name: wanted.zone, type: "NS", isRecursive: false }));
      const signed = await replyOf(asking.ask(at, { name: wanted.zone, type: "DS", isRecursive: false }));
      if (referral !== undefined) replies.push({ server, referral, signed });
    }),
  );
  if (replies.length === 0) return unasked(`no nameserver of the parent zone ${parent.zone} answers`);
  const servers = replies.map(({ server }) => server).toSorted();
  const found = replies.flatMap(({ server, referral, signed }) =>
    [...compare(wanted, referral), ...signs(wanted, signed)].map((finding) => ({ server, finding })),
  );
  return { parent: { zone: parent.zone, servers }, problem: undefined, findings: joined(found, replies.length) };
}

/** One finding for all servers that show it; where not all do, it names them. */
function joined(found: readonly { server: string; finding: Finding }[], count: number): Finding[] {
  return [...Map.groupBy(found, ({ finding }) => finding.text).values()].flatMap((alike) => {
    const [first] = alike;
    if (first === undefined) return [];
    const { kind, text } = first.finding;
    const where = alike.map(({ server }) => server).toSorted();
    return [{ kind, text: where.length === count ? text : `${text} (at ${where.join(", ")})` }];
  });
}

/** The nearest name above that is a zone. @throws Error when the resolver does not answer */
async function findParent(
  zone: string,
  { ask, resolver }: Asking,
): Promise<{ zone: string; servers: string[] } | undefined> {
  const labels = zone.split(".");
  for (let depth = 1; depth <= labels.length; depth++) {
    const name = labels.slice(depth).join(".");
    const reply = await ask(resolver, { name, type: "NS", isRecursive: true });
    const servers = reply.nameservers.filter(({ owner }) => owner === name).map(({ target }) => target);
    if (reply.rcode === rcodes.noError && servers.length > 0) return { zone: name === "" ? "." : name, servers };
  }
  return undefined;
}

/** IPv4 first, since every machine has it. */
async function addressesOf(server: string, { ask, resolver }: Asking): Promise<string[]> {
  for (const type of ["A", "AAAA"] as const) {
    const reply = await replyOf(ask(resolver, { name: server, type, isRecursive: true }));
    const found = (reply?.addresses ?? []).map(({ address }) => address);
    if (found.length > 0) return found;
  }
  return [];
}

function compare({ zone, nameservers }: Delegation, reply: DnsReply): Finding[] {
  const there = new Set(reply.nameservers.filter(({ owner }) => owner === zone).map(({ target }) => target));
  if (there.size === 0) return [{ kind: "missing", text: `the parent has no NS records for ${zone}` }];
  const findings: Finding[] = [];
  const wanted = new Map(nameservers.map((server) => [server.name, server]));
  for (const name of wanted.keys()) {
    if (!there.has(name)) findings.push({ kind: "missing", text: `NS ${name}` });
  }
  for (const name of there) {
    if (!wanted.has(name)) findings.push({ kind: "extra", text: `NS ${name} is not in the fleet document` });
  }
  // A server that also answers for the zone itself sends no referral, so its glue can't be seen.
  if (reply.isAuthoritative) return findings;
  for (const { name, isInside, addresses } of nameservers) {
    if (!isInside || !there.has(name)) continue;
    const expected = new Set(addresses.map((address) => canonicalAddress(address)));
    const glue = new Set(reply.addresses.filter(({ owner }) => owner === name).map(({ address }) => address));
    for (const address of expected) {
      if (!glue.has(address)) findings.push({ kind: "missing", text: `glue ${name} ${address}` });
    }
    for (const address of glue) {
      if (!expected.has(address)) {
        findings.push({ kind: "extra", text: `glue ${name} ${address} is not in the fleet document` });
      }
    }
  }
  return findings;
}

function signs({ zone }: Delegation, reply: DnsReply | undefined): Finding[] {
  if (reply?.hasDs !== true) return [];
  const text = `the parent has a DS record for ${zone}, which is not signed: validating resolvers reject its answers`;
  return [{ kind: "signed", text }];
}

async function lameServers(wanted: Delegation, asking: Asking): Promise<Finding[]> {
  const findings = wanted.nameservers.map(async ({ name, isInside, addresses }): Promise<Finding[]> => {
    const hosts = isInside ? addresses : await addressesOf(name, asking);
    if (hosts.length === 0) return [{ kind: "lame", text: `${name} has no address` }];
    const each = hosts.map(async (host): Promise<Finding[]> => {
      const question = { name: wanted.zone, type: "SOA", isRecursive: false } as const;
      const reply = await asking.ask({ host, port: asking.port }, question).catch((error: Error) => error);
      if (reply instanceof Error) {
        if (isFamilyMissing(reply)) return [];
        return [{ kind: "lame", text: `${name} (${host}) does not answer` }];
      }
      const answers = reply.rcode === rcodes.noError && reply.answerTypes.includes("SOA");
      if (answers && reply.isAuthoritative) return [];
      return [{ kind: "lame", text: `${name} (${host}) does not answer for ${wanted.zone} with authority` }];
    });
    return (await Promise.all(each)).flat();
  });
  return (await Promise.all(findings)).flat();
}

/** This machine has no IPv6 (or IPv4): that says nothing of the server. */
function isFamilyMissing(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENETUNREACH" || code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT";
}

async function replyOf(asked: Promise<DnsReply>): Promise<DnsReply | undefined> {
  try {
    return await asked;
  } catch {
    // No answer is an outcome here: the caller says which server is silent.
    return undefined;
  }
}
