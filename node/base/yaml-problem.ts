/** Describes the error in text that is not YAML: the parser's own messages are in terms of its grammar. Pure. */
import type { ErrorCode, YAMLParseError } from "yaml";

const words: Partial<Record<ErrorCode, string>> = {
  BAD_DQ_ESCAPE: "double quotes contain an invalid backslash escape",
  BAD_INDENT: "the indentation does not match the lines above, or a bracket is not closed",
  BAD_SCALAR_START: "a value starts with a character that requires quotes",
  BLOCK_AS_IMPLICIT_KEY:
    "a line contains a second `key: value`, or its indentation does not match the lines above; start a new line, " +
    "quote a value with a colon, or correct the indentation",
  MISSING_CHAR: "a colon is missing after a key, or a quote or bracket is not closed",
  MULTILINE_IMPLICIT_KEY: "a line without a colon stands where `key: value` is expected",
  MULTIPLE_DOCS: "the file contains several YAML documents; only one is allowed",
  TAB_AS_INDENT: "a tab is used for indentation; use spaces",
  UNEXPECTED_TOKEN: "a character is out of place",
};

export function yamlProblem({ code, message }: Pick<YAMLParseError, "code" | "message">): string {
  return words[code] ?? message;
}
