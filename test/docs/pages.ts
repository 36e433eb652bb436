/** The pages of the documentation, as the tests in this folder read them. */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));

export interface Page {
  /** From the top of the repository: `deploy/docs/limits.md`. */
  path: string;
  text: string;
  lines: readonly string[];
}

export async function documentationPages(): Promise<Page[]> {
  const folder = "deploy/docs";
  const ofFolder = (await readdir(join(root, folder))).filter((name) => name.endsWith(".md"));
  const single = [
    "README.md",
    "node/README.md",
    "dns/README.md",
    "origin/README.md",
    "bench/README.md",
    "bench/peers.md",
  ];
  const paths = [...single, ...ofFolder.toSorted().map((name) => `${folder}/${name}`)];
  const there = paths.filter((path) => existsSync(join(root, path)));
  return await Promise.all(
    there.map(async (path) => {
      const text = await readFile(join(root, path), "utf8");
      return { path, text, lines: text.split("\n") };
    }),
  );
}

/** A page without its fenced blocks: links, headings and spans of code stand in what is left. */
export function proseOf(page: Page): string {
  return page.text.replaceAll(/^( *)```[\s\S]*?^\1```$/gm, "");
}

/** Spans of code of a page. */
export function spansOf(page: Page): string[] {
  return [...proseOf(page).matchAll(/`([^`\n]+)`/g)].map(([, span = ""]) => span);
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchorsOf(page: Page): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ""] of proseOf(page).matchAll(/^#{1,6} (.+)$/gm)) {
    const words = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").replaceAll(/[`*]/g, "");
    const slug = words
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-");
    let anchor = slug;
    for (let count = 1; anchors.has(anchor); count++) anchor = `${slug}-${count}`;
    anchors.add(anchor);
  }
  return anchors;
}
