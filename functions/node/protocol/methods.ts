import { code, type Fields, isFields, RpcError } from "./rpc.ts";

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

/** Suggests values for an argument of a prompt or a variable of a resource template; `params.ref` names that. */
export const completionMethod = "completion/complete";
/** A stream of notifications about changes. */
export const listenMethod = "subscriptions/listen";

export type ListMethodName = keyof typeof listMethods;
export type CallMethodName = keyof typeof callMethods | typeof completionMethod;

export function isListMethod(method: string): method is ListMethodName {
  return Object.hasOwn(listMethods, method);
}

export function isCallMethod(method: string): method is CallMethodName {
  return method === completionMethod || Object.hasOwn(callMethods, method);
}

/** The thing that a call is about. */
export interface Subject {
  readonly kind: Kind;
  readonly what: "tool" | "resource" | "prompt";
  /** Name or URI (of a resource template too). */
  readonly name: string;
}

const maxNameLength = 2048;
const references = {
  "ref/prompt": { kind: "prompts", what: "prompt", subject: "name" },
  "ref/resource": { kind: "resources", what: "resource", subject: "uri" },
} as const;

/** What a call is about. Throws -32602 when its name is absent or unreasonably long. */
export function subjectOf(method: CallMethodName, params: Fields): Subject {
  const { holder, field, kind, what, subject } = locate(method, params);
  const name = holder[subject];
  if (typeof name !== "string" || name.length === 0 || name.length > maxNameLength) {
    throw new RpcError(
      code.invalidParams,
      `${method}: ${field}.${subject} must be a string of 1 to ${maxNameLength} characters`,
    );
  }
  return { kind, what, name };
}

/** The call's params about another name. */
export function renamed(method: CallMethodName, params: Fields, name: string): Fields {
  const { holder, subject } = locate(method, params);
  const changed = { ...holder, [subject]: name };
  return method === completionMethod ? { ...params, ref: changed } : changed;
}

function locate(method: CallMethodName, params: Fields) {
  if (method !== completionMethod) return { holder: params, field: "params", ...callMethods[method] };
  const ref = isFields(params["ref"]) ? params["ref"] : {};
  const type = String(ref["type"]);
  if (!Object.hasOwn(references, type))
    throw new RpcError(code.invalidParams, `${method}: params.ref.type must be ref/prompt or ref/resource`);
  return { holder: ref, field: "params.ref", ...references[type as keyof typeof references] };
}

/** The value that the header `Mcp-Name` repeats; undefined for methods without one. */
export function mirroredName(method: string, params: Fields): unknown {
  return Object.hasOwn(callMethods, method)
    ? params[callMethods[method as keyof typeof callMethods].subject]
    : undefined;
}

/** What a hop token must allow: the method, and the name where there is one. */
export function scopeOf(method: string, params: Fields): string {
  return isCallMethod(method) ? `${method} ${subjectOf(method, params).name}` : method;
}
