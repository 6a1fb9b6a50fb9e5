import { type Fields, isFields } from "./rpc.ts";

const encoder = new TextEncoder();
/** The parts that a merged list was put together from. */
const partsOf = new WeakMap<readonly Fields[], readonly (readonly Fields[])[]>();
/** UTF-8 of a part's JSON, without the brackets, by its first entry: filters make new arrays of the same entries. */
const bytesOf = new WeakMap<Fields, { readonly part: readonly Fields[]; readonly bytes: Uint8Array }>();

/** All entries of the parts, remembering the parts for {@link writeList}. */
export function mergeParts(parts: readonly (readonly Fields[])[]): readonly Fields[] {
  const merged = parts.flat();
  partsOf.set(merged, parts);
  return merged;
}

/**
 * UTF-8 of the JSON-RPC message, in pieces, when its result holds a list made by {@link mergeParts}; undefined for others.
 * Turning a hundred tools into text costs more than everything else about a list, so each part's text is kept while its entries are.
 */
export function writeList(message: Fields): readonly Uint8Array[] | undefined {
  const { result } = message;
  if (!isFields(result)) return undefined;
  const found = Object.entries(result).find(([, value]) => Array.isArray(value) && partsOf.has(value));
  if (!found) return undefined;
  const [field, merged] = found as [string, readonly Fields[]];
  const { [field]: _, ...rest } = result;
  const pieces: Uint8Array[] = [encoder.encode(`{"result":{${JSON.stringify(field)}:[`)];
  for (const part of partsOf.get(merged) ?? []) {
    if (part.length === 0) continue;
    if (pieces.length > 1) pieces.push(comma);
    pieces.push(textOf(part));
  }
  const others = Object.entries({ ...message, result: undefined }).filter(([, value]) => value !== undefined);
  const tail = others.map(([name, value]) => `,${JSON.stringify(name)}:${JSON.stringify(value)}`).join("");
  const fields = JSON.stringify(rest).slice(1, -1);
  pieces.push(encoder.encode(`]${fields === "" ? "" : `,${fields}`}}${tail}}`));
  return pieces;
}

const comma = encoder.encode(",");

function textOf(part: readonly Fields[]): Uint8Array {
  const first = part[0] as Fields;
  const known = bytesOf.get(first);
  if (known?.part.length === part.length && part.every((entry, n) => entry === known.part[n])) return known.bytes;
  const bytes = encoder.encode(JSON.stringify(part).slice(1, -1));
  bytesOf.set(first, { part, bytes });
  return bytes;
}
