import type {
  Content,
  InputRequired,
  Prompt,
  PromptAnswer,
  Resource,
  ResourceAnswer,
  Tool,
  ToolAnswer,
} from "../define.ts";
import type { Fields } from "./rpc.ts";

/** A tool's answer as a `tools/call` result. Throws when the answer is outside the tool's output schema. */
export function toolResult(name: string, tool: Tool, answer: ToolAnswer): Fields {
  if (typeof answer === "string") answer = { content: [text(answer)] };
  if ("inputRequired" in answer) return inputRequired(answer);
  if ("structured" in answer) {
    const checked = tool.output?.safeParse(answer.structured);
    if (checked && !checked.success)
      throw new Error(`the tool ${name} answered outside its output schema: ${checked.error.message}`);
    const structured = (checked?.data ?? answer.structured) as Fields;
    return { content: [text(JSON.stringify(structured))], structuredContent: structured };
  }
  if (tool.output && !answer.isError)
    throw new Error(`the tool ${name} has an output schema and must answer { structured }`);
  return { content: answer.content, ...(answer.isError && { isError: true }) };
}

/** A prompt's answer as a `prompts/get` result. */
export function promptResult({ description }: Prompt, answer: PromptAnswer): Fields {
  if (typeof answer === "string") answer = { messages: [{ role: "user", content: text(answer) }] };
  if ("inputRequired" in answer) return inputRequired(answer);
  return { ...(description !== undefined && { description }), messages: answer.messages };
}

/** What a resource holds as a `resources/read` result. */
export function resourceResult(uri: string, { mimeType }: Resource, answer: NonNullable<ResourceAnswer>): Fields {
  if (typeof answer === "object" && "inputRequired" in answer) return inputRequired(answer);
  const contents = typeof answer === "string" ? { text: answer } : { blob: answer.blob };
  return { contents: [{ uri, ...(mimeType !== undefined && { mimeType }), ...contents }] };
}

/** `state` is still in clear: the caller seals it. */
function inputRequired({ inputRequired: inputRequests, state }: InputRequired): Fields {
  return { resultType: "input_required", inputRequests, ...(state !== undefined && { state }) };
}

function text(value: string): Content {
  return { type: "text", text: value };
}
