/**
 * `nearcast dig`: sends one DNS query to a node's responder and prints the answer, for machines without dig and for
 * queries as if from elsewhere (`--from` sends the EDNS client subnet of RFC 7871).
 */
import { clientNetworkOf } from "#base/client-network.ts";
import { command } from "#base/command-name.ts";
import type { Command } from "commander";
import { Packet } from "dns2";
import { isIP } from "node:net";
import { type DnsServer, queryDns } from "../dns-query.ts";
import { CommandFailure, exitCodes } from "../exit-codes.ts";
import { systemReason } from "#base/system-reason.ts";
import { type CommonOptions, defaultDnsServer, type Environment, findNodes, hostPort } from "../settings.ts";
import { addVerb, type Cli, outputOf, withDataDir } from "../verb.ts";
import { parseServer } from "./zone/dns-server.ts";

type DnsRecord = Packet["answers"][number];

/** The largest answer over TCP: any record set of a node can be shown. */
const answerBytesMax = 65_535;

interface DigOptions extends CommonOptions {
  from?: string;
  server?: string;
  type: string;
  tcp?: boolean;
}

interface DigAnswer {
  server: string;
  question: { name: string; type: string };
  subnet: string | undefined;
  rcode: string;
  flags: string[];
  /** Prefix length for which the answer is valid, if the server sent one. */
  scope: number | undefined;
  answers: RecordText[];
  authority: RecordText[];
  elapsedMs: number;
}

interface RecordText {
  name: string;
  ttlSeconds: number;
  type: string;
  value: string;
}

export function addDig(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "dig <name>",
    summary: "send a DNS query to a node",
    more: "--from sends the /24 (IPv4) or /56 (IPv6) of an address as the EDNS Client Subnet, as resolvers do.",
    examples: ["dig img.cdn.test --type AAAA --from 81.2.69.160", "dig cdn.test --type NS --server 127.0.2.1:5300"],
  });
  withDataDir(verb)
    .option("--from <ip>", "address of the client, or its network such as 81.2.69.0/24")
    .option("--server <host:port>", "DNS server to ask (default: the first node in --data)")
    .option("--type <type>", "record type", "A")
    .option("--tcp", "query over TCP")
    .action(async (name: string, options: DigOptions) => {
      const output = outputOf(cli, options);
      if (!isName(name)) {
        throw new CommandFailure(exitCodes.usage, `"${name}" is not a domain name`, {
          lines: [
            "It may have up to 253 characters, and each label 1 to 63: printable ASCII without spaces and backslashes.",
            "Write an internationalised name in its xn-- form.",
          ],
        });
      }
      const type = options.type.toUpperCase();
      if (!Object.hasOwn(Packet.TYPE, type)) {
        throw new CommandFailure(
          exitCodes.usage,
          `--type: "${options.type}" is not a record type that this command knows`,
        );
      }
      const subnet = options.from === undefined ? undefined : subnetOf(options.from);
      const server =
        options.server === undefined
          ? await firstServer(options, cli.environment)
          : parseServer("--server", options.server);
      const asked = server ?? defaultDnsServer;
      const answer = await ask(cli, { name, type, subnet, server: asked, isTcp: options.tcp === true }).catch(
        (error: unknown) => {
          throw server === undefined && error instanceof CommandFailure ? noNodeHere(error) : error;
        },
      );
      output.answer(answer, () => linesOf(answer));
      // NXDOMAIN is an answer; a server that refuses or fails gave none.
      cli.end(["NOERROR", "NXDOMAIN"].includes(answer.rcode) ? exitCodes.ok : exitCodes.refused);
    });
}

/** A name that a query can hold unchanged: no empty or long label, none whose octets depend on an encoding. */
export function isName(text: string): boolean {
  const name = text.endsWith(".") ? text.slice(0, -1) : text;
  return text === "." || (name.length <= 253 && /^[!-\-/-[\]-~]{1,63}(?:\.[!-\-/-[\]-~]{1,63})*$/.test(name));
}

/** The client's network: the prefix that public resolvers send (RFC 7871 §11.1: /24, /56), or the one given. */
export function subnetOf(text: string): string {
  const [address = "", bits, ...rest] = text.split("/");
  const family = isIP(address);
  if ((family !== 4 && family !== 6) || rest.length > 0) {
    throw new CommandFailure(
      exitCodes.usage,
      `--from: "${text}" is not an IP address such as 81.2.69.160 or 2001:db8::1`,
    );
  }
  if (bits === undefined) return clientNetworkOf(address);
  if (!/^\d{1,3}$/.test(bits) || Number(bits) > (family === 4 ? 32 : 128)) {
    throw new CommandFailure(
      exitCodes.usage,
      `--from: "/${bits}" is not a prefix length from 0 to ${family === 4 ? 32 : 128}`,
    );
  }
  return text;
}

/** Undefined: no node of this machine is known. */
async function firstServer(options: CommonOptions, environment: Environment): Promise<DnsServer | undefined> {
  const nodes = await findNodes(options, environment);
  return nodes.flatMap((node) => node.dns).find(({ port }) => port !== 0);
}

function noNodeHere(error: CommandFailure): CommandFailure {
  const tried = hostPort(defaultDnsServer.host, defaultDnsServer.port);
  return new CommandFailure(error.exitCode, `no node is configured on this machine, and nothing answers at ${tried}`, {
    cause: error,
    lines: [
      `Give the node to ask: --server ADDRESS:53; \`${command} status\` lists the addresses.`,
      `To see what a client would get without a DNS query: \`${command} explain NAME --from IP\`.`,
      `For a trial on this machine: \`${command} up\` (if it runs with --data DIR, add that here).`,
    ],
  });
}

