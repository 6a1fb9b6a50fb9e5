import type * as z from "zod";
import type { State } from "./state/state.ts";

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
  /** Reports progress to a caller that asked for it. */
  progress(progress: number, total?: number, message?: string): Promise<void>;
}

/** A handler's answer: text, a structured object (also given as text for older clients), or whole MCP content. */
export type ToolAnswer = string | { readonly structured: Readonly<Record<string, unknown>> } | { readonly content: readonly Content[]; readonly isError?: boolean };

/** Thrown by a handler for a fault of the caller; its message reaches the caller as a tool result with `isError`. Other errors do not leave the node. */
export class ToolError extends Error {
  override readonly name = "ToolError";
}

export interface Tool<Input extends z.ZodType = z.ZodType> {
  readonly title?: string;
  readonly description: string;
  readonly input: Input;
  readonly output?: z.ZodType;
  readonly annotations?: Readonly<Record<string, unknown>>;
  run(input: z.output<Input>, context: Context): Promise<ToolAnswer> | ToolAnswer;
}

export interface Resource {
  readonly name: string;
  readonly title?: string;
  readonly description?: string;
  readonly mimeType?: string;
  /** `variables` holds what the URI template matched. Undefined = there is no such resource. */
  read(uri: string, variables: Readonly<Record<string, string>>, context: Context): Promise<string | undefined> | string | undefined;
}

export interface PromptArgument {
  readonly description?: string;
  readonly required?: boolean;
}

export interface Prompt {
  readonly title?: string;
  readonly description?: string;
  readonly arguments?: Readonly<Record<string, PromptArgument>>;
  get(args: Readonly<Record<string, string>>, context: Context): Promise<string> | string;
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
}

/** Declares a tool; infers the handler's input from its schema. */
export function tool<Input extends z.ZodType>(definition: Tool<Input>): Tool {
  return definition as unknown as Tool;
}

/** Declares a function; a function's `index.ts` has it as its default export. */
export function defineFunction(definition: FunctionDefinition): FunctionDefinition {
  return definition;
}
