/**
 * The fenced blocks of a Markdown document, for tests that run a document as it stands.
 *
 *   <!-- not run: REASON -->      in front of a block: no test runs it, and this is why
 *   ```sh WHERE …                 after the language: where it is run, as the test of that document reads it
 */

export interface Block {
  /** The nearest heading above, without its `#`s. */
  heading: string;
  /** The first word after the fence; "" where there is none. */
  language: string;
  /** The further words after the fence. */
  words: readonly string[];
  /** What stands inside, without the indentation of the fence; it ends in a line feed. */
  text: string;
  /** Why no test runs it; undefined: a test does. */
  notRun: string | undefined;
  /** Of the opening fence, from 1. */
  line: number;
}

const fence = /^( *)```([^`]*)$/;
const marker = /^ *<!-- not run: (.+) -->$/;

/** @throws Error where a fence is not closed, or a marker stands in front of no block */
export function blocksIn(markdown: string): Block[] {
  const blocks: Block[] = [];
  let heading = "";
  let notRun: string | undefined;
  const lines = markdown.split("\n");
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? "";
    const [, indent = "", info = ""] = fence.exec(line) ?? [];
    if (!fence.test(line)) {
      heading = /^#+ (.+)$/.exec(line)?.[1] ?? heading;
      const reason = marker.exec(line)?.[1];
      if (notRun !== undefined && line.trim() !== "") throw new Error(`line ${index + 1}: a marker without a block`);
      notRun = reason ?? notRun;
      continue;
    }
    const end = lines.indexOf(`${indent}\`\`\``, index + 1);
    if (end === -1) throw new Error(`line ${index + 1}: this block has no end`);
    const [language = "", ...words] = info.trim().split(/\s+/);
    const text = lines.slice(index + 1, end).map((inside) => inside.slice(indent.length));
    blocks.push({ heading, language, words, text: `${text.join("\n")}\n`, notRun, line: index + 1 });
    notRun = undefined;
    index = end;
  }
  return blocks;
}
