import { decodeHeaderValue } from "./header-value.ts";
import { code, type Fields, isFields, RpcError } from "./rpc.ts";

/** An argument that clients repeat in a header (MCP 2026-07-28, `x-mcp-header`). */
export interface MirroredArgument {
  /** Where the argument is: the names of nested properties. */
  readonly path: readonly string[];
  /** Lower-case. */
  readonly header: string;
}

const tokenPattern = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const scalars = new Set(["string", "number", "integer", "boolean"]);

/** The mirrored arguments that a tool's input schema declares; undefined when a declaration is not valid, and the tool must not be listed. */
export function mirroredArguments(schema: unknown): readonly MirroredArgument[] | undefined {
  const found: MirroredArgument[] = [];
  const valid = collect(schema, [], found);
  const unique = new Set(found.map(({ header }) => header)).size === found.length;
  return valid && unique ? found : undefined;
}

function collect(schema: unknown, path: readonly string[], found: MirroredArgument[]): boolean {
  if (!isFields(schema) || !isFields(schema["properties"])) return true;
  return Object.entries(schema["properties"]).every(([name, property]) => {
    if (!isFields(property)) return true;
    const header = property["x-mcp-header"];
    const here = [...path, name];
    if (header === undefined) return collect(property, here, found);
    if (typeof header !== "string" || !tokenPattern.test(header) || !scalars.has(String(property["type"])))
      return false;
    found.push({ path: here, header: `mcp-param-${header.toLowerCase()}` });
    return true;
  });
}

/** Throws -32020 unless each header says what the body says: something in front may have decided by it. */
export function checkParamHeaders(
  declared: readonly MirroredArgument[],
  args: unknown,
  headers: Readonly<Record<string, string>>,
): void {
  for (const { path, header } of declared) {
    const value = path.reduce<unknown>((at, name) => (isFields(at) ? at[name] : undefined), args);
    const given = headers[header];
    const said = given === undefined ? undefined : decodeStrictly(given);
    if (value === undefined || value === null) {
      if (given !== undefined) throw mismatch(header, `is set, but the argument ${path.join(".")} is absent`);
    } else if (given === undefined) throw mismatch(header, `is missing, and the argument ${path.join(".")} is present`);
    else if (said === undefined || !same(said, value))
      throw mismatch(header, `does not say what the argument ${path.join(".")} says`);
  }
}

/** Base64 as RFC 4648 writes it, padding and all; `atob` would forgive what another reader refuses. */
function decodeStrictly(value: string): string | undefined {
  const encoded = /^=\?base64\?(.*)\?=$/.exec(value)?.[1];
  const strict = encoded === undefined || (encoded.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(encoded));
  return strict ? decodeHeaderValue(value) : undefined;
}

function same(said: string, value: unknown): boolean {
  if (typeof value === "number") return said.trim() !== "" && Number(said) === value;
  return said === String(value);
}

function mismatch(header: string, what: string): RpcError {
  return new RpcError(code.headerMismatch, `Header mismatch: ${header} ${what}`);
}

/** The schema with `x-mcp-header` on the named arguments. */
export function withMirrored(schema: Fields, headers: Readonly<Record<string, string>>): Fields {
  const properties = isFields(schema["properties"]) ? schema["properties"] : {};
  const marked = Object.entries(headers).map(([name, header]) => [
    name,
    { ...(isFields(properties[name]) && properties[name]), "x-mcp-header": header },
  ]);
  return { ...schema, properties: { ...properties, ...Object.fromEntries(marked) } };
}
