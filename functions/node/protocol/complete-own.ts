import type { Completer } from "../define.ts";
import type { Catalogue } from "./catalogue.ts";
import { code, type Fields, isFields, RpcError } from "./rpc.ts";

/** Most suggestions of one answer (MCP, completion). */
const maxValues = 100;

/** Answers `completion/complete` for a prompt or template of the node's own functions; undefined when there is no such thing. */
export async function completeOwn(catalogue: Catalogue, name: string, params: Fields): Promise<Fields | undefined> {
  const { argument, ref, context } = params;
  if (!isFields(argument) || typeof argument["name"] !== "string" || typeof argument["value"] !== "string")
    throw new RpcError(code.invalidParams, "completion/complete: params.argument must have a name and a value");
  const wanted = argument["name"];
  let completer: Completer | undefined;
  if (isFields(ref) && ref["type"] === "ref/prompt") {
    const prompt = catalogue.prompt(name);
    if (!prompt) return undefined;
    completer = own(prompt.definition.arguments, wanted)?.complete;
  } else {
    const resource = catalogue.listedResource(name);
    if (!resource) return undefined;
    completer = own(resource.definition.complete, wanted);
  }
  const others = isFields(context) && isFields(context["arguments"]) ? context["arguments"] : {};
  const values = completer ? await completer(argument["value"], others as Readonly<Record<string, string>>) : [];
  return {
    completion: { values: values.slice(0, maxValues), total: values.length, hasMore: values.length > maxValues },
  };
}

function own<T>(record: Readonly<Record<string, T>> | undefined, name: string): T | undefined {
  return record && Object.hasOwn(record, name) ? record[name] : undefined;
}
