/** By host: everything that these hosts of the fleet document serve. */
import { absoluteName, canonicalName } from "#record/domain-names.ts";
import { hostTag, sourceTag } from "../entry-tags.ts";
import { listShape, nothing, type PurgeKind } from "../purge-kind.ts";

export const hosts = {
  noun: "host",
  option: { name: "host", value: "name", help: "purge everything of this host; repeatable" },
  // Names that no host can have are refused: in lower case they could be too long for the event.
  ...listShape(absoluteName, { selectorsMax: 100, eventLengthMax: 253 }),
  canonical: (name) => canonicalName(name),
  // Sources have no host: an images host stands for the sources below its prefix.
  targetOf(name, hostsOfFleet) {
    const canonical = canonicalName(name);
    return {
      ...nothing,
      tags: [hostTag(canonical)],
      tagPrefixes: hostsOfFleet.flatMap((host) =>
        host.kind === "images" && canonicalName(host.name) === canonical ? [sourceTag(host.sourcePrefix)] : [],
      ),
    };
  },
  // The audit log does not know which names a host serves: it may be any of them.
  audited: (selectors) => (selectors.length === 0 ? {} : { targets: selectors, targetPrefixes: [""], fact: selectors }),
} as const satisfies PurgeKind;
