/**
 * What npm-shrinkwrap.json says: package-lock.json without the tools of development. npm reads a lock file of that name
 * in an installed package, and of no other, so whoever installs nearcast gets the versions that were tested.
 */

/** One entry of `packages` (npm's package-lock.json, lockfileVersion 3), as far as it matters here. */
interface LockedPackage {
  readonly dev?: boolean;
  readonly optional?: boolean;
  /** Wanted by tools, and by an optional dependency as well. */
  readonly devOptional?: boolean;
  readonly devDependencies?: unknown;
}

export interface Lock {
  /** By path below the package, such as `node_modules/sharp`; `""` is the package itself. */
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

export function shrinkwrapOf<Whole extends Lock>(lock: Whole): Whole {
  const kept = Object.entries(lock.packages).filter(([, { dev }]) => dev !== true);
  return { ...lock, packages: Object.fromEntries(kept.map(([path, locked]) => [path, withoutTools(locked)])) };
}

function withoutTools(locked: LockedPackage): LockedPackage {
  const { devOptional, devDependencies: _, ...rest } = locked;
  return devOptional === true ? { ...rest, optional: true } : rest;
}
