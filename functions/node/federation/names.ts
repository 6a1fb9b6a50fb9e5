import type { Fields } from "../protocol/rpc.ts";
import { isFields } from "../protocol/rpc.ts";

/** A name as the peer's own functions give it, and the prefix that says which peer. */
export interface PeerName {
  readonly prefix: string;
  readonly name: string;
}

/** A peer's name under its prefix, or why it cannot have one. Names are withheld rather than cut. */
export type Prefixed = { readonly name: string } | { readonly withheld: string };

const maxNameLength = 128;
const namePattern = /^[A-Za-z0-9_.-]+$/;
const schemePattern = /^[A-Za-z][A-Za-z0-9+.-]*:/;

/** The name of a peer's tool or prompt on other nodes: `prefix.name`, or unchanged under the empty prefix. */
export function prefixName(prefix: string, name: string): Prefixed {
  const prefixed = prefix === "" ? name : `${prefix}.${name}`;
  if (prefixed.length > maxNameLength)
    return { withheld: `${prefixed.length} characters with the prefix; the limit is ${maxNameLength}` };
  if (!namePattern.test(prefixed)) return { withheld: "holds characters other than A-Z a-z 0-9 _ . -" };
  return { name: prefixed };
}

/** Undoes {@link prefixName}; undefined for a name without a prefix. */
export function splitName(name: string): PeerName | undefined {
  return split(name, ".");
}

/** A peer's resource URI or URI template on other nodes: `prefix+uri`, whose scheme is legal under RFC 3986; unchanged under the empty prefix. */
export function prefixUri(prefix: string, uri: string): Prefixed {
  if (prefix === "") return { name: uri };
  const prefixed = `${prefix}+${uri}`;
  return schemePattern.test(prefixed) ? { name: prefixed } : { withheld: "has no legal URI scheme with the prefix" };
}

/** Undoes {@link prefixUri}; undefined for a URI without a prefix. */
export function splitUri(uri: string): PeerName | undefined {
  return split(uri, "+");
}

/** A result from a peer with its resource URIs prefixed, so that they can be read here. Everything else stays as it came. */
export function prefixResult(prefix: string, result: Fields): Fields {
  if (prefix === "") return result;
  return {
    ...result,
    ...(Array.isArray(result["content"]) && { content: result["content"].map((block) => prefixBlock(prefix, block)) }),
    ...(Array.isArray(result["contents"]) && {
      contents: result["contents"].map((contents) => prefixField(prefix, contents)),
    }),
    ...(Array.isArray(result["messages"]) && {
      messages: result["messages"].map((message) => prefixMessage(prefix, message)),
    }),
  };
}

function prefixMessage(prefix: string, message: unknown): unknown {
  if (!isFields(message)) return message;
  const { content } = message;
  return {
    ...message,
    content: Array.isArray(content) ? content.map((block) => prefixBlock(prefix, block)) : prefixBlock(prefix, content),
  };
}

function prefixBlock(prefix: string, block: unknown): unknown {
  if (!isFields(block)) return block;
  if (block["type"] === "resource_link") return prefixField(prefix, block);
  if (block["type"] === "resource") return { ...block, resource: prefixField(prefix, block["resource"]) };
  return block;
}

function prefixField(prefix: string, value: unknown): unknown {
  if (!isFields(value) || typeof value["uri"] !== "string") return value;
  const prefixed = prefixUri(prefix, value["uri"]);
  return "name" in prefixed ? { ...value, uri: prefixed.name } : value;
}

function split(text: string, separator: string): PeerName | undefined {
  const at = text.indexOf(separator);
  return at > 0 && at < text.length - 1 ? { prefix: text.slice(0, at), name: text.slice(at + 1) } : undefined;
}
