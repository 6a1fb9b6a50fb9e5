import type * as z from "zod";
import type { Protocol } from "./protocol/protocol.ts";
import type { Json, State } from "./state/state.ts";

export { defineProtocol, type Protocol, type ProtocolContext } from "./protocol/protocol.ts";
export { RpcError } from "./protocol/rpc.ts";

/** A block of MCP content, as the protocol defines it. */
export type Content = { readonly type: string } & Readonly<Record<string, unknown>>;

/** Who calls. */
export interface Caller {
  /** `name@organization` of the user on whose behalf the call is made. */
  readonly subject: string;
  readonly organization: string;
  /** Nodes that relayed the call, the nearest last; empty for a direct call. */
  readonly via: readonly string[];
}

/** What a handler may use beside its input. */
export interface Context {
  readonly caller: Caller;
  /** `organization/node` this runs on. */
  readonly node: string;
  /** Id of the call in the audit records of every node it touched. */
  readonly callId: string;
  /** Aborted when the caller cancels or leaves. */
  readonly signal: AbortSignal;
  /** The function's own part of the node's state: keys of other functions cannot be reached. */
  readonly state: State;
  /** What the caller's client can do (`sampling`, `elicitation`, `roots`), as it declared it with this request. */
  readonly clientCapabilities: Readonly<Record<string, unknown>>;
  /** The client's answers to the last {@link InputRequired}, by the keys of its requests; empty in the first round. */
  readonly inputs: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** What the last {@link InputRequired} gave as `state`; it came back unread and unchanged. */
  readonly requestState: Json | undefined;
  /** Reports progress to a caller that asked for it. */
  progress(progress: number, total?: number, message?: string): Promise<void>;
  /** Sends a log message to a caller that asked for messages of this level. */
  log(level: LogLevel, data: Json, logger?: string): Promise<void>;
  /** Tells subscribers on every isolate of the node that a list, or the resource with this URI, is another one now. */
  changed(what: "tools" | "resources" | "prompts" | { readonly uri: string }): Promise<void>;
}

/** Severities of RFC 5424, mildest first. */
export type LogLevel = "debug" | "info" | "notice" | "warning" | "error" | "critical" | "alert" | "emergency";

/** One question to the caller's client. */
export interface InputRequest {
  readonly method: "elicitation/create" | "sampling/createMessage" | "roots/list";
  readonly params?: Readonly<Record<string, unknown>>;
}

/**
 * An answer that asks back: the client answers the requests and calls again with the same arguments.
 * `state` travels with the client, sealed: it can neither read nor change it, nor use it for another call.
 */
export interface InputRequired {
  readonly inputRequired: Readonly<Record<string, InputRequest>>;
  readonly state?: Json;
}

/** Suggestions for an argument's value, best first. */
export type Completer = (
  value: string,
  others: Readonly<Record<string, string>>,
) => Promise<readonly string[]> | readonly string[];

/** An image that clients may show beside a name. */
export interface Icon {
  readonly src: string;
  readonly mimeType?: string;
  readonly sizes?: readonly string[];
  readonly theme?: "light" | "dark";
}

/** A handler's answer: text, a structured object (also given as text for older clients), or whole MCP content. */
export type ToolAnswer =
  | string
  | { readonly structured: Readonly<Record<string, unknown>> }
  | { readonly content: readonly Content[]; readonly isError?: boolean }
  | InputRequired;

/** What a resource holds: text, bytes in base64, or an answer that asks back. Undefined = there is no such resource. */
export type ResourceAnswer = string | { readonly blob: string } | InputRequired | undefined;

/** A prompt's messages: one text of the user, whole messages, or an answer that asks back. */
export type PromptAnswer =
  | string
  | { readonly messages: readonly { readonly role: "user" | "assistant"; readonly content: Content }[] }
  | InputRequired;

/** Thrown by a handler for a fault of the caller; its message reaches the caller as a tool result with `isError`. Other errors do not leave the node. */
export class ToolError extends Error {
  override readonly name = "ToolError";
}

export interface Tool<Input extends z.ZodType = z.ZodType> {
  readonly title?: string;
  readonly description: string;
  readonly input: Input;
  /** JSON Schema to list instead of the one that follows from `input`, for keywords that zod has no word for. */
  readonly inputSchema?: Readonly<Record<string, unknown>>;
  /** Arguments that clients also send as the header `Mcp-Param-<name>`, for what stands in front of the node: header name by argument. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly output?: z.ZodType;
  readonly annotations?: Readonly<Record<string, unknown>>;
  readonly icons?: readonly Icon[];
  run(input: z.output<Input>, context: Context): Promise<ToolAnswer> | ToolAnswer;
}

export interface Resource {
  readonly name: string;
  readonly title?: string;
  readonly description?: string;
  readonly mimeType?: string;
  readonly annotations?: Readonly<Record<string, unknown>>;
  readonly icons?: readonly Icon[];
  /** Suggestions for the variables of a URI template. */
  readonly complete?: Readonly<Record<string, Completer>>;
  /** `variables` holds what the URI template matched. */
  read(
    uri: string,
    variables: Readonly<Record<string, string>>,
    context: Context,
  ): Promise<ResourceAnswer> | ResourceAnswer;
}

export interface PromptArgument {
  readonly description?: string;
  readonly required?: boolean;
  readonly complete?: Completer;
}

export interface Prompt {
  readonly title?: string;
  readonly description?: string;
  readonly arguments?: Readonly<Record<string, PromptArgument>>;
  readonly icons?: readonly Icon[];
  get(args: Readonly<Record<string, string>>, context: Context): Promise<PromptAnswer> | PromptAnswer;
}

/** A function: tools, resources and prompts that are written once and run on every provider. */
export interface FunctionDefinition {
  /** Same as its folder's name. */
  readonly name: string;
  readonly description?: string;
  /** By tool name: 1 to 64 characters of `A-Za-z0-9_-`. */
  readonly tools?: Readonly<Record<string, Tool>>;
  /** By URI, or by RFC 6570 level 1 URI template such as `meeting://{id}`. */
  readonly resources?: Readonly<Record<string, Resource>>;
  readonly prompts?: Readonly<Record<string, Prompt>>;
  /** Other ways to ask the whole node, on paths that the node itself does not use. */
  readonly protocols?: readonly Protocol[];
}

/** Declares a tool; infers the handler's input from its schema. */
export function tool<Input extends z.ZodType>(definition: Tool<Input>): Tool {
  return definition as unknown as Tool;
}

/** Declares a function; a function's `index.ts` has it as its default export. */
export function defineFunction(definition: FunctionDefinition): FunctionDefinition {
  return definition;
}
