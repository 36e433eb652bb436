/** The JSON of the API as schemas, and the conversion of the catalogue's values. */
import { Type, type Static } from "typebox";
import { dangerKinds } from "#review/dangers.ts";
import { changeKinds } from "#review/diff.ts";
import { pictureTypes, type PictureType } from "#base/picture-facts.ts";
import type { BlobFacts, FleetVersion, Version, VersionReason } from "../catalogue/catalogue.ts";

const word = <const Word extends string>(words: readonly Word[], description: string) =>
  Type.Unsafe<Word>({ type: "string", enum: [...words], description });

const time = Type.String({ description: "ISO 8601, UTC, such as 2026-03-01T12:00:00.000Z" });
const versionNumber = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });

const blobFields = {
  sha256: Type.String({ description: "SHA-256 of the bytes, 64 hexadecimal digits; also the ETag" }),
  sizeBytes: Type.Integer(),
  type: word<PictureType>(pictureTypes, "what the bytes are"),
  width: Type.Integer({ description: "px, as shown (after the EXIF orientation)" }),
  height: Type.Integer({ description: "px, as shown" }),
  frames: Type.Integer({ description: "1 for a still picture" }),
  hasAlpha: Type.Boolean(),
  scans: Type.Optional(
    Type.Integer({
      description: "scans of a JPEG: above 1 for a progressive one; absent: uploaded before they were counted",
    }),
  ),
};

const authored = { author: Type.String(), createdAt: time };

export const storedImage = Type.Object({
  name: Type.String(),
  version: versionNumber,
  ...blobFields,
  ...authored,
  deduplicated: Type.Boolean({ description: "these bytes were already stored, under any name" }),
  unchanged: Type.Boolean({ description: "the name already had these bytes, so there is no new version" }),
  repaired: Type.Boolean({ description: "the stored bytes were missing or damaged and have been replaced" }),
});

export const deletedImage = Type.Object({ name: Type.String(), version: versionNumber, ...authored });

export const rolledBackImage = Type.Object({
  name: Type.String(),
  version: versionNumber,
  fromVersion: Type.Optional(versionNumber),
  ...blobFields,
  ...authored,
  unchanged: Type.Boolean({ description: "the name already has these bytes, so there is no new version" }),
});

export const imageList = Type.Object({
  images: Type.Array(Type.Object({ name: Type.String(), version: versionNumber, ...blobFields, ...authored })),
  cursor: Type.Optional(Type.String({ description: "for the next page; absent on the last" })),
});

export const imageVersions = Type.Object({
  name: Type.String(),
  versions: Type.Array(
    Type.Object({
      version: versionNumber,
      reason: word<VersionReason>(["put", "delete", "rollback"], "how it came about"),
      fromVersion: Type.Optional(versionNumber),
      ...authored,
      ...(Object.fromEntries(Object.entries(blobFields).map(([key, field]) => [key, Type.Optional(field)])) as {
        [Key in keyof typeof blobFields]: ReturnType<typeof Type.Optional<(typeof blobFields)[Key]>>;
      }),
    }),
    { description: "newest first; a deletion has no bytes" },
  ),
});

export const fleetVersion = Type.Object({
  version: versionNumber,
  ...authored,
  summary: Type.String({ description: "changes since the previous version" }),
  fromVersion: Type.Optional(versionNumber),
});

export const fleetText = Type.Object({ ...fleetVersion.properties, text: Type.String({ description: "YAML" }) });

export const publishedFleet = Type.Object({
  ...fleetVersion.properties,
  unchanged: Type.Boolean({ description: "this is already the newest text, so there is no new version" }),
});

export const publishQuery = Type.Object(
  {
    dryRun: Type.Optional(Type.Boolean({ description: "report the changes without publishing" })),
    force: Type.Optional(Type.Boolean({ description: "publish even if it takes down zones, sites or hosts in use" })),
  },
  { additionalProperties: false },
);

export const fleetReview = Type.Object({
  dryRun: Type.Literal(true),
  version: Type.Optional({ ...versionNumber, description: "the newest version, which the document was compared with" }),
  unchanged: Type.Boolean({ description: "the newest version has the same text" }),
  additive: Type.Boolean({ description: "nothing is removed or changed, only added" }),
  changes: Type.Array(
    Type.Object({
      kind: word(changeKinds, "what happens to it"),
      what: Type.String({ description: "such as site, node, zone, records, host" }),
      name: Type.String(),
      detail: Type.String({ description: "the difference, or the new value" }),
    }),
    { description: "the first ones" },
  ),
  changeCount: Type.Integer(),
  dangers: Type.Array(
    Type.Object({
      kind: word(dangerKinds, "what would be taken down"),
      name: Type.String(),
      message: Type.String(),
    }),
    { description: "the first ones; if there are any, only force=true publishes" },
  ),
  dangerCount: Type.Integer(),
});

export const fleetVersionList = Type.Object({ versions: Type.Array(fleetVersion, { description: "newest first" }) });

export const versionQuery = Type.Object({ version: Type.Optional(versionNumber) }, { additionalProperties: false });
export const rollbackFleetBody = Type.Object(
  { version: Type.Optional(versionNumber) },
  { additionalProperties: false },
);
export const rollbackImageBody = Type.Object(
  { name: Type.String({ minLength: 1, maxLength: 500 }), version: Type.Optional(versionNumber) },
  { additionalProperties: false },
);

export function blobShape(blob: BlobFacts) {
  const { sha256, sizeBytes, type, width, height, frames, hasAlpha, scans } = blob;
  return { sha256, sizeBytes, type, width, height, frames, hasAlpha, ...(scans === undefined ? {} : { scans }) };
}

export function authoredShape(facts: { author: string; createdMs: number }) {
  return { author: facts.author, createdAt: new Date(facts.createdMs).toISOString() };
}

export function fromShape(facts: { fromVersion: number | undefined }) {
  return facts.fromVersion === undefined ? {} : { fromVersion: facts.fromVersion };
}

export function versionShape(version: Version): Static<typeof imageVersions>["versions"][number] {
  return {
    version: version.version,
    reason: version.reason,
    ...fromShape(version),
    ...authoredShape(version),
    ...(version.blob === undefined ? {} : blobShape(version.blob)),
  };
}

export function fleetShape(fleet: FleetVersion): Static<typeof fleetVersion> {
  return { version: fleet.version, ...authoredShape(fleet), summary: fleet.summary, ...fromShape(fleet) };
}
