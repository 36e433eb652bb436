/** The fleet secret, the next edge token, and the channel through which the origin asks this node. */
import { fleetSchema } from "#document/document.ts";
import { vocabularyOf } from "#document/vocabulary.ts";
import { adminTargetOf } from "#follow/channel/admin-target.ts";
import { createSeals } from "#follow/channel/seal.ts";
import { openOriginChannel, type OriginChannel, type PlainAnswer } from "../../fetch/channel.ts";
import { followNextToken, type NextToken } from "../../fetch/next-token.ts";
import { followSecrets, type SecretFollower } from "../../fetch/secrets.ts";
import type { DataDirectory } from "./data-directory.ts";
import { feedSeq, fleetVersion, type Parts, secretsChanged } from "../parts.ts";
import { presenceTold } from "../presence.ts";
import type { EdgeSetup } from "../setup.ts";
import type { Upstreams } from "./upstreams.ts";

export interface OriginLink {
  secrets: SecretFollower;
  nextToken: NextToken;
  channel: OriginChannel;
}

export async function openOriginLink(
  setup: EdgeSetup,
  { memory, tokenFile }: DataDirectory,
  { origin }: Upstreams,
): Promise<OriginLink> {
  const { config, process, release, lifecycle, parts, clock, log } = setup;
  const secrets = followSecrets({
    known: await memory.loadSecrets(),
    ask: origin.secrets,
    store: memory.storeSecrets,
    changed: (fresh) => {
      secretsChanged(parts, fresh);
    },
    clock,
    log,
  });
  parts.secrets = secrets;
  lifecycle.defer("fleet secret", secrets.close);
  const nextToken = followNextToken({ file: tokenFile, ask: origin.nextToken, clock, log });
  lifecycle.defer("next token", nextToken.close);
  const channel = openOriginChannel({
    introduction: () => ({
      node: config.node,
      site: config.site,
      process: process.index,
      processes: process.count,
      release,
      understands: vocabularyOf(fleetSchema),
    }),
    presence: () => ({ state: presenceTold(setup), fleetVersion: fleetVersion(parts), feedSeq: feedSeq(parts) }),
    // The same answers as the admin listener's, so that both ways agree.
    answer: (question, isBrief) => askAdmin(parts, adminTargetOf(question, isBrief)),
    tell: origin.tell,
    seals: createSeals(secrets.secrets),
    clock,
    log,
  });
  parts.channel = channel;
  lifecycle.defer("origin channel", channel.close);
  return { secrets, nextToken, channel };
}

async function askAdmin({ adminApp }: Parts, url: string): Promise<PlainAnswer> {
  if (adminApp === null) throw new Error("the admin application is not there yet");
  const { statusCode, payload } = await adminApp.inject({ method: "GET", url });
  return { status: statusCode, json: payload };
}