/** The meanings of the codes that are not an answer, and of NXDOMAIN (RFC 1035 §4.1.1). */
const meanings: Readonly<Record<string, string>> = {
  NXDOMAIN: "there is no such name in the zone",
  REFUSED:
    "this server has no zone for the name, or does not answer this type. It only answers for the zones in the " +
    "fleet document",
  NOTIMP: "the server does not support this kind of query or type",
  FORMERR: "the server can't read the query",
  SERVFAIL: "the server can't answer at the moment",
};

async function ask(
  cli: Cli,
  query: {
    name: string;
    type: string;
    subnet: string | undefined;
    server: DnsServer;
    isTcp: boolean;
  },
): Promise<DigAnswer> {
  const { name, type, subnet, server } = query;
  const startMs = cli.clock.monotonicMs();
  let packet: Packet;
  try {
    const number = Packet.TYPE[type as keyof typeof Packet.TYPE];
    const question = { name, type: number, isRecursive: false, ...(subnet === undefined ? {} : { subnet }) };
    packet = await queryDns(server, question, { isTcp: query.isTcp, answerBytesMax });
  } catch (error) {
    throw new CommandFailure(
      exitCodes.unreachable,
      `no answer from the DNS server at ${hostPort(server.host, server.port)}: ${systemReason(error)}`,
      {
        lines: [`Is it running? \`${command} status\` lists the nodes. To ask another one: --server ADDRESS:PORT`],
        cause: error,
      },
    );
  }
  const elapsedMs = Math.round((cli.clock.monotonicMs() - startMs) * 10) / 10;
  const opt = packet.additionals.find((record) => record.type === Packet.TYPE.EDNS);
  const ecs = opt?.rdata?.find((option) => option.ednsCode === Packet.EDNS_OPTION_CODE.ECS) as
    { scopePrefixLength: number } | undefined;
  const rcode = packet.header.rcode + 16 * (opt?.extendedRcode ?? 0);
  return {
    server: hostPort(server.host, server.port),
    question: { name, type },
    subnet,
    rcode: Object.entries(Packet.RCODE).find(([, number]) => number === rcode)?.[0] ?? `RCODE${rcode}`,
    flags: (["qr", "aa", "tc", "rd", "ra"] as const).filter((flag) => packet.header[flag] === 1),
    scope: ecs?.scopePrefixLength,
    answers: packet.answers.map(recordText),
    authority: packet.authorities.map(recordText),
    elapsedMs,
  };
}

function recordText(record: DnsRecord): RecordText {
  return { name: record.name, ttlSeconds: record.ttl, type: Packet.typeName(record.type), value: valueOf(record) };
}

/** A record's data in zone file format (RFC 1035 §5.1). */
function valueOf(record: DnsRecord): string {
  switch (Packet.typeName(record.type)) {
    case "A":
    case "AAAA":
      return record.address ?? "";
    case "NS":
      return `${record.ns ?? record.domain ?? ""}.`;
    case "CNAME":
    case "PTR":
      return `${record.domain ?? ""}.`;
    case "TXT":
      return [record.data ?? []]
        .flat()
        .map((text) => JSON.stringify(String(text)))
        .join(" ");
    case "MX":
      return `${record.priority ?? 0} ${record.exchange ?? ""}.`;
    case "SRV":
      return `${record.priority ?? 0} ${record.weight ?? 0} ${record.port ?? 0} ${record.target ?? ""}.`;
    case "CAA":
      return `${record.flags ?? 0} ${record.tag ?? ""} ${JSON.stringify(record.value ?? "")}`;
    case "SOA": {
      const { primary, admin, serial, refresh, retry, expiration, minimum } = record;
      return `${primary ?? ""}. ${admin ?? ""}. ${[serial, refresh, retry, expiration, minimum].join(" ")}`;
    }
    default:
      return Buffer.isBuffer(record.data) ? `\\# ${record.data.length} ${record.data.toString("hex")}` : "";
  }
}

/** @param scope the prefix length for which a resolver may reuse the answer (RFC 7871) */
export function scopeText(scope: number): string {
  const who = scope === 0 ? "every client gets this answer" : `all clients in the same /${scope} get this answer`;
  return `scope /${scope}: ${who}`;
}

function linesOf(answer: DigAnswer): string[] {
  const { question, subnet, scope } = answer;
  const records = (heading: string, some: readonly RecordText[]): string[] =>
    some.length === 0
      ? []
      : [`${heading}:`, ...some.map((one) => `  ${one.name}.  ${one.ttlSeconds}  IN  ${one.type}  ${one.value}`)];
  return [
    `${question.name} ${question.type} @${answer.server}: ${answer.rcode}, ` +
      `flags ${answer.flags.join(" ")}, ${answer.elapsedMs} ms`,
    ...(subnet === undefined ? [] : [`client subnet ${subnet}${scope === undefined ? "" : `, ${scopeText(scope)}`}`]),
    ...records("answer", answer.answers),
    ...records("authority", answer.authority),
    ...(meanings[answer.rcode] === undefined ? [] : [`${answer.rcode}: ${meanings[answer.rcode]}`]),
    ...(answer.rcode === "REFUSED" ? [`\`${command} explain ${question.name}\` lists the zones.`] : []),
    ...(answer.answers.length + answer.authority.length === 0 ? ["no records"] : []),
  ];
}
