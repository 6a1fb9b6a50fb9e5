import { type Content, type Context, type Prompt, type PromptArgument, type Tool, ToolError } from "../define.ts";
import type { StateSeal } from "../security/sealed-state.ts";
import { scopedState } from "../state/scoped.ts";
import type { Json, State } from "../state/state.ts";
import type { Call } from "./call.ts";
import { checkInputRequests } from "./capabilities.ts";
import type { Catalogue } from "./catalogue.ts";
import type { Changes } from "./changes.ts";
import { completeOwn } from "./complete-own.ts";
import { reaches } from "./log-level.ts";
import { type CallMethodName, completionMethod } from "./methods.ts";
import { checkParamHeaders } from "./param-headers.ts";
import { code, type Fields, isFields, RpcError } from "./rpc.ts";
import { resourceResult, promptResult, toolResult } from "./own-result.ts";

/** Runs one of the node's own tools, prompts or resources; undefined when there is no such thing. */
export type RunOwn = (call: Call<CallMethodName>, name: string) => Promise<Fields | undefined>;

export interface OwnRunnerOptions {
  readonly catalogue: Catalogue;
  /** This node's id. */
  readonly node: string;
  readonly state: State;
  readonly seal: StateSeal;
  readonly changes: Changes;
}

/** Makes the runner of the node's own functions. */
export function ownRunner({ catalogue, node, state, seal, changes }: OwnRunnerOptions): RunOwn {
  return async (call, name) => {
    const { callId, params } = call;
    switch (call.method) {
      case "tools/call": {
        const owned = catalogue.tool(name);
        if (!owned) return undefined;
        checkParamHeaders(owned.mirrored, params["arguments"], call.headers);
        return await sealed(call, async (given) => {
          return await runTool(name, owned.definition, params["arguments"], context(call, owned.functionName, given));
        });
      }
      case "prompts/get": {
        const owned = catalogue.prompt(name);
        if (!owned) return undefined;
        return await sealed(call, async (given) => {
          const args = promptArguments(name, owned.definition, params["arguments"]);
          const inside = context(call, owned.functionName, given);
          const answer = await guard(callId, async () => await owned.definition.get(args, inside));
          return promptResult(owned.definition, answer);
        });
      }
      case "resources/read": {
        const owned = catalogue.resource(name);
        if (!owned) return undefined;
        const { definition, variables, functionName } = owned;
        return await sealed(call, async (given) => {
          const inside = context(call, functionName, given);
          const answer = await guard(callId, async () => await definition.read(name, variables, inside));
          return answer === undefined ? undefined : resourceResult(name, definition, answer);
        });
      }
      case completionMethod:
        return await guard(callId, async () => await completeOwn(catalogue, name, params));
    }
  };

  /** Opens the state that the client brought and seals the one that it takes along. */
  async function sealed(
    call: Call<CallMethodName>,
    run: (given: Json | undefined) => Promise<Fields | undefined>,
  ): Promise<Fields | undefined> {
    const { method, params, principal } = call;
    const bound = { subject: principal.subject, maker: node, method, params };
    const brought = params["requestState"];
    if (brought !== undefined && typeof brought !== "string")
      throw new RpcError(code.invalidParams, `${method}: params.requestState must be a string`);
    const given = brought === undefined ? undefined : (JSON.parse(await seal.open(brought, bound)) as Json);
    const result = await run(given);
    if (result?.["resultType"] !== "input_required") return result;
    checkInputRequests(result["inputRequests"], call.capabilities);
    const { state: next, ...rest } = result;
    return next === undefined ? rest : { ...rest, requestState: await seal.seal(JSON.stringify(next), bound) };
  }

  function context(call: Call, functionName: string, given: Json | undefined): Context {
    const { subject, organization, via } = call.principal;
    const { callId, signal, progress, log, capabilities, params } = call;
    return {
      caller: { subject, organization, via },
      node,
      callId,
      signal,
      state: scopedState(state, `fn/${functionName}/`),
      clientCapabilities: capabilities,
      inputs: inputsOf(params),
      requestState: given,
      async progress(done, total, message) {
        await progress?.({
          progress: done,
          ...(total !== undefined && { total }),
          ...(message !== undefined && { message }),
        });
      },
      async log(level, data, logger = functionName) {
        if (log && reaches(level, log.level)) await log.send({ level, logger, data });
      },
      changed: async (what) => await changes.announce(what),
    };
  }
}

/** Answers that are no objects count as not given, so that the function asks again. */
function inputsOf(params: Fields): Context["inputs"] {
  const given = params["inputResponses"];
  if (given === undefined) return {};
  if (!isFields(given)) throw new RpcError(code.invalidParams, "params.inputResponses must be an object");
  return Object.fromEntries(Object.entries(given).filter((entry): entry is [string, Fields] => isFields(entry[1])));
}

async function runTool(name: string, tool: Tool, args: unknown, context: Context): Promise<Fields> {
  const input = tool.input.safeParse(args ?? {});
  if (!input.success) {
    const faults = input.error.issues.map(
      ({ path, message }) => `- ${path.length > 0 ? path.join(".") : "arguments"}: ${message}`,
    );
    return toolFault(`Invalid arguments for ${name}:\n${faults.join("\n")}`);
  }
  try {
    return toolResult(name, tool, await tool.run(input.data, context));
  } catch (cause) {
    if (cause instanceof ToolError) return toolFault(cause.message);
    throw internal(context.callId, cause);
  }
}

function promptArguments(name: string, prompt: Prompt, given: unknown): Readonly<Record<string, string>> {
  const args = isFields(given) ? given : {};
  const declared: [string, PromptArgument][] = Object.entries(prompt.arguments ?? {});
  for (const [argument, { required }] of declared) {
    const value = Object.hasOwn(args, argument) ? args[argument] : undefined;
    if (value === undefined && required)
      throw new RpcError(code.invalidParams, `The prompt ${name} needs the argument ${argument}`);
    if (value !== undefined && typeof value !== "string")
      throw new RpcError(code.invalidParams, `The prompt ${name}: argument ${argument} must be a string`);
  }
  return args as Readonly<Record<string, string>>;
}

async function guard<T>(callId: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof ToolError) throw new RpcError(code.invalidParams, cause.message);
    throw internal(callId, cause);
  }
}

/** The stack stays here; the caller gets the id to ask about. */
function internal(callId: string, cause: unknown): RpcError {
  if (cause instanceof RpcError) return cause;
  console.error(
    JSON.stringify({ error: "a function failed", callId, cause: cause instanceof Error ? cause.stack : String(cause) }),
  );
  return new RpcError(code.internal, "Internal error", { callId });
}

function toolFault(message: string): Fields {
  const content: readonly Content[] = [{ type: "text", text: message }];
  return { content, isError: true };
}
