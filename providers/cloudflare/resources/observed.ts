import { ResourceError } from "../../plugin/resource.ts";

/** The parts of an id that a user imports by. */
export function importId(id: string, form: string): string[] {
  const parts = id.split("/");
  if (parts.length !== form.split("/").length || parts.includes(""))
    throw new ResourceError(`to import, give the id as ${form}; it is ${JSON.stringify(id)}`);
  return parts;
}

/**
 * What was observed, reduced to what was asked for: fields that the program does not set are the API's own business
 * and no drift. Lists are taken as observed.
 */
export function sameShape<T>(asked: T, observed: T): T {
  if (!isObject(asked) || !isObject(observed)) return observed;
  return Object.fromEntries(
    Object.entries(asked).flatMap(([key, value]) => {
      const now = (observed as Record<string, unknown>)[key];
      return now === undefined ? [] : [[key, sameShape(value as unknown, now)]];
    }),
  ) as T;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
