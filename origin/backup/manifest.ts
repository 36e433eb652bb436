/**
 * A backup of an origin is a folder:
 *
 *   backup.json              the files of the backup, with hashes; written last: an interrupted backup changes nothing
 *   catalogue-TIME.sqlite    a snapshot of the catalogue
 *   secrets/NAME-HASH        tokens and the fleet secret; another content is another file, so a backup that stops
 *                            half-way keeps those of the previous one
 *   blobs/ab/abcdef…         every blob that a version in the snapshot refers to, by its SHA-256
 *
 * Folder and files are readable only by their owner: whoever has the secrets can do everything.
 */
import { join } from "node:path";
import { Type, type Static } from "typebox";
import { readJson, writeAtomic } from "#base/atomic-file.ts";
import { NearcastError } from "#base/errors.ts";
import { check } from "#base/schema.ts";

const manifestName = "backup.json";
export const folderMode = 0o700;
export const fileMode = 0o600;

const sha256 = Type.String({ pattern: "^[0-9a-f]{64}$" });
/** A name in the folder itself, never a path outside it. */
const fileNamePattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$";
const fileName = Type.String({ pattern: fileNamePattern });
const hashedFile = Type.Object({
  name: fileName,
  sizeBytes: Type.Integer({ minimum: 0 }),
  sha256,
});

const manifestSchema = Type.Object({
  format: Type.Literal(1),
  createdAt: Type.String({ maxLength: 30 }),
  originId: Type.String({ maxLength: 100 }),
  latestSeq: Type.Integer({ minimum: 0 }),
  catalogue: hashedFile,
  /** `file`: its name in the backup; absent in backups of an older release: `name`. */
  secrets: Type.Array(Type.Object({ ...hashedFile.properties, file: Type.Optional(fileName) }), { maxItems: 100 }),
  blobs: Type.Object({ count: Type.Integer({ minimum: 0 }), sizeBytes: Type.Integer({ minimum: 0 }) }),
  /** Blobs that were missing or damaged at the origin. */
  missing: Type.Array(sha256, { maxItems: 1_000_000 }),
});
export type Manifest = Static<typeof manifestSchema>;

/**
 * Undefined: there is none.
 * @param whenDamaged what to do about a manifest that is not JSON
 * @throws NearcastError INTERNAL for one that can't be read
 */
export async function readManifest(
  folder: string,
  whenDamaged = "delete it; the next backup writes a new one",
): Promise<Manifest | undefined> {
  const path = join(folder, manifestName);
  const value = await readJson(path).catch((error: unknown) => {
    if (!(error instanceof SyntaxError)) throw error;
    throw new NearcastError("INTERNAL", `${path} is damaged: ${whenDamaged}`);
  });
  if (value === undefined) return undefined;
  return checked(path, value);
}

/**
 * Writes nothing that readManifest() would refuse: such a backup would look complete but could not be restored.
 * @throws NearcastError INTERNAL
 */
export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  const path = join(folder, manifestName);
  const text = `${JSON.stringify(checked(path, manifest), null, 2)}\n`;
  await writeAtomic(path, text, { mode: fileMode, durable: true });
}

function checked(path: string, value: unknown): Manifest {
  const result = check(manifestSchema, value);
  if (result.ok) return result.value;
  const [problem] = result.problems;
  throw new NearcastError("INTERNAL", `${path} is not the manifest of a backup: ${problem?.path} ${problem?.message}`);
}

/** Whether a file of this name can be part of a backup. */
export function isFileName(name: string): boolean {
  return new RegExp(fileNamePattern).test(name);
}

export const blobPath = (folder: string, hash: string): string => join(folder, "blobs", hash.slice(0, 2), hash);

export const secretPath = (folder: string, { name, file }: Manifest["secrets"][number]): string =>
  join(folder, "secrets", file ?? name);
