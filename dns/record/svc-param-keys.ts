/**
 * The table of SvcParamKeys by name (RFC 9460 §14.3.2, RFC 9461 §5, RFC 9540 §4). It imports no schemas, so the threads
 * that answer queries can load it cheaply.
 */
export const svcParamKeys = {
  mandatory: 0,
  alpn: 1,
  "no-default-alpn": 2,
  port: 3,
  ipv4hint: 4,
  ech: 5,
  ipv6hint: 6,
  dohpath: 7,
  ohttp: 8,
} as const;

/** Reserved by RFC 9460 §14.3.2: no parameter may use it. */
export const invalidSvcParamKey = 65_535;

const numbersByName = new Map<string, number>(Object.entries(svcParamKeys));

/** The number of `alpn`, `dohpath` or `key65333`; undefined when the text is not a key. */
export function svcParamKeyFrom(text: string): number | undefined {
  const known = numbersByName.get(text);
  if (known !== undefined) return known;
  const digits = /^key(0|[1-9]\d{0,4})$/.exec(text)?.[1];
  return digits !== undefined && Number(digits) < invalidSvcParamKey ? Number(digits) : undefined;
}

/** The keys in the order of `mandatory` (RFC 9460 §8): ascending, each once. */
export function inMandatoryOrder(numbers: readonly number[]): number[] {
  return [...new Set(numbers)].toSorted((a, b) => a - b);
}
