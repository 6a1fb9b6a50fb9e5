import { code, type Fields, RpcError } from "./rpc.ts";

/** The three kinds of things that a node serves, as grants and lists name them. */
export type Kind = "tools" | "resources" | "prompts";

interface ListMethod {
  readonly kind: Kind;
  /** The field of the result that holds the entries. */
  readonly items: "tools" | "resources" | "resourceTemplates" | "prompts";
}

interface CallMethod {
  readonly kind: Kind;
  readonly what: "tool" | "resource" | "prompt";
  /** The parameter that names the thing; the header `Mcp-Name` repeats it. */
  readonly subject: "name" | "uri";
}

/** Methods that a node merges over its peers. */
export const listMethods = {
  "tools/list": { kind: "tools", items: "tools" },
  "prompts/list": { kind: "prompts", items: "prompts" },
  "resources/list": { kind: "resources", items: "resources" },
  "resources/templates/list": { kind: "resources", items: "resourceTemplates" },
} as const satisfies Record<string, ListMethod>;

/** Methods that a node answers itself or relays to one peer. */
export const callMethods = {
  "tools/call": { kind: "tools", what: "tool", subject: "name" },
  "prompts/get": { kind: "prompts", what: "prompt", subject: "name" },
  "resources/read": { kind: "resources", what: "resource", subject: "uri" },
} as const satisfies Record<string, CallMethod>;

export type ListMethodName = keyof typeof listMethods;
export type CallMethodName = keyof typeof callMethods;

export function isListMethod(method: string): method is ListMethodName {
  return Object.hasOwn(listMethods, method);
}

export function isCallMethod(method: string): method is CallMethodName {
  return Object.hasOwn(callMethods, method);
}

const maxNameLength = 2048;

/** The name or URI that a call is about. Throws -32602 when it is absent or unreasonably long. */
export function calledName(method: CallMethodName, params: Fields): string {
  const { subject } = callMethods[method];
  const name = params[subject];
  if (typeof name !== "string" || name.length === 0 || name.length > maxNameLength) {
    throw new RpcError(
      code.invalidParams,
      `${method}: params.${subject} must be a string of 1 to ${maxNameLength} characters`,
    );
  }
  return name;
}

/** What a hop token must allow: the method, and the name where there is one. */
export function scopeOf(method: string, params: Fields): string {
  return isCallMethod(method) ? `${method} ${calledName(method, params)}` : method;
}
