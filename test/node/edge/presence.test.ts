import assert from "node:assert/strict";
import { test } from "node:test";
import { presenceTold } from "../../../node/edge/presence.ts";
import { noParts, type Parts } from "../../../node/edge/parts.ts";
import { idle } from "../../../node/processes/supervisor-messages.ts";

type Standing = NonNullable<Parts["membership"]> extends { standing: () => infer Word } ? Word : never;

function told(facts: {
  presence: Parts["presence"];
  standing?: Standing;
  hasDns?: boolean;
  answers?: boolean;
  siblingAnswers?: boolean;
}): string {
  const { presence, standing = "listed", hasDns = true, answers = false, siblingAnswers = false } = facts;
  const parts = { ...noParts(), presence, membership: { standing: () => standing }, dns: { answers: () => answers } };
  return presenceTold({
    config: { dns: { addresses: hasDns ? [{ host: "127.0.0.1", port: 53 }] : [] } },
    parts,
    siblings: { total: () => ({ ...idle, answersDns: siblingAnswers }) },
  } as unknown as Parameters<typeof presenceTold>[0]);
}

test("what probes are told: ready takes HTTP and, on a node with DNS, a responder that answers", () => {
  const rows: [facts: Parameters<typeof told>[0], wanted: string][] = [
    [{ presence: "starting", answers: true }, "starting"],
    [{ presence: "ready" }, "starting"],
    [{ presence: "ready", answers: true }, "ready"],
    [{ presence: "ready", hasDns: false }, "ready"],
    // Another process of the machine answers on the ports that they share.
    [{ presence: "ready", siblingAnswers: true }, "ready"],
    [{ presence: "starting", siblingAnswers: true }, "starting"],
    [{ presence: "draining", answers: true }, "draining"],
    [{ presence: "draining" }, "draining"],
    [{ presence: "ready", standing: "draining" }, "draining"],
    [{ presence: "ready", standing: "absent", answers: true }, "draining"],
    [{ presence: "starting", standing: "draining" }, "starting"],
  ];
  for (const [facts, wanted] of rows) assert.equal(told(facts), wanted, JSON.stringify(facts));
});
