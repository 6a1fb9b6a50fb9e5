import * as z from "zod";
import { ResourceError } from "../../plugin/resource.ts";
import { flyApi } from "../api.ts";

/** The input that says which Machines API a resource lives in. */
export const api = z.url().default(flyApi);

/** Where an import looks, which has no inputs yet: the variable is the one `fly` itself reads. */
export function importApi(): string {
  const base = process.env["FLY_FLAPS_BASE_URL"];
  return base ? `${base.replace(/\/+$/, "")}/v1` : flyApi;
}

/** Splits `<app>/<part>`; throws for an id of another shape. */
export function splitId(id: string, part: string): [app: string, id: string] {
  const [app, own, ...more] = id.split("/");
  if (!app || !own || more.length > 0) throw new ResourceError(`The id "${id}" must be <app>/<${part}>.`);
  return [app, own];
}
