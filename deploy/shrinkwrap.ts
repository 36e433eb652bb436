/**
 * The content of npm-shrinkwrap.json: package-lock.json without the development tools. In an installed package, npm
 * reads only a lock file of that name, so users of nearcast get the tested versions.
 */

/** One entry of `packages` (npm's package-lock.json, lockfileVersion 3), with the fields used here. */
interface LockedPackage {
  readonly dev?: boolean;
  readonly optional?: boolean;
  /** Required by development tools, and by an optional dependency as well. */
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
