import { mergeParts } from "./list-text.ts";
import { type ListMethodName, listMethods } from "./methods.ts";
import { code, type Fields, RpcError } from "./rpc.ts";

/** One source's entries in a merged list. */
export interface ListPart {
  /** Own functions, an upstream or a peer; unique in the list. */
  readonly key: string;
  readonly entries: readonly Fields[];
}

/** Where a page ended. It names what was shown last, so it holds when sources come and go between two pages. */
interface Place {
  readonly part: string;
  readonly name: string;
  readonly index: number;
}

const pageSize = 1_000;

/** The name by which clients ask for a listed entry. Not whatever else it has: a peer's tool may well carry a `uri` of its own. */
export function entryName(method: ListMethodName, entry: Fields): string {
  const { items } = listMethods[method];
  return entry[items === "resources" ? "uri" : items === "resourceTemplates" ? "uriTemplate" : "name"] as string;
}

/** One page of the parts in their order. Throws -32602 for a cursor that this list never gave. */
export function page(
  method: ListMethodName,
  parts: readonly ListPart[],
  cursor: unknown,
  size = pageSize,
): { readonly entries: readonly Fields[]; readonly nextCursor?: string } {
  if (cursor === undefined && parts.reduce((sum, { entries }) => sum + entries.length, 0) <= size)
    return { entries: mergeParts(parts.map(({ entries }) => entries)) };
  const place = cursor === undefined ? undefined : readCursor(method, cursor);
  const rest = parts.flatMap(({ key, entries }) => {
    const from =
      place === undefined || key > place.part ? 0 : key < place.part ? entries.length : after(method, entries, place);
    return entries.slice(from).map((entry, n) => ({ entry, key, index: from + n }));
  });
  const shown = rest.slice(0, size);
  const last = shown.at(-1);
  const entries = shown.map(({ entry }) => entry);
  if (!last || rest.length <= size) return { entries };
  return {
    entries,
    nextCursor: writeCursor({ part: last.key, name: entryName(method, last.entry), index: last.index }),
  };
}

function after(method: ListMethodName, entries: readonly Fields[], { name, index }: Place): number {
  const at = entries.findIndex((entry) => entryName(method, entry) === name);
  // The entry itself is gone: what stood behind it is now in its place.
  return at < 0 ? Math.min(index, entries.length) : at + 1;
}

function writeCursor(place: Place): string {
  const bytes = new TextEncoder().encode(JSON.stringify([place.part, place.name, place.index]));
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

function readCursor(method: string, cursor: unknown): Place {
  try {
    const bytes = Uint8Array.from(atob(String(cursor)), (char) => char.charCodeAt(0));
    const place: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (Array.isArray(place) && typeof place[0] === "string" && typeof place[1] === "string" && place[2] >= 0)
      return { part: place[0], name: place[1], index: Math.floor(place[2] as number) };
  } catch {
    // Falls through: text of another kind is no cursor of ours either.
  }
  throw new RpcError(code.invalidParams, `${method}: unknown cursor`);
}
