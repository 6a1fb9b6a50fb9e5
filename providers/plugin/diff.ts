import { formatPath } from "./path.ts";
import { isObject, type Properties } from "./values.ts";

export interface Change {
  /** In the engine's notation: `nodes["acme/hub"].url`. */
  readonly path: string;
  /** Top-level property that holds it. */
  readonly property: string;
  readonly kind: "add" | "delete" | "update";
}

/**
 * What differs between two sets of plain properties, one entry for each place. Values are compared by structure;
 * a value that is not known yet (`unknown`) differs from everything that is.
 */
export function diff(old: Properties, now: Properties): Change[] {
  const changes: Change[] = [];
  compareObjects(old, now, []);
  return changes;

  function compareObjects(a: Properties, b: Properties, path: readonly PropertyKey[]): void {
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)]))
      compare(own(a, key), own(b, key), [...path, key]);
  }

  function compare(a: unknown, b: unknown, path: readonly PropertyKey[]): void {
    if (isObject(a) && isObject(b)) {
      compareObjects(a, b, path);
    } else if (Array.isArray(a) && Array.isArray(b)) {
      for (let index = 0; index < Math.max(a.length, b.length); index++) compare(a[index], b[index], [...path, index]);
    } else if (a !== b) {
      const kind = a === undefined ? "add" : b === undefined ? "delete" : "update";
      changes.push({ path: formatPath(path), property: String(path[0]), kind });
    }
  }
}

function own(properties: Properties, key: string): unknown {
  return Object.hasOwn(properties, key) ? properties[key] : undefined;
}
