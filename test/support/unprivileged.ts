/** Work without root's rights over files, for tests of what may not be read or written. */

/** While it runs, this whole process has the rights of `nobody`; a user who is not root keeps his own. */
export async function unprivileged<Result>(work: () => Promise<Result>): Promise<Result> {
  if (process.geteuid?.() !== 0) return await work();
  process.seteuid?.(65_534);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
  }
}
