/**
 * A first-in-first-out queue of keys with a value each, from which any key can be removed at once. A Map alone has the
 * same order, but finding its oldest key takes longer and longer while keys are removed at the front.
 */
export interface KeyQueue<Value> {
  size: () => number;
  get: (key: string) => Value | undefined;
  /** Puts a key that is not in the queue at its end. */
  push: (key: string, value: Value) => void;
  /** Returns whether it was in the queue. */
  remove: (key: string) => boolean;
  oldest: () => { key: string; value: Value } | undefined;
}

interface Node<Value> {
  key: string;
  value: Value;
  older: Node<Value> | undefined;
  newer: Node<Value> | undefined;
}

export function createKeyQueue<Value>(): KeyQueue<Value> {
  const nodes = new Map<string, Node<Value>>();
  let oldest: Node<Value> | undefined;
  let newest: Node<Value> | undefined;
  return {
    size: () => nodes.size,
    get: (key) => nodes.get(key)?.value,
    push(key, value) {
      const node = { key, value, older: newest, newer: undefined };
      if (newest === undefined) oldest = node;
      else newest.newer = node;
      newest = node;
      nodes.set(key, node);
    },
    remove(key) {
      const node = nodes.get(key);
      if (node === undefined) return false;
      if (node.older === undefined) oldest = node.newer;
      else node.older.newer = node.newer;
      if (node.newer === undefined) newest = node.older;
      else node.newer.older = node.older;
      return nodes.delete(key);
    },
    oldest: () => oldest,
  };
}
