/**
 * How this command is typed on this machine, for hints that say what to type next.
 *
 *   nearcast       a `nearcast` on the PATH: `npm install -g`, deploy/install.sh, the container's
 *   npx nearcast   a checkout, or a project's own node_modules/.bin, neither of which is on the PATH
 *
 * A process can't know how it is typed on another machine. So texts that go over the network write commands as
 * `nearcast VERB`, in backticks, and the command that shows them replaces the name: asTyped().
 */
import { basename, dirname, sep } from "node:path";

/**
 * @param started the script as the process was given it, links not followed: `process.argv[1]`
 * @param isCheckout whether the TypeScript itself runs, and not what was compiled from it for an installation
 */
export function commandName(started: string | undefined, isCheckout: boolean): string {
  const byNpx = "npx nearcast";
  const byPath = "nearcast";
  if (started !== undefined && basename(started) === "nearcast") {
    return dirname(started).endsWith(`node_modules${sep}.bin`) ? byNpx : byPath;
  }
  return isCheckout ? byNpx : byPath;
}

/** Of this process. Read when the module is loaded: serve-process.ts gives the process other arguments later. */
export const command = commandName(process.argv[1], import.meta.url.endsWith(".ts"));

/** A text that may come from another machine, with its commands as people type them on this one. */
export function asTyped(text: string, name: string = command): string {
  return text.replaceAll(/`nearcast (?=[a-z])/g, `\`${name} `);
}
