import { type Content, type Context, type Prompt, type Tool, type ToolAnswer, ToolError } from "../define.ts";
import { scopedState } from "../state/scoped.ts";
import type { State } from "../state/state.ts";
import type { Call } from "./call.ts";
import type { Catalogue } from "./catalogue.ts";
import type { CallMethodName } from "./methods.ts";
import { code, type Fields, isFields, RpcError } from "./rpc.ts";

/** Runs one of the node's own tools, prompts or resources; undefined when there is no such thing. */
export type RunOwn = (call: Call<CallMethodName>, name: string) => Promise<Fields | undefined>;

/** Makes the runner of the node's own functions. `node` is this node's id. */
export function ownRunner(catalogue: Catalogue, node: string, state: State): RunOwn {
  return async (call, name) => {
    switch (call.method) {
      case "tools/call": {
        const owned = catalogue.tool(name);
        return (
          owned && (await runTool(name, owned.definition, call.params["arguments"], context(call, owned.functionName)))
        );
      }
      case "prompts/get": {
        const owned = catalogue.prompt(name);
        return (
          owned &&
          (await getPrompt(name, owned.definition, call.params["arguments"], context(call, owned.functionName)))
        );
      }
      case "resources/read": {
        const owned = catalogue.resource(name);
        if (!owned) return undefined;
        const { definition, variables } = owned;
        const text = await guard(
          call.callId,
          async () => await definition.read(name, variables, context(call, owned.functionName)),
        );
        return text === undefined
          ? undefined
          : {
              contents: [
                { uri: name, ...(definition.mimeType !== undefined && { mimeType: definition.mimeType }), text },
              ],
            };
      }
    }
  };

  function context({ principal, callId, signal, progress }: Call, functionName: string): Context {
    const { subject, organization, via } = principal;
    return {
      caller: { subject, organization, via },
      node,
      callId,
      signal,
      state: scopedState(state, `fn/${functionName}/`),
      async progress(done, total, message) {
        await progress?.({
          progress: done,
          ...(total !== undefined && { total }),
          ...(message !== undefined && { message }),
        });
      },
    };
  }
}

async function runTool(name: string, tool: Tool, args: unknown, context: Context): Promise<Fields> {
  const input = tool.input.safeParse(args ?? {});
  if (!input.success) {
    const faults = input.error.issues.map(
      ({ path, message }) => `- ${path.length > 0 ? path.join(".") : "arguments"}: ${message}`,
    );
    return toolFault(`Invalid arguments for ${name}:\n${faults.join("\n")}`);
  }
  let answer: ToolAnswer;
  try {
    answer = await tool.run(input.data, context);
  } catch (cause) {
    if (cause instanceof ToolError) return toolFault(cause.message);
    throw internal(context.callId, cause);
  }
  return toolResult(name, tool, answer, context.callId);
}

function toolResult(name: string, tool: Tool, answer: ToolAnswer, callId: string): Fields {
  if (typeof answer === "string") answer = { content: [text(answer)] };
  if ("structured" in answer) {
    const checked = tool.output?.safeParse(answer.structured);
    if (checked && !checked.success)
      throw internal(
        callId,
        new Error(`the tool ${name} answered outside its output schema: ${checked.error.message}`),
      );
    const structured = (checked?.data ?? answer.structured) as Fields;
    return { content: [text(JSON.stringify(structured))], structuredContent: structured };
  }
  if (tool.output && !answer.isError)
    throw internal(callId, new Error(`the tool ${name} has an output schema and must answer { structured }`));
  return { content: answer.content, ...(answer.isError && { isError: true }) };
}

async function getPrompt(name: string, prompt: Prompt, given: unknown, context: Context): Promise<Fields> {
  const args = isFields(given) ? given : {};
  for (const [argument, { required }] of Object.entries(prompt.arguments ?? {})) {
    const value = Object.hasOwn(args, argument) ? args[argument] : undefined;
    if (value === undefined && required)
      throw new RpcError(code.invalidParams, `The prompt ${name} needs the argument ${argument}`);
    if (value !== undefined && typeof value !== "string")
      throw new RpcError(code.invalidParams, `The prompt ${name}: argument ${argument} must be a string`);
  }
  const message = await guard(
    context.callId,
    async () => await prompt.get(args as Readonly<Record<string, string>>, context),
  );
  return {
    ...(prompt.description !== undefined && { description: prompt.description }),
    messages: [{ role: "user", content: text(message) }],
  };
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
  console.error(
    JSON.stringify({ error: "a function failed", callId, cause: cause instanceof Error ? cause.stack : String(cause) }),
  );
  return new RpcError(code.internal, "Internal error", { callId });
}

function toolFault(message: string): Fields {
  return { content: [text(message)], isError: true };
}

function text(value: string): Content {
  return { type: "text", text: value };
}
