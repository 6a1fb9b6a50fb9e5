import * as z from "zod";
import { formatPath } from "./path.ts";
import type { ResourceType } from "./resource.ts";
import { hasSecret, hasUnknown, isObject, openAll, type Properties } from "./values.ts";

export interface Checked {
  /** Plain, with defaults filled in; as they came where they could not be checked. */
  readonly inputs: Properties;
  /** One sentence for each fault, with the path of the input. */
  readonly failures: readonly string[];
}

/**
 * Checks the inputs of a resource as they came over the wire. While a preview does not know all of them, the known ones
 * are still checked and get their defaults, so that a default does not show as a change.
 */
export function check(type: ResourceType, wire: Properties): Checked {
  const news = openAll(wire);
  const shape = type.inputs instanceof z.ZodObject ? (type.inputs.shape as z.core.$ZodShape) : undefined;
  const pending = Object.fromEntries(Object.entries(news).filter(([, value]) => hasUnknown(value)));
  const isPending = Object.keys(pending).length > 0;
  // Rules over several inputs wait until all are known.
  const schema = !isPending
    ? type.inputs
    : shape
      ? z.object(without(shape, pending))
      : z.record(z.string(), z.unknown());
  const known = without(news, pending);
  const result = z.safeParse(schema, known);
  if (!result.success) return { inputs: news, failures: result.error.issues.flatMap(describe) };
  const inputs = { ...(result.data as Properties), ...pending };
  // An object schema may drop what it does not name; a misspelt input must not vanish in silence.
  const dropped = shape ? Object.keys(news).filter((key) => !(key in inputs) && !(key in shape)) : [];
  return { inputs, failures: dropped.map(notAnInput) };

  function describe(issue: z.core.$ZodIssue): string[] {
    const { path } = issue;
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) =>
        path.length === 0 ? notAnInput(key) : `${formatPath([...path, key])}: not known here`,
      );
    }
    return [`${path.length === 0 ? "inputs" : formatPath(path)}: ${issue.message}${found(path)}`];
  }

  /** The offending value, where it is short and no secret. */
  function found(path: readonly PropertyKey[]): string {
    if (path.length === 0 || type.secrets.includes(path[0]!) || hasSecret(wire[String(path[0])])) return "";
    let value: unknown = news;
    for (const step of path)
      value = Array.isArray(value) || isObject(value) ? (value as Properties)[step as string] : undefined;
    if (value === undefined) return "";
    const text = JSON.stringify(value);
    return text !== undefined && text.length <= 80 ? `; it is ${text}` : "";
  }

  function notAnInput(key: string): string {
    const allowed = shape ? `; it has ${Object.keys(shape).join(", ")}` : "";
    return `${formatPath([key])}: ${type.token} has no such input${allowed}`;
  }
}

function without<T>(record: Readonly<Record<string, T>>, keys: object): Record<string, T> {
  return Object.fromEntries(Object.entries(record).filter(([key]) => !Object.hasOwn(keys, key)));
}
